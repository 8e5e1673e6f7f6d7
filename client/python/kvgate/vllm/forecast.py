# SPDX-License-Identifier: Apache-2.0
"""LoadForecast: how long a load will take, learned from how long loads took.

The gateway predicts what its disk and its memory need; it knows nothing of the copy into the
layers, of checksums on this side, of a socket in between, or of how busy this machine is. So the
forecast is a fixed part and a time a block for each tier, corrected with every load, and never
below what the gateway says.
Promises
 1. A load that was late raises the forecast at once to at least the time that it had, so that the
    next one has more than twice that. One that was in time moves it by a quarter of the error.
 2. A forecast because of which nothing is loaded fades, so that loading is tried again.
Owned by the scheduler's thread.
"""

from __future__ import annotations

from collections.abc import Mapping

FIXED_MS = 1.0  # until it was measured: a thread starts, the interpreter's lock changes hands
PACE = 0.25  # of a load in time
GROWTH_MAX = 4.0  # of one load: a machine that stood still says little about the next load
FADE = 0.9
# Over gRPC a gateway keeps back the time that the answer needs on its way, at this pace: a shorter
# deadline would leave it no time to read anything.
GRPC_BYTES_A_MS = 500e3

Blocks = Mapping[str, int]  # of a load, by tier


class LoadForecast:
    def __init__(self, block_bytes: int, transport: str) -> None:
        self.transport = transport
        self._way_ms = block_bytes / GRPC_BYTES_A_MS if transport == "grpc" else 0.0
        self._fixed = FIXED_MS
        self._block: dict[str, float] = {}  # ms a block, of the tiers that were measured

    def ms(self, blocks: Blocks, gateway_ms: float) -> float:
        """`gateway_ms`: the gateway's own prediction."""
        floor = gateway_ms + self._way_ms * sum(blocks.values())
        return max(floor, sum(self._parts(blocks).values()))

    def learn(self, blocks: Blocks, took_ms: float, late: bool) -> None:
        """`late`: it was cut off then, and would have taken longer."""
        if not any(blocks.values()):
            return
        self._begin(blocks, took_ms)
        parts = self._parts(blocks)
        guess = sum(parts.values())
        ratio = min(took_ms / guess, GROWTH_MAX)
        if late and ratio <= 1:
            return
        # Each part moves by its share, so that long loads teach the blocks and short ones the rest.
        pace = 1.0 if late else PACE
        step = pace * (ratio - 1) * guess / sum(part * part for part in parts.values())
        self._fixed *= 1 + step * parts.pop("")
        for tier, part in parts.items():
            self._block[tier] *= 1 + step * part

    def fade(self) -> None:
        self._block = {tier: ms * FADE for tier, ms in self._block.items()}
        self._fixed *= FADE

    def _parts(self, blocks: Blocks) -> dict[str, float]:
        """Milliseconds by tier; the fixed part under an empty name."""
        known = {tier: self._block[tier] for tier in blocks if tier in self._block}
        return {"": self._fixed} | {tier: ms * blocks[tier] for tier, ms in known.items()}

    def _begin(self, blocks: Blocks, took_ms: float) -> None:
        """What a tier's first load leaves to be explained is its own time."""
        new = {tier: count for tier, count in blocks.items() if count and tier not in self._block}
        if new:
            rest = max(took_ms - sum(self._parts(blocks).values()), 0.1 * took_ms)
            self._block |= {tier: rest / sum(new.values()) for tier in new}
