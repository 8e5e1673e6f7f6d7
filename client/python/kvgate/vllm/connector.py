# SPDX-License-Identifier: Apache-2.0
"""KvgateConnector: what vLLM 0.32 loads, once in the scheduler and once in each worker.

Promises: it never keeps an engine from starting or serving: wrong settings, an unsupported model,
a missing library or gateway are logged, and the engine computes everything itself. Loads are
asynchronous only. request_finished never holds blocks. kv_load_failure_policy is set to recompute
unless keep_fail is given; under a MultiConnector whose policy is fail nothing is claimed.
Threads: vLLM calls each object from one thread.
"""

from __future__ import annotations

import sys
from typing import Any

from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorRole,
    KVConnectorTransferResults,
)
from vllm.logger import init_logger

from kvgate.errors import tagged
from kvgate.vllm.gateway import Gateway
from kvgate.vllm.identity import build_identity
from kvgate.vllm.messages import Handshake, StepMetadata
from kvgate.vllm.scheduler import SchedulerSide
from kvgate.vllm.settings import Settings
from kvgate.vllm.stats import KvgatePromMetrics, KvgateStats
from kvgate.vllm.worker import RefusingWorker, WorkerSide

logger = init_logger("vllm.kvgate")


class KvgateConnector(KVConnectorBase_V1):
    def __init__(self, vllm_config: Any, role: KVConnectorRole, kv_cache_config: Any) -> None:
        super().__init__(vllm_config=vllm_config, role=role, kv_cache_config=kv_cache_config)
        self.scheduler: SchedulerSide | None = None
        self.worker: RefusingWorker | None = None
        self.off = ""  # why this object does nothing
        self._is_child = _parent_transfer_config() is not None
        try:
            self._start(vllm_config, role, kv_cache_config)
        except Exception as error:  # the engine must start whatever is wrong with us
            self.off = tagged("KVG601", f"{type(error).__name__}: {error}")
            logger.error("kvgate is off in the %s: %s", role.name.lower(), self.off)
            if role == KVConnectorRole.WORKER:
                self.worker = RefusingWorker(self.off)

    def _start(self, vllm_config: Any, role: KVConnectorRole, kv_cache_config: Any) -> None:
        transfer = vllm_config.kv_transfer_config
        settings = Settings.parse(transfer.kv_connector_extra_config)
        refuse_claims = ""
        if role == KVConnectorRole.SCHEDULER:
            refuse_claims = self._settle_policy(transfer, settings.keep_fail)
        identity = build_identity(vllm_config, kv_cache_config, settings)
        is_worker = role == KVConnectorRole.WORKER
        gateway = Gateway(settings, identity, role.name.lower(), staging=is_worker)
        if refused := gateway.refused():
            gateway.close()
            raise RuntimeError(tagged("KVG612", f"the gateway refuses this engine: {refused}"))
        group = identity.groups[0]
        if is_worker:
            self.worker = WorkerSide(
                settings,
                gateway,
                list(group.layer_names),
                kv_cache_config.num_blocks,
                group.block_tokens,
            )
        else:
            self.scheduler = SchedulerSide(
                settings, gateway, group.block_tokens, identity.hash_block_tokens, refuse_claims
            )

    def _settle_policy(self, transfer: Any, keep_fail: bool) -> str:
        """Why nothing may be claimed; empty when a failed load will be recomputed."""
        parent = _parent_transfer_config()
        if parent is not None:
            if parent.kv_load_failure_policy == "recompute" or keep_fail:
                return ""
            reason = (
                "kv_load_failure_policy of the MultiConnector is fail, which would fail requests "
                "whose blocks are gone: nothing is loaded; set it to recompute"
            )
            reason = tagged("KVG603", reason)
            logger.error("kvgate: %s", reason)
            return reason
        if transfer.kv_load_failure_policy == "fail" and not keep_fail:
            transfer.kv_load_failure_policy = "recompute"
            logger.warning(
                "kvgate: kv_load_failure_policy fail -> recompute, so that a block that is gone is "
                "computed again instead of failing its request (keep_fail: true leaves it) [KVG603]"
            )
        return ""

    @property
    def requires_kv_delivery(self) -> bool:
        return False  # a dropped save is a later miss, nothing more

    # ---- scheduler ---------------------------------------------------------------------------

    def get_num_new_matched_tokens(
        self, request: Any, num_computed_tokens: int
    ) -> tuple[int | None, bool]:
        if self.scheduler is None:
            return 0, False
        try:
            return self.scheduler.matched_tokens(request, num_computed_tokens)
        except Exception as error:  # no fault of ours may end the engine
            logger.exception("kvgate: a look-up failed [KVG601]")
            self.scheduler.set_worker_problem(f"a look-up failed: {error}")
            return 0, False

    def update_state_after_alloc(self, request: Any, blocks: Any, num_external_tokens: int) -> None:
        if self.scheduler is not None:
            ids = blocks.get_block_ids()[0] if num_external_tokens else []
            self.scheduler.allocated(request, ids, num_external_tokens)

    def get_external_cache_hit_sources(self, request: Any, num_external_tokens: int) -> Any:
        if self.scheduler is None:
            return super().get_external_cache_hit_sources(request, num_external_tokens)
        return self.scheduler.hit_sources(request, num_external_tokens)

    def build_connector_meta(self, scheduler_output: Any) -> StepMetadata:
        if self.scheduler is None:
            return StepMetadata()
        return self.scheduler.build_step(scheduler_output)

    def update_connector_output(self, connector_output: Any) -> None:
        if self.scheduler is not None:
            self.scheduler.worker_output(connector_output)

    def request_finished(
        self, request: Any, block_ids: list[int]
    ) -> tuple[bool, dict[str, Any] | None]:
        if self.scheduler is not None:
            self.scheduler.finished(request)
        return False, None

    def reset_cache(self) -> bool:
        if self.scheduler is not None:
            self.scheduler.forget()
        return True

    def set_xfer_handshake_metadata(self, metadata: dict[int, Any]) -> None:
        for rank, told in metadata.items():
            if isinstance(told, Handshake) and told.problem and self.scheduler is not None:
                self.scheduler.set_worker_problem(f"worker {rank}: {told.problem}")

    # ---- worker ------------------------------------------------------------------------------

    def register_kv_caches(self, kv_caches: dict[str, Any]) -> None:
        if self.worker is None:
            return
        try:
            self.worker.register(kv_caches)
        except Exception as error:
            self.worker.problem = f"{type(error).__name__}: {error}"
            logger.exception("kvgate is off: registering the KV caches failed [KVG601]")

    def get_handshake_metadata(self) -> Handshake | None:
        # MultiConnector forwards only the first child's: ours must not hide another's. The same
        # is told by the first step's report.
        if self._is_child or self.worker is None:
            return None
        return self.worker.handshake()

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        step = self._get_connector_metadata()
        assert isinstance(step, StepMetadata)
        if self.worker is not None:
            self.worker.start_loads(step)

    def wait_for_layer_load(self, layer_name: str) -> None:
        return  # loads are asynchronous: no forward waits for them

    def save_kv_layer(
        self, layer_name: str, kv_layer: Any, attn_metadata: Any, **kwargs: Any
    ) -> None:
        return  # layers of a block go as one value, in wait_for_save

    def wait_for_save(self) -> None:
        step = self._get_connector_metadata()
        assert isinstance(step, StepMetadata)
        if self.worker is None:
            return
        try:
            self.worker.save(step)
        except Exception as error:  # no fault of ours may end the engine
            logger.exception("kvgate: saving failed [KVG601]")
            self.worker.problem = f"saving failed: {error}"

    def get_transfer_results(self, finished_req_ids: set[str]) -> KVConnectorTransferResults:
        ended = self.worker.take_finished() if self.worker else set()
        return KVConnectorTransferResults(finished_recving=ended)

    def get_finished(self, finished_req_ids: set[str]) -> tuple[set[str] | None, set[str] | None]:
        return None, self.get_transfer_results(finished_req_ids).finished_recving or None

    def get_block_ids_with_load_errors(self) -> set[int]:
        return self.worker.take_bad_blocks() if self.worker else set()

    def build_connector_worker_meta(self) -> Any:
        return None if self.worker is None else self.worker.report()

    # ---- both --------------------------------------------------------------------------------

    def get_kv_connector_stats(self) -> KvgateStats | None:
        side = self.worker or self.scheduler
        return None if side is None else side.take_stats()

    @classmethod
    def build_kv_connector_stats(cls, data: dict[str, Any] | None = None) -> KvgateStats:
        return KvgateStats(data=data or {})

    @classmethod
    def build_prom_metrics(
        cls,
        vllm_config: Any,
        metric_types: dict[Any, Any],
        labelnames: list[str],
        per_engine_labelvalues: dict[int, list[object]],
    ) -> KvgatePromMetrics:
        return KvgatePromMetrics(vllm_config, metric_types, labelnames, per_engine_labelvalues)

    def shutdown(self) -> None:
        for side in (self.scheduler, self.worker):
            if side is not None:
                side.stop()


def _parent_transfer_config() -> Any:
    """The KVTransferConfig of the MultiConnector that is constructing us, or None.

    A child gets a copy of vllm_config with its own KVTransferConfig; its parent is to be seen
    nowhere but on the stack, below the constructor.
    """
    multi = sys.modules.get("vllm.distributed.kv_transfer.kv_connector.v1.multi_connector")
    if multi is None:
        return None
    frame = sys._getframe(1)
    while frame is not None:
        if isinstance(frame.f_locals.get("self"), multi.MultiConnector):
            return frame.f_locals["self"]._kv_transfer_config
        frame = frame.f_back  # type: ignore[assignment]
    return None
