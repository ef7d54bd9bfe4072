"""The packs that a site writes itself, of what it rebuilt. Frames come in order and are written in order."""

from __future__ import annotations

import hashlib

from sealift.durable import TEMPORARY, Draft, storing
from sealift.index import Frame
from sealift.listing import Blob, sound

from .store import Store

PACK_TARGET = 32 << 20
"""Bytes after which a pack is closed."""


class Packs:
    """Writes frames into the store. The same frames give the same packs, and one that is there stays as it is."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.folder = store.folder / "packs"
        """Where they are written."""
        self._draft: Draft | None = None
        self._digest = hashlib.sha256()
        self._length = 0
        self._done: list[Blob] = []
        self.frames: list[Frame] = []
        """What was written, for the index; their packs are counted from 0."""
        self.written = self.present = 0
        """Bytes of packs that are new, and of those that were there."""

    def add(self, content: bytes, size: int, digest: str, chunks: tuple[tuple[int, int], ...]) -> None:
        """Write a frame behind the one before it.

        Args:
            content: its bytes.
            size: bytes of its content.
            digest: of its bytes.
            chunks: runs of the numbers of its chunks.

        Raises:
            StoreError: the disk refuses.
        """
        if self._draft and self._length + len(content) > PACK_TARGET:
            self._close(self._draft)
        with storing(self.folder):
            if self._draft is None:
                self._draft = Draft(self.folder / f"{TEMPORARY}rebuilt", mode=0o600)
            self._draft.write(content)
        self._digest.update(content)
        self.frames.append(
            Frame(
                pack=len(self._done),
                offset=self._length,
                length=len(content),
                size=size,
                sha256=digest,
                chunks=chunks,
            )
        )
        self._length += len(content)

    def finish(self) -> tuple[Blob, ...]:
        """End the last pack and return all.

        Raises:
            StoreError: the disk refuses.
        """
        if self._draft:
            self._close(self._draft)
        return tuple(self._done)

    def abandon(self) -> None:
        """Leave nothing half-written behind."""
        if self._draft:
            self._draft.abandon()

    def _close(self, draft: Draft) -> None:
        blob = Blob(sha256=self._digest.hexdigest(), length=self._length)
        path = self._store.pack(blob)
        with storing(path):
            if sound(path, blob):
                draft.abandon()
                self.present += blob.length
            else:
                draft.keep(path)
                self.written += blob.length
        self._done.append(blob)
        self._draft = None
        self._digest, self._length = hashlib.sha256(), 0
