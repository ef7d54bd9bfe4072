"""Writing a release's trees from the store into a folder.

The leader walks the trees and the index in step; workers each take a frame, check its digest,
decompress it and write the pieces where they belong. A chunk that appears again is copied from where
it was written first. What a former release's folder holds unchanged can be cloned from there instead:
the clone, which nobody else can reach, is hashed before it counts, or its origin has the imprint that it had.

Templates that values are filled in are written as they are sealed, and replaced at the end.

The destination must be a new folder that only this process can enter.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import stat
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sealift.crew import Crew
from sealift.durable import storing
from sealift.errors import IntegrityError
from sealift.index import HOLE
from sealift.manifest import Release
from sealift.progress import Progress
from sealift.tree import Entry, position

from ..storage.deployable import Deployable
from ..storage.store import Store
from .imprints import Imprint, Imprinted
from .placing import CopyTask, FrameTask, Piece, Reuse, ReuseTask, placing

_MANY = 100_000
"""Files from which on memory counts for more than a further look at the trees."""
_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Former:
    """A release that was deployed before, whose unchanged files may be taken."""

    deployable: Deployable
    folder: Path
    reuse: Reuse
    imprints: Imprinted | None = None
    """Of the folder's files, where they are known."""


def write(
    deployable: Deployable,
    store: Store,
    destination: Path,
    *,
    former: Former | None = None,
    workers: int,
    progress: Progress,
) -> int:
    """Write all of a release below `destination`, durably; return the bytes that were taken from `former`.

    Raises:
        IntegrityError: something in the store is damaged.
        StoreError: the disk refuses.
    """
    writer = _Writer(deployable, store, destination, former, progress)
    work = placing(destination, former.folder if former else None, former.reuse if former else "none")
    with Crew(workers, work) as crew:
        writer.run(crew)
    _fill(deployable, destination)
    sync_file_system(destination)
    return writer.reused


class _Writer:
    def __init__(
        self, deployable: Deployable, store: Store, destination: Path, former: Former | None, progress: Progress
    ) -> None:
        self._deployable = deployable
        self._store = store
        self._destination = str(destination)
        self._former = former
        self._progress = progress
        self._unusable: set[str] = set()
        self._distinct = 0
        """Distinct chunks so far: the number of the next."""
        self._recurring = _recurring(deployable.release, store)
        self._first: dict[bytes, Piece] = {}
        """Where a chunk that may come again is written first, by its digest."""
        self._pending: dict[int, Piece] = {}
        self._sizes: dict[int, int] = {}
        self._copies: list[tuple[str, int, Piece]] = []
        self._links: list[tuple[str, str]] = []
        self._walked = False
        self._same = bytearray()
        """For each entry, whether the former release has the same file, where there is a former release."""
        self.reused = 0

    def run(self, crew: Crew) -> None:
        if self._former:
            for taken, failed in crew.run(self._reuse_tasks()):
                self.reused += taken
                self._progress.advance(taken)
                self._unusable.update(failed)
        for done in crew.run(self._frame_tasks()):
            self._progress.advance(done)
        for done in crew.run(self._copy_tasks()):
            self._progress.advance(done)
        with storing(self._destination):
            for path, target in self._links:
                os.symlink(target, f"{self._destination}/{path}")

    def _entries(self) -> Iterator[tuple[str, Entry, int | None]]:
        """Path below the destination, entry, and the position of the same file in the former release, if it is there.

        The first walk makes the folders, each before what lies in it is yielded; it alone looks at the former release.
        """
        before = {}
        first = 0
        origin = None if self._walked else self._former
        for artifact in origin.deployable.artifacts if origin else ():
            before[artifact.name] = artifact, first
            first += artifact.files
        for artifact in self._deployable.artifacts:
            prefix = self._deployable.folder_of(artifact.name)
            same: Callable[[Entry], int | None] = _never
            if origin and artifact.name in before and origin.deployable.folder_of(artifact.name) == prefix:
                former, first = before[artifact.name]
                same = _Same(self._store.entries(former), first)
            if prefix:
                self._make_folder(artifact.name)
            for entry in self._store.entries(artifact):
                if entry.type == "dir":
                    self._make_folder(prefix + entry.path)
                yield prefix + entry.path, entry, same(entry)
        self._walked = True

    def _wanted(self) -> Iterator[tuple[str, Entry, bool]]:
        """Path below the destination, entry, and whether the former release does not give it."""
        taken: Iterable[int] = self._same if self._former else itertools.repeat(0)
        for (path, entry, _), same in zip(self._entries(), taken, strict=False):
            yield path, entry, not same or path in self._unusable

    def _make_folder(self, path: str) -> None:
        if self._walked:
            return
        with storing(self._destination):
            os.mkdir(f"{self._destination}/{path}", 0o755)
            os.chmod(f"{self._destination}/{path}", 0o755)

    def _reuse_tasks(self) -> Iterator[ReuseTask]:
        imprints = self._former.imprints if self._former else None
        batch: list[tuple[str, int, tuple[tuple[str, int], ...], Imprint | None]] = []
        size = 0
        for path, entry, same in self._entries():
            self._same.append(same is not None)
            if same is not None:
                imprint = imprints.of(same) if imprints else None
                batch.append((path, int(entry.mode, 8), tuple(entry.pieces()), imprint))
                size += entry.size
                if len(batch) >= _BATCH or size > 16 << 20:
                    yield ReuseTask(batch)
                    batch, size = [], 0
        if batch:
            yield ReuseTask(batch)

    def _frame_tasks(self) -> Iterator[FrameTask]:
        walk = self._walk() if self._deployable.only is None else self._walk_some()
        seen = 0
        for frame in self._store.frames(self._deployable.part.index):
            numbers = list(frame.numbers())
            last = max(numbers)
            while seen <= last:
                seen = next(walk, -1)
                if seen < 0:
                    raise _uncovered()
            start = 0
            pieces: list[tuple[int, Piece]] = []
            for number, hole in frame.parts():
                if number == HOLE:
                    start += hole
                    continue
                piece = self._pending.pop(number, None)
                if piece:
                    pieces.append((start, piece))
                start += self._sizes.pop(number)
            if pieces:
                pack = str(self._store.pack(self._deployable.part.packs[frame.pack]))
                yield FrameTask(pack, frame.offset, frame.length, frame.size, frame.sha256, pieces)
        for _ in walk:
            pass
        if self._pending:
            raise _uncovered()

    def _walk(self) -> Iterator[int]:
        """Note where each chunk belongs; yield how many distinct chunks were seen after each entry."""
        for path, entry, wanted in self._wanted():
            if entry.type == "link":
                self._links.append((path, entry.target))
            elif entry.type == "file":
                mode = int(entry.mode, 8)
                if not entry.size:
                    _create(f"{self._destination}/{path}", mode)
                offset = 0
                for digest, size in entry.pieces():
                    piece = first = (path, offset, size, mode, size == entry.size)
                    if self._recurring is None or _prefix(digest) in self._recurring:
                        first = self._first.setdefault(bytes.fromhex(digest), piece)
                    if first is piece:
                        self._sizes[self._distinct] = size
                        if wanted:
                            self._pending[self._distinct] = piece
                        self._distinct += 1
                    elif wanted:
                        self._copies.append((first[0], first[1], piece))
                    offset += size
            yield self._distinct

    def _walk_some(self) -> Iterator[int]:
        """As `_walk`, where some artifacts are left out: the first that has a chunk may be one of those."""
        places: dict[bytes, tuple[Piece, bool]] = {}
        for path, entry, wanted in self._wanted():
            if entry.type == "link":
                self._links.append((path, entry.target))
            elif entry.type == "file":
                mode = int(entry.mode, 8)
                if not entry.size:
                    _create(f"{self._destination}/{path}", mode)
                offset = 0
                for digest, size in entry.pieces():
                    piece = (path, offset, size, mode, size == entry.size)
                    first, _ = places.setdefault(bytes.fromhex(digest), (piece, wanted))
                    if first is not piece and wanted:
                        self._copies.append((first[0], first[1], piece))
                    offset += size
        numbers: set[bytes] = set()
        for artifact in self._deployable.release.artifacts:
            for entry in self._store.entries(artifact):
                for digest, size in entry.pieces():
                    if (key := bytes.fromhex(digest)) in numbers:
                        continue
                    numbers.add(key)
                    self._sizes[self._distinct] = size
                    place, wanted = places.get(key, (None, False))
                    if place and wanted:
                        self._pending[self._distinct] = place
                    self._distinct += 1
                yield self._distinct

    def _copy_tasks(self) -> Iterator[CopyTask]:
        for start in range(0, len(self._copies), _BATCH):
            yield CopyTask(self._copies[start : start + _BATCH])


def _recurring(release: Release, store: Store) -> frozenset[int] | None:
    """The starts of the digests that may come more than once; None, which means any, for a release of few files.

    A further look at the trees of a large release saves hundreds of bytes of memory for each of its chunks.
    """
    if sum(artifact.files for artifact in release.artifacts) < _MANY:
        return None
    starts = array("Q")
    for artifact in release.artifacts:
        for entry in store.entries(artifact):
            starts.extend(map(_prefix, entry.chunks))
    return frozenset(one for one, next_one in itertools.pairwise(sorted(starts)) if one == next_one)


def _prefix(digest: str) -> int:
    return int(digest[:16], 16)


class _Same:
    """Finds the same file in another tree for entries in canonical order; walks both in step."""

    def __init__(self, entries: Iterator[Entry], first: int) -> None:
        """Take the other tree, and the position of its first file."""
        self._entries = entries
        self._position = first
        self._held = next(entries, None)

    def __call__(self, entry: Entry) -> int | None:
        key = position(entry.path)
        while self._held is not None and position(self._held.path) < key:
            self._position += self._held.type == "file"
            self._held = next(self._entries, None)
        if self._held == entry and entry.type == "file" and entry.size > 0:
            return self._position
        return None


def _uncovered() -> IntegrityError:
    return IntegrityError("the index of this release does not cover its trees")


def _never(_: Entry) -> None:
    return None


def sealed_files(deployable: Deployable, store: Store) -> Iterator[str | None]:
    """The paths of a release's files below its folder, in the order of its trees; None for one that was filled in."""
    for artifact in deployable.artifacts:
        prefix = deployable.folder_of(artifact.name)
        for entry in store.entries(artifact):
            if entry.type == "file":
                yield None if (artifact.name, entry.path) in deployable.filled else prefix + entry.path


def _fill(deployable: Deployable, destination: Path) -> None:
    """Put what values made of templates in place of them; never into a file that has another name elsewhere."""
    for inner, content in deployable.filled_paths.items():
        path = destination / inner
        with storing(path):
            mode = stat.S_IMODE(os.stat(path, follow_symlinks=False).st_mode)
            os.unlink(path)
            with open(path, "xb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(content)


def _create(path: str, mode: int) -> None:
    with storing(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        os.fchmod(descriptor, mode)
        os.close(descriptor)


def sync_file_system(folder: Path) -> None:
    """Make everything on the file system of `folder` durable with one call (syncfs, Linux).

    Raises:
        StoreError: the disk reports that something was not written.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with storing(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if libc.syncfs(descriptor):
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
        finally:
            os.close(descriptor)
