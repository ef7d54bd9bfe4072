"""Repacking: what lies in packs and is of no use to any release leaves them.

A release that came as a difference needs some frames of the packs of older ones, and some chunks of these
frames. Where much of a pack is of no use any more, what is used moves into new packs, as it is or, where
little of a frame is used, compressed anew; and the releases get indexes that name the new places. Nothing
that is there is changed: a kill leaves new files that nobody needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import msgspec
import zstandard

from sealift import index as indexes
from sealift.content import content_of, sealed_of
from sealift.durable import storing, sync_folder, write_file
from sealift.frame import seal
from sealift.index import HOLE, Frame
from sealift.listing import Blob, packed, sound
from sealift.manifest import Part
from sealift.progress import Progress

from ..records.folder import STORE
from ..records.state import Admitted
from .numbering import Numbering
from .packs import Packs
from .rebuilding import LEVEL
from .store import SPARE, Store

_WASTE = 4
"""A pack is packed anew where one part in so many of it, or more, is of no use."""
_CUT = 2
"""A frame is compressed anew where less than one part in so many of its content is of use."""


@dataclass(frozen=True)
class _Live:
    """A frame of which a release needs something."""

    pack: Blob
    frame: Frame
    needed: dict[int, int] = field(default_factory=dict)
    """Where in its content chunks that are needed start, and their bytes."""

    def ranges(self) -> list[tuple[int, int]]:
        """Start and end of what moves of its content, in order."""
        found: list[tuple[int, int]] = []
        for start, size in sorted(self.needed.items()):
            if found and start <= found[-1][1]:
                found[-1] = (found[-1][0], max(found[-1][1], start + size))
            else:
                found.append((start, start + size))
        used = sum(end - start for start, end in found)
        return found if used * _CUT < self.frame.size else [(0, self.frame.size)]

    def length(self) -> int:
        """Bytes that it takes once it has moved, at most: what is compressed anew, quickly, gets larger."""
        used = sum(end - start for start, end in self.ranges())
        if used == self.frame.size:
            return self.frame.length
        return min(used, 2 * self.frame.length * used // self.frame.size)


@dataclass(frozen=True)
class Wasteful:
    """A pack that is worth packing anew."""

    pack: Blob
    live: tuple[_Live, ...]
    """What is needed of it, in order."""
    needed: int
    """Bytes of that, nearly."""

    @property
    def wasted(self) -> int:
        """Bytes that are of no use, nearly."""
        return self.pack.length - self.needed


def wasteful(store: Store, admitted: Sequence[Admitted]) -> list[Wasteful]:
    """The packs of which the releases need little, the worst first.

    Raises:
        IntegrityError: a listing of a release is missing or damaged.
    """
    if not any(each.part.trees for each in admitted):
        return []  # a release that came whole needs all of its packs
    live: dict[str, dict[int, _Live]] = {}
    for each in admitted:
        content = store.content(each.part)
        for _, frame in content.frames:
            pack = each.part.packs[frame.pack]
            there = live.setdefault(pack.sha256, {}).setdefault(frame.offset, _Live(pack, frame))
            there.needed.update((start, size) for start, size, _ in _pieces(frame, content.sizes))
    found = []
    for frames in live.values():
        ordered = tuple(frames[offset] for offset in sorted(frames))
        pack = ordered[0].pack
        one = Wasteful(pack, ordered, sum(each.length() for each in ordered))
        if one.wasted * _WASTE >= pack.length:
            found.append(one)
    return sorted(found, key=lambda each: (-each.wasted, each.pack.sha256))


def fitting(store: Store, packs: Sequence[Wasteful]) -> list[Wasteful]:
    """Those of `packs` that the disk has room to write anew before the old ones leave.

    Raises:
        StoreError: the disk refuses.
    """
    free = store.free() - SPARE
    needed = accumulate(pack.needed for pack in packs)
    return [pack for pack, so_far in zip(packs, needed, strict=True) if so_far <= free]


@dataclass(frozen=True)
class _Moved:
    """Where a frame went."""

    number: int
    """Of the new frame, in the order in which they were written."""
    ranges: tuple[tuple[int, int], ...]
    """What of its content moved."""

    def start(self, start: int) -> int:
        """Where in the new content what was at `start` is."""
        before = 0
        for first, end in self.ranges:
            if first <= start < end:
                return before + start - first
            before += end - first
        raise AssertionError("a chunk that is needed did not move")


def repack(
    store: Store, admitted: Sequence[Admitted], packs: Sequence[Wasteful], progress: Progress
) -> tuple[Admitted, ...]:
    """Write what is needed of `packs` into new packs, and indexes that name them. The old ones stay for now.

    Returns:
        The releases as they are then, for the site's state.

    Raises:
        IntegrityError: a pack or a listing is missing or damaged.
        StoreError: the disk refuses.
    """
    progress.start("packing anew", sum(pack.needed for pack in packs))
    writer = Packs(store)
    try:
        moved = _move(store, packs, writer, progress)
        blobs = writer.finish()
    finally:
        writer.abandon()
    progress.finish()
    names = {pack.pack.sha256 for pack in packs}
    told = tuple(
        msgspec.structs.replace(each, part=_told(store, each.part, moved, writer.frames, blobs))
        if any(pack.sha256 in names for pack in each.part.packs)
        else each
        for each in admitted
    )
    with storing(store.folder):
        for kind in STORE:
            sync_folder(store.folder / kind)
    return told


def _move(store: Store, packs: Iterable[Wasteful], writer: Packs, progress: Progress) -> dict[tuple[str, int], _Moved]:
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=False, write_content_size=True, threads=0)
    moved = {}
    for pack in packs:
        path = store.pack(pack.pack)
        for one in pack.live:
            frame, ranges = one.frame, one.ranges()
            moved[pack.pack.sha256, frame.offset] = _Moved(len(writer.frames), tuple(ranges))
            if ranges == [(0, frame.size)]:
                writer.add(sealed_of(path, frame), frame.size, frame.sha256, ())
            else:
                content = memoryview(content_of(path, frame))
                again = seal([content[start:end] for start, end in ranges], compressor)
                size = sum(end - start for start, end in ranges)
                writer.add(again, size, hashlib.sha256(again).hexdigest(), ())
            progress.advance(one.length())
    return moved


def _told(
    store: Store, part: Part, moved: dict[tuple[str, int], _Moved], new: Sequence[Frame], blobs: Sequence[Blob]
) -> Part:
    """A part whose index names where everything lies now."""
    content = store.content(part)
    numbering = Numbering()
    frames = []
    for _, frame in content.frames:
        pack = part.packs[frame.pack]
        if (move := moved.get((pack.sha256, frame.offset))) is None:
            frames.append(numbering.line(frame, pack))
        else:
            there = new[move.number]
            pieces = ((move.start(start), size, number) for start, size, number in _pieces(frame, content.sizes))
            frames.append(numbering.line(there, blobs[there.pack], pieces))
    file, own, _ = packed(indexes.KIND, (msgspec.json.encode(frame) for frame in frames))
    if not sound(store.index(own), own):
        write_file(store.index(own), file)
    return msgspec.structs.replace(part, index=own, packs=numbering.packs)


def _pieces(frame: Frame, sizes: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Start, size and number of each chunk that a release has in a frame."""
    start = 0
    for number, hole in frame.parts():
        size = hole if number == HOLE else sizes[number]
        if number != HOLE:
            yield start, size, number
        start += size
