# SPDX-License-Identifier: Apache-2.0
"""Nothing that was made for tests is in what is shipped.

Bazel refuses a program that depends on a testonly library; here the programs themselves are read.
"""

import os
import re
import subprocess

import pytest
from harness import ROOT

_SHIPPED = ("KVGATED", "KVGATE_CLI", "KVGATE_LIB", "KVGATE_GRPC_LIB")
_LIBRARY = re.compile(r"^kvgate_cc_library\(\n(.*?)^\)", re.MULTILINE | re.DOTALL)
_HOOK = re.compile(r"(?i)fail_?point|fault_?inject|for_?test(s|ing)?\b|test_?only|testing::")


def made_for_tests():
    """Classes in the headers of testonly libraries."""
    names = set()
    for build in ROOT.glob("[a-z]*/**/BUILD.bazel"):
        if build.relative_to(ROOT).parts[0] == "out":
            continue
        for library in _LIBRARY.findall(build.read_text()):
            if "testonly = True" not in library:
                continue
            for header in re.findall(r'"(\w+\.h)"', library):
                text = (build.parent / header).read_text()
                room = re.search(r"^namespace (kvgate::[\w:]+) \{", text, re.MULTILINE)
                classes = re.findall(r"^(?:class|struct) (\w+)[^;]*\{", text, re.MULTILINE)
                names |= {f"{room[1]}::{name}" for name in classes if room}
    return names


def symbols(path):
    """Everything of ours that is defined in it."""
    command = ["nm", "--demangle", "--defined-only", path]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line for line in said.splitlines() if "kvgate" in line]


def test_fakes_are_known_by_their_names():
    known = ("storage::FaultyDisk", "storage::MemoryMedium", "storage::FakeLog")
    known += ("storage::ManualClock", "gateway::NamespaceStore")
    assert {f"kvgate::{name}" for name in known} <= made_for_tests()


@pytest.mark.parametrize("program", _SHIPPED)
def test_no_fake_and_no_hook_is_shipped(program):
    ours = symbols(os.environ[program])
    assert len(ours) > 100, "stripped: nothing can be read"
    fakes = re.compile(r"\b(" + "|".join(sorted(made_for_tests())) + r")\b")
    found = [line for line in ours if fakes.search(line) or _HOOK.search(line)]
    assert not found, "\n".join(found[:20])


def test_the_daemon_reads_no_variable_but_its_settings_and_its_managers():
    """A switch for tests would be one."""
    allowed = r'getenv\("(NOTIFY_SOCKET|WATCHDOG_USEC|WATCHDOG_PID|KVGATE_CONFIG)"\)|variable\(\)'
    wrong = []
    for room in ("gateway", "storage", "proto"):
        for path in (ROOT / room).rglob("*.cc"):
            if path.name.endswith(("_test.cc", "_benchmark.cc", "_harness.cc")):
                continue
            for line in path.read_text().splitlines():
                if "getenv(" in line and not re.search(allowed, line):
                    wrong.append(f"{path.relative_to(ROOT)}: {line.strip()}")
    assert not wrong, "\n".join(wrong)
