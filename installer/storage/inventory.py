"""The inventory of a rebuilt release: new frames, and those of the bases that hold the rest of its chunks."""

from __future__ import annotations

from collections.abc import Sequence

from sealift.content import Content
from sealift.index import Frame
from sealift.listing import Blob
from sealift.manifest import Part

from .numbering import Numbering


class Inventory:
    """Which frames hold the chunks of a release."""

    def __init__(self, olds: Sequence[Content], parts: Sequence[Part]) -> None:
        """Take the bases: their content, and their parts."""
        self._olds = olds
        self._parts = parts
        self._pieces: dict[tuple[str, int], list[tuple[int, int, int]]] = {}
        """Start, size and number of the chunks that are taken from a frame, by its pack and place."""
        self._known: dict[tuple[str, int], tuple[Blob, Frame]] = {}

    def held(self, number: int, digest: bytes) -> None:
        """Find a chunk of the release in the bases."""
        for old, part in zip(self._olds, self._parts, strict=True):
            there = old.numbers.get(digest)
            if there is not None:
                position, start = old.place_of(there)
                frame = old.frames[position][1]
                pack = part.packs[frame.pack]
                key = (pack.sha256, frame.offset)
                self._known[key] = (pack, frame)
                self._pieces.setdefault(key, []).append((start, old.sizes[there], number))
                return

    def finish(self, new: Sequence[Frame], blobs: Sequence[Blob]) -> tuple[tuple[Blob, ...], list[Frame]]:
        """All packs, and all frames in the order in which a reader of the trees needs them.

        Args:
            new: the new frames, whose packs are counted from 0.
            blobs: their packs.
        """
        numbering = Numbering((*(self._known[key][0] for key in self._pieces), *blobs))
        frames = [numbering.line(each, blobs[each.pack]) for each in new]
        for key, pieces in self._pieces.items():
            pack, frame = self._known[key]
            frames.append(numbering.line(frame, pack, pieces))
        frames.sort(key=lambda frame: min(frame.numbers()))
        return numbering.packs, frames
