"""Inside: what a worker makes of an archive that changed, so that it travels inflated where that is smaller.

An archive may be large. So its frames go by way of a file of its own in the scratch folder, and the leader copies
them from there, in order.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sealift.allowance import of_recipe, of_reference
from sealift.content import Chunks, Content
from sealift.deflating import Way, probe
from sealift.durable import storing
from sealift.errors import IntegrityError
from sealift.rebuilder import Rebuilder
from sealift.recipe import PIECES_MAX, RUNS_MAX, Recipe, Required, Setting, Spelled
from sealift.stretch import Stretch
from sealift.tokens.writing import Tokens

from ..parts.cutting import Sealed
from ..parts.packs import Packs
from .forms import Forms
from .framing import Code, frames
from .inflating import plan
from .plan import Plan
from .proving import Programs

WORTH = 0.97
"""What its frames may be of the chunks that they make, at most, for an archive to travel inflated."""
_NAMES = frozenset(
    ("aar", "apk", "crate", "ear", "egg", "epub", "gz", "jar", "nupkg", "tgz", "vsix", "war", "whl", "xpi", "zip")
)
_NAMELESS_MIN = 4 << 10
"""Bytes from which on a file without a suffix is looked into: a blob that is named by its digest."""


class Asked(NamedTuple):
    """A question to a worker: the archive, and what it is a version of."""

    numbers: list[int]
    """Its chunks."""
    wanted: list[bool]
    """Which of them are to be made."""
    base: int
    """The base that holds the old one, or -1."""
    old: list[int]
    """Its chunks."""


class Piece(NamedTuple):
    """A frame, without its content."""

    digest: str
    length: int
    size: int
    window: tuple[int, ...]
    subtraction: tuple[int, ...]


class Missed(NamedTuple):
    """What travels as it is, and could travel otherwise."""

    size: int
    """Bytes of its chunks."""
    rebuilder: Rebuilder | None
    """What could give it back: no receipt says that the sites have it."""
    left: int
    """Bytes of its members that nothing here gives back, and that could travel as tokens."""


class Parcel(NamedTuple):
    """What travels of an archive."""

    size: int
    """Bytes of its chunks."""
    inflated: int
    """Bytes of the members that travel inflated or as tokens, as they are in the archive."""
    spelled: int
    """Those of them that travel as tokens."""
    left: int
    """Bytes of members that nothing gives back, and that could travel as tokens."""
    makes: tuple[tuple[int, int], ...]
    pieces: tuple[tuple[int, ...], ...]
    source: tuple[tuple[int, int, int], ...]
    old: tuple[tuple[int, ...], ...]
    ways: tuple[Way | Rebuilder | Tokens, ...]
    frames: tuple[Piece, ...]
    file: str
    """Where the content of the frames lies."""

    @property
    def cost(self) -> int:
        """Bytes that a reader charges for it (see `sealift.allowance`)."""
        windows = sum(of_reference(frame.size, sum(frame.window[1:])) for frame in self.frames)
        return of_recipe(self.makes, self.pieces, self.source, self.old) + windows

    @property
    def rebuilders(self) -> tuple[str, ...]:
        """The programs that compress in it at the site."""
        return tuple(way.name for way in self.ways if isinstance(way, Rebuilder))

    def drop(self) -> None:
        """Take the file away.

        Raises:
            StoreError: the disk refuses.
        """
        place = Path(self.file)
        with storing(place):
            place.unlink()


def likely(path: str, size: int) -> bool:
    """Whether a file may be an archive, by its name; a worker looks at its content."""
    stem, dot, suffix = path.rpartition("/")[2].rpartition(".")
    return suffix.lower() in _NAMES if stem and dot else size >= _NAMELESS_MIN


def parcel(
    asked: Asked,
    contents: Sequence[Content],
    chunks: Chunks,
    folder: Path,
    code: Code,
    programs: Programs,
    small: bool = False,
) -> Parcel | Missed | None:
    """Make it, in a worker; None where the archive travels better as it is.

    Args:
        asked: the archive.
        contents: the chunks of the new release, and of the bases.
        chunks: reads them.
        folder: where the frames go.
        code: compresses.
        programs: the rebuilders.
        small: whether members that nothing rebuilds travel as tokens, which takes long.

    Raises:
        IntegrityError: the depot is damaged.
        StoreError: the disk refuses.
    """
    sizes = [contents[0].sizes[number] for number in asked.numbers]
    file = Stretch(chunks, [(0, number) for number in asked.numbers], sizes)
    old = None
    if asked.base >= 0:
        there = contents[asked.base + 1].sizes
        old = Stretch(
            chunks, [(asked.base + 1, number) for number in asked.old], [there[number] for number in asked.old]
        )
    size = sum(each for each, want in zip(sizes, asked.wanted, strict=True) if want)
    planned = plan(file, asked.numbers, sizes, asked.wanted, old, programs)
    if planned is None:
        return None
    plain = _parcel(asked, planned, size, file, old, folder, code, WORTH * size) if planned.inflated else None
    missed = None if planned.inflated else Missed(size, planned.missed, planned.left)
    if not small or not (planned.left or planned.missed):
        return plain or missed
    most = sum(frame.length for frame in plain.frames) if plain else WORTH * size
    with Forms(folder) as forms:
        planned = plan(file, asked.numbers, sizes, asked.wanted, old, programs, forms)
        spelled = planned and planned.spelled and _parcel(asked, planned, size, file, old, folder, code, most)
    if not spelled:
        return plain._replace(left=0) if plain else missed if missed and missed.rebuilder else None
    if plain:
        plain.drop()
    return spelled


def _parcel(
    asked: Asked, planned: Plan, size: int, file: Stretch, old: Stretch | None, folder: Path, code: Code, most: float
) -> Parcel | None:
    """Make what a plan says of so many bytes of chunks; None where that is more than `most`."""
    source = tuple(_runs(asked.base, asked.old)) if planned.old else ()
    if len(source) > RUNS_MAX or sum(count for _, _, count in source) > PIECES_MAX:
        return None
    first = asked.numbers[asked.wanted.index(True)]  # which no other archive has: no chunk is wanted twice
    place = folder / f"{'spelled' if planned.spelled else 'inflated'}.{os.getpid()}.{first}"
    found: list[Piece] = []
    length = 0
    with storing(place), place.open("wb") as out:
        try:
            for frame in frames(planned, file, old, code):
                digest = hashlib.sha256(frame.content).hexdigest()
                found.append(Piece(digest, len(frame.content), frame.size, frame.window, frame.subtraction))
                length += len(frame.content)
                out.write(frame.content)
                if length > most:
                    break
        except IntegrityError:
            # The old archive lies about a member; a damaged depot is found again when the archive is read as it is.
            length = size
    if length > most:
        with storing(place):
            place.unlink()
        return None
    return Parcel(
        size=size,
        inflated=planned.inflated,
        spelled=planned.spelled,
        left=planned.left,
        makes=tuple(planned.makes),
        pieces=tuple(planned.pieces),
        source=source,
        old=tuple(planned.old),
        ways=tuple(planned.ways),
        frames=tuple(found),
        file=str(place),
    )


def _runs(base: int, numbers: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    first = count = 0
    for number in numbers:
        if count and number == first + count:
            count += 1
            continue
        if count:
            yield base, first, count
        first, count = number, 1
    if count:
        yield base, first, count


class Settings:
    """The ways to deflate of a difference, each written where it is first used."""

    def __init__(self, packs: Packs, probes: Mapping[str, str]) -> None:
        """Write to `packs`; `probes` are those of the rebuilders, by their names."""
        self._packs = packs
        self._probes = probes
        self._known: dict[Way | Rebuilder | Tokens, int] = {}

    def write(self, made: Parcel) -> None:
        """Write a recipe and its frames, and take the file that they lie in away.

        Raises:
            StoreError: the disk refuses.
        """
        positions = [self._position(way) for way in made.ways]
        self._packs.note(
            Recipe(
                makes=made.makes,
                frames=len(made.frames),
                pieces=tuple(
                    piece if len(piece) == 1 else (piece[0], piece[1], positions[piece[2]]) for piece in made.pieces
                ),
                source=made.source,
                old=tuple(
                    piece if len(piece) < 4 else (piece[0], piece[1], positions[piece[2]], piece[3])
                    for piece in made.old
                ),
            )
        )
        place = Path(made.file)
        with storing(place):
            with place.open("rb") as frames:
                for each in made.frames:
                    self._packs.add(
                        Sealed([], each.size, each.length, each.digest),
                        (),
                        memoryview(frames.read(each.length)),
                        subtraction=each.subtraction,
                        window=each.window,
                    )
            place.unlink()

    def _position(self, way: Way | Rebuilder | Tokens) -> int:
        if way not in self._known:
            if isinstance(way, Rebuilder):
                self._packs.note(Required(rebuilder=way.name, probe=self._probes[way.name]))
            elif isinstance(way, Tokens):
                self._packs.note(Spelled(tokens=way.version))
            else:
                self._packs.note(Setting(**way._asdict(), probe=probe(way)))
            self._known[way] = len(self._known)
        return self._known[way]
