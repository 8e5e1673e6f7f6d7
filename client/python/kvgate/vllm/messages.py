# SPDX-License-Identifier: Apache-2.0
"""What scheduler and worker tell each other. Plain data: it is pickled between processes."""

from __future__ import annotations

from dataclasses import dataclass, field

from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorHandshakeMetadata,
    KVConnectorMetadata,
    KVConnectorWorkerMetadata,
)


@dataclass
class LoadJob:
    """Fill `block_ids` with the blocks `first` … of the chain. Ends exactly once."""

    req_id: str
    block_ids: list[int]
    keys: list[bytes]
    first: int  # index in the chain of keys[0]
    root: bytes  # key of the root group; empty when `first` starts one
    pin_token: int  # 0: by keys
    deadline_ms: float


@dataclass
class SaveJob:
    """Blocks that are complete once this step has run: a run of a chain without gaps."""

    req_id: str
    block_ids: list[int]
    keys: list[bytes]
    first: int
    parent: bytes
    root: bytes
    prompt_tokens: int
    turn: int


@dataclass
class StepMetadata(KVConnectorMetadata):
    loads: list[LoadJob] = field(default_factory=list)
    saves: list[SaveJob] = field(default_factory=list)
    identity_digest: bytes = b""
    root_group_keys: int = 0
    idle: bool = False  # the step computes nothing


@dataclass
class Unsaved:
    """Blocks from `first` of a request's chain did not reach the gateway."""

    req_id: str
    first: int
    keys: list[bytes]


@dataclass
class LoadTime:
    """What a load took once a thread had it."""

    req_id: str
    blocks: dict[str, int]  # loaded, by tier
    ms: float
    late: bool  # its deadline cut it off


@dataclass
class WorkerReport(KVConnectorWorkerMetadata):
    """`problem`: why this worker neither loads nor saves; empty when it does."""

    unsaved: list[Unsaved] = field(default_factory=list)
    problem: str = ""
    load_times: list[LoadTime] = field(default_factory=list)

    def aggregate(self, other: KVConnectorWorkerMetadata) -> WorkerReport:
        assert isinstance(other, WorkerReport)
        return WorkerReport(
            self.unsaved + other.unsaved,
            self.problem or other.problem,
            self.load_times + other.load_times,
        )


@dataclass
class Handshake(KVConnectorHandshakeMetadata):
    """The worker's self-test at start: `problem` is empty when it passed."""

    problem: str
    self_test_ms: float
