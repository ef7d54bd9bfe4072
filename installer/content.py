"""The content of an admitted release's files, read piece by piece from the packs, each frame checked before it is used.

What is remembered of a file is which chunks it has, and of those where each lies: about a hundred bytes for each
chunk of the artifacts that are asked for, whatever their sizes. Of all else in the release only the digests of
chunks count, since chunks have their numbers by the order in which they first appear.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sealift.durable import storing
from sealift.errors import IntegrityError
from sealift.frame import unseal
from sealift.index import Frame
from sealift.tree import Entry

from .store import Store
from .writing import Deployable

READERS = 2
"""Frames that are decompressed at once: what a frame takes beside its content is taken only so often."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of an artifact."""

    size: int
    """Bytes."""
    numbers: tuple[int, ...]
    """Of its chunks, in order."""
    sizes: tuple[int, ...]
    """Of its chunks, in bytes."""


class Contents:
    """The files of some of a release's artifacts. Several threads may read at once."""

    def __init__(self, deployable: Deployable, store: Store, artifacts: Collection[str]) -> None:
        """Walk the release's trees and its index.

        Raises:
            IntegrityError: something in the store is damaged.
        """
        self._store = store
        self._packs = deployable.part.packs
        self._reading = threading.BoundedSemaphore(READERS)
        self.files: dict[str, dict[str, File]] = {name: {} for name in artifacts}
        """By artifact and path."""
        self._places: dict[int, tuple[Frame, int]] = {}
        """The frame of each chunk that is wanted, and where in its content it starts."""
        sizes = self._walk(deployable)
        self._locate(deployable, sizes)

    def _walk(self, deployable: Deployable) -> dict[int, int]:
        """Note the chunks of each file; return the sizes of all chunks by number."""
        first: dict[bytes, int] = {}
        sizes: dict[int, int] = {}
        for artifact in deployable.release.artifacts:
            files = self.files.get(artifact.name)
            for entry in self._store.entries(artifact):
                numbers = []
                for digest, size in entry.pieces():
                    number = first.setdefault(bytes.fromhex(digest), len(first))
                    sizes[number] = size
                    numbers.append(number)
                if files is not None and entry.type == "file":
                    files[entry.path] = _file(entry, numbers)
        return sizes

    def _locate(self, deployable: Deployable, sizes: dict[int, int]) -> None:
        wanted = {number for files in self.files.values() for file in files.values() for number in file.numbers}
        for frame in self._store.frames(deployable.part.index):
            start = 0
            for number in frame.numbers():
                if number in wanted:
                    self._places[number] = (frame, start)
                start += sizes.get(number, 0)
        if len(self._places) != len(wanted):
            raise IntegrityError("the index of this release does not cover its trees")

    def pieces(self, artifact: str, path: str, start: int = 0) -> Iterator[bytes]:
        """The content of a file from the byte `start` on; one frame's content is held meanwhile, and no piece of it.

        Raises:
            IntegrityError: a pack is missing or damaged.
        """
        file = self.files[artifact][path]
        held: Frame | None = None
        content = memoryview(b"")
        for number, size in zip(file.numbers, file.sizes, strict=True):
            if start >= size:
                start -= size
                continue
            frame, offset = self._places[number]
            if frame is not held:
                content = memoryview(b"")
                with self._reading:
                    content, held = memoryview(self._read(frame)), frame
            yield bytes(content[offset + start : offset + size])
            start = 0

    def read(self, artifact: str, path: str, limit: int) -> bytes:
        """The content of a small file.

        Raises:
            IntegrityError: there is no such file, it has more than `limit` bytes, or a pack is damaged.
        """
        file = self.files[artifact].get(path)
        if file is None or file.size > limit:
            raise IntegrityError(
                f"artifact {artifact} has no file {path} of up to {limit} bytes", hint="it was made by a faulty program"
            )
        return b"".join(self.pieces(artifact, path))

    def _read(self, frame: Frame) -> bytes:
        path = self._store.pack(self._packs[frame.pack])
        damaged = IntegrityError(
            f"{path} is missing or damaged",
            hint="run 'sealift-install verify' for the whole list, then import a bundle that holds it",
        )
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise damaged from None
        try:
            with storing(path):
                sealed = os.pread(descriptor, frame.length, frame.offset)
        finally:
            os.close(descriptor)
        if len(sealed) != frame.length or hashlib.sha256(sealed).hexdigest() != frame.sha256:
            raise damaged
        return unseal(sealed, frame.size)


def _file(entry: Entry, numbers: list[int]) -> File:
    return File(size=entry.size, numbers=tuple(numbers), sizes=tuple(size for _, size in entry.pieces()))
