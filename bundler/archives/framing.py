"""Framing: the material of a plan in frames, each compressed against a window on the old material."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple

from sealift.deflating import Inflation
from sealift.difference import REFERENCE_MIN
from sealift.making import OldMaterial
from sealift.stretch import Stretch

from ..coding.coding import Coded
from .forms import read
from .plan import Plan

FRAME = 2 << 20
"""Bytes of material in a frame at most."""
AROUND = 1 << 20
"""Bytes of old material before and behind its place that a frame's window holds."""
WINDOW = 4 << 20
"""Bytes of a window at most."""

Code = Callable[[bytes, bytes], Coded]
"""Makes a frame of material, given what it may refer to."""


class Frame(NamedTuple):
    """One frame of material."""

    content: bytes
    """Compressed."""
    size: int
    window: tuple[int, ...]
    """Of the old material; nothing where it was not used."""
    subtraction: tuple[int, ...]
    """Bytes of the streams, where it is a subtraction."""


def frames(plan: Plan, file: Stretch, old: Stretch | None, code: Code) -> Iterator[Frame]:
    """Compress the material of a plan.

    Raises:
        IntegrityError: a pack of the depot is damaged, or a member of the old archive is not what its archive says.
    """
    windows = _Windows(plan)
    behind = OldMaterial(old, plan.old, lambda start, _: read(plan.forms[start])) if old else None
    place = 0
    for content in _cut(_material(plan, file)):
        window = windows.of(place, place + len(content))
        reference = behind.window(*window) if behind and window else b""
        coded = code(content, reference)
        yield Frame(coded.frame, len(content), window if coded.referring else (), coded.subtraction)
        place += len(content)


class _Windows:
    """Which old material a frame is compressed against: what its parts are versions of, and what is around that."""

    def __init__(self, plan: Plan) -> None:
        self._pairs = plan.pairs
        self._starts = [pair[0] for pair in plan.pairs]
        self._flow = sum(piece[-1] for piece in plan.old)

    def of(self, begin: int, end: int) -> tuple[int, ...]:
        low = max(0, self._old(begin) - AROUND)
        high = min(self._flow, self._old(end) + AROUND, low + WINDOW)
        return (low, high - low) if high - low >= REFERENCE_MIN else ()

    def _old(self, place: int) -> int:
        position = bisect_right(self._starts, place) - 1
        if position < 0:
            return 0
        start, size, old, old_size = self._pairs[position]
        return old + min(old_size, (place - start) * old_size // size)


def _material(plan: Plan, file: Stretch) -> Iterator[bytes | memoryview]:
    for start, size, inflated, form in plan.flow:
        if form:
            yield from read(form)
            continue
        pieces = file.pieces(start, size)
        yield from Inflation(pieces, inflated) if inflated else pieces


def _cut(material: Iterator[bytes | memoryview]) -> Iterator[bytes]:
    held = bytearray()
    for piece in material:
        held += piece
        while len(held) >= FRAME:
            yield bytes(memoryview(held)[:FRAME])
            del held[:FRAME]
    if held:
        yield bytes(held)
