"""Tree differences: a tree travels as the lines that change, and lines of a base's tree that stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

import msgspec

from .errors import IntegrityError, MalformedError
from .listing import ListingBlob, decode_line, lines
from .tree import Entry, side_by_side

KIND = "tree-difference"
_TOGETHER = 256
"""Lines of a tree that are taken at a time."""
_T = TypeVar("_T", bound=msgspec.Struct)

Lines = Callable[[int, str], Iterator[bytes]]
"""The lines of the tree of an artifact in a base, after the heading, by the base's position and the artifact's name.
It raises `MalformedError` where there is no such tree."""


class From(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The line of a tree difference that says which tree is changed."""

    base: int
    artifact: str


class Keep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lines of the former tree that stay."""

    keep: int


class Skip(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lines of the former tree that go."""

    skip: int


class Taken(NamedTuple):
    """Some lines of a tree."""

    lines: Sequence[bytes]
    known: bool
    """Whether they are of the former tree: their own rules were checked when it was admitted."""


def tree_lines(compressed: bytes, blob: ListingBlob, former: Lines, size: int) -> Iterator[Taken]:
    """Yield the lines of a tree, after its heading, as a tree difference gives them. Their rules are not checked.

    Args:
        compressed: the tree difference's file.
        blob: what the signed manifest says of it.
        former: finds the tree that it changes.
        size: bytes of content, without the heading, that the new tree has at most.

    Raises:
        IntegrityError: a digest or a size does not match, or more comes out than `size`.
        MalformedError: it is no tree difference, or does not fit to the base.
    """
    before: Iterator[bytes] = iter(())
    left = size
    for position, line in enumerate(lines(compressed, blob, KIND)):
        if line.startswith(b'{"path"'):
            found = iter((Taken((line,), known=False),))
        elif line.startswith(b'{"keep"'):
            found = (Taken(some, known=True) for some in _take(before, _line(line, Keep).keep))
        elif line.startswith(b'{"skip"'):
            for _ in _take(before, _line(line, Skip).skip):
                pass
            continue
        elif position == 0:
            whose = _line(line, From)
            before = former(whose.base, whose.artifact)
            continue
        else:
            raise MalformedError("a line of a tree difference is malformed")
        for taken in found:
            left -= sum(map(len, taken.lines)) + len(taken.lines)
            if left < 0:
                raise IntegrityError("a tree difference gives a larger tree than the signed manifest says")
            yield taken


def _line(line: bytes, kind: type[_T]) -> _T:
    return decode_line(line, kind, "a line of a tree difference")


def _take(before: Iterator[bytes], count: int) -> Iterator[list[bytes]]:
    """Yield as many of the next lines, some at a time."""
    if count < 1:
        raise MalformedError("a tree difference keeps or skips less than one line")
    while count:
        some = list(islice(before, min(count, _TOGETHER)))
        if not some:
            raise MalformedError("a tree difference keeps or skips more lines than the former tree has")
        count -= len(some)
        yield some


def edits(olds: Iterator[Entry], news: Iterator[Entry]) -> Iterator[Keep | Skip | Entry]:
    """Yield what makes one tree of another. Both are walked in step, so that memory does not grow with them."""
    kept = skipped = 0
    for left, right in side_by_side(_paths(olds), _paths(news)):
        old, new = left[1] if left else None, right[1] if right else None
        if old is not None and old == new:
            if skipped:
                yield Skip(skipped)
                skipped = 0
            kept += 1
            continue
        if kept:
            yield Keep(kept)
            kept = 0
        if old is not None:
            skipped += 1
        if new is not None:
            if skipped:
                yield Skip(skipped)
                skipped = 0
            yield new
    if kept:
        yield Keep(kept)


def _paths(entries: Iterator[Entry]) -> Iterator[tuple[str, Entry]]:
    return ((entry.path, entry) for entry in entries)
