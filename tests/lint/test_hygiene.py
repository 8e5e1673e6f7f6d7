# SPDX-License-Identifier: Apache-2.0
"""Tests that can run beside others, and whose answer is the first one.

Any number of them may run at once on one machine, so a test takes a port from the kernel (port 0)
and keeps its sockets and files in a directory of its own. Nothing is tried again until it passes.
The patterns are put together from pieces so that this file does not find itself.
"""

import re

import pytest
import sources

_FIXED_PORT = re.compile(
    r"""(127\.\d+\.\d+\.\d+|localhost|0\.0\.0\.0|\[::1?\]):(?!0\b)\d+  # an address and its port
      | \bhtons\(\s*(?!0\b)\d+                                      # in C++
      | \.bind\(\(\s*["'][^"']*["'],\s*(?!0\b)\d+                   # in Python
    """,
    re.VERBOSE,
)
_PORTS_THAT_NOBODY_LISTENS_ON = {
    "gateway/config_test.cc": "texts that are parsed, and addresses that are refused",
    "gateway/service/unsent_test.cc": "the name of a peer in a table",
}

# A path that begins in these quotes; a template for mkdtemp makes a directory of its own.
_FIXED_PLACE = re.compile(r'(?<!\+ )"(unix:)?/(tmp|run|var|dev/shm)/(?![^"]*XXXXXX")[^"]*"')
_PLACES_THAT_NOBODY_USES = {
    "client/core/client_test.cc": "names for a fake transport",
    "client/core/link_test.cc": "names for a fake transport",
    "gateway/local/door_test.cc": "a path too long to be used",
    "gateway/local/lifetime_test.cc": "a socket that must not be there",
    "storage/io/open_disk_test.cc": "tmpfs, with the pid in the name",
    "tests/e2e/test_readme.py": "what the page says; the test takes another directory",
    "tests/integration/test_install.py": "what the unit and the configuration say",
    "tests/integration/test_readme.py": "what the page says; the test takes another directory",
}

_RETRIES = re.compile(
    r"\bflaky\s*=|@\w*flaky|mark\.flaky|--re" + r"runs|pytest[-_]re" + r"runfailures|flaky_test_att"
    r"empts|runs_per_" + r"test"
)


def _test_code():
    """Everything that runs as a test or helps one."""
    for path in sources.files(".py", ".cc", ".h", ".c", ".sh"):
        helps = re.search(r"_(test|benchmark)\.cc$|(^|_)(test|fake|fixture|conformance)", path.name)
        if (path.parts[0] == "tests" or helps) and path.parts[:2] != ("tests", "lint"):
            yield path


def _found(pattern, allowed):
    for path in _test_code():
        if str(path) in allowed:
            continue
        for number, line in enumerate(sources.text(path).splitlines(), 1):
            if pattern.search(line):
                yield f"{path}:{number}: {line.strip()}"


def test_no_test_listens_on_a_port_of_its_choice():
    wrong = list(_found(_FIXED_PORT, _PORTS_THAT_NOBODY_LISTENS_ON))
    assert not wrong, "ask the kernel for a port (0):\n" + "\n".join(wrong)


def test_no_test_uses_a_place_that_another_may_use():
    wrong = list(_found(_FIXED_PLACE, _PLACES_THAT_NOBODY_USES))
    assert not wrong, "take TEST_TMPDIR, tmp_path or mkdtemp:\n" + "\n".join(wrong)


@pytest.mark.parametrize("allowed", [_PORTS_THAT_NOBODY_LISTENS_ON, _PLACES_THAT_NOBODY_USES])
def test_what_is_allowed_is_still_needed(allowed):
    pattern = _FIXED_PORT if allowed is _PORTS_THAT_NOBODY_LISTENS_ON else _FIXED_PLACE
    needed = {path for path in allowed if pattern.search(sources.text(path))}
    assert needed == set(allowed)


def test_nothing_is_tried_again_until_it_passes():
    wrong = []
    for path in sources.files():
        if path.parts[:2] == ("tests", "lint") or not sources.is_text(path):
            continue
        for number, line in enumerate(sources.text(path).splitlines(), 1):
            if _RETRIES.search(line):
                wrong.append(f"{path}:{number}: {line.strip()}")
    assert not wrong, "\n".join(wrong)


def test_every_allowed_skip_has_its_reason():
    lines = sources.text("tests/allowed_skips").splitlines()
    listed = [line for line in lines if line.strip() and not line.startswith("#")]
    wrong = [line for line in listed if len(line.split()) < 4]
    assert not wrong, "no reason in tests/allowed_skips:\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    "line",
    [
        'Start("--grpc-tcp=127.0.0.1:7070")',
        "address.sin_port = htons(8080);",
        'taken.bind(("127.0.0.1", 9000))',
    ],
)
def test_a_chosen_port_is_seen(line):
    assert _FIXED_PORT.search(line)


@pytest.mark.parametrize("line", ['"--metrics=127.0.0.1:0"', "htons(0)", '.bind(("127.0.0.1", 0))'])
def test_port_0_is_no_choice(line):
    assert not _FIXED_PORT.search(line)
