"""The alphabet of the token form of a deflate stream (RFC 1951), which is text in UTF-8.

A token is one character: a byte that stands for itself, a length, or a distance. A block begins with a character that
no token is, and what its header says. So old and new contents by one encoder are nearly the same text, wherever their
bits lie, and the text is as many bits as the stream no more than sixteen times.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from ..errors import IntegrityError

NUMBERS = "utf-16-le" if sys.byteorder == "little" else "utf-16-be"
"""How a form is encoded to be an array of numbers."""
RATIO = 16
"""How many times as large as its stream a form is at most: two bytes for each bit."""
BLOCKS_FREE, BLOCK_MIN = 64, 512
"""Blocks that any stream may have, and bytes of it for each one more: a block costs tables."""
LENGTH = 0x100
"""The first length: 256 with the extra bits of each symbol in order, and one that has a symbol of its own."""
END = 0x201
"""The end of a block."""
DISTANCE = 0x201
"""What a distance is added to."""
BLOCK = 0x8202
"""The first of the six characters that a block begins with: its type twice, and 1 more for the last one."""
STORED, FIXED, DYNAMIC = 0, 1, 2
"""Types of blocks."""
LITERALS, DISTANCES = 257, 1
"""How many codes a block has at least."""
CODE_MAX = 15
"""Bits of a code at most."""
LENGTH_EXTRA = (0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0)
"""Extra bits of the symbols of lengths, from 257 on."""
DISTANCE_EXTRA = (0, 0, *(number // 2 for number in range(28)))
"""Extra bits of the symbols of distances."""
ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
"""In which order a header has the lengths of the codes that it is written in."""
REPEATS = {16: (2, 3), 17: (3, 3), 18: (7, 11)}
"""The symbols of a header that repeat a length, or none: extra bits, and how often at least."""
FIXED_LENGTHS = ((8,) * 144 + (9,) * 112 + (7,) * 24 + (8,) * 8, (5,) * 32)
"""Bits of the codes of a block of the fixed type."""


def _starts(first: int, extra: Sequence[int]) -> tuple[int, ...]:
    """The first character of each symbol."""
    found = [first]
    for bits in extra[:-1]:
        found.append(found[-1] + (1 << bits))
    return tuple(found)


LENGTH_STARTS = _starts(LENGTH, LENGTH_EXTRA)
"""The first character of each symbol of a length."""
DISTANCE_STARTS = _starts(DISTANCE + 1, DISTANCE_EXTRA)
"""The first character of each symbol of a distance."""


class TokensError(IntegrityError):
    """It is no deflate stream, or no form of one."""

    def __init__(self, said: str) -> None:
        """Say what is wrong."""
        super().__init__(
            f"a compressed file that travels as tokens {said}",
            hint="ask for a bundle that was exported without --small, or for the whole release",
        )


def codes(lengths: Sequence[int]) -> Iterator[tuple[int, str]]:
    """The symbols that have a code, each with its bits (RFC 1951, 3.2.2).

    Args:
        lengths: bits of the code of each symbol, up to `CODE_MAX`; 0 where it has none.

    Raises:
        TokensError: there are more codes than bits for them.
    """
    counts = [0] * (CODE_MAX + 1)
    for length in lengths:
        counts[length] += 1
    counts[0] = code = 0
    following = [0] * (CODE_MAX + 1)
    for length in range(1, CODE_MAX + 1):
        code = (code + counts[length - 1]) << 1
        following[length] = code
        if code + counts[length] > 1 << length:
            raise TokensError("has more codes than bits for them")
    for symbol, length in enumerate(lengths):
        if length:
            yield symbol, f"{following[length]:0{length}b}"
            following[length] += 1


def repeat(lengths: list[int], symbol: int, extra: int, total: int) -> None:
    """Add what a symbol of a header says of the next codes' lengths.

    Raises:
        TokensError: there is nothing before it to repeat, or it says more than `total`.
    """
    if symbol < min(REPEATS):
        lengths.append(symbol)
    elif symbol == min(REPEATS) and not lengths:
        raise TokensError("repeats a code before the first one")
    else:
        lengths += [lengths[-1] if symbol == min(REPEATS) else 0] * (extra + REPEATS[symbol][1])
    if len(lengths) > total:
        raise TokensError("has lengths of more codes than its header says")
