# SPDX-License-Identifier: Apache-2.0
"""Lists of memory and keys in the forms that the C ABI takes, made without a loop where it counts.

Addresses are the caller's: nothing here keeps the memory alive that they name.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from typing import Any

Pieces = Sequence[tuple[int, int]]
Buffer = bytes | bytearray | memoryview


class PieceTable:
    """Where values lie: for value i its next `counts[i]` rows of `pieces` (address, bytes).

    `pieces` is any writable contiguous buffer of uint64, 2 a row (a numpy array of shape (n, 2),
    an array('Q')); `counts` one of uint32. Both are used in place: a connector prepares the table
    once and changes its numbers.
    """

    __slots__ = ("_counts", "_counts_view", "_pieces", "_pieces_view", "rows", "values")

    def __init__(self, pieces: Any, counts: Any) -> None:
        self._pieces = pieces
        self._counts = counts
        piece_view, count_view = memoryview(pieces), memoryview(counts)
        if not piece_view.c_contiguous or piece_view.itemsize != 8 or piece_view.nbytes % 16:
            raise ValueError("pieces: a contiguous buffer of uint64, 2 a piece, is needed")
        if not count_view.c_contiguous or count_view.itemsize != 4:
            raise ValueError("counts: a contiguous buffer of uint32 is needed")
        self.rows = piece_view.nbytes // 16
        self.values = count_view.nbytes // 4
        named = sum(count_view)
        if named != self.rows:
            raise ValueError(f"counts name {named} pieces, the table has {self.rows}")
        self._pieces_view = _window(pieces, piece_view.nbytes)
        self._counts_view = _window(counts, count_view.nbytes)

    @classmethod
    def of(cls, values: Iterable[Pieces]) -> PieceTable:
        """From [[(address, bytes), …], …]."""
        lists = [list(pieces) for pieces in values]
        flat = array("Q", chain.from_iterable(chain.from_iterable(lists)))
        return cls(flat, array("I", map(len, lists)))

    @property
    def pieces_address(self) -> int:
        return ctypes.addressof(self._pieces_view)

    @property
    def counts_address(self) -> int:
        return ctypes.addressof(self._counts_view)


def _window(buffer: Any, size: int) -> Any:
    """A ctypes view of a writable buffer; holds it."""
    if size == 0:
        return ctypes.c_char()
    return (ctypes.c_char * size).from_buffer(buffer)


class KeyTable:
    """kvgate_bytes[] of keys. Holds a joined copy of them while it lives."""

    __slots__ = ("_blob", "_rows", "count")

    def __init__(self, keys: Sequence[bytes]) -> None:
        blob = b"".join(keys)
        base = bytes_address(blob)
        sizes = array("Q", map(len, keys))
        rows = array("Q", bytes(16 * len(sizes)))
        if len(sizes):
            starts = array("Q", accumulate(sizes, initial=base))
            rows[0::2] = starts[:-1]
            rows[1::2] = sizes
        self._blob = blob
        self._rows = rows
        self.count = len(sizes)

    @property
    def address(self) -> int:
        return self._rows.buffer_info()[0]


def bytes_address(data: bytes) -> int:
    """Where the bytes of an immutable object lie; the caller keeps the object."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


class ValueMemory:
    """Pieces of values given as Python buffers or as address lists; keeps buffers in place."""

    __slots__ = ("_held", "counts", "rows")

    def __init__(self) -> None:
        self._held: list[object] = []
        self.rows = array("Q")
        self.counts: list[int] = []

    def add(self, value: Buffer | Pieces) -> None:
        if isinstance(value, bytes | bytearray | memoryview):
            data = value if isinstance(value, bytes) else bytes(value)
            self._held.append(data)
            self.rows.extend((bytes_address(data), len(data)))
            self.counts.append(1)
            return
        for address, size in value:
            self.rows.extend((address, size))
        self.counts.append(len(value))

    @property
    def address(self) -> int:
        return self.rows.buffer_info()[0]
