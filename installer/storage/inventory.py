"""The inventory of a rebuilt release: new frames, and those of the bases that hold the rest of its chunks."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sealift.content import Content
from sealift.index import Frame, runs
from sealift.listing import Blob
from sealift.manifest import Part


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
        packs: dict[str, tuple[int, Blob]] = {}
        for blob in (*(self._known[key][0] for key in self._pieces), *blobs):
            packs.setdefault(blob.sha256, (len(packs), blob))
        frames = [msgspec.structs.replace(each, pack=packs[blobs[each.pack].sha256][0]) for each in new]
        for key, pieces in self._pieces.items():
            pack, frame = self._known[key]
            frames.append(
                msgspec.structs.replace(frame, pack=packs[pack.sha256][0], chunks=runs(sorted(pieces), frame.size))
            )
        frames.sort(key=lambda frame: min(frame.numbers()))
        return tuple(blob for _, blob in packs.values()), frames
