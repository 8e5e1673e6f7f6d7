# SPDX-License-Identifier: Apache-2.0
"""Saver: copies blocks into staging within the step that computed them, sends them later.

Promises
 1. save() returns once the blocks' bytes are copied: the engine may overwrite them afterwards. It
    never waits for the gateway: no staging or no place in the queue = dropped and counted.
 2. The CRC32C taken in that copy goes along, so that bytes that changed on the way are refused.
 3. A chain is sent in order; after a block that was not stored the rest of its run is not sent.
 4. What was dropped or not stored is handed over by take_unsaved(), at most UNSAVED_MAX entries.
save() is called by one thread; the rest is thread-safe. stop() sends for `drain_s`, then drops.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial

from vllm.logger import init_logger

from kvgate import Code, Hints, OfferState, Reason, SetEntry
from kvgate.vllm.background import Background, Job
from kvgate.vllm.gateway import Gateway
from kvgate.vllm.layout import BlockLayout
from kvgate.vllm.messages import SaveJob, Unsaved
from kvgate.vllm.seldom import SeldomLog
from kvgate.vllm.settings import Settings
from kvgate.vllm.stats import Recorder

logger = init_logger("vllm.kvgate.saver")

BATCH_BYTES = 4 << 20  # of staging and of one Set: small enough to be freed soon
BATCH_KEYS_MAX = 1024
UNSAVED_MAX = 1024
NO_STAGING_THERE = (
    "; the gateway has no shared staging left for this engine: it grants at most 1/8 of its memory "
    "to all engines together; raise memory of kvgated, or lower staging_bytes of the engines"
)


@dataclass
class Batch:
    """A part of a run, gathered into one staging area."""

    job: SaveJob
    offset: int  # of keys[0] in the job
    keys: list[bytes]
    crcs: list[int]
    staging: int

    @property
    def first(self) -> int:
        return self.job.first + self.offset


class Saver:
    def __init__(
        self, gateway: Gateway, layout: BlockLayout, recorder: Recorder, settings: Settings
    ) -> None:
        self._gateway = gateway
        self._layout = layout
        self._recorder = recorder
        self._settings = settings
        self._sender = Background("kvgate-save", settings.send_queue, self._on_drop)
        self._seldom = SeldomLog(logger)
        self._lock = threading.Lock()
        self._unsaved: list[Unsaved] = []  # guarded by _lock
        self._broken: SaveJob | None = None  # the sender's: the run whose rest is not sent

    def save(self, job: SaveJob, root_group_keys: int) -> None:
        step = max(1, min(BATCH_KEYS_MAX, BATCH_BYTES // self._layout.value_bytes))
        for offset in range(0, len(job.keys), step):
            batch = self._gather(job, offset, job.keys[offset : offset + step])
            if batch is None:
                self._drop(job, offset, "staging")
                return
            if not self._sender.submit(partial(self._send, batch, root_group_keys)):
                self._gateway.client.staging_free(batch.staging)
                self._drop(job, offset, "queue")
                return

    def take_unsaved(self) -> list[Unsaved]:
        with self._lock:
            unsaved, self._unsaved = self._unsaved, []
        return unsaved

    def wait_idle(self, timeout_s: float) -> bool:
        return self._sender.wait_idle(timeout_s)

    def stop(self, drain_s: float) -> None:
        self._sender.stop(drain_s)

    def _gather(self, job: SaveJob, offset: int, keys: list[bytes]) -> Batch | None:
        client, size = self._gateway.client, self._layout.value_bytes
        staging = client.staging_alloc(size * len(keys))
        if not staging:
            return None
        crcs = []
        for index in range(len(keys)):
            pieces = self._layout.pieces([job.block_ids[offset + index]])
            crcs.append(client.gather(staging + index * size, pieces))
        return Batch(job, offset, keys, crcs, staging)

    def _drop(self, job: SaveJob, offset: int, why: str) -> None:
        keys = job.keys[offset:]
        self._recorder.add(**{f"dropped_blocks_{why}": len(keys)})
        self._seldom.warning(
            why,
            "kvgate: %d blocks of %d bytes dropped, to be saved by a later step: %s [KVG608]",
            len(keys),
            self._layout.value_bytes,
            self._why_dropped(why),
        )
        self._note_unsaved(job, offset, keys)

    def _why_dropped(self, why: str) -> str:
        settings = self._settings
        if why == "queue":
            return f"send_queue = {settings.send_queue} batches wait for the gateway; raise it"
        in_use = self._gateway.client.stats().staging_in_use
        return f"staging_bytes = {settings.staging_bytes}, of which {in_use} are in use; raise it"

    def _note_unsaved(self, job: SaveJob, offset: int, keys: list[bytes]) -> None:
        with self._lock:
            if len(self._unsaved) < UNSAVED_MAX:
                self._unsaved.append(Unsaved(job.req_id, job.first + offset, keys))

    def _on_drop(self, queued: Job) -> None:
        batch: Batch = queued.args[0]  # type: ignore[attr-defined]
        self._gateway.client.staging_free(batch.staging)
        self._recorder.add(dropped_blocks_stop=len(batch.keys))

    # ---- on the sender's thread --------------------------------------------------------------

    def _send(self, batch: Batch, root_group_keys: int) -> None:
        try:
            stored = 0
            if self._broken is not batch.job:
                stored = self._store(batch, root_group_keys)
        finally:
            self._gateway.client.staging_free(batch.staging)
        if stored < len(batch.keys):
            self._broken = batch.job
            self._note_unsaved(batch.job, batch.offset + stored, batch.keys[stored:])

    def _store(self, batch: Batch, root_group_keys: int) -> int:
        """The number of leading blocks that the gateway has now."""
        wanted, ticket, end = self._offer(batch, root_group_keys)
        done = 0
        while done < end:
            if not wanted[done]:
                self._recorder.add(held_blocks=1)
                done += 1
                continue
            stop = next((i for i in range(done, end) if not wanted[i]), end)
            stored = self._set(batch, done, stop, root_group_keys, ticket)
            done += stored
            if done < stop:
                return done
        return done

    def _offer(self, batch: Batch, root_group_keys: int) -> tuple[list[bool], int, int]:
        """Which to send, the ticket, and how many at all. Over shared memory payload costs
        nothing to offer, so everything is sent there."""
        count = len(batch.keys)
        client = self._gateway.client
        if client.stats().transport != "grpc":
            return [True] * count, 0, count
        offer = client.offer(
            self._gateway.ns,
            batch.keys,
            [self._layout.value_bytes] * count,
            root=self._root(batch, 0, root_group_keys),
            depth=batch.first,
            timeout_ms=self._settings.save_timeout_ms,
        )
        if offer.code != Code.OK:
            self._recorder.add(save_miss_offer_failed=count)
            self._say_unsaved("offer_failed", count, offer.error)
            return [], 0, 0
        refused = [i for i, s in enumerate(offer.states) if s == OfferState.NOT_ADMITTED]
        if refused:
            self._recorder.add(save_miss_not_admitted=count - refused[0])
        # PENDING is sent as well: its other writer may die, and nobody would save it again.
        wanted = [state in (OfferState.WANTED, OfferState.PENDING) for state in offer.states]
        return wanted, offer.ticket, refused[0] if refused else count

    def _set(self, batch: Batch, start: int, stop: int, root_group_keys: int, ticket: int) -> int:
        size = self._layout.value_bytes
        entries = [
            SetEntry(batch.keys[i], [(batch.staging + i * size, size)], batch.crcs[i])
            for i in range(start, stop)
        ]
        results = self._gateway.client.set(
            self._gateway.ns,
            entries,
            parent=self._key_before(batch, start),
            root=self._root(batch, start, root_group_keys),
            depth=batch.first + start,
            hints=Hints(prompt_tokens=batch.job.prompt_tokens, turn=batch.job.turn),
            ticket=ticket,
            timeout_ms=self._settings.save_timeout_ms,
        )
        return self._count_stored([result.reason for result in results], results.error)

    def _count_stored(self, reasons: list[Reason], error: str) -> int:
        for index, reason in enumerate(reasons):
            if reason == Reason.OK or reason == Reason.TIMED_OUT:  # TIMED_OUT: in memory
                self._recorder.add(saved_blocks=1, saved_bytes=self._layout.value_bytes)
            elif reason == Reason.ALREADY_HELD:
                self._recorder.add(held_blocks=1)
            else:
                why, count = reason.name.lower(), len(reasons) - index
                self._recorder.add(**{f"save_miss_{why}": count})
                self._say_unsaved(why, count, error)
                return index
        return len(reasons)

    def _say_unsaved(self, why: str, count: int, error: str) -> None:
        hint = NO_STAGING_THERE if why == "overloaded" else ""
        self._seldom.warning(
            f"unsaved {why}",
            "kvgate: %d blocks of %d bytes not saved: %s%s [KVG608]",
            count,
            self._layout.value_bytes,
            error or why,
            hint,
        )

    def _key_before(self, batch: Batch, index: int) -> bytes:
        position = batch.offset + index
        return batch.job.keys[position - 1] if position else batch.job.parent

    def _root(self, batch: Batch, index: int, root_group_keys: int) -> bytes:
        depth = batch.first + index
        start = depth - depth % root_group_keys
        if start == depth:
            return b""
        job = batch.job
        return job.keys[start - job.first] if start >= job.first else job.root
