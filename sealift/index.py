"""The index of a part: where in its packs each chunk lies.

Chunks have numbers: the distinct chunks of a release in the order in which they first appear, tree by
tree as the release manifest lists them, entry by entry. So the index needs no digests of chunks. Its
lines are frames, in the order of the packs, without gaps or overlaps; each frame holds runs of numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import msgspec

from .digest import check_form
from .errors import MalformedError
from .frame import FRAME_MAX
from .listing import Blob, ListingBlob, decode, decode_line, lines

KIND = "index"
HOLE = -1
"""In place of a run's first number, at a site alone: `count` bytes that are of no chunk of the release."""


class Frame(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One zstd frame of a pack."""

    pack: int
    """Which of the part's packs, from 0."""
    offset: int
    """Bytes from the start of the pack."""
    length: int
    """Bytes in the pack."""
    size: int
    """Bytes of content."""
    sha256: str
    """Digest of the bytes in the pack."""
    chunks: tuple[tuple[int, int], ...]
    """Runs of chunk numbers (first, count), in the order of the content."""

    def numbers(self) -> Iterator[int]:
        """The chunk numbers in the order of the content."""
        for first, count in self.chunks:
            if first != HOLE:
                yield from range(first, first + count)

    def parts(self) -> Iterator[tuple[int, int]]:
        """The same, but with what is of no chunk of the release: `HOLE`, and how many bytes of it come."""
        for first, count in self.chunks:
            if first == HOLE:
                yield HOLE, count
            else:
                for number in range(first, first + count):
                    yield number, 0


def runs(pieces: Iterable[tuple[int, int, int]], size: int) -> tuple[tuple[int, int], ...]:
    """The runs of a frame that holds chunks at some places of its content, with holes where it holds something else.

    Args:
        pieces: start, size in bytes and number of each chunk, in the order of the content.
        size: bytes of the content.
    """
    found: list[tuple[int, int]] = []
    place = 0
    for start, length, number in pieces:
        if start > place:
            found.append((HOLE, start - place))
        if found and found[-1][0] != HOLE and number == sum(found[-1]):
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((number, 1))
        place = start + length
    if place < size:
        found.append((HOLE, size - place))
    return tuple(found)


FrameT = TypeVar("FrameT", bound=Frame)


def frames(compressed: bytes, blob: ListingBlob) -> Iterator[Frame]:
    """Yield the frames of an index that this site admitted before, so that only its digest is to be checked.

    Raises:
        IntegrityError: a digest or a size does not match.
        MalformedError: it is no index.
    """
    for line in lines(compressed, blob, KIND):
        yield decode(line, Frame, "a line of an index")


def checked(compressed: bytes, blob: ListingBlob, packs: Sequence[Blob], sizes: Sequence[int]) -> Iterator[Frame]:
    """Yield the frames of an index that came from outside, and refuse it unless it covers all chunks once.

    Args:
        compressed: the index's file.
        blob: what the signed manifest says of it.
        packs: the part's packs, in order.
        sizes: bytes of each chunk, by its number.

    Raises:
        IntegrityError: a digest or a size does not match.
        MalformedError: a frame overlaps, leaves a gap, or does not hold what it says.
    """
    return covering(_lines(compressed, blob), packs, sizes, bytearray(len(sizes)))


def _lines(compressed: bytes, blob: ListingBlob) -> Iterator[Frame]:
    for line in lines(compressed, blob, KIND):
        frame = decode_line(line, Frame, "a line of an index")
        check_form(frame.sha256, "a frame")
        yield frame


def covering(
    frames: Iterable[FrameT],
    packs: Sequence[Blob],
    sizes: Sequence[int],
    seen: bytearray,
    *,
    material: bool = False,
) -> Iterator[FrameT]:
    """Yield `frames`, and refuse them unless they cover all packs without gaps, and all chunks once.

    Args:
        frames: the lines of an index, or of a difference.
        packs: the part's packs, in order.
        sizes: bytes of each chunk, by its number.
        seen: for each chunk, whether it need not and must not come; it is changed.
        material: whether a frame may have no chunks: it holds material for some, and the caller checks its size.

    Raises:
        MalformedError: a frame overlaps, leaves a gap, or does not hold what it says.
    """
    pack = end = 0
    for frame in frames:
        if frame.pack == pack + 1 and pack < len(packs) and end == packs[pack].length:
            pack, end = pack + 1, 0
        if frame.pack != pack or frame.offset != end or frame.length <= 0 or pack >= len(packs):
            raise MalformedError("a frame of the index overlaps another or leaves a gap")
        end += frame.length
        if end > packs[pack].length or not 0 < frame.size <= FRAME_MAX:
            raise MalformedError("a frame of the index is larger than its pack or than a frame may be")
        size = 0
        for first, count in frame.chunks:
            if first < 0 or count <= 0 or first + count > len(sizes) or any(seen[first : first + count]):
                raise MalformedError("a frame of the index holds chunks that do not exist or that another holds")
            seen[first : first + count] = b"\1" * count
            size += sum(sizes[first : first + count])
        if size != frame.size and (frame.chunks or not material):
            raise MalformedError("a frame of the index does not have the size of its chunks")
        yield frame
    if not all(seen) or (packs and (pack, end) != (len(packs) - 1, packs[-1].length)):
        raise MalformedError("the index does not cover every chunk and every byte of its packs")
