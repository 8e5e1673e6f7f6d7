# SPDX-License-Identifier: Apache-2.0
"""Driver: the connector's two sides on a real daemon, called in the order in which vLLM calls them.

Tensors, requests and step outputs are vLLM's own; only the model is missing: `fill` stands for what
a forward pass would have written. Each driver has a namespace of its own, or
the one of the identity that it is given.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import torch
from engine import PATIENT, WAIT_S
from kvgate import GroupKind, Identity, KvGroup
from kvgate.vllm.gateway import Gateway
from kvgate.vllm.messages import StepMetadata
from kvgate.vllm.scheduler import SchedulerSide
from kvgate.vllm.settings import Settings
from kvgate.vllm.worker import WorkerSide
from vllm import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.outputs import KVConnectorOutput
from vllm.v1.request import Request

BLOCK = 32
BLOCKS = 256
LAYERS = ("model.layers.0.self_attn.attn", "model.layers.1.self_attn.attn")
SHAPE = (BLOCKS, 1, BLOCK, 64)
PAGE_BYTES = 2 * BLOCK * 64


def make_identity(**changes: Any) -> Identity:
    fields: dict[str, Any] = {
        "model": "driver",
        "weights_id": uuid.uuid4().hex,
        "layout": "LBHNC",
        "dtype": "torch.bfloat16",
        "groups": (
            KvGroup(
                kind=GroupKind.FULL_ATTENTION,
                block_tokens=BLOCK,
                layer_names=LAYERS,
                spec="driver",
                page_bytes=PAGE_BYTES,
            ),
        ),
        "hash_block_tokens": BLOCK,
    }
    return Identity(**{**fields, **changes})


class Driver:
    def __init__(
        self,
        local_socket: str,
        refuse_claims: str = "",
        identity: Identity | None = None,
        **settings: Any,
    ) -> None:
        self.settings = Settings.parse({"local_socket": local_socket, **PATIENT, **settings})
        self.identity = identity or make_identity()
        init_none_hash(sha256)
        self._hasher = get_request_block_hasher(BLOCK, sha256)
        self.tensors = {name: torch.zeros(SHAPE, dtype=torch.bfloat16) for name in LAYERS}
        self.worker = WorkerSide(
            self.settings,
            Gateway(self.settings, self.identity, "worker", staging=True),
            list(LAYERS),
            BLOCKS,
            BLOCK,
        )
        self.worker.register(self.tensors)
        self.scheduler = SchedulerSide(
            self.settings,
            Gateway(self.settings, self.identity, "scheduler", staging=False),
            BLOCK,
            BLOCK,
            refuse_claims,
        )
        self._wait_until_served()
        self.block_ids: dict[str, list[int]] = {}
        self.last_step = StepMetadata()

    @property
    def client(self) -> Any:
        return self.scheduler._gateway.client

    def _wait_until_served(self) -> None:
        """A daemon that just started may answer late on a busy machine."""
        for side in (self.scheduler, self.worker):
            for _ in range(20):
                if side._gateway.client.ping(timeout_ms=3000) == 0:
                    break
            else:
                raise AssertionError("the daemon is not reached")

    def close(self) -> None:
        self.scheduler.stop()
        self.worker.stop()

    def request(self, name: str, tokens: Iterable[int]) -> Request:
        sampling = SamplingParams(temperature=0, max_tokens=64)
        return Request(name, list(tokens), sampling, None, block_hasher=self._hasher)

    # ---- memory --------------------------------------------------------------------------------

    def fill(self, block: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for tensor in self.tensors.values():
            tensor[block] = torch.randn(SHAPE[1:], generator=generator).to(torch.bfloat16)

    def same(self, a: int, b: int) -> bool:
        return all(torch.equal(tensor[a], tensor[b]) for tensor in self.tensors.values())

    def clear(self, blocks: Iterable[int]) -> None:
        for tensor in self.tensors.values():
            tensor[list(blocks)] = 0

    def is_clear(self, block: int) -> bool:
        return not any(bool(tensor[block].any()) for tensor in self.tensors.values())

    # ---- vLLM's calls --------------------------------------------------------------------------

    def ask(self, request: Request, local_tokens: int = 0) -> tuple[int, bool]:
        return self.scheduler.matched_tokens(request, local_tokens)

    def allocate(self, request: Request, ids: list[int], external_tokens: int) -> None:
        self.block_ids[request.request_id] = ids
        self.scheduler.allocated(request, ids, external_tokens)

    def step(
        self,
        scheduled: Mapping[Request, int] | None = None,
        drafts: Mapping[Request, int] | None = None,
        preempted: Iterable[Request] = (),
    ) -> KVConnectorOutput:
        """One step: what the scheduler plans, the worker does, and the scheduler hears of it."""
        scheduled = scheduled or {}
        output = SimpleNamespace(
            num_scheduled_tokens={r.request_id: n for r, n in scheduled.items()},
            total_num_scheduled_tokens=sum(scheduled.values()),
            scheduled_spec_decode_tokens={r.request_id: [0] * n for r, n in (drafts or {}).items()},
            preempted_req_ids={r.request_id for r in preempted},
            kv_connector_block_state=SimpleNamespace(
                get_block_ids=lambda req_id: (self.block_ids[req_id],)
            ),
        )
        self.last_step = self.scheduler.build_step(output)
        for request, tokens in scheduled.items():
            request.num_computed_tokens += tokens
        self.worker.save(self.last_step)
        self.worker.start_loads(self.last_step)
        return self._hear()

    def _hear(self) -> KVConnectorOutput:
        answer = KVConnectorOutput(
            finished_recving=self.worker.take_finished(),
            invalid_block_ids=self.worker.take_bad_blocks(),
            kv_connector_worker_meta=self.worker.report(),
        )
        self.scheduler.worker_output(answer)
        return answer

    def step_until_loaded(self, request: Request) -> set[int]:
        """Empty steps until its load ended; the blocks that failed."""
        failed: set[int] = set()
        for _ in range(100_000):
            answer = self.step()
            failed |= answer.invalid_block_ids
            if request.request_id in (answer.finished_recving or ()):
                return failed
        raise AssertionError("the load never ended")

    def compute(self, request: Request, ids: list[int], seed: int = 1) -> None:
        """A request from nothing to its last prompt token, in one step, and sent."""
        assert self.ask(request) == (0, False)
        self.allocate(request, ids, 0)
        for offset, block in enumerate(ids):
            self.fill(block, seed * 1000 + offset)
        self.step({request: request.num_tokens})
        self.settle()

    def settle(self) -> None:
        assert self.worker.wait_saved(WAIT_S)
        assert self.scheduler.wait_errands(WAIT_S)

    def counts(self) -> dict[str, float]:
        return {**self.scheduler.recorder.totals(), **self.worker.recorder.totals()}


class Spy:
    """Records the calls of one method of an object, and lets them through."""

    def __init__(self, target: Any, name: str, monkeypatch: Any) -> None:
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        real = getattr(target, name)

        def call(*args: Any, **named: Any) -> Any:
            self.calls.append((args, named))
            return real(*args, **named)

        monkeypatch.setattr(target, name, call)

    @property
    def count(self) -> int:
        return len(self.calls)
