"""Alignment: which ranges of a new content stand, more or less, at which places of an old one.

In a program that was built anew the same code has moved, and the addresses in it have other bytes. So what is the
same lies on *diagonals*, places where new and old are apart by the same number of bytes, with single bytes that
differ. They are found so:

1. Windows of eight bytes are sampled from the old content into a table, and some windows of the new one are looked up
   there. Windows that are found, and lie on one diagonal with nothing found on another in between, are a run.
2. A short run counts only where the diagonals of the long runs beside it match much worse: what comes again
   everywhere, such as padding, would else make a run in each place.
3. What lies between two runs goes to the one before up to some byte, and to the one behind from some byte on: those
   bytes that give most matches less mismatches, as in bsdiff (Percival, Naive differences of executable code, 2003).

All is done on whole arrays. Memory is some 20 bytes for each byte of the new content.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Places: TypeAlias = npt.NDArray[np.int64]
Octets: TypeAlias = npt.NDArray[np.uint8]

_WINDOW = 8
_STRIDE, _STEP = 5, 3
"""Bytes from one window to the next, of those of the old content that are sampled, and of those of the new one that are
looked up. They have no common divisor, so that whatever is the same for 22 bytes (5 * 3 + 8 - 1) has one of both."""
_TABLE_BITS_MIN, _TABLE_BITS = 10, 20
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""Spreads the windows over the table: 2^64 by the golden ratio (Knuth, The art of computer programming, 6.4)."""
_ONES = np.uint64(0x0101010101010101)
_BLOCK = 32 << 10
"""Windows that are looked up at a time: what is computed of them stays in the processor's cache."""
_LONG = 64
"""Bytes of a run that counts whatever lies beside it."""
_BETTER = 8
"""Bytes that a short run must match more than the diagonals beside it."""
_NEAR = 512
"""Bytes between two runs up to which gaps are looked at all at once; wider ones are few."""
_OUTSIDE = -4
"""The score of a byte that a diagonal has no old byte for; one that matches has 1, another one -1."""


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Ranges of the new content, ascending and apart, each with what is added to a place to have the old place."""

    starts: Places
    ends: Places
    shifts: Places


def align(new: bytes, old: bytes) -> Alignment | None:
    """Align a content of up to 8 MiB with another one; None where they have nothing in common.

    Args:
        new: what is to be made.
        old: what it is made of.
    """
    if min(len(new), len(old)) < _WINDOW * 2:
        return None
    runs = _runs(new, old)
    if runs is None:
        return None
    octets = np.frombuffer(new, np.uint8), np.frombuffer(old, np.uint8)
    for _ in range(2):
        runs = _without_stray(runs, *octets)
    return _extended(runs, *octets)


def _windows(content: bytes) -> npt.NDArray[np.uint64]:
    """The windows of a content, one at each byte; they overlap."""
    return np.ndarray((len(content) - _WINDOW + 1,), dtype="<u8", buffer=content, strides=(1,))


def _slots(windows: npt.NDArray[np.uint64], bits: int) -> Places:
    """Where windows stand in a table of 2^bits places."""
    products = windows * _MULTIPLIER
    products >>= np.uint64(64 - bits)
    return products.view(np.int64)


def _runs(new: bytes, old: bytes) -> Alignment | None:
    """Runs of windows that are found on one diagonal."""
    sampled = _windows(old)[::_STRIDE].copy()
    bits = min(max(len(sampled).bit_length() + 1, _TABLE_BITS_MIN), _TABLE_BITS)
    table = np.zeros(1 << bits, np.int32)
    table[_slots(sampled, bits)] = np.arange(len(sampled), dtype=np.int32)
    sought = _windows(new)[::_STEP]
    found = [_found(sought[start : start + _BLOCK], start, sampled, table) for start in range(0, len(sought), _BLOCK)]
    places, shifts = (np.concatenate(each) for each in zip(*found, strict=True))
    if not len(places):
        return None
    first = np.flatnonzero(_changes(shifts))
    last = np.append(first[1:], len(shifts)) - 1
    return _apart(places[first], places[last] + _WINDOW, shifts[first])


def _found(
    sought: npt.NDArray[np.uint64], start: int, sampled: npt.NDArray[np.uint64], table: npt.NDArray[np.int32]
) -> tuple[Places, Places]:
    """The places of windows that the old content has, and how far the old place is from each."""
    windows = sought.copy()
    slots = table.take(_slots(windows, len(table).bit_length() - 1), mode="clip")
    here = np.flatnonzero(sampled.take(slots, mode="clip") == windows)
    held = windows.take(here, mode="clip")
    here = here[held != (held & np.uint64(0xFF)) * _ONES]
    places = (here + start) * _STEP
    return places, slots.take(here, mode="clip").astype(np.int64) * _STRIDE - places


def _changes(values: Places) -> npt.NDArray[np.bool_]:
    return np.concatenate(([True], values[1:] != values[:-1]))


def _apart(starts: Places, ends: Places, shifts: Places) -> Alignment:
    """Runs that end where the next one starts, at the latest."""
    return Alignment(starts=starts, ends=np.minimum(ends, np.append(starts[1:], ends[-1:])), shifts=shifts)


def _without_stray(runs: Alignment, new: Octets, old: Octets) -> Alignment:
    """Leave out short runs that the diagonals beside them match as well."""
    lengths = runs.ends - runs.starts
    is_long = lengths >= _LONG
    if not is_long.any():
        is_long = lengths == lengths.max()
    long, short = np.flatnonzero(is_long), np.flatnonzero(~is_long & (lengths >= _WINDOW))
    kept = is_long
    if len(short):
        behind = np.searchsorted(long, short)
        sizes = lengths[short]
        spread = _spread(runs.starts[short], sizes)
        content = new[spread]
        begins = np.cumsum(sizes) - sizes
        best: Any = 0
        for beside in (np.maximum(behind - 1, 0), np.minimum(behind, len(long) - 1)):
            sources = spread + np.repeat(runs.shifts[long[beside]], sizes)
            same = old.take(sources, mode="clip") == content
            best = np.maximum(best, np.add.reduceat(same, begins, dtype=np.int64))
        kept = is_long.copy()
        kept[short[best < sizes - _BETTER]] = True
    starts, ends, shifts = runs.starts[kept], runs.ends[kept], runs.shifts[kept]
    first = np.flatnonzero(_changes(shifts))
    last = np.append(first[1:], len(shifts)) - 1
    return _apart(starts[first], ends[last], shifts[first])


def _spread(starts: Places, lengths: Places) -> Places:
    """All places of ranges, one range behind the other."""
    ends = np.cumsum(lengths)
    places: Places = np.arange(ends[-1]) + np.repeat(starts - (ends - lengths), lengths)
    return places


def _extended(runs: Alignment, new: Octets, old: Octets) -> Alignment:
    """Give what lies between runs to the one or the other of them, or to none."""
    nowhere = np.array([len(old) + len(new)])
    begins, ends = np.append(0, runs.ends), np.append(runs.starts, len(new))
    before, behind = np.append(nowhere, runs.shifts), np.append(runs.shifts, nowhere)
    lengths = ends - begins
    lefts, rights = np.zeros_like(lengths), np.zeros_like(lengths)
    near = np.flatnonzero((lengths <= _NEAR) & (lengths > 0))
    if len(near):
        lefts[near], rights[near] = _split(begins[near], lengths[near], before[near], behind[near], new, old)
    for gap in np.flatnonzero(lengths > _NEAR).tolist():
        place = int(begins[gap]), int(ends[gap])
        lefts[gap], rights[gap] = _split_wide(*place, int(before[gap]), int(behind[gap]), new, old)
    return Alignment(starts=runs.starts - rights[:-1], ends=runs.ends + lefts[1:], shifts=runs.shifts)


def _split_wide(begin: int, end: int, before: int, behind: int, new: Octets, old: Octets) -> tuple[int, int]:
    """The same as `_split` for one gap."""
    content = new[begin:end]
    # How far each diagonal has old bytes.
    from_left = max(0, min(end, len(old) - before) - begin) if begin + before >= 0 else 0
    from_right = max(0, end - max(begin, -behind)) if end + behind <= len(old) else 0
    left = _ascent(content[:from_left] == old[begin + before : begin + before + from_left])
    right = _ascent((content[len(content) - from_right :] == old[end + behind - from_right : end + behind])[::-1])
    most_left, most_right = int(left.argmax()), int(right.argmax())
    size = end - begin
    if most_left + most_right <= size:
        return most_left, most_right
    first = size - most_right
    both = left[first : most_left + 1] + right[size - most_left : most_right + 1][::-1]
    point = first + int(both.argmax())
    return point, size - point


def _ascent(same: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """The score of the first bytes, by how many they are: matches less mismatches."""
    sums = np.zeros(len(same) + 1, np.int32)
    np.cumsum(same.view(np.int8) * np.int8(2) - np.int8(1), dtype=np.int32, out=sums[1:])
    return sums


def _split(
    begins: Places, lengths: Places, before: Places, behind: Places, new: Octets, old: Octets
) -> tuple[Places, Places]:
    """How many bytes at the start and at the end of each gap go to the diagonals before and behind it."""
    points = lengths + 1
    firsts = np.cumsum(points) - points
    index = np.arange(points.sum()) - np.repeat(firsts, points)
    places = index + np.repeat(begins, points)
    content = new.take(places, mode="clip")
    left = _sums(places, content, np.repeat(before, points), old)
    right = _sums(places, content, np.repeat(behind, points), old)
    left -= np.repeat(left[firsts], points)
    right = np.repeat(right[firsts + lengths], points) - right
    radix = 2 * _NEAR + 2
    lead = np.maximum.reduceat(left * radix + (radix - 1 - index), firsts)
    most_left = radix - 1 - lead % radix
    most_right = np.maximum.reduceat(right * radix + index, firsts) % radix
    inside = (index >= np.repeat(most_right, points)) & (index <= np.repeat(most_left, points))
    both = np.where(inside, (left + right) * radix + (radix - 1 - index), np.iinfo(np.int64).min)
    point = radix - 1 - np.maximum.reduceat(both, firsts) % radix
    crossing = most_left > most_right
    return np.where(crossing, point, most_left), lengths - np.where(crossing, point, most_right)


def _sums(places: Places, content: Octets, shifts: Places, old: Octets) -> Places:
    """The scores of a diagonal at each place, summed up to before it."""
    sources = places + shifts
    scores = np.where(old.take(sources, mode="clip") == content, np.int8(1), np.int8(-1))
    scores[(sources < 0) | (sources >= len(old))] = _OUTSIDE
    sums = np.cumsum(scores, dtype=np.int64)
    return sums - scores
