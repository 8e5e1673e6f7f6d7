# SPDX-License-Identifier: Apache-2.0
"""What the libraries need from a stranger's system, and what they show to it."""

import os
import re
import subprocess
from pathlib import Path

LIBRARY = os.environ["KVGATE_LIB"]
GRPC_LIBRARY = os.environ["KVGATE_GRPC_LIB"]
GLIBC_MAX = (2, 34)
MAY_NEED = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2"}


def _run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def needed(library):
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", _run("readelf", "-d", library)))


def soname(library):
    return re.findall(r"\(SONAME\).*\[(.+)\]", _run("readelf", "-d", library))


def exported(library):
    lines = _run("nm", "-D", "--defined-only", library).splitlines()
    return {line.split()[-1] for line in lines}


def glibc_versions(library):
    found = re.findall(r"GLIBC_(\d+)\.(\d+)", _run("objdump", "-T", library))
    return {(int(major), int(minor)) for major, minor in found}


def test_the_library_needs_nothing_but_libc():
    assert needed(LIBRARY) <= MAY_NEED
    assert soname(LIBRARY) == ["libkvgate.so"]


def test_the_library_exports_its_c_abi_and_nothing_else():
    header = Path(__file__).resolve().parents[2] / "client/c/kvgate.h"
    declared = set(re.findall(r"\b(kvgate_\w+)\(", header.read_text()))
    assert exported(LIBRARY) == declared


def test_the_library_loads_on_glibc_2_34():
    versions = glibc_versions(LIBRARY)
    assert versions and max(versions) <= GLIBC_MAX
    assert "GLIBCXX" not in _run("objdump", "-T", LIBRARY)


def test_the_grpc_library_has_one_door():
    assert exported(GRPC_LIBRARY) == {"kvgate_grpc_connect"}
    assert soname(GRPC_LIBRARY) == ["libkvgate_grpc.so"]
    assert max(glibc_versions(GRPC_LIBRARY)) <= GLIBC_MAX


def test_the_core_does_not_need_the_grpc_library():
    assert not [name for name in needed(LIBRARY) if "grpc" in name]
