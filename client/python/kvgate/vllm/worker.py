# SPDX-License-Identifier: Apache-2.0
"""WorkerSide: moves the bytes that the scheduler's side decided about, once it proved it can.

Promises: register() runs the self-test; on any problem every load fails (the
engine recomputes) and nothing is saved, and `problem` says why, here and to the scheduler.
Called by the engine's thread; loads and sends run on threads of Loader and Saver, joined by stop().
Errors: none leave it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from vllm.logger import init_logger

from kvgate.errors import tagged
from kvgate.vllm.gateway import Gateway
from kvgate.vllm.layout import BlockLayout, LayoutError, advise_huge_pages
from kvgate.vllm.loader import Loader
from kvgate.vllm.messages import Handshake, LoadJob, StepMetadata, WorkerReport
from kvgate.vllm.saver import Saver
from kvgate.vllm.self_test import check_addresses
from kvgate.vllm.settings import Settings
from kvgate.vllm.stats import BreakerWatch, KvgateStats, Recorder

logger = init_logger("vllm.kvgate.worker")

STOP_DRAIN_S = 2.0
IDLE_WAIT_S = 0.001


class RefusingWorker:
    """A worker that is off: each load that it is given ends at once, failed; nothing is saved."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        self.recorder = Recorder()
        self.self_test_ms = 0.0
        self._told = False
        self._refused: set[str] = set()
        self._bad_blocks: set[int] = set()

    def register(self, tensors: Any) -> None:
        return

    def handshake(self) -> Handshake:
        return Handshake(self.problem, self.self_test_ms)

    def start_loads(self, step: StepMetadata) -> None:
        for job in step.loads:
            self._refuse(job)

    def _refuse(self, job: LoadJob) -> None:
        self._refused.add(job.req_id)
        self._bad_blocks.update(job.block_ids)

    def save(self, step: StepMetadata) -> None:
        return

    def take_finished(self) -> set[str]:
        finished, self._refused = self._refused, set()
        return finished

    def take_bad_blocks(self) -> set[int]:
        """Of the loads that take_finished gave out just before: vLLM wants both in one step."""
        bad, self._bad_blocks = self._bad_blocks, set()
        return bad

    def take_stats(self) -> KvgateStats | None:
        return self.recorder.take()

    def report(self) -> WorkerReport | None:
        if self._told or not self.problem:
            return None
        self._told = True
        return WorkerReport(problem=self.problem)

    def stop(self) -> None:
        return


class WorkerSide(RefusingWorker):
    def __init__(
        self,
        settings: Settings,
        gateway: Gateway,
        layer_names: Sequence[str],
        num_blocks: int,
        block_tokens: int,
    ) -> None:
        super().__init__("register_kv_caches was not called")
        self._settings = settings
        self._gateway = gateway
        self._breaker = BreakerWatch("worker", self.recorder, gateway.client.stats)
        self._layer_names = layer_names
        self._num_blocks = num_blocks
        self._block_tokens = block_tokens
        self.loader: Loader | None = None
        self.saver: Saver | None = None

    def register(self, tensors: Any) -> None:
        start = time.monotonic()
        try:
            layout = BlockLayout(tensors, self._layer_names, self._num_blocks)
            self.problem = check_addresses(layout, self._gateway.client.gather)
        except LayoutError as error:
            self.problem = str(error)
        self.self_test_ms = (time.monotonic() - start) * 1000
        if self.problem:
            self.problem = tagged("KVG602", self.problem)
            logger.error("kvgate: self-test of block addresses failed: %s", self.problem)
            return
        huge = advise_huge_pages(layout.tensors) if self._settings.huge_pages else 0
        logger.info(
            "kvgate: self-test of block addresses passed in %.1f ms: %d layers, %d bytes a block; "
            "%d MiB may have huge pages",
            self.self_test_ms,
            layout.layers,
            layout.value_bytes,
            huge >> 20,
        )
        self.loader = Loader(
            self._gateway,
            layout,
            self.recorder,
            self._block_tokens,
            self._settings.load_threads,
            self._settings.verify == "always",
        )
        self.saver = Saver(self._gateway, layout, self.recorder, self._settings)

    def start_loads(self, step: StepMetadata) -> None:
        same = step.identity_digest == self._gateway.identity_digest
        if step.loads and not self.problem and not same:
            self.problem = "scheduler and worker computed different identities"
        for job in step.loads:
            if self.problem or self.loader is None:
                self._refuse(job)
            else:
                self.loader.start(job, step.root_group_keys)
        if step.idle and self.loader is not None:
            # An engine that only waits for loads spins, and its spinning keeps the interpreter's
            # lock from the very threads that load.
            self.loader.wait_for_one(IDLE_WAIT_S)

    def save(self, step: StepMetadata) -> None:
        if self.problem or self.saver is None:
            return
        for job in step.saves:
            self.saver.save(job, step.root_group_keys)

    def take_finished(self) -> set[str]:
        finished = super().take_finished()
        if self.loader is not None:
            ended, bad = self.loader.take()
            finished |= ended
            self._bad_blocks |= bad
        return finished

    def take_stats(self) -> KvgateStats | None:
        return self._breaker.take()

    def report(self) -> WorkerReport | None:
        unsaved = self.saver.take_unsaved() if self.saver else []
        times = self.loader.take_times() if self.loader else []
        told = super().report()
        if not unsaved and not times and told is None:
            return None
        return WorkerReport(unsaved, told.problem if told else "", times)

    def wait_saved(self, timeout_s: float) -> bool:
        """True once everything gathered so far was sent or dropped."""
        return self.saver is None or self.saver.wait_idle(timeout_s)

    def stop(self) -> None:
        if self.loader is not None:
            self.loader.stop()
        if self.saver is not None:
            self.saver.stop(STOP_DRAIN_S)
        self._gateway.close()
