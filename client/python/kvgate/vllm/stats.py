# SPDX-License-Identifier: Apache-2.0
"""KvgateStats: what the connector did, for vLLM's log line and its Prometheus page.

`data` is a flat dict of sums: counters since the last report, plus lookup_ms_sum. Names:
  lookups, lookup_ms_sum, lookup_failures, claimed_tokens, advised_recompute
  skipped_requests_lora (neither loaded nor saved)
  loads, load_failures, load_ms_sum, forecast_ms_sum,
  loaded_blocks|bytes|tokens_{memory,disk,backend,peer},
  verified_blocks (bytes read back from the layers and compared with the producer's CRC)
  saved_blocks|bytes, held_blocks (already there), dropped_blocks_{staging,queue,stop},
  load_miss_REASON, save_miss_REASON (client.h's reasons), touches, dropped_errands,
  breaker_opens, breaker_opens_REASON (of the last of them: Stats.breaker_reason's words)
and gauges, of which the newest counts:
  breaker_state_{scheduler,worker}: of the role's own client; 0 closed, 1 half-open, 2 open. Told
  when it changes, and while it is not 0.
Recorder is thread-safe; KvgateStats belongs to whoever holds it.
"""

from __future__ import annotations

import threading
from collections import Counter as Sums
from collections.abc import Callable
from typing import Any

from prometheus_client import Counter, Gauge
from vllm.distributed.kv_transfer.kv_connector.v1.metrics import (
    KVConnectorPromMetrics,
    KVConnectorStats,
)

from kvgate import Stats

GAUGE = "breaker_state_"
ROLES = ("scheduler", "worker")


class KvgateStats(KVConnectorStats):
    def reset(self) -> None:
        self.data: dict[str, Any] = {}

    def aggregate(self, other: KVConnectorStats) -> KvgateStats:
        for name, value in other.data.items():
            self.data[name] = value + (0 if name.startswith(GAUGE) else self.data.get(name, 0))
        return self

    def reduce(self) -> dict[str, int | float]:
        return {name: _rounded(value) for name, value in sorted(self.data.items())}

    def is_empty(self) -> bool:
        return not self.data


class Recorder:
    """Counts; take() hands over what was counted since the last take, totals() everything."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: Sums[str] = Sums()  # guarded by _lock, as is _total
        self._total: Sums[str] = Sums()

    def add(self, **amounts: float) -> None:
        with self._lock:
            for name, amount in amounts.items():
                self._recent[name] += amount  # type: ignore[assignment]
                self._total[name] += amount  # type: ignore[assignment]

    def take(self) -> KvgateStats | None:
        with self._lock:
            if not self._recent:
                return None
            recent, self._recent = self._recent, Sums()
        return KvgateStats(data=dict(recent))

    def totals(self) -> dict[str, float]:
        with self._lock:
            return dict(self._total)


class BreakerWatch:
    """Counts the openings of one client's breaker, and tells its state. One thread."""

    def __init__(self, role: str, recorder: Recorder, read: Callable[[], Stats]) -> None:
        self._gauge = GAUGE + role
        self._recorder = recorder
        self._read = read
        self._state = 0
        self._opens = 0

    def take(self) -> KvgateStats | None:
        """The recorder's, with the breaker's state where there is something to tell."""
        now = self._read()
        opens, self._opens = now.breaker_opens - self._opens, now.breaker_opens
        if opens:
            what = {"breaker_opens": opens, f"breaker_opens_{now.breaker_reason}": opens}
            self._recorder.add(**what)
        before, self._state = self._state, int(now.breaker_state)
        taken = self._recorder.take()
        if self._state or before:
            taken = taken or KvgateStats(data={})
            taken.data[self._gauge] = self._state
        return taken


class KvgatePromMetrics(KVConnectorPromMetrics):
    """One counter with the label `what`: kvgate_connector_total{what="loaded_tokens_disk"}, and
    kvgate_connector_breaker_state{role="worker"}."""

    def __init__(
        self,
        vllm_config: Any,
        metric_types: dict[Any, Any],
        labelnames: list[str],
        per_engine_labelvalues: dict[int, list[object]],
    ) -> None:
        super().__init__(vllm_config, metric_types, labelnames, per_engine_labelvalues)
        self._total = metric_types[Counter](
            name="vllm:kvgate_connector",
            documentation="What the kvgate connector did, by kind.",
            labelnames=[*labelnames, "what"],
        )
        self._breaker = metric_types[Gauge](
            name="vllm:kvgate_connector_breaker_state",
            documentation="Of the role's client: 0 closed, 1 half-open, 2 open.",
            labelnames=[*labelnames, "role"],
        )
        for values in per_engine_labelvalues.values():
            for role in ROLES:
                self._breaker.labels(*values, role).set(0)

    def observe(self, transfer_stats_data: dict[str, Any], engine_idx: int = 0) -> None:
        labels = self.per_engine_labelvalues[engine_idx]
        for name, value in transfer_stats_data.items():
            if name.startswith(GAUGE):
                self._breaker.labels(*labels, name.removeprefix(GAUGE)).set(value)
            else:
                self._total.labels(*labels, name).inc(value)


def _rounded(value: float) -> int | float:
    return round(value, 3) if isinstance(value, float) else value
