# SPDX-License-Identifier: Apache-2.0
"""Words of the contract: enums, requests and results.

Numbers of enums are those of kvgate.v1 and of client/client.h; everything here is immutable data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Code(IntEnum):
    """google.rpc.Code: how a call went as a whole."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Results(list[T]):
    """One result a key, always all of them, and how the call went as a whole.

    `code` is OK when the gateway answered (single keys may still be misses); else `error` says why
    in words: for INVALID_ARGUMENT the field, its value and the limit.
    """

    code: Code
    error: str

    def __init__(self, results: Iterable[T] = (), code: Code = Code.OK, error: str = "") -> None:
        super().__init__(results)
        self.code = code
        self.error = error


class Status(int):
    """How a call without results went: a Code, so `== Code.OK` works; `error` says why in words."""

    error: str

    def __new__(cls, code: int = Code.OK, error: str = "") -> Status:
        status = super().__new__(cls, code)
        status.error = error
        return status

    @property
    def code(self) -> Code:
        return Code(int(self))

    def __repr__(self) -> str:
        return f"Status({self.code.name}, {self.error!r})"


class Granted(int):
    """Milliseconds that a pin was granted, and how the call went as a whole.

    0 with `code` OK: the gateway answered that the token is stale. Else `error` says why in words.
    """

    code: Code
    error: str

    def __new__(cls, ms: int = 0, code: Code = Code.OK, error: str = "") -> Granted:
        granted = super().__new__(cls, ms)
        granted.code = code
        granted.error = error
        return granted

    def __repr__(self) -> str:
        return f"Granted({int(self)}, {self.code.name}, {self.error!r})"


class Reason(IntEnum):
    """Why a key was not loaded or not stored; OK when it was."""

    OK = 0
    NOT_HELD = 1
    NOT_READY = 2
    NOT_SENT = 3
    UNPINNED = 4
    STALE_TOKEN = 5
    CORRUPT = 6
    IO_ERROR = 7
    DEADLINE = 8
    UNAVAILABLE = 9
    REFUSED = 10
    REVOKED = 11
    CHECKSUM = 12
    OVERLOADED = 13
    WRONG_SIZE = 14
    NOT_ADMITTED = 15
    DATA_LOSS = 16
    NO_SPACE = 17
    TIMED_OUT = 18
    TOO_LARGE = 19
    ALREADY_HELD = 20
    INTERNAL = 21
    UNAUTHENTICATED = 22


class BreakerState(IntEnum):
    """Whether calls try the gateway: yes, one of them, or none for now."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Feature(IntEnum):
    DISK_TIER = 1
    DIRECT_IO = 2
    DURABILITY_LOGGED = 3
    DURABILITY_DEVICE = 4
    STAGE = 5
    PIN = 6
    TTL = 7
    PRODUCER_CRC = 8
    GROUPS = 9
    SHARDS = 10
    LOCAL_DOOR = 11


class Match(IntEnum):
    PREFIX = 1
    MEMBERSHIP = 2
    WINDOW = 3


class Tier(IntEnum):
    NONE = 0
    MEMORY = 1
    DISK = 2
    BACKEND = 3
    PEER = 4


class Advice(IntEnum):
    UNKNOWN = 0
    LOAD = 1
    RECOMPUTE = 2


class OfferState(IntEnum):
    UNSPECIFIED = 0
    WANTED = 1
    HELD = 2
    PENDING = 3
    NOT_ADMITTED = 4


class SetMode(IntEnum):
    IF_ABSENT = 1
    OVERWRITE = 2


class Durability(IntEnum):
    DEFAULT = 0
    VOLATILE = 1
    BUFFERED = 2
    LOGGED = 3
    DEVICE = 4


class Limits(NamedTuple):
    """In force at the gateway; all 0 while it was never reached."""

    key_bytes_max: int = 0
    keys_max: int = 0
    lookup_keys_max: int = 0
    pin_ms_max: int = 0
    value_bytes_max: int = 0
    key_list_bytes_max: int = 0
    payload_bytes_max: int = 0
    disk_value_bytes_max: int = 0


class Namespace(NamedTuple):
    """A namespace by this client's own number, good over restarts of the gateway.

    While `available` is False (the gateway was away at open) only `ns` is filled; calls work as
    soon as the gateway is back, and opening the same identity again gives the same number.
    """

    ns: int
    available: bool
    code: Code
    error: str
    limits: Limits = Limits()
    features: frozenset[int] = frozenset()
    root_group_keys: tuple[int, ...] = ()
    identity_digest: bytes = b""
    incarnation: int = 0
    default_durability: Durability = Durability.DEFAULT
    disk_mode: str = ""
    server_version: str = ""


class GroupQuery(NamedTuple):
    """One KV group's whole chain from token 0."""

    group: int
    keys: Sequence[bytes]
    match: int = Match.PREFIX
    window_blocks: int = 0
    block_tokens: int = 0


class GroupHeld(NamedTuple):
    group: int
    first: int
    held: int
    memory_keys: int
    disk_keys: int
    value_bytes: int
    bitmap: bytes = b""  # of a MEMBERSHIP query: a bit a key, least significant first


class LookupResult(NamedTuple):
    """`held` … `value_bytes` are the first query's; `groups` has all of them."""

    code: Code
    held: int = 0
    memory_keys: int = 0
    disk_keys: int = 0
    value_bytes: int = 0
    boundary_tokens: int = 0
    pin_token: int = 0
    pin_ms: int = 0
    predicted_load_ms: float = 0.0
    advice: Advice = Advice.UNKNOWN
    error: str = ""
    groups: tuple[GroupHeld, ...] = ()
    bitmap: bytes = b""  # of the first MEMBERSHIP query; each group has its own


class GetResult(NamedTuple):
    reason: Reason
    tier: Tier
    value_bytes: int
    crc32c: int  # of the bytes, as the gateway stated it


class Hints(NamedTuple):
    prompt_tokens: int = 0
    output_tokens: int = 0
    turn: int = 0
    finished: bool = False


class SetEntry(NamedTuple):
    """`value`: bytes, or pieces [(address, bytes), …] of the caller's memory."""

    key: bytes
    value: bytes | bytearray | memoryview | Sequence[tuple[int, int]]
    producer_crc: int | None = None
    ttl_ms: int = 0


class SetResult(NamedTuple):
    reason: Reason  # OK = stored; ALREADY_HELD is not a failure
    durability: Durability


class OfferResult(NamedTuple):
    code: Code
    states: tuple[OfferState, ...]
    ticket: int
    error: str


class Stats(NamedTuple):
    """Monotone counters of one client; `staging_in_use` is a gauge."""

    calls: int
    retries: int
    reconnects: int
    breaker_opens: int
    loaded_blocks: int
    loaded_bytes: int
    stored_blocks: int
    stored_bytes: int
    verified_blocks: int
    checksum_failures: int
    revoked: int
    misses_by_reason: dict[Reason, int]
    staging_in_use: int
    transport: str  # "local", "grpc", "none" at this moment
    breaker_state: BreakerState  # at this moment
    # Of the last opening: "none", "no_gateway", "no_answer", "failures", "silence".
    breaker_reason: str
