"""Inflating: an archive that changed becomes a recipe and its material, against the old one's (see `sealift.recipe`).

Members that changed and that zlib rebuilds travel inflated, and their old versions, inflated too, are what they are
compressed against; others may travel as tokens in the same way. All else travels as it is, against the same part of
the old archive. A member's old version is the one of its name, else of its checksum, else of a name that differs in
digits alone. A tar inside is looked into in the same way (see `tars`).
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from sealift.deflating import Inflation
from sealift.index import HOLE
from sealift.recipe import OLD_RATIO, PIECES_MAX, RATIO, RUNS_MAX, SLACK
from sealift.stretch import Stretch

from . import tars
from .archives import Unit, units
from .former import Former
from .forms import Forms, Places
from .framing import AROUND
from .plan import Flow, Plan
from .proving import Programs, Proof, Prover

_LEAST = 64
"""Bytes of a deflated member that is worth a piece of its own."""


def plan(
    file: Stretch,
    numbers: Sequence[int],
    sizes: Sequence[int],
    wanted: Sequence[bool],
    old: Stretch | None,
    programs: Programs,
    forms: Forms | None = None,
) -> Plan | None:
    """Find out what of an archive can travel inflated, by rebuilding it; None where nothing can.

    Args:
        file: the archive.
        numbers: its chunks.
        sizes: bytes of each.
        wanted: which of them are to be made. No chunk is wanted twice.
        old: the file that it is a version of.
        programs: the rebuilders.
        forms: where members as tokens are kept, if they may travel so.

    Raises:
        IntegrityError: a pack of the depot is damaged.
        StoreError: the disk refuses a rebuilder's files, or those of tokens.
    """
    parts = units(file)
    if not parts:
        return None
    planning = _Planning(file, _ranges(sizes, wanted), old, programs, forms)
    for unit in parts:
        planning.add(unit)
    made = planning.plan
    made.left = planning.prover.left
    if not made.inflated and (planning.prover.missed or made.left):
        return Plan(missed=planning.prover.missed, left=made.left)
    made.makes = _makes(planning.emitted, numbers, sizes, wanted)
    if not made.inflated or max(len(made.pieces), len(made.old)) > PIECES_MAX or len(made.makes) > RUNS_MAX:
        return None
    return made


class _Planning:
    def __init__(
        self,
        file: Stretch,
        wanted: Sequence[tuple[int, int]],
        old: Stretch | None,
        programs: Programs,
        forms: Forms | None,
    ) -> None:
        self.plan = Plan()
        self.emitted: list[tuple[int, int]] = []
        """Ranges of the archive that come out, in order."""
        self._wanted = wanted
        self._file, self._old = file, old
        self._forms = forms
        self.prover = Prover(file, programs, forms)
        self._former = Former(units(old) or ()) if old else None
        self._place = self._old_place = 0

    def add(self, unit: Unit) -> None:
        """Take the next part."""
        if not any(self._within(unit.start, unit.end)):
            return
        former = self._former.find(unit) if self._former else None
        behind = unit.body + unit.deflated
        proof = None
        if former is None or not _same(unit, former):
            want = sum(end - start for start, end in self._within(unit.body, behind))
            if unit.deflated >= _LEAST and 2 * want >= unit.deflated:
                proof = self.prover.way(unit, former)
        if proof is None:
            self._as_it_is(unit.start, unit.end, (former.start, former.end) if former else None)
            return
        self._as_it_is(unit.start, unit.body, (former.start, former.body) if former else None)
        self._inflated(unit, proof, former)
        self._as_it_is(behind, unit.end, None)

    def _within(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The wanted ranges within a range."""
        position = max(0, bisect_right(self._wanted, (start, 1 << 62)) - 1)
        while position < len(self._wanted) and self._wanted[position][0] < end:
            begin, stop = self._wanted[position]
            if max(begin, start) < min(stop, end):
                yield max(begin, start), min(stop, end)
            position += 1

    def _as_it_is(self, start: int, end: int, former: tuple[int, int] | None) -> None:
        for begin, stop in self._within(start, end):
            size = stop - begin
            if former:
                self._pair(size, self._old_part(former, (begin - start, stop - start), end - start))
            if self.plan.pieces and len(self.plan.pieces[-1]) == 1:
                self.plan.pieces[-1] = (self.plan.pieces[-1][0] + size,)
            else:
                self.plan.pieces.append((size,))
            self.plan.flow.append(Flow(begin, size))
            self._emit(begin, stop)
            self._place += size

    def _old_part(self, former: tuple[int, int], part: tuple[int, int], size: int) -> tuple[int, ...] | None:
        """The place in the old archive of a part of something, if it is free."""
        assert self._former is not None
        begin, end = former
        if size > AROUND:
            ratio = (end - begin) / size
            around = min(AROUND, 4 * (part[1] - part[0]))
            low, high = begin + int(part[0] * ratio) - around, begin + int(part[1] * ratio) + around
            begin, end = max(begin, low), min(end, high)
        taken = self._former.take(begin, end)
        return (taken[0], taken[1] - taken[0]) if taken else None

    def _inflated(self, unit: Unit, proof: Proof, former: Unit | None) -> None:
        if proof.way not in self.plan.ways:
            self.plan.ways.append(proof.way)
        setting = self.plan.ways.index(proof.way)
        if former and former.deflated and former.size and self._former:
            whole = former.body, former.body + former.deflated
            if self._former.take(*whole) == whole:
                self._version(unit, proof, former, setting)
        elif former:
            self._pair(unit.size, self._old_part((former.body, former.end), (0, unit.size), unit.size))
        self.plan.pieces.append((proof.size, unit.deflated, setting))
        self.plan.flow.append(Flow(unit.body, unit.deflated, unit.size, proof.form))
        self.plan.inflated += unit.deflated
        self.plan.spelled += unit.deflated if proof.form else 0
        self._emit(unit.body, unit.body + unit.deflated)
        self._place += proof.size

    def _version(self, unit: Unit, proof: Proof, former: Unit, setting: int) -> None:
        """Let the old version of a member be old material, in the same way."""
        assert self._old is not None
        size = min(former.size, RATIO * former.deflated + SLACK)
        if proof.form is None:
            content = Inflation(self._file.pieces(unit.body, unit.deflated), unit.size)
            before = Inflation(self._old.pieces(former.body, former.deflated), size)
            self._pair(unit.size, (former.body, former.deflated, size), _inner(unit.size, content, before))
            return
        assert self._forms is not None
        form = self._forms.of(self._old, former.body, former.deflated)
        if form is None:
            return
        places = Places(proof.form, self._file, unit.body, unit.deflated)
        olds = Places(form, self._old, former.body, former.deflated)
        inner = [
            (places.of(start), places.size(start, length), olds.of(old), olds.of(old + old_length) - olds.of(old))
            for start, length, old, old_length in _inner(unit.size, places.content(unit.size), olds.content(size))
        ]
        self.plan.forms[former.body] = form
        self._pair(proof.size, (former.body, former.deflated, setting, form.size), inner)

    def _pair(self, size: int, old: tuple[int, ...] | None, inner: Sequence[tuple[int, int, int, int]] = ()) -> None:
        if old and max(old[1], old[-1]) <= OLD_RATIO * size:
            for start, length, old_start, old_length in inner or ((0, size, 0, old[-1]),):
                self.plan.pairs.append((self._place + start, length, self._old_place + old_start, old_length))
            self._old_place += old[-1]
            before = self.plan.old[-1] if self.plan.old else ()
            if len(old) == 2 and len(before) == 2 and sum(before) == old[0]:
                self.plan.old[-1] = (before[0], before[1] + old[1])
            else:
                self.plan.old.append(old)

    def _emit(self, start: int, end: int) -> None:
        if self.emitted and self.emitted[-1][1] == start:
            self.emitted[-1] = (self.emitted[-1][0], end)
        else:
            self.emitted.append((start, end))


def _inner(size: int, content: Iterable[bytes], before: Iterable[bytes]) -> list[tuple[int, int, int, int]]:
    """The members of a tar and their old versions, by their places in it; nothing where it is small, or none."""
    if size <= AROUND:
        return []
    try:
        new = tars.members(content)
        return tars.pairs(new, tars.members(before)) if new else []
    except zlib.error:
        return []


def _same(unit: Unit, former: Unit) -> bool:
    return (unit.check, unit.deflated, unit.size) == (former.check, former.deflated, former.size)


def _ranges(sizes: Sequence[int], wanted: Sequence[bool]) -> list[tuple[int, int]]:
    """What is wanted of a file, as ranges of bytes."""
    found: list[tuple[int, int]] = []
    place = 0
    for size, want in zip(sizes, wanted, strict=True):
        if want and found and found[-1][1] == place:
            found[-1] = (found[-1][0], place + size)
        elif want:
            found.append((place, place + size))
        place += size
    return found


def _makes(
    emitted: Sequence[tuple[int, int]], numbers: Sequence[int], sizes: Sequence[int], wanted: Sequence[bool]
) -> list[tuple[int, int]]:
    """Which chunks come out, and what comes out beside them."""
    made: list[tuple[int, int]] = []
    ranges = iter(emitted)
    begin, end = next(ranges, (0, 0))
    place = 0
    for number, size, want in zip(numbers, sizes, wanted, strict=True):
        while begin < place + size:
            out = min(end, place + size) - max(begin, place)
            if want and made and made[-1][0] != HOLE and sum(made[-1]) == number:
                made[-1] = (made[-1][0], made[-1][1] + 1)
            elif want:
                made.append((number, 1))
            elif made and made[-1][0] == HOLE:
                made[-1] = (HOLE, made[-1][1] + out)
            elif out:
                made.append((HOLE, out))
            if end > place + size:
                break
            begin, end = next(ranges, (1 << 62, 1 << 62))
        place += size
    return made
