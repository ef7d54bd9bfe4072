"""Proving: in which way zlib deflates a member to the very bytes that it has, found by doing it.

The ways that programs use come first, and what fitted in the same archive before them all. A wrong way mostly shows
in the first block. Content goes through in pieces, so a large member needs no memory. A gzip file that zlib does not
give may be one of a rebuilder, which shows in its first two megabytes. What nothing gives may travel as tokens, where
that is wanted: it takes long.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from sealift.deflating import Inflation, Way
from sealift.errors import StoreError
from sealift.rebuilder import Rebuilder, RebuilderError
from sealift.recipe import RATIO, SLACK, fit_for_rebuilder
from sealift.stretch import Stretch
from sealift.tokens.writing import Tokens

from .archives import Unit
from .forms import TOKENS, Form, Forms

WAYS = tuple(Way(level, 8, 0, 15) for level in (6, 9, 1, 5, 7, 8, 4, 3, 2)) + tuple(
    Way(level, 9, 0, 15) for level in (6, 9, 1)
)
"""What is tried: all levels of zlib with the memory that most programs give it, and those that programs mostly ask for
with the most memory, whose first block is so long that it takes a while to see that they do not fit."""
QUICK_WAYS = WAYS[:2]
"""What is tried where speed counts for more than size."""
MISSES = 12
"""Members of an archive that no way fits, from which on only ways that fitted before are tried."""
TOKENS_MIN = 256
"""Bytes of a deflated member that is worth to be taken apart into tokens."""
_BEGINNING = 2 << 20
"""Bytes of content by which a rebuilder is known: whole blocks of all encoders."""
_SLICE = 32 << 10
"""Bytes of content that are deflated at a time until the first block comes out: that shows most of the wrong ways."""
_HEADERS = (b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"\x1f\x8b\x08\0\0\x09\x6e\x88\0\xff")
"""What the gzip files of rebuilders begin with: no name, and no time or the one that Go has for none."""
_END = 32
"""Bytes at the end of what a rebuilder makes of a beginning that say that it ends."""


class Programs(NamedTuple):
    """What may have deflated a member: the rebuilders of this machine, and where they work, and zlib in some ways."""

    relied: tuple[Rebuilder, ...] = ()
    """Those that all the sites have too."""
    others: tuple[Rebuilder, ...] = ()
    room: Path = Path()
    """A folder that does not exist."""
    ways: tuple[Way, ...] = WAYS


class Proof(NamedTuple):
    """How a member comes back, proved by doing it."""

    way: Way | Rebuilder | Tokens
    size: int
    """Bytes of material that it is made of."""
    form: Form | None = None
    """The member as tokens, where that is its way."""


class Prover:
    """Proves the members of one archive."""

    def __init__(self, file: Stretch, programs: Programs, forms: Forms | None = None) -> None:
        self._file = file
        self._forms = forms
        self._programs = programs
        self._fitted: list[Way] = []
        self._misses = 0
        self.missed: Rebuilder | None = None
        """A rebuilder that seems to have made the archive, and that the sites are not known to have."""
        self.left = 0
        """Bytes of members that travel as they are, and would not if forms were wanted."""

    def way(self, unit: Unit, former: Unit | None = None) -> Proof | None:
        """How a member comes back; None where nothing gives its bytes, or it would be no member for a recipe.

        Args:
            unit: the member.
            former: its old version: without one, tokens gain nothing.

        Raises:
            IntegrityError: a pack of the depot is damaged.
            StoreError: the disk refuses a rebuilder's files.
        """
        if not unit.deflated or not 0 < unit.size <= RATIO * unit.deflated + SLACK:
            return None
        if way := self._zlib(unit) or self._rebuilder(unit):
            return Proof(way, unit.size)
        if former is None or not former.deflated or unit.deflated < TOKENS_MIN:
            return None
        if self._forms is None:
            self.left += 0 if self.missed or self._programs.ways == QUICK_WAYS else unit.deflated
            return None
        form = self._forms.proved(self._file, unit.body, unit.deflated)
        return Proof(TOKENS, form.size, form) if form else None

    def _rebuilder(self, unit: Unit) -> Rebuilder | None:
        if unit.start or unit.end != self._file.size or not fit_for_rebuilder(unit.size, unit.deflated):
            return None
        if unit.body != len(_HEADERS[0]) or self._file.read(0, unit.body) not in _HEADERS:
            return None
        for each in self._programs.relied:
            if self._begins(unit, each) and self._gives(unit, each):
                return each
        self.missed = next((each for each in self._programs.others if self._begins(unit, each)), None)
        return None

    def _begins(self, unit: Unit, rebuilder: Rebuilder) -> bool:
        """Whether a rebuilder gives the beginning of a member."""
        beginning = Inflation(self._file.pieces(unit.body, unit.deflated), min(unit.size, _BEGINNING))
        try:
            made = b"".join(rebuilder.deflate(beginning, unit.deflated, self._programs.room))
        except (RebuilderError, StoreError, zlib.error):
            return False
        compared = max(0, len(made) - _END)
        return made[:compared] == self._file.read(unit.body, compared)

    def _gives(self, unit: Unit, rebuilder: Rebuilder) -> bool:
        """Whether a rebuilder gives all of a member, and nothing else."""
        inflation = Inflation(self._file.pieces(unit.body, unit.deflated), unit.size)
        size = place = 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for content in inflation:
                size += len(content)
                yield content

        try:
            for out in rebuilder.deflate(counted(), unit.deflated, self._programs.room):
                if out != self._file.read(unit.body + place, len(out)):
                    return False
                place += len(out)
        except (RebuilderError, StoreError, zlib.error):
            return False
        whole = inflation.ended and inflation.taken == unit.deflated and size == unit.size
        return whole and place == unit.deflated

    def _zlib(self, unit: Unit) -> Way | None:
        levels = _levels(self._file.read(0, 10)) if not unit.start else range(1, 10)
        others = [way for way in self._programs.ways if way not in self._fitted and self._misses < MISSES]
        others = [way for way in others if way.level in levels]
        for way in chain(tuple(self._fitted), self._promising(unit, others)):
            if self._fits(unit, way):
                if way in self._fitted:
                    self._fitted.remove(way)
                self._fitted.insert(0, way)
                return way
        self._misses += 1
        return None

    def _promising(self, unit: Unit, ways: Sequence[Way]) -> Iterator[Way]:
        """Those whose first block is that of a member, found without what comes after it."""
        if unit.size <= _SLICE or not ways:
            yield from ways
            return
        inflation = Inflation(self._file.pieces(unit.body, unit.deflated), unit.size)
        try:
            beginning = next(iter(inflation), b"")
        except zlib.error:
            return
        for way in ways:
            deflater = way.deflater()
            made = b""
            for place in range(0, len(beginning), _SLICE):
                if made := deflater.compress(beginning[place : place + _SLICE]):
                    break
            if made == self._file.read(unit.body, len(made)):
                yield way

    def _fits(self, unit: Unit, way: Way) -> bool:
        inflation = Inflation(self._file.pieces(unit.body, unit.deflated), unit.size)
        deflater = way.deflater()
        size = made = 0
        try:
            for content in inflation:
                size += len(content)
                out = deflater.compress(content)
                if out and out != self._file.read(unit.body + made, len(out)):
                    return False
                made += len(out)
        except zlib.error:
            return False
        if not inflation.ended or inflation.taken != unit.deflated or size != unit.size:
            return False
        out = deflater.flush()
        return made + len(out) == unit.deflated and out == self._file.read(unit.body + made, len(out))


def _levels(header: bytes) -> Sequence[int]:
    """The levels that the header of a gzip file lets expect (RFC 1952, 2.3.1, XFL).

    zlib, GNU gzip and pigz, which name Unix as their system, say whether it was the best level, the fastest or another.
    Libraries of other languages name none, and what they say of the level means nothing.
    """
    if header[:2] != b"\x1f\x8b" or header[9:] != b"\3":
        return range(1, 10)
    return {0: range(2, 9), 2: (9,), 4: (1,)}.get(header[8], range(1, 10))
