# SPDX-License-Identifier: Apache-2.0
"""Background: one daemon thread that runs jobs in order, from a bounded queue.

Promises: submit never waits (False when full or stopped: the caller drops and counts); a job that
raises is logged and does not end the thread; stop() runs what is queued until its time is over,
hands the rest to `on_drop`, and joins.
Thread-safe. Started by the first submit, so that a process may fork before.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from vllm.logger import init_logger

logger = init_logger("vllm.kvgate.background")

Job = Callable[[], Any]


class Background:
    def __init__(self, name: str, limit: int, on_drop: Callable[[Job], None] | None = None) -> None:
        self._name = name
        self._limit = limit
        self._on_drop = on_drop
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()  # the rest: guarded by _changed
        self._busy = False
        self._stopped = False
        self._thread: threading.Thread | None = None

    def submit(self, job: Job) -> bool:
        with self._changed:
            if self._stopped or len(self._jobs) >= self._limit:
                return False
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._jobs.append(job)
            self._changed.notify_all()
            return True

    def wait_idle(self, timeout_s: float) -> bool:
        """True once nothing is queued or running."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs and not self._busy, timeout_s)

    def stop(self, drain_s: float) -> None:
        deadline = time.monotonic() + drain_s
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._jobs, max(0.0, deadline - time.monotonic()))
            dropped, self._jobs = list(self._jobs), deque()
            thread = self._thread
        if self._on_drop:
            for job in dropped:
                self._on_drop(job)
        if thread is not None:
            thread.join()  # a running call ends by its own deadline

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except Exception:
                logger.exception("%s: a job failed", self._name)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _next(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._stopped)
            if not self._jobs:
                return None
            self._busy = True
            job = self._jobs.popleft()
            self._changed.notify_all()
            return job
