"""What the workers do that write a release: place frames, copies and what a former release's folder holds.

All paths are below two folders that are opened once: the destination, which only this process can enter, and
the former release's. What is taken from there is hashed before it counts, unless the imprint of the file
(`installer.folders.imprints`) says that nobody has written to it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sealift.crew import Channel
from sealift.durable import disk_error, write_all
from sealift.errors import IntegrityError, StoreError
from sealift.frame import unseal

from .imprints import Imprint

Reuse = Literal["reflink", "hardlink", "none"]
"""How a file of a former release is taken: as a clone, as a further name of the same file, or not at all."""
_FICLONE = 0x40049409
_UNSUPPORTED = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.EMLINK}
_PART = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_WHOLE = _PART | os.O_EXCL

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

    files: list[tuple[str, int, tuple[tuple[str, int], ...], Imprint | None]]
    """Path, mode, the digest and size of each piece, and the imprint that the former release's file had."""


class CopyTask(NamedTuple):
    """Ranges to be copied from what was written already."""

    copies: list[tuple[str, int, Piece]]
    """Source path and offset, and where it belongs."""


def placing(destination: Path, former: Path | None, reuse: Reuse) -> Callable[[Channel], None]:
    """What a worker of a `Crew` does: it places one task after the other below `destination`.

    Args:
        destination: a folder that only this process can enter.
        former: the folder of a former release, for `ReuseTask`.
        reuse: how its files are taken.
    """

    def body(channel: Channel) -> None:
        os.umask(0)
        root = os.open(destination, os.O_RDONLY | os.O_DIRECTORY)
        source = os.open(former, os.O_RDONLY | os.O_DIRECTORY) if former else -1
        packs: dict[str, int] = {}
        while True:
            task = channel.receive()
            try:
                channel.send(_serve(task, root, source, packs, reuse))
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
    real: set[str] = set()
    for path, mode, pieces, imprint in task.files:
        size = _take(path, mode, pieces, imprint, root, source, reuse, real)
        if size:
            taken += size
        else:
            failed.append(path)
    return taken, failed


def _take(
    path: str,
    mode: int,
    pieces: tuple[tuple[str, int], ...],
    imprint: Imprint | None,
    root: int,
    source: int,
    reuse: Reuse,
    real: set[str],
) -> int:
    """Clone or link one file and check what came; 0 when it cannot be had that way or is not what it was."""
    size = sum(size for _, size in pieces)
    try:
        if reuse == "hardlink":
            if not _in_real_folders(path, source, real):
                return 0
            found = _link(path, mode, root, source, size)
        else:
            found = _clone(path, mode, root, source, size)
        if found is not None and found == imprint:
            return size
        size = _matches(path, mode, pieces, root)
    except OSError as error:
        if error.errno not in _UNSUPPORTED | {errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EACCES}:
            raise
        size = 0
    if not size:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path, dir_fd=root)
    return size


def _in_real_folders(path: str, source: int, real: set[str]) -> bool:
    """Whether no folder above `path` was replaced by a link, through which a file from outside would be shared.

    Args:
        path: below the former release's folder.
        source: that folder.
        real: the folders of which that was found before, for the same task; more are added.
    """
    above = path.rpartition("/")[0]
    while above and above not in real:
        if not stat.S_ISDIR(os.stat(above, dir_fd=source, follow_symlinks=False).st_mode):
            return False
        real.add(above)
        above = above.rpartition("/")[0]
    return True


def _link(path: str, mode: int, root: int, source: int, size: int) -> Imprint | None:
    """Give a file a further name; return its imprint from before that, if it has its size and mode and still had then.

    The link itself changes the time of change; the time of modification shows who writes at the same moment.
    """
    before = os.stat(path, dir_fd=source, follow_symlinks=False)
    os.link(path, path, src_dir_fd=source, dst_dir_fd=root, follow_symlinks=False)
    after = os.stat(path, dir_fd=root, follow_symlinks=False)
    known = after.st_ino, after.st_mtime_ns, after.st_size, after.st_mode
    same = known == (before.st_ino, before.st_mtime_ns, size, stat.S_IFREG | mode)
    return Imprint.of(before) if same else None


def _clone(path: str, mode: int, root: int, source: int, size: int) -> Imprint | None:
    """Clone a file; return its imprint from after that, if it still has its size and mode."""
    origin = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        copy = os.open(path, flags, mode, dir_fd=root)
        try:
            fcntl.ioctl(copy, _FICLONE, origin)
            status = os.fstat(origin)
        finally:
            os.close(copy)
    finally:
        os.close(origin)
    same = stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == mode and status.st_size == size
    return Imprint.of(status) if same else None


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
