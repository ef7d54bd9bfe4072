"""Allowances: what a difference may ask of a reader beside what it makes, by the bytes of its new content.

Reading a little of a base costs a whole frame of it, and a frame of one byte may have a reference of 8 MiB. Each
such thing is charged at what it may cost, and all of them together are a fixed multiple of what is made, and some more.
"""

from __future__ import annotations

from collections.abc import Sequence

RATIO = 16
"""How many times the bytes of new content may be charged, beside `SLACK`."""
SLACK = 256 << 20
"""Bytes that may be charged beside that."""
PLACE = 16 << 10
"""Bytes that one place of a base is charged: a run of chunks, or a piece of old material."""
PIECE = 1 << 10
"""Bytes that a piece of material is charged, or a run of chunks that are made."""
CHUNK = 64
"""Bytes that a chunk of the source of old material is charged."""
FREE = 4
"""How many times as large as its frame a reference may be without a charge."""


class Allowance:
    """What is left of it."""

    def __init__(self, new: int) -> None:
        """Begin with that of a difference that brings `new` bytes."""
        self._left = RATIO * new + SLACK

    def grants(self, cost: int) -> bool:
        """Whether so many bytes are left; then they are charged."""
        if cost > self._left:
            return False
        self._left -= cost
        return True


def of_reference(size: int, reference: int, runs: int = 0) -> int:
    """Bytes that a reference is charged.

    Args:
        size: bytes of the frame's content.
        reference: bytes of its reference content.
        runs: how many runs of chunks that is.
    """
    return max(0, reference - FREE * size) + PLACE * runs


def of_recipe(
    makes: Sequence[object],
    pieces: Sequence[object],
    source: Sequence[tuple[int, int, int]],
    old: Sequence[tuple[int, ...]],
) -> int:
    """Bytes that a recipe is charged beside the windows of its frames."""
    chunks = sum(count for _, _, count in source)
    parsed = sum(max(piece[1], piece[-1]) for piece in old if len(piece) == 4)
    return PIECE * (len(makes) + len(pieces)) + CHUNK * chunks + PLACE * (len(source) + len(old)) + parsed
