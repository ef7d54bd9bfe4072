"""The pool: the content of packages, each a file named by its digest, of which an index holds hard links.

    pool/9f/9f86d081…

A file in the pool counts only where a listing names it: a kill or a power cut may have left others incomplete, and
those are written anew. Nothing of an index refers to the pool but by a hard link, so that what is served needs no
symbolic link, and what is taken out of an index is gone from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from sealift.durable import TEMPORARY, make_folder, storing, sync_folder, write_all
from sealift.errors import StoreError

from ..writing import sync_file_system

FOLDER = "pool"
FEW = 64
"""Files up to which each is synced by itself; of more, the whole file system is."""
_CREATE = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


class Pool:
    """A folder of contents."""

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER
        self._taken: list[Path] = []
        self._new: list[Path] = []

    def path(self, digest: str) -> Path:
        """Where a content is or would be."""
        return self.folder / digest[:2] / digest

    def has(self, digest: str, size: int | None = None) -> bool:
        """Whether it is there, with that many bytes."""
        with contextlib.suppress(OSError):
            status = os.stat(self.path(digest), follow_symlinks=False)
            return stat.S_ISREG(status.st_mode) and size in (None, status.st_size)
        return False

    @contextlib.contextmanager
    def adding(self) -> Iterator[None]:
        """What is added meanwhile is durable at the end; left with an error, it is gone.

        Raises:
            StoreError: the disk refuses.
        """
        self._prepare()
        self._taken, self._new = [], []
        try:
            yield
            settle(self._taken, self.folder)
        except BaseException:
            for path in self._new:
                with contextlib.suppress(OSError):
                    os.unlink(path)
            raise

    def take(self, pieces: Iterable[bytes]) -> tuple[Path, str, int]:
        """Write a content under a temporary name; return where it lies, its digest and its bytes.

        Raises:
            StoreError: the disk refuses.
        """
        temporary = self.folder / f"{TEMPORARY}content"
        running, size = hashlib.sha256(), 0
        with storing(temporary):
            descriptor = os.open(temporary, _CREATE, 0o600)
            try:
                for piece in pieces:
                    running.update(piece)
                    write_all(descriptor, piece)
                    size += len(piece)
            finally:
                os.close(descriptor)
        return temporary, running.hexdigest(), size

    def keep(self, temporary: Path, digest: str) -> None:
        """Give a content its name.

        Raises:
            StoreError: the disk refuses.
        """
        path = self.path(digest)
        with storing(path):
            os.chmod(temporary, 0o644)
            with contextlib.suppress(FileExistsError):
                os.mkdir(path.parent, 0o755)
                os.chmod(path.parent, 0o755)
            self._taken.append(path)
            if is_blob(path, digest):
                os.unlink(temporary)
                return
            if not os.path.lexists(path):
                self._new.append(path)
            os.rename(temporary, path)

    def add(self, content: bytes) -> str:
        """Add a small content; return its digest."""
        temporary, digest, _ = self.take([content])
        self.keep(temporary, digest)
        return digest

    def prune(self, keep: Collection[str]) -> None:
        """Remove all contents but those of these digests.

        Raises:
            StoreError: the disk refuses.
        """
        if not self.folder.is_dir():
            return
        self._prepare()
        with storing(self.folder):
            for part in os.listdir(self.folder):
                for name in os.listdir(self.folder / part):
                    if name not in keep:
                        os.unlink(self.folder / part / name)

    def _prepare(self) -> None:
        with storing(self.folder):
            if not self.folder.is_dir():
                make_folder(self.folder)
                os.chmod(self.folder, 0o755)
            for name in os.listdir(self.folder):
                if name.startswith(TEMPORARY):
                    os.unlink(self.folder / name)


def is_blob(path: Path, digest: str, size: int | None = None) -> bool:
    """Whether a regular file has that content."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if size not in (None, os.fstat(descriptor).st_size):
                return False
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    return False


def settle(paths: Collection[Path], folder: Path) -> None:
    """Make files durable, and their names: one by one where they are few, all that is on the file system else.

    Raises:
        StoreError: the disk refuses.
    """
    if len(paths) > FEW:
        sync_file_system(folder)
        return
    with storing(folder):
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        folders: set[Path] = set()
        for path in paths:
            folders.update(above for above in path.parents if above.is_relative_to(folder))
        for each in sorted(folders):
            sync_folder(each)


def linked(source: Path, to: Path) -> None:
    """Give a file one more name, in place of what bears it.

    Raises:
        StoreError: the disk refuses, or the file system has no hard links.
    """
    try:
        try:
            os.link(source, to, follow_symlinks=False)
        except FileExistsError:
            temporary = to.with_name(f"{TEMPORARY}{to.name}")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            os.link(source, temporary, follow_symlinks=False)
            os.rename(temporary, to)
            with contextlib.suppress(FileNotFoundError):  # both names of one file: then rename does nothing (POSIX)
                os.unlink(temporary)
    except PermissionError as error:
        raise StoreError(
            f"{to}: {(error.strerror or '').lower()}",
            hint="an index needs a file system with hard links; check its kind, and the folder's owner",
        ) from error
    except FileNotFoundError as error:
        raise StoreError(
            f"{source} is missing", hint="apply another version, and then this one again: what is missing is written"
        ) from error
    except OSError as error:
        with storing(to):
            raise error
