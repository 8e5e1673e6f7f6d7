# SPDX-License-Identifier: Apache-2.0
"""Loader: fills blocks from the gateway on a few threads, straight into the layers' tensors.

Promises
 1. Each job is reported by take() exactly once, finished, with the block ids that hold no good
    bytes: from the first block that failed on, as a prefix is of use only without gaps.
 2. No byte of a job's blocks is written after it was reported: a job's calls return first, and
    the client writes nothing after its deadline.
 3. With verify = always the bytes are read back from the layers and compared with the CRC32C that
    the gateway states, which is the producer's.
Thread-safe. stop() waits for running jobs.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from vllm.logger import init_logger

from kvgate import GetResult, Reason
from kvgate.vllm.crc import JoinedCrc32c
from kvgate.vllm.gateway import Gateway
from kvgate.vllm.layout import BlockLayout
from kvgate.vllm.messages import LoadJob, LoadTime
from kvgate.vllm.stats import Recorder

logger = init_logger("vllm.kvgate.loader")

CALL_BYTES_MAX = 32 << 20  # of one Get: bounds what is held of the gateway's memory at a time
CALL_KEYS_MAX = 1024
TIMES_MAX = 256  # measured loads that wait for take_times()


@dataclass
class Progress:
    """Of one job: leading blocks that are loaded and good, by tier, and what ended it."""

    blocks: Counter[str] = field(default_factory=Counter)
    ended_by: Reason = Reason.OK

    @property
    def good(self) -> int:
        return self.blocks.total()


class Loader:
    def __init__(
        self,
        gateway: Gateway,
        layout: BlockLayout,
        recorder: Recorder,
        block_tokens: int,
        threads: int,
        verify_always: bool,
    ) -> None:
        self._gateway = gateway
        self._layout = layout
        self._recorder = recorder
        self._block_tokens = block_tokens
        self._verify_always = verify_always
        self._joined = JoinedCrc32c(layout.value_bytes)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="kvgate-load")
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)
        self._running = 0  # guarded by _lock, as is the rest
        self._finished: set[str] = set()
        self._bad_blocks: set[int] = set()
        self._times: list[LoadTime] = []

    def start(self, job: LoadJob, root_group_keys: int) -> None:
        deadline = time.monotonic() + job.deadline_ms / 1000
        with self._lock:
            self._running += 1
        try:
            self._pool.submit(self._run, job, root_group_keys, deadline)
        except RuntimeError:  # stopping
            self._report(job, 0)

    def wait_for_one(self, timeout_s: float) -> None:
        """Until a load ended that take() has not given out, or none is running."""
        with self._lock:
            self._ended.wait_for(lambda: self._finished or not self._running, timeout_s)

    def take(self) -> tuple[set[str], set[int]]:
        """Requests whose loads ended since the last take, and their bad blocks."""
        with self._lock:
            finished, self._finished = self._finished, set()
            bad, self._bad_blocks = self._bad_blocks, set()
        return finished, bad

    def take_times(self) -> list[LoadTime]:
        """Of the loads since the last call that ended well or at their deadline."""
        with self._lock:
            times, self._times = self._times, []
        return times

    def stop(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, job: LoadJob, root_group_keys: int, deadline: float) -> None:
        start = time.monotonic()
        progress = Progress()
        try:
            self._load(job, root_group_keys, deadline, progress)
        except Exception:
            progress = Progress(ended_by=Reason.INTERNAL)
            logger.exception("kvgate: loading %d blocks failed [KVG609]", len(job.block_ids))
        finally:
            ms = (time.monotonic() - start) * 1000
            self._recorder.add(loads=1, load_ms_sum=ms)
            self._note_time(job, progress, ms)
            self._report(job, progress.good)

    def _note_time(self, job: LoadJob, progress: Progress, ms: float) -> None:
        late = progress.ended_by == Reason.DEADLINE
        if not late and progress.ended_by != Reason.OK:
            return  # ended early, by what says nothing of time
        with self._lock:
            if len(self._times) < TIMES_MAX:
                self._times.append(LoadTime(job.req_id, dict(progress.blocks), ms, late))

    def _report(self, job: LoadJob, good: int) -> None:
        bad = job.block_ids[good:]
        if bad:
            self._recorder.add(load_failures=1)
        with self._lock:
            self._bad_blocks.update(bad)
            self._finished.add(job.req_id)
            self._running -= 1
            self._ended.notify_all()

    def _load(
        self, job: LoadJob, root_group_keys: int, deadline: float, progress: Progress
    ) -> None:
        step = max(1, min(CALL_KEYS_MAX, CALL_BYTES_MAX // self._layout.value_bytes))
        for start in range(0, len(job.block_ids), step):
            ids = job.block_ids[start : start + step]
            results = self._get(job, start, ids, root_group_keys, deadline)
            progress.ended_by = self._count_good(ids, results, progress)
            if progress.ended_by != Reason.OK:
                return

    def _get(
        self, job: LoadJob, start: int, ids: list[int], root_group_keys: int, deadline: float
    ) -> list[GetResult]:
        remaining_ms = (deadline - time.monotonic()) * 1000
        if remaining_ms <= 0:
            return [GetResult(Reason.DEADLINE, 0, 0, 0)] * len(ids)  # type: ignore[arg-type]
        client, first = self._gateway.client, job.first + start
        pieces = self._layout.pieces(ids)
        if job.pin_token:
            return client.get_into(
                self._gateway.ns,
                pieces,
                pin_token=job.pin_token,
                first=first,
                prefix_only=True,
                timeout_ms=remaining_ms,
            )
        return client.get_into(
            self._gateway.ns,
            pieces,
            keys=job.keys[start : start + len(ids)],
            root=self._root(job, first, root_group_keys),
            depth=first,
            prefix_only=True,
            timeout_ms=remaining_ms,
        )

    def _root(self, job: LoadJob, index: int, root_group_keys: int) -> bytes:
        """Of the block `index` of the chain; the job's own keys begin at job.first."""
        start = index - index % root_group_keys
        if start == index:
            return b""
        return job.keys[start - job.first] if start >= job.first else job.root

    def _count_good(
        self, ids: list[int], results: Sequence[GetResult], progress: Progress
    ) -> Reason:
        """Adds the leading good ones to `progress`; what ended them, OK when all are good."""
        good = next((i for i, r in enumerate(results) if r.reason != Reason.OK), len(results))
        reason = Reason.OK if good == len(results) else results[good].reason
        if self._verify_always and good:
            verified = self._count_verified(ids[:good], results[:good])
            reason = reason if verified == good else Reason.CHECKSUM
            good = verified
        self._count_loaded(results[:good], progress)
        if reason != Reason.OK:
            self._recorder.add(**{f"load_miss_{reason.name.lower()}": 1})
        return reason

    def _count_verified(self, ids: list[int], results: Sequence[GetResult]) -> int:
        """Leading blocks whose bytes in the layers have the CRC that the gateway stated."""
        client = self._gateway.client
        stated = [result.crc32c for result in results]
        verified = len(ids)
        if client.crc32c(self._layout.pieces(ids)) != self._joined.of(stated):
            found = [client.crc32c(self._layout.pieces([block])) for block in ids]
            # None differs now: the bytes changed meanwhile, and none of them is to be trusted.
            verified = next((i for i in range(len(ids)) if found[i] != stated[i]), 0)
        self._recorder.add(verified_blocks=verified)
        return verified

    def _count_loaded(self, results: Sequence[GetResult], progress: Progress) -> None:
        by_tier = Counter(result.tier.name.lower() for result in results)
        progress.blocks += by_tier
        for tier, blocks in by_tier.items():
            amounts = {
                f"loaded_blocks_{tier}": blocks,
                f"loaded_bytes_{tier}": blocks * self._layout.value_bytes,
                f"loaded_tokens_{tier}": blocks * self._block_tokens,
            }
            self._recorder.add(**amounts)
