"""Writing a release's trees from the store into a folder.

The leader walks the trees and the index in step; workers each take a frame, check its digest,
decompress it and write the pieces where they belong. A chunk that appears again is copied from where
it was written first. What a former release's folder holds unchanged can be cloned from there instead:
the clone, which nobody else can reach, is hashed before it counts.

The destination must be a new folder that only this process can enter.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sealift.crew import Channel, Crew
from sealift.durable import disk_error, storing, write_all
from sealift.errors import IntegrityError, StoreError
from sealift.frame import unseal
from sealift.manifest import Part, Release
from sealift.progress import Progress
from sealift.tree import Entry, position

from .store import Store

Reuse = Literal["reflink", "hardlink", "none"]
_FICLONE = 0x40049409
_UNSUPPORTED = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.EMLINK}
_BATCH = 256
_PART = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_WHOLE = _PART | os.O_EXCL


@dataclass(frozen=True, kw_only=True)
class Deployable:
    """An admitted release, and where its content lies in the store."""

    release: Release
    part: Part

    def folder_of(self, artifact: str) -> str:
        """The prefix of an artifact's paths: none when it is the only one, else a folder of its name."""
        return "" if len(self.release.artifacts) == 1 else f"{artifact}/"


Piece = tuple[str, int, int, int, bool]
"""Where a chunk belongs: path, offset in the file, bytes, mode, and whether it is all of the file. Plain, because
tens of thousands of them go through a pipe."""


class FrameTask(NamedTuple):
    """One frame to be read, checked and written."""

    pack: str
    offset: int
    length: int
    size: int
    sha256: str
    pieces: list[tuple[int, Piece]]
    """Where each wanted chunk starts in the content, and where it belongs."""


class ReuseTask(NamedTuple):
    """Files to be taken from a former release's folder."""

    files: list[tuple[str, int, tuple[tuple[str, int], ...]]]
    """Path, mode, and the digest and size of each piece."""


class CopyTask(NamedTuple):
    """Ranges to be copied from what was written already."""

    copies: list[tuple[str, int, Piece]]
    """Source path and offset, and where it belongs."""


@dataclass(frozen=True, kw_only=True)
class Former:
    """A release that was deployed before, whose unchanged files may be taken."""

    deployable: Deployable
    folder: Path
    reuse: Reuse


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
    with Crew(workers, _body(destination, former)) as crew:
        writer.run(crew)
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
        self._numbers: dict[bytes, Piece] = {}
        """Where each chunk is written first, by its digest; its place among them is its number."""
        self._pending: dict[int, Piece] = {}
        self._sizes: dict[int, int] = {}
        self._copies: list[tuple[str, int, Piece]] = []
        self._links: list[tuple[str, str]] = []
        self._folders_made = False
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

    def _entries(self) -> Iterator[tuple[str, Entry, bool]]:
        """Path below the destination, entry, and whether the former release's folder has the same file.

        The first walk makes the folders, each before what lies in it is yielded.
        """
        before = {}
        if self._former:
            before = {artifact.name: artifact for artifact in self._former.deployable.release.artifacts}
        for artifact in self._deployable.release.artifacts:
            prefix = self._deployable.folder_of(artifact.name)
            same: Callable[[Entry], bool] = _never
            if self._former and artifact.name in before and self._former.deployable.folder_of(artifact.name) == prefix:
                same = _Same(self._store.entries(before[artifact.name]))
            if prefix:
                self._make_folder(artifact.name)
            for entry in self._store.entries(artifact):
                if entry.type == "dir":
                    self._make_folder(prefix + entry.path)
                yield prefix + entry.path, entry, same(entry)
        self._folders_made = True

    def _make_folder(self, path: str) -> None:
        if self._folders_made:
            return
        with storing(self._destination):
            os.mkdir(f"{self._destination}/{path}", 0o755)
            os.chmod(f"{self._destination}/{path}", 0o755)

    def _reuse_tasks(self) -> Iterator[ReuseTask]:
        batch: list[tuple[str, int, tuple[tuple[str, int], ...]]] = []
        size = 0
        for path, entry, same in self._entries():
            if same:
                batch.append((path, int(entry.mode, 8), tuple(entry.pieces())))
                size += entry.size
                if len(batch) >= _BATCH or size > 16 << 20:
                    yield ReuseTask(batch)
                    batch, size = [], 0
        if batch:
            yield ReuseTask(batch)

    def _frame_tasks(self) -> Iterator[FrameTask]:
        walk = self._walk()
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
            for number in numbers:
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
        for path, entry, same in self._entries():
            if entry.type == "link":
                self._links.append((path, entry.target))
            elif entry.type == "file":
                mode = int(entry.mode, 8)
                wanted = not same or path in self._unusable
                if not entry.size:
                    _create(f"{self._destination}/{path}", mode)
                offset = 0
                for digest, size in entry.pieces():
                    piece = (path, offset, size, mode, size == entry.size)
                    number = len(self._numbers)
                    first = self._numbers.setdefault(bytes.fromhex(digest), piece)
                    if first is piece:
                        self._sizes[number] = size
                        if wanted:
                            self._pending[number] = piece
                    elif wanted:
                        self._copies.append((first[0], first[1], piece))
                    offset += size
            yield len(self._numbers)

    def _copy_tasks(self) -> Iterator[CopyTask]:
        for start in range(0, len(self._copies), _BATCH):
            yield CopyTask(self._copies[start : start + _BATCH])


class _Same:
    """Says of entries in canonical order whether another tree has the same file; walks both in step."""

    def __init__(self, entries: Iterator[Entry]) -> None:
        self._entries = entries
        self._held = next(entries, None)

    def __call__(self, entry: Entry) -> bool:
        key = position(entry.path)
        while self._held is not None and position(self._held.path) < key:
            self._held = next(self._entries, None)
        return self._held is not None and self._held == entry and entry.type == "file" and entry.size > 0


def _uncovered() -> IntegrityError:
    return IntegrityError("the index of this release does not cover its trees")


def _never(_: Entry) -> bool:
    return False


def _create(path: str, mode: int) -> None:
    with storing(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        os.fchmod(descriptor, mode)
        os.close(descriptor)


def _body(destination: Path, former: Former | None) -> Callable[[Channel], None]:
    def body(channel: Channel) -> None:
        os.umask(0)
        root = os.open(destination, os.O_RDONLY | os.O_DIRECTORY)
        source = os.open(former.folder, os.O_RDONLY | os.O_DIRECTORY) if former else -1
        packs: dict[str, int] = {}
        while True:
            task = channel.receive()
            try:
                channel.send(_serve(task, root, source, packs, former.reuse if former else "none"))
            except OSError as error:
                raise disk_error(error, error.filename or destination) from error

    return body


def _serve(task: Any, root: int, source: int, packs: dict[str, int], reuse: Reuse) -> Any:
    if isinstance(task, FrameTask):
        return _write_frame(task, root, packs)
    if isinstance(task, CopyTask):
        return _copy(task, root)
    return _reuse(task, root, source, reuse)


def _write_frame(task: FrameTask, root: int, packs: dict[str, int]) -> int:
    descriptor = packs.get(task.pack)
    if descriptor is None:
        for former in packs.values():
            os.close(former)
        packs.clear()
        try:
            descriptor = packs[task.pack] = os.open(task.pack, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise _damaged(task.pack) from None
    frame = os.pread(descriptor, task.length, task.offset)
    if len(frame) != task.length or hashlib.sha256(frame).hexdigest() != task.sha256:
        raise _damaged(task.pack)
    content = memoryview(unseal(frame, task.size))
    done = 0
    for start, piece in task.pieces:
        size = piece[2]
        _write_piece(root, piece, content[start : start + size])
        done += size
    return done


def _damaged(pack: str) -> IntegrityError:
    return IntegrityError(
        f"{pack} is missing or damaged",
        hint="run 'sealift-install verify' for the whole list, then import a bundle that holds it",
    )


def _write_piece(root: int, piece: Piece, content: memoryview) -> None:
    path, offset, size, mode, whole = piece
    descriptor = os.open(path, _WHOLE if whole else _PART, mode, dir_fd=root)
    try:
        if whole:
            done = os.write(descriptor, content)
        else:
            done = os.pwrite(descriptor, content, offset)
            os.lseek(descriptor, offset + done, os.SEEK_SET)
        if done < size:
            write_all(descriptor, content[done:])
    finally:
        os.close(descriptor)


def _copy(task: CopyTask, root: int) -> int:
    done = 0
    for path, offset, piece in task.copies:
        size = piece[2]
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
        try:
            content = os.pread(descriptor, size, offset)
        finally:
            os.close(descriptor)
        if len(content) != size:
            raise StoreError(f"{path} became shorter while it was deployed")
        _write_piece(root, piece, memoryview(content))
        done += size
    return done


def _reuse(task: ReuseTask, root: int, source: int, reuse: Reuse) -> tuple[int, list[str]]:
    taken = 0
    failed = []
    for path, mode, pieces in task.files:
        size = _take(path, mode, pieces, root, source, reuse)
        if size:
            taken += size
        else:
            failed.append(path)
    return taken, failed


def _take(path: str, mode: int, pieces: tuple[tuple[str, int], ...], root: int, source: int, reuse: Reuse) -> int:
    """Clone or link one file and check what came; 0 when it cannot be had that way or is not what it was."""
    try:
        if reuse == "hardlink":
            if not _in_real_folders(path, source):
                return 0
            os.link(path, path, src_dir_fd=source, dst_dir_fd=root, follow_symlinks=False)
        else:
            _clone(path, mode, root, source)
        size = _matches(path, mode, pieces, root)
    except OSError as error:
        if error.errno not in _UNSUPPORTED | {errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EACCES}:
            raise
        size = 0
    if not size:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path, dir_fd=root)
    return size


def _in_real_folders(path: str, source: int) -> bool:
    """Whether no folder above `path` was replaced by a link, through which a file from outside would be shared."""
    above = path.rpartition("/")[0]
    while above:
        if not stat.S_ISDIR(os.stat(above, dir_fd=source, follow_symlinks=False).st_mode):
            return False
        above = above.rpartition("/")[0]
    return True


def _clone(path: str, mode: int, root: int, source: int) -> None:
    origin = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        copy = os.open(path, flags, mode, dir_fd=root)
        try:
            fcntl.ioctl(copy, _FICLONE, origin)
        finally:
            os.close(copy)
    finally:
        os.close(origin)


def _matches(path: str, mode: int, pieces: tuple[tuple[str, int], ...], root: int) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=root)
    try:
        size = sum(size for _, size in pieces)
        status = os.fstat(descriptor)
        if status.st_size != size or status.st_mode & 0o7777 != mode:
            return 0
        for digest, length in pieces:
            if hashlib.sha256(os.read(descriptor, length)).hexdigest() != digest:
                return 0
        return size
    finally:
        os.close(descriptor)


def clones(folder: Path, other: Path) -> bool:
    """Whether the file system can clone files (reflink) between two folders, found by trying it."""
    source, copy = folder / ".tmp-clone-source", other / ".tmp-clone-copy"
    try:
        with source.open("w+b") as file:  # FICLONE reads it
            file.write(b"\0" * 4096)
            file.flush()
            with copy.open("wb") as target:
                fcntl.ioctl(target.fileno(), _FICLONE, file.fileno())
        return True
    except OSError:
        return False
    finally:
        for path in (source, copy):
            with contextlib.suppress(OSError):
                path.unlink()


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


__all__ = ["Deployable", "Former", "Reuse", "clones", "sync_file_system", "write"]
