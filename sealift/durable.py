"""Writes that survive a kill or a power cut, and the lock that keeps two writers apart.

Invariant: a name either holds its former content or the whole new one. The order is always:
temporary name in the same folder, write, fsync, rename, fsync of the folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import StoreError

TEMPORARY = ".tmp-"
"""The prefix of a name that is not yet complete; anything that bears it may be deleted under the lock."""


@contextlib.contextmanager
def storing(what: Path | str) -> Iterator[None]:
    """Turn an `OSError` about `what` into a `StoreError` with a remedy.

    Raises:
        StoreError: with the system's own words and a hint for the usual causes.
    """
    try:
        yield
    except OSError as error:
        raise disk_error(error, what) from error


def disk_error(error: OSError, what: Path | str) -> StoreError:
    """The `StoreError` that says what the disk refused, for which name, and what helps."""
    hints = {
        errno.ENOSPC: "free some space on that disk, then run the same command again: it resumes",
        errno.EDQUOT: "the quota is used up: free some space, then run the same command again",
        errno.EROFS: "that file system is read-only: mount it writable (see dmesg), or name another folder",
        errno.EACCES: "check the folder's owner and mode, or run as the user that owns it",
        errno.EPERM: "check the folder's owner and mode, or run as the user that owns it",
        errno.ENOENT: "check the path, and that the medium is there",
        errno.EIO: "the medium reports a fault: try another copy or another disk",
    }
    reason = (error.strerror or str(error)).lower()
    return StoreError(f"{what}: {reason}", hint=hints.get(error.errno or 0))


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable (fsync of a directory, POSIX)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    """Write the whole of `content`, however short the system's writes are."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


class Draft:
    """A file under a temporary name, until `keep` gives it its own; as a context, it leaves nothing else behind."""

    def __init__(self, temporary: Path, *, mode: int = 0o644) -> None:
        """Begin it, empty, as `temporary`.

        Args:
            temporary: a name in the folder that the file will stay in.
            mode: its mode, before the umask.

        Raises:
            OSError: the disk refuses, or a link bears that name.
        """
        self._temporary = temporary
        self._kept = False
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self.descriptor = os.open(temporary, flags, mode)
        """For writing; -1 once it is closed."""

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()

    def write(self, content: bytes | memoryview) -> None:
        """Append `content`.

        Raises:
            OSError: the disk refuses.
        """
        write_all(self.descriptor, content)

    def keep(self, path: Path, *, sync: bool = True) -> None:
        """Make the content durable, then name it `path`.

        Args:
            path: its name, in the same folder; what bears it is replaced.
            sync: make the name durable too; otherwise that is the caller's job, once for many files.

        Raises:
            OSError: the disk refuses.
        """
        os.fsync(self.descriptor)
        self._close()
        os.replace(self._temporary, path)
        self._kept = True
        if sync:
            sync_folder(path.parent)

    def abandon(self) -> None:
        """Leave nothing behind of what was not kept, as far as the disk allows."""
        with contextlib.suppress(OSError):
            self._close()
        if not self._kept:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)

    def _close(self) -> None:
        if self.descriptor >= 0:
            descriptor, self.descriptor = self.descriptor, -1
            os.close(descriptor)


def write_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` by `content`, atomically and durably.

    Raises:
        StoreError: the disk is full, read-only or faulty; `path` keeps its former content.
    """
    temporary = path.with_name(f"{TEMPORARY}{path.name}.{os.getpid()}")
    with storing(path), Draft(temporary, mode=mode) as draft:
        os.fchmod(draft.descriptor, mode)
        draft.write(content)
        draft.keep(path)


def make_folder(path: Path, *, mode: int = 0o755) -> None:
    """Create `path` and its parents where they are missing, durably.

    Raises:
        StoreError: it cannot be created, or something else has its name.
    """
    with storing(path):
        missing = []
        folder = path
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for folder in reversed(missing):
            try:
                os.mkdir(folder, mode)
            except FileExistsError:
                if not folder.is_dir():
                    raise
            sync_folder(folder.parent)


@contextlib.contextmanager
def locked(path: Path, *, what: str, wait: float = 0.0) -> Iterator[int]:
    """Hold the exclusive lock of the file `path` (flock: gone with the process, so never stale).

    It yields the lock's descriptor: a program that is given it holds the lock until it has ended as well.

    Args:
        path: the lock file; created when missing.
        what: what the lock protects, for the message.
        wait: seconds to wait for another holder.

    Raises:
        StoreError: somebody else holds it, or the file cannot be opened.
    """
    with storing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise StoreError(
                        f"another sealift command is working on {what}",
                        hint="wait until it has ended, then run this again",
                    ) from error
                time.sleep(0.05)
        yield descriptor
    finally:
        os.close(descriptor)
