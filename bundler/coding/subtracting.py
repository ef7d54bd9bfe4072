"""Subtracting: what becomes of the old content where a new one stands at other places in it (`sealift.subtraction`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sealift.addition import LONG
from sealift.subtraction import INSTRUCTIONS_MAX

from .alignment import Alignment, Octets, Places, align

_SHORT = 64
"""Bytes of content for each instruction at least: with more of them, the contents have little in common."""


class Subtraction(NamedTuple):
    """The four streams."""

    instructions: bytes
    gaps: bytes
    values: bytes
    literals: bytes


def subtract(new: bytes, old: bytes) -> Subtraction | None:
    """The streams that make `new` of `old`; None where the two have little in common.

    Args:
        new: up to 8 MiB of content.
        old: the reference content, up to 8 MiB.
    """
    found = align(new, old)
    if found is None:
        return None
    kept = found.ends > found.starts
    found = Alignment(starts=found.starts[kept], ends=found.ends[kept], shifts=found.shifts[kept])
    if not 0 < len(found.starts) <= len(new) // _SHORT:
        return None
    instructions = _instructions(found)
    if len(instructions) > INSTRUCTIONS_MAX:
        return None
    differences, literals = _taken(new, old, found)
    changed = np.flatnonzero(differences)
    return Subtraction(
        instructions=instructions,
        gaps=_gaps(changed),
        values=differences[changed].tobytes(),
        literals=b"".join(literals),
    )


def _instructions(found: Alignment) -> bytes:
    moves = np.diff(found.shifts, prepend=0)
    literals = found.starts - np.append(0, found.ends[:-1])
    signed = np.where(moves < 0, -2 * moves - 1, 2 * moves)
    return b"".join(map(_number, np.stack((literals, found.ends - found.starts, signed), 1).ravel().tolist()))


def _number(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def _taken(new: bytes, old: bytes, found: Alignment) -> tuple[Octets, list[bytes]]:
    """What must be added to each byte of what is taken, and the literals."""
    differences = np.zeros(len(new), np.uint8)
    octets, former = np.frombuffer(new, np.uint8), np.frombuffer(old, np.uint8)
    literals = []
    done = 0
    for start, end, shift in _ranges(found):
        np.subtract(octets[start:end], former[start + shift : end + shift], out=differences[start:end])
        literals.append(new[done:start])
        done = end
    literals.append(new[done:])
    return differences, literals


def _ranges(found: Alignment) -> Iterator[tuple[int, int, int]]:
    return zip(found.starts.tolist(), found.ends.tolist(), found.shifts.tolist(), strict=True)


def _gaps(changed: Places) -> bytes:
    """The gaps before each of the places, in bytes of which 255 stands for a part of a longer one."""
    gaps = np.diff(changed, prepend=-1) - 1
    long = gaps // LONG
    content = np.full(len(gaps) + int(long.sum()), LONG, np.uint8)
    content[np.cumsum(long + 1) - 1] = gaps % LONG
    return content.tobytes()
