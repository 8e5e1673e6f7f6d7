# SPDX-License-Identifier: Apache-2.0
"""SeldomLog: warnings that would otherwise come with every request or step.

Promises: the first of a kind is logged at once, later ones at most one in `interval_s`, with how
many were left out. Thread-safe.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from logging import Logger
from typing import Any

INTERVAL_S = 60.0


class SeldomLog:
    def __init__(
        self,
        logger: Logger,
        interval_s: float = INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._interval_s = interval_s
        self._clock = clock
        self._lock = threading.Lock()
        self._next: dict[str, float] = {}  # guarded by _lock, as is the rest; kinds are few
        self._left_out: dict[str, int] = {}

    def warning(self, kind: str, text: str, *values: Any) -> None:
        with self._lock:
            now = self._clock()
            if now < self._next.get(kind, now):
                self._left_out[kind] = self._left_out.get(kind, 0) + 1
                return
            self._next[kind] = now + self._interval_s
            left_out = self._left_out.pop(kind, 0)
        more = f" ({left_out} more since the last such line)" if left_out else ""
        self._logger.warning(text + more, *values)
