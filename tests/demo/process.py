# SPDX-License-Identifier: Apache-2.0
"""A kvgated as a child process, for the demos.

`Kvgated.start()` returns when the ready line was read and tells how long that took; `kill()` is
SIGKILL. Its output goes to a file in the data directory. Not thread-safe.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

START_LIMIT_S = 30.0


class Kvgated:
    def __init__(self, data_dir: Path, *flags: str) -> None:
        self.binary = os.environ["KVGATED"]
        self.data_dir = data_dir
        self.flags = flags
        self.log = data_dir.parent / f"{data_dir.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def local_socket(self) -> str:
        return str(self.data_dir / "run" / "local.sock")

    @property
    def grpc_target(self) -> str:
        return f"unix:{self.data_dir / 'run' / 'grpc.sock'}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> float:
        """Seconds until it was ready to answer."""
        begin = time.monotonic()
        with self.log.open("ab") as log:
            offset = log.tell()
            command = [self.binary, f"--data-dir={self.data_dir}", *self.flags]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        while time.monotonic() - begin < START_LIMIT_S:
            if b"kvgated ready" in self.log.read_bytes()[offset:]:
                return time.monotonic() - begin
            if self._process.poll() is not None:
                break
            time.sleep(0.005)
        text = self.log.read_bytes()[offset:].decode(errors="replace")
        self.kill()
        raise RuntimeError(f"kvgated did not become ready:\n{text}")

    def signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        return self._end(signal.SIGTERM)

    def rss_bytes(self) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def _end(self, number: int) -> int:
        if self._process is None:
            return 0
        self.signal(number)
        status = self._process.wait(timeout=60)
        self._process = None
        return status
