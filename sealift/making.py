"""Making: a recipe carried out, from old material to the chunks of a file. All of it flows (see `sealift.recipe`)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from .deflating import Inflation, Way
from .errors import IntegrityError
from .index import HOLE
from .rebuilder import Rebuilder
from .recipe import Recipe
from .stretch import PIECE, Stretch
from .tokens.alphabet import TokensError
from .tokens.parsing import Parsing
from .tokens.writing import Tokens


class OldMaterial:
    """The old material as it flows by."""

    def __init__(
        self,
        source: Stretch,
        pieces: Iterable[tuple[int, ...]],
        tokens: Callable[[int, int], Iterable[bytes]] | None = None,
    ) -> None:
        """Take the file that it is made of, and a recipe's `old`.

        Args:
            source: the file.
            pieces: of which it consists, in order.
            tokens: the token form of a member, by its place and its deflated size, where that is known already.
        """
        self._source = source
        self._tokens = tokens or self._parsed
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
            if len(piece) == 2:
                yield from self._source.pieces(*piece)
                continue
            left = piece[-1]
            try:
                for content in self._compressed(piece):
                    yield content[:left]
                    left -= min(left, len(content))
                    if not left:
                        break
            except (zlib.error, TokensError) as error:
                raise _unfit() from error
            if left:
                raise _unfit()
        raise _unfit()

    def _compressed(self, piece: tuple[int, ...]) -> Iterable[bytes]:
        place, size = piece[:2]
        return self._tokens(place, size) if len(piece) == 4 else Inflation(self._source.pieces(place, size), piece[-1])

    def _parsed(self, place: int, size: int) -> Iterable[bytes]:
        return Parsing(self._source.pieces(place, size))


def _unfit() -> IntegrityError:
    return IntegrityError(
        "the difference refers to a compressed member that a base does not have", hint="ask for a whole bundle"
    )


def make(
    recipe: Recipe,
    ways: Sequence[Way | Rebuilder | Tokens],
    material: Iterable[bytes],
    sizes: Iterable[int],
    room: Path,
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


def _made(
    recipe: Recipe, ways: Sequence[Way | Rebuilder | Tokens], material: Iterable[bytes], room: Path
) -> Iterator[bytes]:
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
        if left and isinstance(ways[setting], Tokens):
            raise TokensError("is not as large as the difference says")
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
