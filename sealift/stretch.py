"""A stretch: chunks one behind the other, read as the bytes that they are, from any place."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Protocol

PIECE = 256 << 10
"""Bytes that are handed on at a time."""


class Reads(Protocol):
    """Reads chunks of several releases."""

    def read(self, which: int, number: int, /) -> memoryview:
        """A chunk of one of them, by its number."""


class Stretch:
    """The bytes of a file, or of a part of one."""

    def __init__(self, chunks: Reads, numbers: Sequence[tuple[int, int]], sizes: Sequence[int]) -> None:
        """Take where the bytes come from.

        Args:
            chunks: reads them.
            numbers: for each chunk, which release has it, and its number there.
            sizes: bytes of each.
        """
        self._chunks = chunks
        self._numbers = numbers
        self._ends = list(accumulate(sizes))
        self.size = self._ends[-1] if self._ends else 0
        """Bytes in all."""

    def pieces(self, start: int, size: int) -> Iterator[memoryview]:
        """Yield `size` bytes from `start` on, in pieces of up to `PIECE` bytes; fewer, where the stretch ends.

        Raises:
            IntegrityError: a pack is missing or damaged.
        """
        end = min(start + size, self.size)
        while start < end:
            position = bisect_right(self._ends, start)
            chunk = self._chunks.read(*self._numbers[position])
            place = start - (self._ends[position] - len(chunk))
            piece = chunk[place : min(place + PIECE, place + end - start)]
            start += len(piece)
            yield piece

    def read(self, start: int, size: int) -> bytes:
        """The same in one piece."""
        return b"".join(self.pieces(start, size))
