"""The parts of an old archive: which of them a part of the new one is a version of, and that each is used once."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from .archives import Unit

_DIGITS = re.compile(rb"[0-9]+(?:\.[0-9]+)*")


class Former:
    """The parts of the old archive, each of which becomes old material once."""

    def __init__(self, parts: Sequence[Unit]) -> None:
        self._names: dict[bytes, Unit] = {}
        self._contents: dict[tuple[int, int, int], Unit] = {}
        self._plain: dict[bytes, Unit] = {}
        for unit in parts:
            self._names.setdefault(unit.name, unit)
            self._contents.setdefault((unit.check, unit.deflated, unit.size), unit)
            self._plain.setdefault(_DIGITS.sub(b"#", unit.name), unit)
        self._taken: list[tuple[int, int]] = []

    def find(self, unit: Unit) -> Unit | None:
        """What a part is a version of."""
        if found := self._names.get(unit.name):
            return found
        if unit.deflated and (found := self._contents.get((unit.check, unit.deflated, unit.size))):
            return found
        return self._plain.get(_DIGITS.sub(b"#", unit.name))

    def take(self, begin: int, end: int) -> tuple[int, int] | None:
        """A range less what was taken at its edges; None where nothing is left of it."""
        position = bisect_right(self._taken, (begin, 1 << 62))
        if position:
            begin = max(begin, self._taken[position - 1][1])
        if position < len(self._taken):
            end = min(end, self._taken[position][0])
        if begin >= end:
            return None
        self._taken.insert(position, (begin, end))
        return begin, end
