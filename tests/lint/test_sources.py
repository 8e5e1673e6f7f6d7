# SPDX-License-Identifier: Apache-2.0
"""What every source file shows: its licence, its contract, its form, and no system call of its own
where a room stands for it.
"""

import re
import subprocess

import sources

_SPDX = "SPDX-License-Identifier: Apache-2.0"
# A contract is a sentence, not a title.
_CONTRACT_CHARACTERS = 60


# Forms without a place for a comment, pages (under LICENSE as a whole), and what tools write.
_NO_LICENCE_LINE = (".json", ".jsonl", ".md", ".svg", ".bin", ".lock", "py.typed", "descriptor.txt")
_NO_LICENCE_LINE += ("LICENSE", "NOTICE", "VERSION", "LICENSE.Apache-2.0")


def test_every_source_names_its_licence():
    wrong = []
    for path in sources.files():
        corpus = any(part.startswith("corpus") for part in path.parts)
        # Dot files at the root are settings of tools.
        dotted = len(path.parts) == 1 and path.name.startswith(".")
        if corpus or dotted or path.name.endswith(_NO_LICENCE_LINE) or not sources.is_text(path):
            continue
        head = sources.text(path).splitlines()[:3]
        if head and not any(_SPDX in line for line in head):
            wrong.append(f"{path}: no line '{_SPDX}' among its first three")
    assert not wrong, "\n".join(sorted(wrong))


def test_every_header_opens_with_its_contract():
    wrong = []
    for path in sources.files(".h", ".cuh", ".proto"):
        comment = ""
        for line in sources.text(path).splitlines():
            if line.strip() and not line.lstrip().startswith(("//", "/*", "*")):
                break
            if _SPDX not in line:
                comment += line.strip(" /*")
        if len(comment) < _CONTRACT_CHARACTERS:
            wrong.append(f"{path}: no comment before its first line of code says what it promises")
    assert not wrong, "\n".join(wrong)


_THREADS = re.compile(
    r"(?i)thread-safe|thread-compatible|immutable|owned by|one thread|\bthreads?:"
)


def test_a_header_with_a_class_says_which_threads_may_use_it():
    wrong = []
    for path in sources.files(".h", ".cuh"):
        text = sources.text(path)
        helps_tests = path.parts[0] == "tests" or re.search(
            r"(^|_)(test|fake|fixture|conformance|harness)", path.name
        )
        if helps_tests or not re.search(r"^class \w[^;]*\{", text, flags=re.MULTILINE):
            continue
        comments = re.sub(r"\s*\n// ?", " ", "\n".join(re.findall(r"//.*", text)))
        if not _THREADS.search(comments):
            wrong.append(f"{path}: immutable, thread-safe, thread-compatible, or owned by whom?")
    assert not wrong, "\n".join(wrong)


def test_headers_are_guarded_by_pragma_once():
    wrong = [
        str(path)
        for path in sources.files(".h", ".cuh")
        # The C ABI is read by compilers of other people.
        if path.parts[:2] != ("client", "c") and "#pragma once" not in sources.text(path)
    ]
    assert not wrong, "\n".join(wrong)


def _calls(pattern, outside):
    """Lines of the daemon's and client's code outside a room that match, comments left out."""
    for path in sources.files(".cc", ".h"):
        parts = str(path)
        if path.parts[0] not in ("storage", "gateway", "client") or parts.startswith(outside):
            continue
        if parts.endswith(("_test.cc", "_benchmark.cc")):
            continue
        for number, line in enumerate(sources.text(path).splitlines(), 1):
            if re.search(pattern, line.split("//")[0]):
                yield f"{path}:{number}: {line.strip()}"


def test_files_are_opened_only_in_storage_io():
    wrong = list(_calls(r"(?<![\w.>:])(::)?(open|open64|openat|creat|fopen)\(", "storage/io/"))
    assert not wrong, "\n".join(wrong)


def test_io_uring_is_called_only_in_storage_io():
    wrong = list(_calls(r"\bio_uring_\w+\(", "storage/io/"))
    assert not wrong, "\n".join(wrong)


def test_entropy_is_not_taken_from_random_device():
    """std::random_device would tie libkvgate.so to a newer libc than the users have."""
    wrong = list(_calls(r"\brandom_device\b", ("gateway/", "storage/")))
    assert not wrong, "\n".join(wrong)


def test_cc_is_formatted():
    paths = [str(path) for path in sources.files(*sources.CC)]
    check = subprocess.run(
        ["clang-format-14", "--dry-run", "--Werror", *paths],
        cwd=sources.ROOT,
        capture_output=True,
        text=True,
    )
    wrong = sorted({line.split(":")[0] for line in check.stderr.splitlines() if ": error:" in line})
    assert check.returncode == 0, "run ./dev format " + " ".join(wrong)


def test_shell_passes_shellcheck():
    check = subprocess.run(
        ["shellcheck", "-x", *map(str, sources.shell_files())],
        cwd=sources.ROOT,
        capture_output=True,
        text=True,
    )
    assert check.returncode == 0, check.stdout
