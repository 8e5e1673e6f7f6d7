# SPDX-License-Identifier: Apache-2.0
"""The device of a daemon's data directory, which hangs when a test says so (hung_disk.c)."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from harness import HANG_S

FLAGS = ("--io-engine=posix",)  # io_uring's requests do not pass through the C library


class Device:
    """The data directory's device, which hangs while `gate` exists."""

    def __init__(self, folder: Path) -> None:
        self._gate, self._hit = folder / "hang", folder / "hang.hit"
        library = folder / "hung_disk.so"
        source = Path(__file__).parent / "hung_disk.c"
        command = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source)]
        subprocess.run(command, check=True)
        self.wrapper = ("env", f"LD_PRELOAD={library}", f"KVGATE_TEST_HANG={self._gate}")

    def hang(self) -> None:
        self._gate.touch()

    def wait_until_hit(self) -> None:
        limit = time.monotonic() + HANG_S
        while not self._hit.exists():
            assert time.monotonic() < limit, "nothing went to the device"
            time.sleep(0.001)

    def come_back(self) -> None:
        self._gate.unlink(missing_ok=True)
