"""Echoes: where in an old file a region of the new one comes again, whatever lies between.

Both are cut into small pieces by their content. Where pieces of the region are found in the old file, the chunks
that hold them make the reference, those with most of them first; what room is left goes to the chunks around the
place that the region should have.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence

from sealift.content import Chunks

from .matching import Candidate

REFERENCE = 6 << 20
"""Bytes of a reference at most: with a region it fits in the window of 8 MiB."""
_PIECE_MIN, _PIECE, _PIECE_MAX = 512, 2048, 8192
"""Bytes of the pieces (FastCDC)."""


class Echoes:
    """The pieces of one old file."""

    def __init__(self, reader: Chunks, candidate: Candidate, sizes: Sequence[int]) -> None:
        """Take the old file, a reader of chunks, and the bytes of each chunk of its base."""
        self._reader = reader
        self._candidate = candidate
        self._sizes = sizes
        self._places: dict[int, int] | None = None

    def reference(self, region: Sequence[int], around: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Base and number of the chunks that a region is compressed against, in the order of the old file.

        Args:
            region: the chunks of the new file.
            around: base and number of the old chunks at the place that the region should have.
        """
        if self._places is None:
            self._places = self._found()
        hits: Counter[int] = Counter()
        for number in region:
            for piece in _pieces(self._reader.read(0, number)):
                place = self._places.get(zlib.crc32(piece))
                if place is not None:
                    hits[place] += len(piece)
        positions = {number: position for position, number in enumerate(self._candidate.numbers)}
        wanted = [place for place, _ in sorted(hits.items(), key=lambda hit: (-hit[1], hit[0]))]
        wanted += [positions[number] for _, number in around]
        chosen: set[int] = set()
        size = 0
        for place in wanted:
            length = self._sizes[self._candidate.numbers[place]]
            if place not in chosen and size + length <= REFERENCE:
                chosen.add(place)
                size += length
        return [(self._candidate.base, self._candidate.numbers[place]) for place in sorted(chosen)]

    def _found(self) -> dict[int, int]:
        """Which of the old file's chunks holds a piece, by the piece's checksum; the first one where several do."""
        places: dict[int, int] = {}
        for place, number in enumerate(self._candidate.numbers):
            for piece in _pieces(self._reader.read(self._candidate.base + 1, number)):
                places.setdefault(zlib.crc32(piece), place)
        return places


def _pieces(content: memoryview) -> Iterator[memoryview]:
    from fastcdc.fastcdc_cy import fastcdc_cy

    for piece in fastcdc_cy(content, _PIECE_MIN, _PIECE, _PIECE_MAX):
        yield content[piece.offset : piece.offset + piece.length]
