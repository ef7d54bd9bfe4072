"""Remaking: a worker makes the chunks of a compressed file from what it holds inflated, as a recipe says.

Material comes in frames, each checked before it is decompressed, and flows through; the chunks that come out are
checked, compressed anew into frames for the store, and go by way of a file of the worker's own, since they may be
many. Nothing of it counts before its digest was found to be the signed one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sealift.content import Chunks
from sealift.difference import Inflated, Patch
from sealift.durable import TEMPORARY, storing
from sealift.errors import IntegrityError
from sealift.making import OldMaterial, make
from sealift.rebuilder import Rebuilder
from sealift.stretch import Stretch

FRAME = 1 << 20
"""Bytes of content in a frame for the store at most, but for a single chunk that is larger."""
_NAME = f"{TEMPORARY}remade."

Fetch = Callable[[Patch, bytes], bytes]
"""Reads a frame from the bundle, checks its digest, and gives its content against a reference."""


class Remade(NamedTuple):
    """A frame for the store, whose bytes lie in the worker's file, behind those of the one before it."""

    length: int
    size: int
    digest: str
    chunks: tuple[tuple[int, int], ...]


class Aside:
    """The files that workers write, each for one task; as a context, none of them stays."""

    def __init__(self, folder: Path, rooms: Path) -> None:
        """Let them be in `folder`, and the rooms of programs in `rooms`, on the same disk."""
        self._folder = folder
        self._rooms = rooms

    def __enter__(self) -> Aside:
        self._sweep()
        return self

    def __exit__(self, *_: object) -> None:
        self._sweep()

    def _sweep(self) -> None:
        for left in self._folder.glob(f"{_NAME}*"):
            with contextlib.suppress(OSError):
                left.unlink()
        sweep_rooms(self._rooms)

    def room(self, number: int) -> Path:
        """The folder that a program may work in for the task of that number; it is not there."""
        return self._rooms / f"{_NAME}{number}"

    def place(self, number: int) -> Path:
        """The file of the task of that number."""
        return self._folder / f"{_NAME}{number}"

    def take(self, number: int, made: Sequence[Remade]) -> Iterator[tuple[bytes, Remade]]:
        """Yield the frames of a file, and remove it.

        Raises:
            StoreError: the disk refuses.
        """
        place = self.place(number)
        with storing(place):
            with place.open("rb") as frames:
                for each in made:
                    yield frames.read(each.length), each
            place.unlink()


def space(parts: Iterable[Patch | Inflated]) -> int:
    """Bytes that the disk must have for what recipes make, nearly.

    Deflated members lie in the store as large as they are, since nothing compresses them further, and once more in
    the worker's file until they are there. While a program makes one, its content and what comes out lie there too.
    """
    kept = most = 0
    for part in parts:
        if not isinstance(part, Inflated):
            continue
        own = max(0, part.recipe.deflated - part.recipe.dropped)
        meanwhile = (
            piece[0] + piece[1]
            for piece in part.recipe.pieces
            if len(piece) == 3 and isinstance(part.ways[piece[2]], Rebuilder)
        )
        most = max(most, kept + max(meanwhile, default=0), kept + 2 * own)
        kept += own
    return most


def sweep_rooms(folder: Path) -> None:
    """Remove what a killed program left of the rooms in a folder."""
    for room in folder.glob(f"{_NAME}*"):
        shutil.rmtree(room, ignore_errors=True)


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def remake(
    task: Inflated,
    chunks: Sequence[tuple[bytes, int]],
    sizes: Sequence[Sequence[int]],
    reader: Chunks,
    fetch: Fetch,
    seal: Callable[[memoryview], bytes],
    place: Path,
    room: Path,
) -> list[Remade]:
    """Make the chunks of a recipe, and write them as frames to `place`.

    Args:
        task: the recipe and its frames.
        chunks: digest and size of each chunk that it makes, in order.
        sizes: bytes of each chunk of each base.
        reader: reads chunks of the bases.
        fetch: reads frames of the bundle.
        seal: compresses.
        place: the worker's file.
        room: a folder that is not there, for a program that compresses.

    Raises:
        IntegrityError: something does not match its digest, or does not come out as the recipe says.
        StoreError: the disk or the medium refuses.
    """
    made: list[Remade] = []
    with storing(place), open(place, "wb", opener=_opener) as out:
        for numbers, content in _grouped(_checked(task, chunks, _material(task, sizes, reader, fetch), room)):
            frame = seal(memoryview(content))
            out.write(frame)
            made.append(Remade(len(frame), len(content), hashlib.sha256(frame).hexdigest(), _runs(numbers)))
    return made


def _material(task: Inflated, sizes: Sequence[Sequence[int]], reader: Chunks, fetch: Fetch) -> Iterator[bytes]:
    recipe = task.recipe
    numbers = [(base, first + each) for base, first, count in recipe.source for each in range(count)]
    source = Stretch(reader, numbers, [sizes[base][number] for base, number in numbers])
    old = OldMaterial(source, recipe.old)
    for patch in task.patches:
        reference = old.window(*patch.window) if patch.window else b""
        yield fetch(patch, reference)


def _checked(
    task: Inflated, chunks: Sequence[tuple[bytes, int]], material: Iterator[bytes], room: Path
) -> Iterator[tuple[int, bytes]]:
    made = make(task.recipe, task.ways, material, [size for _, size in chunks], room)
    for (digest, _), (number, content) in zip(chunks, made, strict=True):
        if hashlib.sha256(content).digest() != digest:
            raise IntegrityError(
                "a compressed file that the difference gives is not what was signed",
                hint="ask for a bundle that was exported with --no-inflate, or for the whole release",
            )
        yield number, content


def _grouped(made: Iterator[tuple[int, bytes]]) -> Iterator[tuple[list[int], bytes]]:
    numbers: list[int] = []
    held = bytearray()
    for number, content in made:
        if held and len(held) + len(content) > FRAME:
            yield numbers, bytes(held)
            numbers, held = [], bytearray()
        numbers.append(number)
        held += content
    if held:
        yield numbers, bytes(held)


def _runs(numbers: Sequence[int]) -> tuple[tuple[int, int], ...]:
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == sum(runs[-1]):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((number, 1))
    return tuple(runs)
