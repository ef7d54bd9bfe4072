"""Packs as an index of the site counts them: in the order in which they come."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from sealift.index import Frame, runs
from sealift.listing import Blob


class Numbering:
    """Counts packs, and makes the lines of an index that names them."""

    def __init__(self, packs: Iterable[Blob] = ()) -> None:
        """Begin with some packs."""
        self._numbers: dict[str, tuple[int, Blob]] = {}
        for pack in packs:
            self._number(pack)

    @property
    def packs(self) -> tuple[Blob, ...]:
        """All that were met, in order."""
        return tuple(pack for _, pack in self._numbers.values())

    def line(self, frame: Frame, pack: Blob, pieces: Iterable[tuple[int, int, int]] | None = None) -> Frame:
        """A frame of `pack` as the index has it.

        Args:
            frame: the frame.
            pack: the pack that holds it.
            pieces: start, size and number of each chunk that it has in it, where that is not what `frame` says.
        """
        chunks = frame.chunks if pieces is None else runs(sorted(pieces), frame.size)
        return msgspec.structs.replace(frame, pack=self._number(pack), chunks=chunks)

    def _number(self, pack: Blob) -> int:
        return self._numbers.setdefault(pack.sha256, (len(self._numbers), pack))[0]
