"""Forms: members as tokens (see `sealift.tokens`), parsed once and kept in a scratch folder.

A form comes with marks: where in it the bits of each block of the stream are. So what a tar says of its members
tells where these are in the form, about.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from sealift.deflating import PIECE, Inflation
from sealift.durable import storing
from sealift.stretch import Stretch
from sealift.tokens.alphabet import TokensError
from sealift.tokens.parsing import Parsing
from sealift.tokens.writing import Tokens

TOKENS = Tokens()
_FED = 32 << 10
"""Bytes of a stream that are inflated at a time, where places in it are noted."""
Mark = tuple[int, int]
"""A place, and the same one in what is made of it."""


class Form(NamedTuple):
    """The token form of a member."""

    place: Path
    size: int
    marks: Sequence[Mark]
    """Places in the deflated stream and in the form, both rising."""


class Forms:
    """The forms of an archive and its old version; as a context, none of their files stays."""

    def __init__(self, folder: Path) -> None:
        """Keep them in a folder of which other processes use other names."""
        self._folder = folder
        self._made: list[Path] = []

    def __enter__(self) -> Forms:
        return self

    def __exit__(self, *_: object) -> None:
        for place in self._made:
            with storing(place):
                place.unlink(missing_ok=True)

    def of(self, file: Stretch, start: int, deflated: int) -> Form | None:
        """Parse a member; None where it is no deflate stream that may travel so.

        Raises:
            IntegrityError: a pack of the depot is damaged.
            StoreError: the disk refuses.
        """
        place = self._folder / f"tokens.{os.getpid()}.{len(self._made)}"
        self._made.append(place)
        marks: list[Mark] = []
        size = 0
        parsing = Parsing(file.pieces(start, deflated))
        try:
            with storing(place), place.open("xb") as out:
                for piece in parsing:
                    if not marks or marks[-1][0] < parsing.taken:
                        marks.append((parsing.taken, size))
                    size += out.write(piece)
        except TokensError:
            return None
        return Form(place, size, [*marks, (deflated, size)])

    def proved(self, file: Stretch, start: int, deflated: int) -> Form | None:
        """The same, but for a form that does not give the very stream again.

        Raises:
            IntegrityError: a pack of the depot is damaged.
            StoreError: the disk refuses.
        """
        form = self.of(file, start, deflated)
        if form is None:
            return None
        made = 0
        try:
            for out in TOKENS.deflate(read(form), deflated, self._folder):
                if out != file.read(start + made, len(out)):
                    return None
                made += len(out)
        except TokensError:
            return None
        return form if made == deflated else None


def read(form: Form) -> Iterator[bytes]:
    """Yield a form, in pieces.

    Raises:
        StoreError: the disk refuses.
    """
    with storing(form.place), form.place.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


class Places:
    """Where in the form of a member its content is, about."""

    def __init__(self, form: Form, file: Stretch, start: int, deflated: int) -> None:
        self._form = form
        self._stream = file.pieces(start, deflated)
        self._marks: list[Mark] = [(0, 0)]

    def content(self, size: int) -> Iterator[bytes]:
        """Yield the content, and note where it comes from; only of what was yielded places are known.

        Raises:
            zlib.error: it is no deflate stream.
        """
        inflation = Inflation(
            (piece[at : at + _FED] for piece in self._stream for at in range(0, len(piece), _FED)), size
        )
        place = 0
        for content in inflation:
            place += len(content)
            if self._marks[-1][1] == inflation.taken:
                self._marks.pop()
            self._marks.append((place, inflation.taken))
            yield content

    def of(self, place: int) -> int:
        """Where in the form a place of the content is."""
        return _between(self._form.marks, _between(self._marks, place))

    def size(self, place: int, size: int) -> int:
        """Bytes of the form that a part of the content is, at least 1."""
        return max(1, self.of(place + size) - self.of(place))


def _between(marks: Sequence[Mark], place: int) -> int:
    position = bisect_right(marks, place, key=itemgetter(0))
    if position == len(marks):
        return marks[-1][1]
    (begin, first), (end, last) = marks[position - 1], marks[position]
    return first + (place - begin) * (last - first) // (end - begin)
