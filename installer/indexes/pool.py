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

from ..folders.writing import sync_file_system

FOLDER = "pool"
FEW = 64
"""Files up to which each is synced by itself; of more, the whole file system is."""
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


class Pool:
    """A folder of contents."""

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER
        self._base = str(self.folder)
        self._temporary = f"{self._base}/{TEMPORARY}content"
        self._folders: set[str] = set()
        self._taken: list[str] = []
        self._new: list[str] = []

    def path(self, digest: str) -> str:
        """Where a content is or would be."""
        return f"{self._base}/{digest[:2]}/{digest}"

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
        self._folders, self._taken, self._new = set(), [], []
        try:
            yield
            settle(self._taken, self._base)
        except BaseException:
            for path in (self._temporary, *self._new):
                with contextlib.suppress(OSError):
                    os.unlink(path)
            raise

    def take(self, pieces: Iterable[bytes]) -> tuple[Path, str]:
        """Write a content under a temporary name; return where it lies, and its digest.

        Raises:
            StoreError: the disk refuses.
        """
        running = hashlib.sha256()
        with storing(self._temporary):
            descriptor = os.open(self._temporary, _CREATE, 0o644)
            try:
                for piece in pieces:
                    running.update(piece)
                    write_all(descriptor, piece)
            finally:
                os.close(descriptor)
        return Path(self._temporary), running.hexdigest()

    def keep(self, digest: str) -> None:
        """Give what was taken last its name.

        Raises:
            StoreError: the disk refuses.
        """
        path = self._ready(digest)
        with storing(path):
            if not os.path.lexists(path):
                self._new.append(path)
            elif is_blob(path, digest):
                os.unlink(self._temporary)
                return
            os.rename(self._temporary, path)

    def add(self, content: bytes) -> None:
        """Add a small content.

        Raises:
            StoreError: the disk refuses.
        """
        digest = hashlib.sha256(content).hexdigest()
        path = self._ready(digest)
        with storing(path):
            if create(path, content):
                self._new.append(path)
            elif not is_blob(path, digest):
                self.take([content])
                os.rename(self._temporary, path)

    def _ready(self, digest: str) -> str:
        """The path of a content, its folder being there."""
        path = self.path(digest)
        if digest[:2] not in self._folders:
            with storing(path):
                make_open_folder(os.path.dirname(path))
            self._folders.add(digest[:2])
        self._taken.append(path)
        return path

    def remove(self, digest: str) -> None:
        """Remove a content, if it is there.

        Raises:
            StoreError: the disk refuses.
        """
        with storing(self.path(digest)), contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(digest))

    def prune(self, keep: Collection[str]) -> None:
        """Remove all contents but those of these digests.

        Raises:
            StoreError: the disk refuses.
        """
        if not self.folder.is_dir():
            return
        self._prepare()
        with storing(self.folder):
            for part in os.listdir(self._base):
                for name in os.listdir(f"{self._base}/{part}"):
                    if name not in keep:
                        os.unlink(f"{self._base}/{part}/{name}")

    def _prepare(self) -> None:
        with storing(self.folder):
            if not self.folder.is_dir():
                make_folder(self.folder)
                os.chmod(self.folder, 0o755)
            for name in os.listdir(self._base):
                if name.startswith(TEMPORARY):
                    os.unlink(f"{self._base}/{name}")


@contextlib.contextmanager
def others_read() -> Iterator[None]:
    """What is made meanwhile can be read by everybody, and written by us alone, whatever the umask is."""
    former = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(former)


def is_blob(path: str | Path, digest: str) -> bool:
    """Whether a regular file has that content."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    return False


def create(path: str, content: bytes) -> bool:
    """Write a new file; whether its name was free. See `others_read`.

    Raises:
        OSError: the disk refuses.
    """
    try:
        descriptor = os.open(path, _CREATE | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    try:
        write_all(descriptor, content)
    finally:
        os.close(descriptor)
    return True


def make_open_folder(folder: str) -> bool:
    """Make a folder, and those above it; whether it was missing. See `others_read`.

    Raises:
        OSError: the disk refuses.
    """
    try:
        os.mkdir(folder, 0o755)
    except FileExistsError:
        return False
    except FileNotFoundError:
        make_open_folder(os.path.dirname(folder))
        os.mkdir(folder, 0o755)
    return True


def settle(paths: Collection[str], folder: str) -> None:
    """Make files below a folder durable, and their names: one by one where they are few, all of the file system else.

    Of those that are gone, the folders that are left are synced.

    Raises:
        StoreError: the disk refuses.
    """
    if len(paths) > FEW:
        sync_file_system(Path(folder))
        return
    with storing(folder):
        folders = {folder}
        for path in paths:
            if os.path.lexists(path):
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            while (path := os.path.dirname(path)) not in folders:
                folders.add(path)
        for each in sorted(filter(os.path.isdir, folders)):
            sync_folder(Path(each))


def linked(source: str, to: str) -> None:
    """Give a file one more name, in place of what bears it.

    Raises:
        StoreError: the disk refuses, or the file system has no hard links.
    """
    try:
        try:
            os.link(source, to, follow_symlinks=False)
        except FileExistsError:
            temporary = f"{os.path.dirname(to)}/{TEMPORARY}{os.path.basename(to)}"
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
