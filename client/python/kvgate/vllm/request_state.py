# SPDX-License-Identifier: Apache-2.0
"""What the scheduler's side knows of one request, and of keys it has seen at the gateway.

Owned by the scheduler's thread.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Claim:
    """A look-up's answer that may still be claimed, and the pin that keeps it true."""

    local_blocks: int  # the engine's own hit when it was made
    held_blocks: int  # leading blocks held, the engine's own counted in
    pin_token: int
    expires: float  # time.monotonic()
    blocks: dict[str, int]  # to load, by tier as looked up
    gateway_ms: float  # the gateway's prediction for them

    def usable(self, local_blocks: int) -> bool:
        """What lies before local_blocks of that time was neither looked up nor pinned."""
        return local_blocks >= self.local_blocks and time.monotonic() < self.expires


@dataclass
class RequestState:
    request: Any
    eligible: bool  # may be looked up and saved at all
    local_blocks: int = 0  # of the last look-up: where external tokens begin
    claim: Claim | None = None
    loading: Loading | None = None
    load_failed: bool = False  # claims nothing any more: a second claim could loop for ever
    next_save: int = 0
    retry_step: int = 0  # no save before this step (staging was full)


@dataclass
class Loading:
    block_ids: list[int]
    first: int
    keys: list[bytes]
    pin_token: int
    source: Any  # vLLM's CacheHitSource
    blocks: dict[str, int]  # by tier as looked up
    forecast_ms: float


@dataclass
class KnownKeys:
    """Keys seen held or sent for saving, so that they are not gathered again. Bounded, LRU.

    Only a hint: a key wrongly known is a block that is not saved, a key forgotten is one saved
    again (the gateway keeps the first).
    """

    limit: int = 1 << 16
    _keys: OrderedDict[bytes, None] = field(default_factory=OrderedDict)

    def __contains__(self, key: bytes) -> bool:
        if key not in self._keys:
            return False
        self._keys.move_to_end(key)
        return True

    def add(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            self._keys[key] = None
            self._keys.move_to_end(key)
        while len(self._keys) > self.limit:
            self._keys.popitem(last=False)

    def discard(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            self._keys.pop(key, None)

    def clear(self) -> None:
        self._keys.clear()
