"""The packs of a release as they are written, and their index. Frames come in order and are written in order."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from sealift.difference import Patch
from sealift.durable import TEMPORARY, Draft, storing
from sealift.index import KIND
from sealift.listing import Blob, ListingBlob, Writer, file_name

from .cutting import Sealed

PACK_TARGET = 32 << 20
"""Bytes after which a pack is closed: small enough to resume cheaply, large enough to be few."""


class Packs:
    """Writes frames into `packs/` below `folder`, and their index into `index/`."""

    def __init__(self, folder: Path, kind: str = KIND) -> None:
        """Begin them in the sub-folders of `folder`, with an index or with a `kind` of listing that takes its place."""
        self._folder = folder / "packs"
        self._index = Writer(folder / "index", kind)
        self._draft: Draft | None = None
        self._digest = hashlib.sha256()
        self._length = 0
        self._done: list[Blob] = []

    def add(
        self,
        frame: Sealed,
        runs: tuple[tuple[int, int], ...],
        content: memoryview,
        reference: tuple[tuple[int, int, int], ...] = (),
        subtraction: tuple[int, ...] = (),
        window: tuple[int, ...] = (),
    ) -> None:
        """Write a frame behind the one before it.

        Args:
            frame: what the worker said of it.
            runs: the numbers of its chunks.
            content: its bytes.
            reference: the runs of chunks of the bases that it refers to, in a difference.
            subtraction: bytes of its streams, where it is a subtraction from them.
            window: start and size of the old material that it refers to, in a recipe.

        Raises:
            StoreError: the disk refuses.
        """
        if self._draft and self._length + frame.length > PACK_TARGET:
            self._close(self._draft)
        with storing(self._folder):
            if self._draft is None:
                self._draft = Draft(self._folder / f"{TEMPORARY}pack.{os.getpid()}")
            self._draft.write(content)
        self._digest.update(content)
        self._index.add(
            Patch(
                pack=len(self._done),
                offset=self._length,
                length=frame.length,
                size=frame.size,
                sha256=frame.digest,
                chunks=runs,
                reference=reference,
                subtraction=subtraction,
                window=window,
            )
        )
        self._length += frame.length

    def note(self, line: msgspec.Struct) -> None:
        """Write another line of a difference into the index."""
        self._index.add(line)

    def finish(self) -> tuple[ListingBlob, tuple[Blob, ...]]:
        """End the last pack and the index, and return both.

        Raises:
            StoreError: the disk refuses.
        """
        if self._draft:
            self._close(self._draft)
        index, _ = self._index.finish()
        return index, tuple(self._done)

    def abandon(self) -> None:
        """Leave nothing half-written behind."""
        self._index.abandon()
        if self._draft:
            self._draft.abandon()

    def _close(self, draft: Draft) -> None:
        blob = Blob(sha256=self._digest.hexdigest(), length=self._length)
        with storing(self._folder):
            draft.keep(self._folder / file_name(blob))
        self._done.append(blob)
        self._draft = None
        self._digest, self._length = hashlib.sha256(), 0
