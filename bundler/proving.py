"""Proving: in which way zlib deflates a member to the very bytes that it has, found by doing it.

The ways that programs use come first, and what fitted in the same archive before them all. A wrong way mostly shows
in the first block. Content goes through in pieces, so a large member needs no memory.
"""

from __future__ import annotations

import zlib

from sealift.deflating import Inflation, Way
from sealift.recipe import RATIO, SLACK
from sealift.stretch import Stretch

from .archives import Unit

WAYS = tuple(Way(level, memory, 0, 15) for memory in (8, 9) for level in (6, 9, 1, 5, 7, 8, 4, 3, 2))
"""What is tried: all levels of zlib, with the memory that most programs give it, and with the most."""
MISSES = 12
"""Members of an archive that no way fits, from which on only ways that fitted before are tried."""


class Prover:
    """Proves the members of one archive."""

    def __init__(self, file: Stretch) -> None:
        self._file = file
        self._fitted: list[Way] = []
        self._misses = 0

    def way(self, unit: Unit) -> Way | None:
        """How a member is deflated; None where zlib does not give its bytes, or it would be no member for a recipe.

        Raises:
            IntegrityError: a pack of the depot is damaged.
        """
        if not unit.deflated or not 0 < unit.size <= RATIO * unit.deflated + SLACK:
            return None
        others = [way for way in WAYS if way not in self._fitted and self._misses < MISSES]
        for way in (*self._fitted, *others):
            if self._fits(unit, way):
                if way in self._fitted:
                    self._fitted.remove(way)
                self._fitted.insert(0, way)
                return way
        self._misses += 1
        return None

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
