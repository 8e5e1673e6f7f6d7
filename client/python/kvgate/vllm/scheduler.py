# SPDX-License-Identifier: Apache-2.0
"""SchedulerSide: decides per request what is claimed, loaded and saved.

Promises
 1. A look-up costs at most lookup_timeout_ms, then it is "no hit".
 2. Asked again (after a failed allocation, a preemption), it answers the same from the same pin;
    a request has at most one pin, and every pin is loaded from, released or left to expire.
 3. After a failed load a request claims 0.
 4. A load has min(2 x forecast + load_slack_ms, the time to compute its tokens), the forecast of
    what is before it counted in. Loads that take longer than that are not claimed.
 5. Only whole blocks whose tokens are all computed by the step are saved, drafts not counted.
Owned by the scheduler's thread; Touch and Unpin run on one background thread.
Errors: none leave it because of the gateway.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from vllm.logger import init_logger
from vllm.v1.metrics.cache_hit_source import CacheHitSource

from kvgate import Advice, Code, Hints, LookupResult
from kvgate.errors import tagged
from kvgate.vllm.background import Background
from kvgate.vllm.forecast import LoadForecast
from kvgate.vllm.gateway import Gateway
from kvgate.vllm.messages import (
    LoadJob,
    LoadTime,
    SaveJob,
    StepMetadata,
    Unsaved,
    WorkerReport,
)
from kvgate.vllm.request_state import Claim, KnownKeys, Loading, RequestState
from kvgate.vllm.seldom import SeldomLog
from kvgate.vllm.settings import Settings
from kvgate.vllm.stats import BreakerWatch, KvgateStats, Recorder

logger = init_logger("vllm.kvgate.scheduler")

ERRANDS_MAX = 4096
RETRY_STEPS = 8  # after staging was full
TIMED_TOKENS_MIN = 64  # a step of fewer says little about the time of a prefill token


class SchedulerSide:
    def __init__(
        self,
        settings: Settings,
        gateway: Gateway,
        block_tokens: int,
        hash_block_tokens: int,
        refuse_claims: str = "",
    ) -> None:
        self._settings = settings
        self._gateway = gateway
        self._block = block_tokens
        self._hashes_per_block = block_tokens // hash_block_tokens
        self._refuse_claims = refuse_claims
        self._errands = Background("kvgate-errands", ERRANDS_MAX)
        self.recorder = Recorder()
        self._breaker = BreakerWatch("scheduler", self.recorder, gateway.client.stats)
        self._states: dict[str, RequestState] = {}
        self._loads: list[LoadJob] = []
        self._known = KnownKeys()
        self._forecast = LoadForecast(0, "")
        self._seldom = SeldomLog(logger)
        self._reconnects = 0
        self._step = 0
        self._timed: tuple[float, int] | None = None  # start and prefill tokens of a running step
        self._ms_per_token = settings.recompute_ms_per_token
        self.worker_problem = ""

    # ---- look-up and claim -------------------------------------------------------------------

    def matched_tokens(self, request: Any, num_computed: int) -> tuple[int, bool]:
        state = self._state(request)
        local = num_computed // self._block
        if not self._may_claim(state):
            return 0, False
        # vLLM must compute at least the last token itself.
        claimable = (request.num_tokens - 1) // self._block
        if state.claim is None or not self._still_good(state.claim, local):
            self._release(state)
            state.claim = self._look_up(state, local, claimable)
        state.local_blocks = local
        claim = state.claim
        blocks = min(claim.held_blocks, claimable) - local
        if blocks <= 0:
            # Kept, without its pin, so that asking again every step is no look-up every step.
            self._unpin(claim.pin_token)
            claim.pin_token, claim.held_blocks = 0, 0
            return 0, False
        return blocks * self._block, True

    def _may_claim(self, state: RequestState) -> bool:
        if self._refuse_claims or self.worker_problem or not self._settings.load:
            return False
        skip = getattr(state.request, "skip_reading_prefix_cache", False)
        return state.eligible and not state.load_failed and state.loading is None and not skip

    def _still_good(self, claim: Claim, local: int) -> bool:
        if not claim.usable(local):
            return False
        half = self._settings.pin_ms / 2000
        if claim.pin_token and claim.expires - time.monotonic() < half:
            granted = self._gateway.client.pin(
                self._gateway.ns,
                claim.pin_token,
                self._settings.pin_ms,
                timeout_ms=self._settings.lookup_timeout_ms,
            )
            claim.expires = time.monotonic() + granted / 1000
            return granted > 0
        return True

    def _look_up(self, state: RequestState, local: int, claimable: int) -> Claim:
        start = time.monotonic()
        keys = self._keys(state.request, 0, state.request.num_tokens // self._block)
        if not keys:
            return self._as_claim(LookupResult(Code.OK), local, start)
        wants = claimable > local
        found = self._gateway.client.lookup(
            self._gateway.ns,
            keys,
            block_tokens=self._block,
            first_wanted_tokens=local * self._block,
            pin_ms=self._settings.pin_ms if wants else 0,
            recompute_ms_per_token=self._ms_per_token,
            timeout_ms=self._settings.lookup_timeout_ms,
        )
        self.recorder.add(lookups=1, lookup_ms_sum=(time.monotonic() - start) * 1000)
        self._learn_connection()
        self._gateway.learn_token(found.code, found.error)
        if found.code != Code.OK:
            self.recorder.add(lookup_failures=1)
            return self._as_claim(LookupResult(found.code), local, start)
        # Blocks before `local` count as held because the engine has them: that says nothing of
        # the gateway.
        self._known.add(keys[local : found.held])
        # What was evicted there is worth saving again; a save in flight costs one more gather.
        self._known.discard(keys[max(found.held, local) :])
        return self._as_claim(found, local, start)

    def _as_claim(self, found: LookupResult, local: int, start: float) -> Claim:
        held = found.held
        blocks = _blocks_to_load(found, local)
        if held > local and self._is_slower(found, blocks, held - local):
            self.recorder.add(advised_recompute=1)
            held = 0
        pin_ms = found.pin_ms if found.pin_token else self._settings.pin_ms
        return Claim(
            local_blocks=local,
            held_blocks=held,
            pin_token=found.pin_token,
            expires=start + pin_ms / 1000,
            blocks=blocks,
            gateway_ms=found.predicted_load_ms,
        )

    def _is_slower(self, found: LookupResult, blocks: dict[str, int], count: int) -> bool:
        """Whether computing is quicker than loading: by the gateway's advice, or by how long loads
        took here."""
        if found.advice == Advice.RECOMPUTE:
            return True
        forecast = self._forecast.ms(blocks, found.predicted_load_ms)
        if not 0 < count * self._block * self._ms_per_token < forecast:
            return False
        self._forecast.fade()
        return True

    def _learn_connection(self) -> None:
        """Another run of the gateway may hold less, another way to it takes another time."""
        stats = self._gateway.client.stats()
        if stats.reconnects != self._reconnects:
            self._reconnects = stats.reconnects
            self._known.clear()
        if stats.transport not in ("none", self._forecast.transport):
            self._forecast = LoadForecast(self._gateway.block_bytes, stats.transport)

    def allocated(self, request: Any, block_ids: list[int], num_external: int) -> None:
        """The engine's decision: num_external is the truth, whatever was claimed."""
        state = self._state(request)
        if num_external == 0:
            self._release(state)
            return
        claim, state.claim = state.claim, None
        assert claim is not None, "external tokens without a claim"
        first, count = state.local_blocks, num_external // self._block
        keys = self._keys(request, first, first + count)
        ids = block_ids[first : first + count]
        forecast = self._forecast.ms(claim.blocks, claim.gateway_ms)
        deadline_ms = self._load_deadline_ms(self._queued_ms() + forecast, num_external)
        state.loading = Loading(
            *(ids, first, keys, claim.pin_token, _source(claim), claim.blocks, forecast)
        )
        self.recorder.add(claimed_tokens=num_external, forecast_ms_sum=forecast)
        self._loads.append(
            LoadJob(
                req_id=request.request_id,
                block_ids=ids,
                keys=keys,
                first=first,
                root=self._root(request, first),
                pin_token=claim.pin_token,
                deadline_ms=deadline_ms,
            )
        )

    def _queued_ms(self) -> float:
        """What the loads before this one will take: they have the same threads, or the same
        memory."""
        states = self._states.values()
        return sum(state.loading.forecast_ms for state in states if state.loading)

    def _load_deadline_ms(self, predicted_ms: float, tokens: int) -> float:
        deadline = 2 * predicted_ms + self._settings.load_slack_ms
        if self._ms_per_token > 0:
            deadline = min(deadline, tokens * self._ms_per_token)
        return max(deadline, 1.0)

    def hit_sources(self, request: Any, num_external: int) -> dict[CacheHitSource, int]:
        """By tier as looked up; a mixture of tiers is not told apart here."""
        if num_external == 0:
            return {}
        loading = self._state(request).loading
        return {loading.source if loading else CacheHitSource.EXTERNAL_UNSPECIFIED: num_external}

    # ---- step --------------------------------------------------------------------------------

    def build_step(self, output: Any) -> StepMetadata:
        self._step += 1
        loads, self._loads = self._loads, []
        for req_id in output.preempted_req_ids or ():
            state = self._states.get(req_id)
            if state and state.loading is None:
                self._release(state)
        saves = self._planned_saves(output)
        self._time_step(output)
        return StepMetadata(
            loads,
            saves,
            self._gateway.identity_digest,
            self._gateway.root_group_keys(),
            idle=output.total_num_scheduled_tokens == 0,
        )

    def _planned_saves(self, output: Any) -> list[SaveJob]:
        """A fault in planning saves must not lose this step's loads, nor end the engine."""
        try:
            return self._saves(output) if self._may_save() else []
        except Exception as error:
            logger.exception("kvgate: planning saves failed")
            self.set_worker_problem(f"planning saves failed: {error}")
            return []

    def _may_save(self) -> bool:
        return self._settings.save and not self.worker_problem

    def _saves(self, output: Any) -> list[SaveJob]:
        jobs: list[SaveJob] = []
        for req_id, scheduled in output.num_scheduled_tokens.items():
            state = self._states.get(req_id)
            if state is None or not state.eligible or self._step < state.retry_step:
                continue
            drafts = len(output.scheduled_spec_decode_tokens.get(req_id, ()))
            ready = self._ready_blocks(state.request, scheduled - drafts)
            if ready > state.next_save:
                ids = output.kv_connector_block_state.get_block_ids(req_id)[0]
                jobs.extend(self._runs(state, ready, ids))
                state.next_save = ready
        return jobs

    def _ready_blocks(self, request: Any, scheduled: int) -> int:
        """Blocks whose tokens are all known and computed once this step has run."""
        computed = request.num_computed_tokens + scheduled
        computed -= max(0, getattr(request, "num_output_placeholders", 0))
        hashed = len(request.block_hashes) // self._hashes_per_block
        return min(computed // self._block, hashed)

    def _runs(self, state: RequestState, ready: int, ids: list[int]) -> Iterable[SaveJob]:
        """Runs of blocks that the gateway is not known to have."""
        first = state.next_save
        keys = self._keys(state.request, first, ready)
        start: int | None = None
        for index in range(first, ready + 1):
            # Id 0 is vLLM's null block: it holds nothing of this request.
            new = index < ready and keys[index - first] not in self._known and ids[index] != 0
            if new and start is None:
                start = index
            elif not new and start is not None:
                yield self._save_job(state.request, start, keys[start - first : index - first], ids)
                start = None
        self._known.add(keys)

    def _save_job(self, request: Any, first: int, keys: list[bytes], ids: list[int]) -> SaveJob:
        return SaveJob(
            req_id=request.request_id,
            block_ids=list(ids[first : first + len(keys)]),
            keys=keys,
            first=first,
            parent=self._key(request, first - 1) if first else b"",
            root=self._root(request, first),
            prompt_tokens=request.num_prompt_tokens,
            turn=_turn(request),
        )

    def _time_step(self, output: Any) -> None:
        tokens = output.total_num_scheduled_tokens
        self._timed = (time.monotonic(), tokens) if tokens >= TIMED_TOKENS_MIN else None

    # ---- answers of the worker ---------------------------------------------------------------

    def worker_output(self, output: Any) -> None:
        self._learn_step_time()
        if isinstance(output.kv_connector_worker_meta, WorkerReport):
            self._learn_report(output.kv_connector_worker_meta)
        for req_id in output.finished_recving or ():
            state = self._states.get(req_id)
            if state and state.loading:
                self._finish_load(state, state.loading, output.invalid_block_ids or set())

    def _finish_load(self, state: RequestState, loading: Loading, invalid: set[int]) -> None:
        state.loading = None
        self._unpin(loading.pin_token)
        failed = [i for i, block in enumerate(loading.block_ids) if block in invalid]
        if failed:
            state.load_failed = True
            # Computed again, these blocks are worth saving again.
            self._known.discard(loading.keys[failed[0] :])

    def _learn_report(self, report: WorkerReport) -> None:
        if report.problem and not self.worker_problem:
            self.set_worker_problem(report.problem)
        for unsaved in report.unsaved:
            self._forget_saved(unsaved)
        for time_taken in report.load_times:
            self._learn_load_time(time_taken)

    def _learn_load_time(self, taken: LoadTime) -> None:
        blocks = taken.blocks
        if taken.late:  # what was loaded of it by then does not tell what was to be loaded
            state = self._states.get(taken.req_id)
            if state is None or state.loading is None:
                return
            blocks = state.loading.blocks
        self._forecast.learn(blocks, taken.ms, taken.late)

    def _forget_saved(self, unsaved: Unsaved) -> None:
        self._known.discard(unsaved.keys)
        state = self._states.get(unsaved.req_id)
        if state:
            state.next_save = min(state.next_save, unsaved.first)
            state.retry_step = self._step + RETRY_STEPS

    def set_worker_problem(self, problem: str) -> None:
        self.worker_problem = problem
        logger.error(
            "kvgate is off for this engine, which computes everything: %s",
            tagged("KVG601", problem),
        )

    def _learn_step_time(self) -> None:
        timed, self._timed = self._timed, None
        if timed is None or self._settings.recompute_ms_per_token > 0:
            return
        sample = (time.monotonic() - timed[0]) * 1000 / timed[1]
        self._ms_per_token += (sample - self._ms_per_token) * (0.3 if self._ms_per_token else 1)

    # ---- end of a request --------------------------------------------------------------------

    def finished(self, request: Any) -> None:
        state = self._states.pop(request.request_id, None)
        if state is None:
            return
        self._release(state)
        if state.loading:  # aborted: its blocks hold nothing yet
            self._unpin(state.loading.pin_token)
            return
        blocks = self._ready_blocks(request, 0)
        if state.eligible and self._may_save() and blocks > 0:
            self._touch(request, self._key(request, blocks - 1))

    def _touch(self, request: Any, key: bytes) -> None:
        hints = Hints(request.num_prompt_tokens, request.num_output_tokens, _turn(request), True)
        self._errand(lambda: self._gateway.client.touch(self._gateway.ns, key, hints=hints))
        self.recorder.add(touches=1)

    def _release(self, state: RequestState) -> None:
        claim, state.claim = state.claim, None
        if claim:
            self._unpin(claim.pin_token)

    def _unpin(self, token: int) -> None:
        if token:
            self._errand(lambda: self._gateway.client.unpin(self._gateway.ns, token))

    def _errand(self, job: Any) -> None:
        if not self._errands.submit(job):
            self.recorder.add(dropped_errands=1)

    def take_stats(self) -> KvgateStats | None:
        return self._breaker.take()

    def wait_errands(self, timeout_s: float) -> bool:
        return self._errands.wait_idle(timeout_s)

    def forget(self) -> None:
        """The engine dropped what it computed: its weights may have changed in place, and what the
        gateway holds under this identity may be of the old ones."""
        self.set_worker_problem(
            "the engine reset its caches; restart it with another weights_epoch to use kvgate again"
        )

    def stop(self) -> None:
        self._errands.stop(drain_s=0.2)
        self._gateway.close()

    # ---- keys --------------------------------------------------------------------------------

    def _state(self, request: Any) -> RequestState:
        state = self._states.get(request.request_id)
        if state is None:
            # Block hashes name a LoRA only by its name, which two files can share.
            eligible = getattr(request, "lora_request", None) is None
            if not eligible:
                self._skip_lora(request)
            state = RequestState(request, eligible)
            self._states[request.request_id] = state
        return state

    def _skip_lora(self, request: Any) -> None:
        self.recorder.add(skipped_requests_lora=1)
        self._seldom.warning(
            "lora",
            "kvgate: requests with a LoRA are neither loaded nor saved (here: %r): their blocks "
            "are told apart by the adapter's name only, which two files can share [KVG610]",
            getattr(request.lora_request, "lora_name", request.lora_request),
        )

    def _key(self, request: Any, block: int) -> bytes:
        return bytes(request.block_hashes[(block + 1) * self._hashes_per_block - 1])

    def _keys(self, request: Any, first: int, end: int) -> list[bytes]:
        end = min(end, len(request.block_hashes) // self._hashes_per_block)
        return [self._key(request, block) for block in range(first, end)]

    def _root(self, request: Any, first: int) -> bytes:
        group = self._gateway.root_group_keys()
        return self._key(request, first - first % group) if first % group else b""


def _blocks_to_load(found: LookupResult, local: int) -> dict[str, int]:
    """By tier. The answer counts the whole chain: what the engine has itself is taken from both
    tiers alike."""
    counted = {"memory": found.memory_keys, "disk": found.disk_keys}
    share = (found.held - local) / max(sum(counted.values()), 1)
    blocks = {tier: round(count * min(max(share, 0.0), 1.0)) for tier, count in counted.items()}
    return {tier: count for tier, count in blocks.items() if count}


def _source(claim: Claim) -> CacheHitSource:
    if "disk" not in claim.blocks:
        return CacheHitSource.HOST
    return CacheHitSource.EXTERNAL_UNSPECIFIED if "memory" in claim.blocks else CacheHitSource.DISK


def _turn(request: Any) -> int:
    """Which turn of a conversation this is, when the caller says so."""
    params = getattr(request, "kv_transfer_params", None) or {}
    turn = params.get("kvgate.turn", 0)
    return turn if isinstance(turn, int) and 0 <= turn < 1 << 32 else 0
