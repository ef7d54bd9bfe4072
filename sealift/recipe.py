"""Recipes: how the bytes of a file are made of what it holds inflated. They are data, checked before they are used.

The frames of a recipe hold *material*: pieces of the file as they are, and its deflated members, inflated or as
tokens (see `sealift.tokens`). From that the site makes the chunks of the file. What the frames are compressed against
is a window on the *old material*, which the site makes in the same way of a file of a base. Both flow: nobody holds
more of them than a frame and its window.

Whatever a recipe says, it costs no more than a fixed multiple of the chunks that it makes.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence

import msgspec

from .allowance import of_recipe
from .deflating import Way
from .digest import check_form
from .errors import MalformedError
from .index import HOLE
from .rebuilder import Rebuilder
from .tokens.alphabet import RATIO as TOKENS_RATIO
from .tokens.writing import Tokens

RATIO = 128
"""How many times as large as its deflated form a member may be, beside `SLACK`."""
SLACK = 1 << 10
"""Bytes that a member may be larger than that."""
LAYER_RATIO = 32
"""The same for a member that a rebuilder compresses: all of it lies on a disk of the site meanwhile."""
LAYER_MIN = 64 << 10
"""Bytes of the deflated form from which on a rebuilder compresses a member: each is a run of a program."""
OLD_RATIO = 16
"""How many times as much old material as material there may be."""
WAYS_MAX = 64
"""Ways to deflate in a difference at most."""
PIECES_MAX = 1 << 18
"""Pieces of material at most, and as many of old material."""
RUNS_MAX = 1024
"""Runs of chunks at most."""
FRAMES_MAX = 1 << 16
"""Frames of a recipe at most."""
FRAME_MIN = 64 << 10
"""Bytes of material for each frame at least, but for one of them."""


def fit_for_rebuilder(size: int, deflated: int) -> bool:
    """Whether a reader lets a rebuilder compress a member of so many bytes to so many."""
    return deflated >= LAYER_MIN and size <= LAYER_RATIO * deflated


class Setting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The line of a difference that says how members are deflated, and what zlib must make of the probe."""

    level: int
    memory: int
    strategy: int
    window: int
    probe: str

    @property
    def way(self) -> Way:
        """The same for zlib."""
        return Way(self.level, self.memory, self.strategy, self.window)

    def check(self) -> None:
        """Refuse what zlib does not know.

        Raises:
            MalformedError: it is no way to deflate.
        """
        if not self.way.known:
            raise MalformedError("the difference deflates in a way that zlib does not know")
        check_form(self.probe, "a probe")


class Required(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The line of a difference that says which rebuilder deflates members, and what it must make of the probe."""

    rebuilder: str
    probe: str

    @property
    def way(self) -> Rebuilder:
        """The rebuilder."""
        return Rebuilder(self.rebuilder)

    def check(self) -> None:
        """Refuse what is no rebuilder.

        Raises:
            MalformedError: it is none.
        """
        if not self.way.known:
            raise MalformedError(
                "the difference names a program to compress with that this reader does not know",
                hint="install a newer sealift here, or ask for a bundle that was exported with --since",
            )
        check_form(self.probe, "a probe")


class Spelled(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The line of a difference that says that members travel as tokens, and in which alphabet."""

    tokens: int

    @property
    def way(self) -> Tokens:
        """How they are written again."""
        return Tokens(self.tokens)

    def check(self) -> None:
        """Refuse what is no alphabet.

        Raises:
            MalformedError: it is none.
        """
        if not self.way.known:
            raise MalformedError(
                "the difference has tokens that this reader does not know",
                hint="install a newer sealift here, or ask for a bundle that was exported without --small",
            )


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The line of a difference that says how the frames after it become chunks."""

    makes: tuple[tuple[int, int], ...]
    """Runs of chunk numbers (first, count), or `HOLE` and how many bytes are made and dropped."""
    frames: int
    """How many of the frames that follow hold its material."""
    pieces: tuple[tuple[int, ...], ...]
    """The material: (size) as it is, or (size, deflated size, setting), inflated or as tokens."""
    source: tuple[tuple[int, int, int], ...] = ()
    """Runs of chunk numbers of the bases (base, first, count): the file that the old material is made of."""
    old: tuple[tuple[int, ...], ...] = ()
    """The old material: (place, size) in the source as it is, (place, deflated size, size), or (place, deflated size,
    setting, size) as tokens."""

    def numbers(self) -> Iterator[int]:
        """The chunks that it makes, in order."""
        for first, count in self.makes:
            if first != HOLE:
                yield from range(first, first + count)

    @property
    def dropped(self) -> int:
        """Bytes that are made and dropped."""
        return sum(count for first, count in self.makes if first == HOLE)

    @property
    def deflated(self) -> int:
        """Bytes of the members that are deflated again."""
        return sum(piece[1] for piece in self.pieces if len(piece) == 3)

    @property
    def size(self) -> int:
        """Bytes of the chunks that it makes."""
        return sum(piece[-1] if len(piece) == 1 else piece[1] for piece in self.pieces) - self.dropped

    @property
    def material(self) -> int:
        """Bytes of its material."""
        return sum(piece[0] for piece in self.pieces)

    @property
    def cost(self) -> int:
        """Bytes that it is charged (see `sealift.allowance`), without its frames' windows."""
        return of_recipe(self.makes, self.pieces, self.source, self.old)

    def check(self, sizes: Sequence[int], seen: bytearray, bases: Sequence[Sequence[int]]) -> None:
        """Refuse what does not fit to the release and its bases, or refers to more than a reader grants.

        Args:
            sizes: bytes of each chunk of the release, by its number.
            seen: for each of them, whether it must not come any more; it is changed.
            bases: bytes of each chunk of each base.

        Raises:
            MalformedError: it does.
        """
        self._check_chunks(sizes, seen)
        self._check_old(bases)

    def check_form(self, settings: int, rebuilders: Container[int] = (), tokens: Container[int] = ()) -> None:
        """Refuse what needs no release to be seen as wrong.

        Args:
            settings: how many settings there are.
            rebuilders: which of them are of a rebuilder.
            tokens: which of them is that of tokens.

        Raises:
            MalformedError: a piece has no known form, or would inflate without bound.
        """
        if not self.frames > 0 or not 0 < len(self.pieces) <= PIECES_MAX or len(self.old) > PIECES_MAX:
            raise MalformedError("a recipe has no frames, or more pieces than a reader takes")
        if self.frames > min(FRAMES_MAX, self.material // FRAME_MIN + 1):
            raise MalformedError("a recipe has more frames than its material needs")
        for piece in self.pieces:
            if len(piece) not in (1, 3) or piece[0] < 1:
                raise MalformedError("a recipe has a piece of no known form")
            if len(piece) == 3 and (piece[1] < 1 or not 0 <= piece[2] < settings):
                raise MalformedError("a recipe has a piece of no known form")
            if len(piece) == 3 and piece[2] in tokens:
                if piece[0] > TOKENS_RATIO * piece[1]:
                    raise MalformedError("a recipe has more tokens than their bits can be")
            elif len(piece) == 3 and piece[0] > RATIO * piece[1] + SLACK:
                raise MalformedError(f"a recipe deflates to less than one part in {RATIO}")
            if len(piece) == 3 and piece[2] in rebuilders and not fit_for_rebuilder(piece[0], piece[1]):
                raise MalformedError("a recipe has a program compress less, or to less, than a reader lets it")
        for piece in self.old:
            if len(piece) not in (2, 3, 4) or piece[0] < 0 or min(piece[1], piece[-1]) < 1:
                raise MalformedError("a recipe has old material of no known form")
            if len(piece) == 4 and piece[2] not in tokens:
                raise MalformedError("a recipe has old material of no known form")
            if len(piece) == 4 and piece[3] > TOKENS_RATIO * piece[1]:
                raise MalformedError("a recipe has more old tokens than their bits can be")
            if len(piece) == 3 and piece[2] > RATIO * piece[1] + SLACK:
                raise MalformedError(f"a recipe inflates to more than {RATIO} times as much")
        if any(count < 1 or first < HOLE for first, count in self.makes) or len(self.makes) > RUNS_MAX:
            raise MalformedError(f"a recipe makes no chunks, or more than {RUNS_MAX} runs of them")
        if len(self.source) > RUNS_MAX:
            raise MalformedError(f"a recipe refers to more than {RUNS_MAX} runs of chunks")
        if sum(max(count, 0) for _, _, count in self.source) > PIECES_MAX:
            raise MalformedError(f"a recipe refers to more than {PIECES_MAX} chunks")

    def _check_chunks(self, sizes: Sequence[int], seen: bytearray) -> None:
        made = 0
        for first, count in self.makes:
            if first == HOLE:
                continue
            if first + count > len(sizes) or any(seen[first : first + count]):
                raise MalformedError("a recipe makes chunks that do not exist or that come otherwise")
            seen[first : first + count] = b"\1" * count
            made += sum(sizes[first : first + count])
        if not made or made != self.size or self.dropped > made:
            raise MalformedError("a recipe does not make the bytes of its chunks, or drops more than it makes")

    def _check_old(self, bases: Sequence[Sequence[int]]) -> None:
        there = 0
        for base, first, count in self.source:
            if not 0 <= base < len(bases) or first < 0 or not 0 < count <= len(bases[base]) - first:
                raise MalformedError("a recipe refers to chunks that its base does not have")
            there += sum(bases[base][first : first + count])
        if any(place + size > there for place, size, *_ in self.old):
            raise MalformedError("a recipe takes old material from where there is none")
        if max(sum(piece[1] for piece in self.old), sum(piece[-1] for piece in self.old)) > OLD_RATIO * self.material:
            raise MalformedError(f"a recipe has more than {OLD_RATIO} times as much old material as material")

    def check_windows(self, windows: Iterable[tuple[int, ...]], most: int, least: int) -> None:
        """Refuse windows that reach beyond the old material or run back in it.

        Args:
            windows: start and size of that of each frame, or nothing.
            most: bytes of a window.
            least: bytes of one, if there is one.

        Raises:
            MalformedError: one does.
        """
        flow = sum(piece[-1] for piece in self.old)
        begin = end = 0
        for window in windows:
            if not window:
                continue
            start, size = window if len(window) == 2 else (-1, 0)
            if start < begin or start + size < end or start + size > flow or not least <= size <= most:
                raise MalformedError("a window of a recipe runs back, or reaches beyond the old material")
            begin, end = start, start + size
