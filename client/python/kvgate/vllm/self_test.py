# SPDX-License-Identifier: Apache-2.0
"""The proof at start that block addresses are right.

Random bytes are put into a few blocks by tensor indexing, gathered through the layout's addresses
into a buffer of ours, scattered through them into other blocks, and compared by tensor indexing,
layer by layer. Needs no gateway; runs before any request; every block gets its old bytes back.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import torch

from kvgate.pieces import PieceTable
from kvgate.vllm.layout import BlockLayout

Gather = Callable[[int, PieceTable], int]  # (target address, pieces) -> crc32c


def check_addresses(layout: BlockLayout, gather: Gather) -> str:
    """Empty when all is well, else what is wrong, with layer and layout."""
    sources, targets = _pick_blocks(layout.num_blocks)
    if not sources:
        return f"{layout.num_blocks} blocks are too few to test the layout"
    ids = sources + targets
    if outside := _outside(layout, ids):
        return outside
    with torch.inference_mode():  # the engine's tensors may be inference tensors
        return _exchange(layout, sources, targets, gather)


def _exchange(layout: BlockLayout, sources: list[int], targets: list[int], gather: Gather) -> str:
    tensors = [layout.tensor(layer) for layer in range(layout.layers)]
    ids = sources + targets
    saved = [tensor[ids].clone() for tensor in tensors]
    try:
        _randomize(tensors, ids)
        expected = [tensor[sources].clone() for tensor in tensors]
        untouched = [tensor[targets].clone() for tensor in tensors]
        buffers = [ctypes.create_string_buffer(layout.value_bytes) for _ in sources]
        for block, buffer in zip(sources, buffers, strict=True):
            gather(ctypes.addressof(buffer), layout.pieces([block]))
        for block, buffer in zip(targets, buffers, strict=True):
            _scatter(layout, block, buffer, gather)
        return _compare(layout, sources, targets, expected, untouched)
    finally:
        for tensor, old in zip(tensors, saved, strict=True):
            tensor[ids] = old


def _pick_blocks(num_blocks: int) -> tuple[list[int], list[int]]:
    """Never block 0, which is vLLM's null block; first, middle and last ones."""
    middle = num_blocks // 2
    ids = sorted({1, 2, middle, middle + 1, num_blocks - 2, num_blocks - 1} - {0})
    ids = [i for i in ids if 0 < i < num_blocks]
    half = len(ids) // 2
    return ids[0::2][:half], ids[1::2][:half]


def _outside(layout: BlockLayout, ids: list[int]) -> str:
    """A wrong address must be found before it is written to."""
    rows = layout.rows(ids).reshape(len(ids), layout.layers, 2).tolist()
    for layer, name in enumerate(layout.layer_names):
        storage = layout.tensor(layer).untyped_storage()
        low, high = storage.data_ptr(), storage.data_ptr() + storage.nbytes()
        for block, pages in zip(ids, rows, strict=True):
            address, size = pages[layer]
            if not low <= address <= address + size <= high:
                return f"layer {name}: block {block} lies outside the tensor's storage"
    return ""


def _randomize(tensors: list[torch.Tensor], ids: list[int]) -> None:
    generator = np.random.default_rng(38)
    for tensor in tensors:
        for block in ids:
            noise = generator.integers(0, 256, tensor[block].nbytes, dtype=np.uint8)
            tensor[block] = torch.from_numpy(noise).view(tensor.dtype).view(tensor[block].shape)


def _scatter(layout: BlockLayout, block: int, buffer: ctypes.Array, gather: Gather) -> None:
    """By the same rows that a load hands to the gateway's client."""
    source = ctypes.addressof(buffer)
    for address, size in layout.rows([block]).tolist():
        gather(address, PieceTable.of([[(source, size)]]))
        source += size


def _compare(
    layout: BlockLayout,
    sources: list[int],
    targets: list[int],
    expected: list[torch.Tensor],
    untouched: list[torch.Tensor],
) -> str:
    for layer, name in enumerate(layout.layer_names):
        tensor = layout.tensor(layer)
        form = f"shape {tuple(tensor.shape)}, stride {tensor.stride()}, {tensor.dtype}"
        if not _same(tensor[sources], expected[layer]):
            return f"layer {name}: a scatter changed other blocks ({form})"
        if not _same(tensor[targets], expected[layer]):
            kept = " (nothing arrived)" if _same(tensor[targets], untouched[layer]) else ""
            return f"layer {name}: gathered and scattered bytes differ{kept} ({form})"
    return ""


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Bit for bit: random bytes hold NaNs, which are equal to nothing."""
    return torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))
