# SPDX-License-Identifier: Apache-2.0
"""./dev third-party: THIRD_PARTY.md, what this project links, carries along, copies and uses.

Names come from scripts/packages.sh, the BUILD files and Debian's dependencies of what they link,
the lock files and the list of copies; licences are the short names in Debian's copyright files and
in the metadata of the Python packages. It needs everything installed: ./dev setup vllm.
`all_names()` is what tests/lint compares with the page; it needs no licences.
"""

import importlib.metadata
import os
import pathlib
import re
import subprocess

import sources

PAGE = "THIRD_PARTY.md"
_DOC = pathlib.Path("/usr/share/doc")
_HEADERS_ONLY = {"libcli11-dev", "nlohmann-json3-dev"}
_TESTS_ONLY = {"libbenchmark-dev", "libgmock-dev", "libgtest-dev"}
# Brought along by a package that is used, but not used themselves.
_NOT_LINKED = {"libprometheus-cpp-push1.0", "libprotobuf-lite32", "libprotoc32"}
# Copyright files without short names, read by eye.
_READ = {"binutils": "GPL-3+", "libc-ares2": "MIT", "python3": "PSF-2.0", "python3-venv": "PSF-2.0"}
_ABOUT = """\
Written by `./dev third-party`; a lint test compares the names. Licences are the short names of
Debian 12's copyright files, of a whole source package each, so often more than what is linked;
where a library offers a choice (RocksDB, liburing, zstd) it is used under the permissive one."""
_ABOUT_LINKED = """\
By name from the system; the wheel carries copies of those that gRPC needs. libkvgate.so links none
of them, only libstdc++ statically (GPL-3+ with the GCC runtime exception)."""
# Libraries of every Debian system, which programs are free to link.
_SYSTEM = {"libc6", "libgcc-s1", "libstdc++6", "libcrypt1"}
COPIED = {
    "proto/grpc/health/v1/health.proto": ("the health contract of gRPC", "Apache-2.0"),
    "tests/demo/data/conversation_slice.jsonl": (
        "600 requests of the conversation trace published with Mooncake",
        "Apache-2.0 (its text is beside it)",
    ),
}
_PROGRAMS = {"grpcurl": ("Go module, built for the integration tests", "MIT")}


def _query(field, *packages):
    """{package: field} of those that are installed."""
    shown = subprocess.run(
        ["dpkg-query", "-W", f"-f=${{Package}}\t${{{field}}}\n", *packages],
        capture_output=True,
        text=True,
    ).stdout
    return dict(line.split("\t", 1) for line in shown.splitlines())


def debian_packages():
    """ALL_PACKAGES of scripts/packages.sh."""
    script = "source scripts/packages.sh; printf '%s\\n' \"${ALL_PACKAGES[@]}\""
    listed = subprocess.run(
        ["bash", "-c", script], cwd=sources.ROOT, check=True, capture_output=True, text=True
    ).stdout
    return sorted(set(listed.split()))


def libraries_used():
    """Debian's packages of the @sys//: libraries that something else than a test depends on."""
    known = sources.text("bazel/system_libraries.bzl")
    package_of = dict(re.findall(r'"(\w+)": struct\(.*?package = "([^"]+)"', known, re.DOTALL))
    used = set()
    for room in ("client", "gateway", "proto", "storage"):
        for path in sources.files("BUILD.bazel", under=room):
            for rule in re.split(r"\n(?=\w)", sources.text(path)):
                if not re.match(r"kvgate_cc_(test|benchmark|fuzz_test)\(", rule):
                    used |= set(re.findall(r'"@sys//:(\w+)"', rule))
    return {package_of[name] for name in used} - _TESTS_ONLY


def linked_packages():
    """Shared libraries of what is used, and theirs; header-only libraries by themselves."""
    wanted = libraries_used()
    found, left = set(), set(wanted)
    while left:
        sections = _query("Section", *left)
        found |= {package for package in left if sections.get(package, "").endswith("libs")}
        depends = _query("Depends", *left)
        choices = [part for line in depends.values() for part in re.split(r"[,|]", line)]
        names = {re.split(r"[\s:(]", choice.strip())[0] for choice in choices}
        sections = _query("Section", *names) if names else {}
        libraries = {name for name, section in sections.items() if section.endswith("libs")}
        left = libraries - found - _SYSTEM - _NOT_LINKED
    return sorted(found | (wanted & _HEADERS_ONLY))


def wheels():
    """{name: locks that list it}"""
    found = {}
    for lock in sources.files(".lock", under="tests/requirements"):
        for line in sources.text(lock).splitlines():
            if name := re.match(r"([\w.-]+)==", line):
                found.setdefault(name[1], []).append(lock.stem)
    return dict(sorted(found.items()))


def all_names():
    return {*debian_packages(), *linked_packages(), *wheels(), *COPIED, *_PROGRAMS}


def _debian_licence(package):
    path = _DOC / package / "copyright"
    if not path.exists():
        raise SystemExit(f"{path} is not there: run ./dev setup")
    text = path.read_text(encoding="utf-8", errors="replace")
    if "copyright-format" in text.split("\n\n")[0]:
        paragraphs = re.split(r"\n\s*\n", text)
        used = [part for part in paragraphs if re.search(r"^Files:(?! *debian/)", part, re.M)]
        names = re.findall(r"^License:[ \t]*(\S.*)$", "\n".join(used), re.M)
    else:
        names = re.findall(r"common-licenses/((?:L?GPL|Apache|GFDL|Artistic)[\w.-]*\w)", text)
    if not names:
        return _READ.get(package, "see its copyright file")
    return "; ".join(dict.fromkeys(name.strip() for name in names))


def _wheel_licence(name, locks):
    cache = pathlib.Path(os.environ.get("KVGATE_CACHE", pathlib.Path.home() / ".cache/kvgate"))
    script = "source scripts/common.sh; source scripts/python.sh; venv_folder " + locks[0]
    folder = subprocess.run(
        ["bash", "-c", script],
        cwd=sources.ROOT,
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "KVGATE_CACHE": str(cache)},
    ).stdout.strip()
    site = pathlib.Path(folder) / "lib/python3.11/site-packages"
    found = list(importlib.metadata.distributions(name=name, path=[str(site)]))
    if not found:
        raise SystemExit(f"{name} is not in {folder}: run ./dev setup vllm")
    return licence_of(found[0].metadata)


def licence_of(metadata):
    """The shortest thing that a package says of its licence."""
    if expression := metadata.get("License-Expression"):
        return expression
    written = (metadata.get("License") or "").strip()
    if written and "\n" not in written and len(written) <= 60:
        return written
    said = [value for value in metadata.get_all("Classifier", []) if value.startswith("License ::")]
    names = [value.split(" :: ")[-1] for value in said if value != "License :: OSI Approved"]
    return "; ".join(names) or "see its metadata"


def _table(head, rows):
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def page():
    linked = linked_packages()
    tools = [package for package in debian_packages() if package not in linked]
    return "\n".join(
        [
            "<!-- SPDX-License-Identifier: Apache-2.0 -->",
            "# Third parties",
            "",
            _ABOUT,
            "",
            "## Linked by kvgated and libkvgate_grpc.so",
            "",
            _ABOUT_LINKED,
            "",
            *_table(
                ["Debian package", "licences"],
                [(package, _debian_licence(package)) for package in linked],
            ),
            "## Copied into this repository",
            "",
            *_table(["file", "what", "licence"], [(path, *row) for path, row in COPIED.items()]),
            "## Used to build and test, and not shipped",
            "",
            *_table(
                ["Debian package", "licences"],
                [(package, _debian_licence(package)) for package in tools],
            ),
            *_table(["program", "what", "licence"], [(n, *row) for n, row in _PROGRAMS.items()]),
            "Python packages of `tests/requirements/*.lock`; the wheel depends on none of them:",
            "",
            *_table(
                ["package", "lock", "licence"],
                [
                    (name, " ".join(locks), _wheel_licence(name, locks))
                    for name, locks in wheels().items()
                ],
            ),
        ]
    )


if __name__ == "__main__":
    (sources.ROOT / PAGE).write_text(page().rstrip() + "\n", encoding="utf-8")
