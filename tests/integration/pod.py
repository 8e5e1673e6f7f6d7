# SPDX-License-Identifier: Apache-2.0
"""What a pod puts around a program: `python pod.py OPTIONS -- PROGRAM ARGUMENT…` becomes it.

The program is uid 0 and pid 1 of its own user, pid, mount and network namespaces. io_uring fails
with an errno by seccomp (EPERM under Docker and containerd, ENOSYS under older runtimes); at most
8 MiB can be locked. --cgroup DIR: it is a member of that cgroup. --see DIR=AT: DIR is seen at AT.
--hide DIR: an empty file system lies over DIR, so that only what --see shows is left of it.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import resource
import struct
import sys
from pathlib import Path

MEMLOCK_BYTES = 8 << 20
_IO_URING_CALLS = (425, 426, 427)  # setup, enter, register: the same on every architecture
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_SECCOMP_MODE_FILTER = 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


def wrapper(*options: str) -> tuple[str, ...]:
    """What comes before a command so that it runs in a pod."""
    return (sys.executable, __file__, *options, "--")


def init_pid(outer: int) -> int:
    """The pid here of the program that is pid 1 in there; `outer` is what started the pod."""
    (inner,) = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
    return int(inner)


def _instruction(code: int, jump_true: int, jump_false: int, value: int) -> bytes:
    return struct.pack("HBBI", code, jump_true, jump_false, value)


def deny_io_uring(number: int) -> None:
    """From here on, for all children too: io_uring's calls fail with this errno."""
    load, equal, answer = 0x20, 0x15, 0x06
    denied = len(_IO_URING_CALLS)
    # seccomp_data: the call's number is at 0, the architecture at 4. A call of another architecture
    # would have other numbers: there are none here.
    program = _instruction(load, 0, 0, 4)
    program += _instruction(equal, 0, denied + 1, _AUDIT_ARCH[platform.machine()])
    program += _instruction(load, 0, 0, 0)
    for index, call in enumerate(_IO_URING_CALLS):
        program += _instruction(equal, denied - index, 0, call)
    program += _instruction(answer, 0, 0, _ALLOW)
    program += _instruction(answer, 0, 0, _ERRNO | number)

    buffer = ctypes.create_string_buffer(program, len(program))
    address = ctypes.addressof(buffer)
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program) // 8, address))
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS")
    mode = ctypes.c_ulong(_SECCOMP_MODE_FILTER)
    if libc.prctl(_PR_SET_SECCOMP, mode, header, zero, zero) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_SECCOMP")


def _mounts(see: list[str], hide: list[str]) -> str:
    """A line of shell. What is shown is mounted before what it lies in is hidden."""
    steps = [f"mount --bind '{d}' '{at}'" for d, at in (pair.split("=") for pair in see)]
    steps += [f"mount -t tmpfs none '{directory}'" for directory in hide]
    steps += ["ip link set lo up", 'exec "$@"']
    return " && ".join(steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--errno", type=int, required=True, help="with which io_uring is denied")
    parser.add_argument("--cgroup", type=Path)
    parser.add_argument("--see", action="append", default=[])
    parser.add_argument("--hide", action="append", default=[])
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()

    if arguments.cgroup:
        (arguments.cgroup / "cgroup.procs").write_text(str(os.getpid()))
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (MEMLOCK_BYTES, MEMLOCK_BYTES))
    deny_io_uring(arguments.errno)
    unshare = ["unshare", "--map-root-user", "--net", "--pid", "--mount", "--mount-proc"]
    unshare += ["--fork", "--kill-child", "sh", "-c", _mounts(arguments.see, arguments.hide), "pod"]
    os.execvp(unshare[0], unshare + arguments.command)


if __name__ == "__main__":
    main()
