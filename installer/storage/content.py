"""The content of an admitted release's files, read piece by piece from the packs, each frame checked before it is used.

What is remembered of a file is which chunks it has, and of every chunk of the release where it lies.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sealift.content import Content, content_of
from sealift.digest import sha256
from sealift.errors import IntegrityError
from sealift.index import Frame
from sealift.tree import Entry

from .deployable import Deployable
from .store import Store

_EMPTY = sha256(b"")
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
    executable: bool = False
    sha256: str = ""
    """Of its content, where that is known without reading: of a file of one chunk, and of an empty one."""


class Contents:
    """The files of some of a release's artifacts. Several threads may read at once."""

    def __init__(self, deployable: Deployable, store: Store, artifacts: Collection[str]) -> None:
        """Walk the release's trees and its index.

        Raises:
            IntegrityError: something in the store is damaged.
        """
        self._reading = threading.BoundedSemaphore(READERS)
        self._content = Content()
        self.files: dict[str, dict[str, File]] = {name: {} for name in artifacts}
        """By artifact and path."""
        self.links: dict[str, dict[str, str]] = {name: {} for name in artifacts}
        """What each symbolic link points to, by artifact and path."""
        self._filled = deployable.filled
        self._digests: tuple[bytes, ...] | None = None
        for artifact in deployable.release.artifacts:
            files = self.files.get(artifact.name)
            for entry in store.entries(artifact):
                self._content.add(entry)
                if files is None:
                    continue
                if entry.type == "file":
                    files[entry.path] = self._file(artifact.name, entry)
                elif entry.type == "link":
                    self.links[artifact.name][entry.path] = entry.target
        part = deployable.part
        self._content.place(store.frames(part.index), [store.pack(pack) for pack in part.packs])

    def _file(self, artifact: str, entry: Entry) -> File:
        executable = entry.mode == "0755"
        filled = self._filled.get((artifact, entry.path))
        if filled is not None:
            return File(size=len(filled), numbers=(), sizes=(), executable=executable, sha256=sha256(filled))
        numbers = tuple(self._content.numbers[bytes.fromhex(digest)] for digest in entry.chunks)
        sizes = tuple(size for _, size in entry.pieces())
        known = "" if len(entry.chunks) > 1 else entry.chunks[0] if entry.chunks else _EMPTY
        return File(size=entry.size, numbers=numbers, sizes=sizes, executable=executable, sha256=known)

    def position(self, artifact: str, path: str) -> tuple[int, int]:
        """What sorts files by where their content begins in the packs."""
        numbers = self.files[artifact][path].numbers
        return self._content.place_of(numbers[0]) if numbers else (-1, 0)

    def reader(self) -> Reader:
        """Reads several files, one after the other, for one thread."""
        return Reader(self._content, self.files, self._filled, self._reading)

    def pieces(self, artifact: str, path: str, start: int = 0) -> Iterator[bytes]:
        """The content of a file from the byte `start` on; one frame's content is held meanwhile, and no piece of it.

        Raises:
            IntegrityError: a pack is missing or damaged.
        """
        return self.reader().pieces(artifact, path, start)

    def each(self, artifact: str, paths: Iterable[str]) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The content of files one after the other, each to be read before the next is asked for.

        What several small files share a frame of is decompressed once, if they come in the order of the tree.

        Raises:
            IntegrityError: a pack is missing or damaged.
        """
        reader = self.reader()
        for path in paths:
            yield path, reader.pieces(artifact, path)

    def key(self, artifact: str, path: str) -> str:
        """What tells a file's content from any other, without reading it: a digest of the digests of its pieces."""
        filled = self._filled.get((artifact, path))
        if filled is not None:
            return sha256(filled)
        if self._digests is None:
            self._digests = tuple(self._content.numbers)
        return sha256(b"".join(self._digests[number] for number in self.files[artifact][path].numbers))

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


class Reader:
    """Reads files for one thread, and keeps the frame that it read last: files that lie together are read together."""

    def __init__(
        self,
        content: Content,
        files: Mapping[str, Mapping[str, File]],
        filled: Mapping[tuple[str, str], bytes],
        reading: threading.BoundedSemaphore,
    ) -> None:
        self._content = content
        self._files = files
        self._filled = filled
        self._reading = reading
        self._held: tuple[Path, Frame] | None = None
        self._frame = memoryview(b"")

    def pieces(self, artifact: str, path: str, start: int = 0) -> Iterator[bytes]:
        """The content of a file from the byte `start` on; no other file may be read before it has ended.

        Raises:
            IntegrityError: a pack is missing or damaged.
        """
        if (artifact, path) in self._filled:
            yield self._filled[artifact, path][start:]
            return
        file = self._files[artifact][path]
        for number, size in zip(file.numbers, file.sizes, strict=True):
            if start >= size:
                start -= size
                continue
            position, offset = self._content.place_of(number)
            if (frame := self._content.frames[position]) is not self._held:
                self._held, self._frame = None, memoryview(b"")
                with self._reading:
                    self._frame, self._held = memoryview(content_of(*frame)), frame
            yield bytes(self._frame[offset + start : offset + size])
            start = 0
