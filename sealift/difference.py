"""Differences: parts that leave out what a site holds, and compress what is new with the site's own content.

What the bases hold is known by digest from their trees, which travel in a way of their own (`tree_difference`). A
frame may have a reference, chunks of the bases by number, which is its prefix for zstd, or which it is a subtraction
from.
Whoever reads one checks every count against what the bases have, and every length against its bound, before it
makes anything of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import msgspec
import zstandard

from . import frame as frames
from . import index as indexes
from . import subtraction as subtractions
from .addition import Addition, one_by_one
from .allowance import Allowance, of_reference
from .deflating import Way, probe
from .digest import check_form
from .errors import IntegrityError, MalformedError
from .frame import FRAME_MAX
from .index import Frame
from .listing import Blob, ListingBlob, decode_line, lines
from .rebuilder import Rebuilder, RebuilderError
from .recipe import WAYS_MAX, Recipe, Required, Setting, Spelled
from .tokens.writing import Tokens

KIND = "difference"
REFERENCE_MAX = FRAME_MAX
"""Bytes of a frame's reference content at most."""
REFERENCE_MIN = 8
"""Bytes of a frame's reference content at least: zstd takes less for none."""
RUNS_MAX = 1024
"""Runs of chunks in a reference at most."""
_SETTINGS: dict[bytes, type[Setting | Required | Spelled]] = {
    b'{"level"': Setting,
    b'{"rebuilder"': Required,
    b'{"tokens"': Spelled,
}
"""The lines that say how members are compressed again, by what they begin with."""
_VALUES, _LITERALS = 2, 3
"""Streams of a subtraction: its values, and its literals, which have the reference as prefix."""
_T = TypeVar("_T", bound=msgspec.Struct)


class Patch(Frame, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One zstd frame of a difference."""

    reference: tuple[tuple[int, int, int], ...] = ()
    """Runs of chunk numbers of the bases (base, first, count): what the frame's prefix consists of."""
    subtraction: tuple[int, ...] = ()
    """Bytes of each of the four streams, where the frame is a subtraction from its reference."""
    window: tuple[int, ...] = ()
    """Of a frame of a recipe: start and size of the old material that is its prefix."""

    @property
    def values(self) -> int:
        """How many bytes its subtraction adds to."""
        return self.subtraction[_VALUES] if self.subtraction else 0

    def referred(self) -> Iterator[tuple[int, int]]:
        """Base and chunk number of each chunk of the reference content, in order."""
        for base, first, count in self.reference:
            for number in range(first, first + count):
                yield base, number


@dataclass(frozen=True, kw_only=True)
class Inflated:
    """What travels inflated: a recipe, the frames that hold its material, and how to deflate."""

    recipe: Recipe
    patches: tuple[Patch, ...]
    ways: tuple[Way | Rebuilder | Tokens, ...]
    """By the position of the setting."""


def checked(
    compressed: bytes,
    blob: ListingBlob,
    packs: Sequence[Blob],
    sizes: Sequence[int],
    held: bytearray,
    bases: Sequence[Sequence[int]],
) -> Iterator[Patch | Inflated]:
    """Yield what a difference that came from outside brings, and refuse it unless it fits to the bases.

    Args:
        compressed: the listing's file.
        blob: what the signed manifest says of it.
        packs: the part's packs, in order.
        sizes: bytes of each chunk of the release, by its number.
        held: for each of them, whether a base holds it; it is changed.
        bases: bytes of each chunk of each base, by its number.

    Raises:
        IntegrityError: a digest or a size does not match, or zlib or a rebuilder deflates otherwise here.
        MalformedError: a frame overlaps, leaves a gap, or refers to what no base has.
    """
    frames = 0
    new = sum(size for size, there in zip(sizes, held, strict=True) if not there)
    outside, inside = Allowance(new), Allowance(new)

    def charge(allowance: Allowance, cost: int) -> None:
        if not allowance.grants(cost):
            raise MalformedError("the difference refers to more of its bases than what it brings allows")

    def admit(recipe: Recipe) -> None:
        recipe.check(sizes, held, bases)
        charge(inside, recipe.cost)

    def loose() -> Iterator[Patch]:
        nonlocal frames
        for each in _lines(compressed, blob, admit):
            if isinstance(each, Setting):
                _check_probe(each)
            elif isinstance(each, Required):
                _check_rebuilder(each)
            elif isinstance(each, Spelled):
                pass
            elif isinstance(each, Inflated):
                for patch in each.patches:
                    charge(inside, of_reference(patch.size, sum(patch.window[1:])))
                waiting.append(each)
                yield from each.patches
            else:
                yield each

    waiting: list[Inflated] = []
    for patch in indexes.covering(loose(), packs, sizes, held, material=True):
        if waiting:
            frames += 1
            if frames == len(waiting[0].patches):
                yield waiting.pop()
                frames = 0
            continue
        reference = _check_reference(patch, bases)
        charge(outside, of_reference(patch.size, reference, len(patch.reference)))
        yield patch


def _check_reference(patch: Patch, bases: Sequence[Sequence[int]]) -> int:
    """Refuse what it must not refer to; return the bytes that it refers to."""
    if len(patch.reference) > RUNS_MAX:
        raise MalformedError(f"a frame of the difference refers to more than {RUNS_MAX} runs of chunks")
    amount = 0
    for base, first, count in patch.reference:
        if not 0 <= base < len(bases) or first < 0 or not 0 < count <= len(bases[base]) - first:
            raise MalformedError("a frame of the difference refers to chunks that its base does not have")
        amount += sum(bases[base][first : first + count])
        if amount > REFERENCE_MAX:
            raise MalformedError(f"a frame of the difference refers to more than {REFERENCE_MAX} bytes")
    if (patch.reference or patch.subtraction) and amount < REFERENCE_MIN:
        raise MalformedError(f"a frame of the difference refers to less than {REFERENCE_MIN} bytes")
    if patch.subtraction:
        subtractions.check_sizes(patch.subtraction, patch.size)
    return amount


def _check_probe(setting: Setting) -> None:
    if probe(setting.way) != setting.probe:
        raise IntegrityError(
            "the bundle holds compressed files that only another zlib than the one of this Python can rebuild",
            hint="ask for a bundle that was exported with --no-inflate, or for the whole release",
        )


def _check_rebuilder(required: Required) -> None:
    """Refuse what needs a program that this machine has not, or that compresses otherwise than it did."""
    name = required.rebuilder
    hint = (
        f"install the {name} that was here when the last receipt was made, "
        "or ask for a bundle without it: sealift-bundle export --since, or --for with a new receipt"
    )
    try:
        found = required.way.probe()
    except RebuilderError as error:
        raise IntegrityError(f"the bundle holds layers that only {name} rebuilds: {error}", hint=hint) from error
    if found != required.probe:
        raise IntegrityError(
            f"the bundle holds layers that only another {name} than that of this machine can rebuild",
            hint=hint,
        )


def outline(compressed: bytes, blob: ListingBlob) -> Iterator[Patch | Inflated]:
    """Yield what a difference brings whose bases are not at hand; only its form is checked.

    Raises:
        IntegrityError: a digest or a size does not match.
        MalformedError: it is no difference.
    """
    return (each for each in _lines(compressed, blob) if isinstance(each, Patch | Inflated))


def _lines(
    compressed: bytes, blob: ListingBlob, admit: Callable[[Recipe], None] = lambda recipe: None
) -> Iterator[Patch | Setting | Required | Spelled | Inflated]:
    """The lines of a difference; each recipe with its frames, once `admit` did not refuse it."""
    ways: list[Way | Rebuilder | Tokens] = []
    rebuilders: set[int] = set()
    tokens: set[int] = set()
    listed = lines(compressed, blob, KIND)
    for line in listed:
        if kind := _SETTINGS.get(line[: line.find(b":")]):
            setting = _decoded(line, kind)
            setting.check()
            if len(ways) == WAYS_MAX or (kind is not Setting and setting.way in ways):
                raise MalformedError(f"a difference deflates in more than {WAYS_MAX} ways, or names a rebuilder twice")
            if kind is not Setting:
                (rebuilders if kind is Required else tokens).add(len(ways))
            ways.append(setting.way)
            yield setting
        elif line.startswith(b'{"makes"'):
            recipe = _decoded(line, Recipe)
            recipe.check_form(len(ways), rebuilders, tokens)
            admit(recipe)
            patches = tuple(_patch(each) for each in islice(listed, recipe.frames))
            if any(patch.chunks or patch.reference for patch in patches) or len(patches) != recipe.frames:
                raise MalformedError("a recipe lacks a frame, or one that is no material is among them")
            if sum(patch.size for patch in patches) != recipe.material:
                raise MalformedError("the frames of a recipe do not hold its material")
            for patch in patches:
                if patch.subtraction and not patch.window:
                    raise MalformedError("a frame of a recipe is a subtraction from nothing")
                if patch.subtraction:
                    subtractions.check_sizes(patch.subtraction, patch.size)
            recipe.check_windows((patch.window for patch in patches), REFERENCE_MAX, REFERENCE_MIN)
            yield Inflated(recipe=recipe, patches=patches, ways=tuple(ways))
        else:
            patch = _patch(line)
            if patch.window or not patch.chunks:
                raise MalformedError("a frame of the difference is of no recipe and has no chunks")
            yield patch


def _patch(line: bytes) -> Patch:
    patch = _decoded(line, Patch)
    check_form(patch.sha256, "a frame")
    return patch


def _decoded(line: bytes, kind: type[_T]) -> _T:
    return decode_line(line, kind, "a line of a difference")


def unseal(frame: bytes, size: int, reference: bytes) -> bytes:
    """The content of a frame that was compressed with a reference; the caller has checked the frame's digest.

    Args:
        frame: exactly one frame.
        size: bytes that must come out, from the signed listing.
        reference: the reference content.

    Raises:
        IntegrityError: it holds more, less or something else.
    """
    if not reference:
        return frames.unseal(frame, size)
    try:
        said = zstandard.get_frame_parameters(frame)
        if said.content_size != size or frames.span(frame) != len(frame):
            raise IntegrityError("a frame does not hold what the signed difference says")
        if said.window_size > FRAME_MAX:
            raise IntegrityError("a frame asks for a larger window than a reader grants")
        prefix = zstandard.ZstdCompressionDict(reference, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        reader = zstandard.ZstdDecompressor(dict_data=prefix, max_window_size=FRAME_MAX)
        return reader.decompress(frame, max_output_size=size)
    except (zstandard.ZstdError, MalformedError) as error:
        raise IntegrityError(f"a frame cannot be decompressed: {error}") from error


def content_of(patch: Patch, frame: bytes, reference: bytes, add: Addition = one_by_one) -> bytes:
    """The content of a frame of a checked difference; the caller has checked the frame's digest.

    Args:
        patch: what the signed listing says of it.
        frame: its bytes.
        reference: its reference content.
        add: how the values of a subtraction are added.

    Raises:
        IntegrityError: it holds more, less or something else.
    """
    if not patch.subtraction:
        return unseal(frame, patch.size, reference)
    streams = []
    start = 0
    for position, size in enumerate(patch.subtraction):
        if size:
            end = start + _span(frame[start:])
            streams.append(unseal(frame[start:end], size, reference if position == _LITERALS else b""))
            start = end
        else:
            streams.append(b"")
    if start != len(frame):
        raise IntegrityError("a frame does not hold what the signed difference says")
    return subtractions.restore(streams, reference, patch.size, add)


def _span(frame: bytes) -> int:
    try:
        return frames.span(frame)
    except MalformedError as error:
        raise IntegrityError(f"a frame cannot be decompressed: {error}") from error
