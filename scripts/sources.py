# SPDX-License-Identifier: Apache-2.0
"""The files of this repository as git sees them: committed ones and new ones that are not ignored.

Shared by ./dev format, ./dev lint and the lint tests.
"""

import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent

CC = (".cc", ".h", ".c", ".cu", ".cuh")


def files(*suffixes, under=""):
    """Paths relative to the root, sorted; with no suffix named, all of them."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", under or "."],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = sorted({pathlib.Path(name) for name in listed.split("\0") if name})
    return [
        path
        for path in paths
        if (not suffixes or path.name.endswith(suffixes)) and (ROOT / path).is_file()
    ]


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


def is_text(path):
    """Whether the file is for reading: UTF-8 without a NUL."""
    data = (ROOT / path).read_bytes()
    if b"\0" in data:
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def shell_files():
    """Files named *.sh, and those without a suffix that a shell runs."""

    def runs_in_shell(path):
        if path.suffix:
            return False
        first = (ROOT / path).open("rb").readline()
        return first.startswith(b"#!") and first.rstrip().endswith(b"sh")

    return [path for path in files() if path.suffix == ".sh" or runs_in_shell(path)]
