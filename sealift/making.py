"""Making: a recipe carried out, from old material to the chunks of a file. All of it flows (see `sealift.recipe`)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .deflating import Inflation, Way
from .errors import IntegrityError
from .index import HOLE
from .rebuilder import Rebuilder
from .recipe import Recipe
from .stretch import PIECE, Stretch


class OldMaterial:
    """The old material as it flows by."""

    def __init__(self, source: Stretch, pieces: Iterable[tuple[int, ...]]) -> None:
        """Take the file that it is made of, and a recipe's `old`."""
        self._source = source
        self._flow = self._flowing(pieces)
        self._held = b""
        self._begin = 0
        self._rest = memoryview(b"")
        """What came of the flow beyond what is held."""

    def window(self, start: int, size: int) -> bytes:
        """A part of it; no later one starts or ends before it.

        Raises:
            IntegrityError: a member is not there, or a pack is damaged.
        """
        place = self._begin + len(self._held)
        parts = [memoryview(self._held)[start - self._begin :]]
        self._held = b""
        while place < start + size:
            if not self._rest:
                self._rest = memoryview(next(self._flow))
            piece = self._rest[: start + size - place]
            self._rest = self._rest[len(piece) :]
            parts.append(piece[max(0, start - place) :])
            place += len(piece)
        self._held = b"".join(parts)
        self._begin = start
        return self._held

    def _flowing(self, pieces: Iterable[tuple[int, ...]]) -> Iterator[bytes | memoryview]:
        for piece in pieces:
            compressed = self._source.pieces(piece[0], piece[1])
            if len(piece) == 2:
                yield from compressed
                continue
            left = piece[2]
            try:
                for content in Inflation(compressed, left):
                    left -= len(content)
                    yield content
                    if not left:
                        break
            except zlib.error as error:
                raise _unfit() from error
            if left:
                raise _unfit()
        raise _unfit()


def _unfit() -> IntegrityError:
    return IntegrityError(
        "the difference refers to a compressed member that a base does not have", hint="ask for a whole bundle"
    )


def make(
    recipe: Recipe, ways: Sequence[Way | Rebuilder], material: Iterable[bytes], sizes: Iterable[int], room: Path
) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the content of each chunk that a recipe makes; nobody has checked its digest.

    Args:
        recipe: which was checked.
        ways: how it deflates, by the position of the setting.
        material: all of it, in any pieces.
        sizes: bytes of each chunk, in order.
        room: a folder that does not exist, for a rebuilder to work in.

    Raises:
        IntegrityError: a member does not deflate to as many bytes as the recipe says, or a rebuilder fails.
        StoreError: the disk refuses a rebuilder's files.
    """
    made = _made(recipe, ways, material, room)
    held = bytearray()
    remaining = iter(sizes)

    def take(count: int) -> Iterator[bytes]:
        while count:
            if not held:
                held.extend(next(made))
            piece = bytes(held[:count])
            del held[: len(piece)]
            count -= len(piece)
            yield piece

    for first, count in recipe.makes:
        if first == HOLE:
            for _ in take(count):
                pass
            continue
        for number in range(first, first + count):
            yield number, b"".join(take(next(remaining)))


def _made(recipe: Recipe, ways: Sequence[Way | Rebuilder], material: Iterable[bytes], room: Path) -> Iterator[bytes]:
    flow = _Flow(material)
    for piece in recipe.pieces:
        if len(piece) == 1:
            yield from flow.take(piece[0])
            continue
        size, left, setting = piece
        for out in ways[setting].deflate(flow.take(size), left, room):
            left -= len(out)
            if left < 0:
                break
            yield out
        if left:
            raise IntegrityError(
                f"a compressed file does not come out as it was: {ways[setting].name} deflates otherwise here",
                hint="ask for a bundle that was exported with --no-inflate, or for the whole release",
            )


class _Flow:
    """Material, of which any number of bytes can be taken."""

    def __init__(self, material: Iterable[bytes]) -> None:
        self._material = iter(material)
        self._rest = memoryview(b"")

    def take(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._rest:
                self._rest = memoryview(next(self._material))
            piece = self._rest[: min(size, PIECE)]
            self._rest = self._rest[len(piece) :]
            size -= len(piece)
            yield bytes(piece)
