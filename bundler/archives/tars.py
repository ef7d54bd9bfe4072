"""Tars: where the members of a layer lie, so that each is compressed against its own old version.

Read as they flow by, by their headers (POSIX.1-2017, pax, "ustar Interchange Format"; GNU's long names). What is said
is believed for nothing but a first look: what is strange ends the list, and costs some compression.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

MEMBERS_MAX = 1 << 18
"""Members that are noted of a tar at most."""
_BLOCK = 512
_EXTENDED_MAX = 64 << 10
"""Bytes of a pax header or of a long name that are read at most."""
_NAME_MAX = 512
"""Bytes of a name that are kept; of a longer one its digest is."""
_SIZE = slice(124, 136)
_DIGEST = re.compile(rb"[0-9a-f]{8,}")
_DIGITS = re.compile(rb"[0-9]+(?:\.[0-9]+)*")
_ALIKE: tuple[Callable[[bytes], bytes], ...] = (
    lambda name: name,
    lambda name: _DIGITS.sub(b"#", name),
    lambda name: _DIGITS.sub(b"#", _DIGEST.sub(b"#", name)),
)
"""What names of two versions of a file have in common, the likeliest first."""


class Member(NamedTuple):
    """A member with the headers before it and what fills it up."""

    name: bytes
    start: int
    end: int


def members(content: Iterable[bytes | memoryview]) -> list[Member]:
    """The members of a tar, in order; none of what is no tar.

    Args:
        content: all of it, in pieces; not all of them are read.
    """
    found: list[Member] = []
    flow = _Flow(content)
    start, longer = 0, b""
    while len(found) < MEMBERS_MAX:
        header = flow.take(_BLOCK)
        if len(header) < _BLOCK or header[257:262] != b"ustar":
            break
        try:
            size = int(header[_SIZE].rstrip(b"\0 ") or b"0", 8)
        except ValueError:
            break
        kind = header[156:157]
        filled = -(-size // _BLOCK) * _BLOCK
        if kind in (b"x", b"L"):
            said = flow.take(min(size, _EXTENDED_MAX))
            flow.skip(filled - len(said))
            longer = said.rstrip(b"\0") if kind == b"L" else _path(said) or longer
            continue
        if kind in (b"1", b"2", b"3", b"4", b"5", b"6"):
            filled = 0
        flow.skip(filled)
        if kind not in (b"g", b"K"):
            prefix = header[345:500].rstrip(b"\0") if header[257:263] == b"ustar\0" else b""
            name = longer or (prefix + b"/" if prefix else b"") + header[:100].rstrip(b"\0")
            found.append(Member(name if len(name) <= _NAME_MAX else sha256(name).digest(), start, flow.place))
            start, longer = flow.place, b""
    return found


def _path(said: bytes) -> bytes:
    """The path of a pax header, whose records begin with their lengths; nothing where it has none."""
    while said:
        length = int(digits) if (digits := said[:20].partition(b" ")[0]).isdigit() else 0
        if not 0 < length <= len(said):
            return b""
        keyword, _, value = said[len(digits) + 1 : length - 1].partition(b"=")
        if keyword == b"path":
            return value
        said = said[length:]
    return b""


def pairs(new: Sequence[Member], old: Sequence[Member]) -> list[tuple[int, int, int, int]]:
    """Start and size of each member, and of its old version, as far as both come in the same order.

    Members of the same name come first. Between them, those whose names differ in digits alone, then in digests.
    """
    return [
        (left.start, left.end - left.start, right.start, right.end - right.start)
        for left, right in _matched(new, old, _ALIKE)
    ]


def _matched(
    new: Sequence[Member], old: Sequence[Member], alike: Sequence[Callable[[bytes], bytes]]
) -> Iterator[tuple[Member, Member]]:
    if not new or not old or not alike:
        return
    known: dict[bytes, int] = {}
    for position, each in enumerate(old):
        known.setdefault(alike[0](each.name), position)
    found = [(number, known.get(alike[0](each.name), -1)) for number, each in enumerate(new)]
    begin = former = 0
    for number, position in _rising([each for each in found if each[1] >= 0]):
        yield from _matched(new[begin:number], old[former:position], alike[1:])
        yield new[number], old[position]
        begin, former = number + 1, position + 1
    yield from _matched(new[begin:], old[former:], alike[1:])


def _rising(matched: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The longest part of a list whose positions rise (patience sorting)."""
    tops: list[int] = []
    ends: list[int] = []
    before = [-1] * len(matched)
    for number, (_, position) in enumerate(matched):
        pile = bisect_left(tops, position)
        tops[pile : pile + 1] = [position]
        ends[pile : pile + 1] = [number]
        before[number] = ends[pile - 1] if pile else -1
    chosen = []
    number = ends[-1] if ends else -1
    while number >= 0:
        chosen.append(matched[number])
        number = before[number]
    return reversed(chosen)


class _Flow:
    """Content, of which bytes are taken or skipped."""

    def __init__(self, content: Iterable[bytes | memoryview]) -> None:
        self._content = iter(content)
        self._rest = memoryview(b"")
        self.place = 0
        """Bytes that are gone."""

    def take(self, size: int) -> bytes:
        """The next bytes; fewer where there are no more."""
        return b"".join(self._gone(size))

    def skip(self, size: int) -> None:
        """Pass the next bytes."""
        for _ in self._gone(size):
            pass

    def _gone(self, size: int) -> Iterator[memoryview]:
        while size > 0:
            if not self._rest:
                piece = next(self._content, None)
                if piece is None:
                    return
                self._rest = memoryview(piece)
            part = self._rest[:size]
            self._rest = self._rest[len(part) :]
            self.place += len(part)
            size -= len(part)
            yield part
