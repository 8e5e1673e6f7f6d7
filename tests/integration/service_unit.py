# SPDX-License-Identifier: Apache-2.0
"""An installation in a folder, its unit as systemd reads it, and the manager of its service."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
from pathlib import Path

import harness

_UNITS_S = {"ms": 0.001, "s": 1, "": 1, "min": 60}


def install(prefix: Path | str, *arguments: str) -> str:
    """Puts what the environment names under the prefix; answers what it said."""
    command = [str(harness.ROOT / "dev"), "install", "--built", f"--prefix={prefix}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


class Unit:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings: dict[str, list[str]] = {}
        for line in path.read_text().splitlines():
            if line and line[0] not in "#;[":
                key, _, value = line.partition("=")
                self.settings.setdefault(key, []).append(value)

    def one(self, key: str) -> str:
        (value,) = self.settings[key]
        return value

    def seconds(self, key: str) -> float:
        written = re.fullmatch(r"(\d+)([a-z]*)", self.one(key))
        assert written, self.one(key)
        number, unit = written.groups()
        return int(number) * _UNITS_S[unit]

    def system_calls(self) -> set[str]:
        """What SystemCallFilter= leaves."""
        allowed: set[str] = set()
        for value in self.settings["SystemCallFilter"]:
            calls = {c for name in value.lstrip("~").split() for c in _calls_of(name)}
            allowed = allowed - calls if value.startswith("~") else allowed | calls
        return allowed


def _calls_of(name: str) -> set[str]:
    if not name.startswith("@"):
        return {name}
    command = ["systemd-analyze", "syscall-filter", "--no-pager", name]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    words = [line.split("#")[0].strip() for line in text.splitlines()[1:]]
    return {call for word in words if word for call in _calls_of(word)}


class Manager:
    """Runs ExecStart as it stands, as far as that needs no systemd, and reads what it is told."""

    def __init__(self, unit: Unit, folder: Path) -> None:
        self._unit = unit
        self._log = folder / "service.log"
        self._address = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._address))
        self._socket.settimeout(harness.HANG_S)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, wrapper: tuple[str, ...] = (), **environment: str) -> subprocess.Popen[bytes]:
        environment = {
            "PATH": os.environ["PATH"],
            "NOTIFY_SOCKET": str(self._address),
            **environment,
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*wrapper, *shlex.split(self._unit.one("ExecStart"))],
                env=environment,
                cwd="/",
                umask=int(self._unit.one("UMask"), 8),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self._process

    def told(self) -> dict[str, str]:
        """The next message."""
        try:
            message = self._socket.recv(4096).decode()
        except TimeoutError as error:
            raise AssertionError(f"no message came:\n{self.text()}") from error
        return dict(line.split("=", 1) for line in message.splitlines())

    def told_with(self, key: str) -> dict[str, str]:
        """The next message that has this key; those before it are passed over."""
        while key not in (message := self.told()):
            pass
        return message

    def drain(self) -> None:
        """Forgets the messages that are already there."""
        self._socket.setblocking(False)
        try:
            while True:
                self._socket.recv(4096)
        except BlockingIOError:
            self._socket.settimeout(harness.HANG_S)

    def text(self) -> str:
        return self._log.read_text(errors="replace")

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._socket.close()
