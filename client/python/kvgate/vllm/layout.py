# SPDX-License-Identifier: Apache-2.0
"""BlockLayout: where the bytes of a block lie in the layers' tensors.

A block's value is the pages of its group's layers, in the order of kv_cache_config (the order in
the identity). A page is opaque and whole: block b of a layer is the contiguous run of
page_bytes(layer) at data_ptr + b * stride(0) * itemsize. The stride is the tensor's own, because
packed layouts put all layers of a block side by side.
Immutable and thread-safe; holds the tensors, so that addresses stay valid.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from kvgate.errors import tagged
from kvgate.pieces import PieceTable

HUGE_PAGE_BYTES = 2 << 20
MADV_HUGEPAGE = 14


class LayoutError(ValueError):
    """The tensors are not of a form that can be addressed by block; names the layer."""

    def __init__(self, text: str) -> None:
        super().__init__(tagged("KVG607", text))


class BlockLayout:
    def __init__(
        self, tensors: Mapping[str, torch.Tensor], layer_names: Sequence[str], num_blocks: int
    ) -> None:
        missing = [name for name in layer_names if name not in tensors]
        if missing or not layer_names:
            raise LayoutError(f"layer {missing[0] if missing else '(none)'} has no KV-cache tensor")
        self.layer_names = tuple(layer_names)
        self.num_blocks = num_blocks
        self._tensors = [tensors[name] for name in layer_names]
        for name, tensor in zip(self.layer_names, self._tensors, strict=True):
            _check(name, tensor, num_blocks)
        self._bases = np.array([t.data_ptr() for t in self._tensors], dtype=np.uint64)
        self._strides = np.array([block_stride(t) for t in self._tensors], dtype=np.uint64)
        self._pages = np.array([t[0].nbytes for t in self._tensors], dtype=np.uint64)
        self.value_bytes = int(self._pages.sum())

    @property
    def layers(self) -> int:
        return len(self.layer_names)

    @property
    def tensors(self) -> Sequence[torch.Tensor]:
        return self._tensors

    def tensor(self, layer: int) -> torch.Tensor:
        return self._tensors[layer]

    def page_bytes(self, layer: int) -> int:
        return int(self._pages[layer])

    def rows(self, block_ids: Sequence[int]) -> np.ndarray:
        """uint64 [blocks * layers, 2]: address and bytes of each page, block by block."""
        ids = np.asarray(block_ids, dtype=np.uint64)
        if ids.size and not 0 < int(ids.min()) <= int(ids.max()) < self.num_blocks:
            raise LayoutError(f"block id out of 1 ... {self.num_blocks - 1}: {list(block_ids)}")
        rows = np.empty((ids.size, self.layers, 2), dtype=np.uint64)
        rows[:, :, 0] = self._bases + ids[:, None] * self._strides
        rows[:, :, 1] = self._pages
        return rows.reshape(-1, 2)

    def pieces(self, block_ids: Sequence[int]) -> PieceTable:
        """One value a block."""
        counts = np.full(len(block_ids), self.layers, dtype=np.uint32)
        return PieceTable(self.rows(block_ids), counts)


def block_stride(tensor: torch.Tensor) -> int:
    """Bytes from one block to the next."""
    return tensor.stride(0) * tensor.element_size()


def advise_huge_pages(tensors: Iterable[torch.Tensor]) -> int:
    """Asks for huge pages below CPU tensors; the bytes that the kernel agreed to.

    An engine's KV cache is touched for the first time by what is put into it, and a load that
    faults once in 4 KiB takes several times as long as its copy. Nothing depends on the advice.
    """
    libc = ctypes.CDLL(None)
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    agreed = 0
    for start, size in storages.items():
        first = -(-start // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES
        length = (start + size - first) // HUGE_PAGE_BYTES * HUGE_PAGE_BYTES
        advice = (ctypes.c_void_p(first), ctypes.c_size_t(max(0, length)), MADV_HUGEPAGE)
        if length > 0 and libc.madvise(*advice) == 0:
            agreed += length
    return agreed


def _check(name: str, tensor: torch.Tensor, num_blocks: int) -> None:
    if tensor.device.type != "cpu":
        raise LayoutError(f"layer {name}: KV cache on {tensor.device}, only cpu is supported")
    if tensor.dim() < 2 or tensor.shape[0] != num_blocks:
        raise LayoutError(f"layer {name}: shape {tuple(tensor.shape)} for {num_blocks} blocks")
    if not tensor[0].is_contiguous():
        raise LayoutError(f"layer {name}: a block of strides {tensor.stride()} is not contiguous")
