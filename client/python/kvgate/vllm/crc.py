# SPDX-License-Identifier: Apache-2.0
"""CRC32C of values one after the other, from their own CRCs: one call over all of them checks all.

Each call into the library gives the interpreter's lock away and waits to get it back, which costs
more than the checksum of a block. Immutable and thread-safe.
"""

from __future__ import annotations

from collections.abc import Iterable

POLYNOMIAL = 0x82F63B78  # reflected

Matrix = list[int]  # over GF(2): column i is the image of bit i


class JoinedCrc32c:
    def __init__(self, value_bytes: int) -> None:
        """For values of one size."""
        self._append = _append_zero_bytes(value_bytes)

    def of(self, crcs: Iterable[int]) -> int:
        joined = 0
        for crc in crcs:
            joined = _times(self._append, joined) ^ crc
        return joined


def _append_zero_bytes(count: int) -> Matrix:
    """What a CRC becomes when that many zero bytes follow."""
    power: Matrix = [POLYNOMIAL] + [1 << bit for bit in range(31)]  # one zero bit
    for _ in range(3):
        power = _product(power, power)  # one zero byte
    result: Matrix = [1 << bit for bit in range(32)]
    while count:
        if count & 1:
            result = _product(power, result)
        power = _product(power, power)
        count >>= 1
    return result


def _product(a: Matrix, b: Matrix) -> Matrix:
    return [_times(a, column) for column in b]


def _times(matrix: Matrix, vector: int) -> int:
    total = 0
    for column in matrix:
        if vector & 1:
            total ^= column
        vector >>= 1
    return total
