"""Imprints: what the file system says of each file of a deployed release, from before anybody else could reach it.

Whoever writes to a file, or puts another one in its place, changes the time of its last change (`st_ctime`) or its
inode, and cannot set either back but by turning the system's clock or by writing to the disk below the file system,
as only root can. So a file with its imprint still holds what was written then, and can be taken for the next release
without being read. A file without, or any doubt about the record, means that it is hashed.

The record lies in the site's folder, one file for each deployed folder: a line of JSON, then for each file of the
trees, in their order, its inode and its time in nanoseconds, as 64-bit numbers.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from array import array
from collections.abc import Iterable
from pathlib import Path

import msgspec

from sealift.digest import sha256
from sealift.durable import TEMPORARY, make_folder, storing, write_file

SUFFIX = ".imprint"
_HEADING_MAX = 16 << 10
_TRIES, _PAUSE = 30, 0.004
"""How often, and how many seconds apart, it is tried whether the file system's clock has moved on."""


class Imprint(msgspec.Struct, frozen=True):
    """What a file system said of one file: a value that no other content of the same inode ever has."""

    inode: int
    changed: int
    """Nanoseconds since 1970."""

    @classmethod
    def of(cls, status: os.stat_result) -> Imprint:
        """The imprint of what a descriptor or a path leads to."""
        return cls(status.st_ino, status.st_ctime_ns)


class Imprinted:
    """The imprints of a folder's files, by their position in the trees."""

    def __init__(self, numbers: array[int]) -> None:
        self._numbers = numbers

    def of(self, position: int) -> Imprint | None:
        """The imprint of a file."""
        place = 2 * position
        return Imprint(*self._numbers[place : place + 2]) if place + 2 <= len(self._numbers) else None


class _Heading(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    folder: str
    sha256: str
    """Of all that follows."""


class Imprints:
    """The records of all deployed folders."""

    def __init__(self, folder: Path) -> None:
        """Take the folder of the records, which is made when it is needed."""
        self._folder = folder

    def take(self, made: Path, paths: Iterable[str], folder: Path) -> None:
        """Record a folder that is whole, and that nobody else can enter yet.

        Nothing is recorded where the file system's clock does not move on within a tenth of a second: then what
        is written next might have the same time.

        Args:
            made: the folder.
            paths: its files, in the order of the trees.
            folder: the name that it will have.

        Raises:
            StoreError: the disk refuses.
        """
        numbers = array("Q")
        with storing(made):
            root = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                for path in paths:
                    status = os.stat(path, dir_fd=root, follow_symlinks=False)
                    numbers.extend((status.st_ino, status.st_ctime_ns))
            finally:
                os.close(root)
            settled = _settled(made, max(numbers[1::2], default=0))
        if not settled:
            self.forget(folder)
            return
        if sys.byteorder == "big":
            numbers.byteswap()
        content = numbers.tobytes()
        heading = msgspec.json.encode(_Heading(str(folder), sha256(content)))
        make_folder(self._folder)
        write_file(self._path(folder), heading + b"\n" + content, mode=0o600)

    def find(self, folder: Path, files: int) -> Imprinted | None:
        """The imprints of a deployed folder; None where there is no sound record of it.

        Args:
            folder: the deployed folder.
            files: how many files its release has.
        """
        try:
            with self._path(folder).open("rb") as file:
                line = file.readline(_HEADING_MAX)
                content = file.read(16 * files + 1)
            heading = msgspec.json.decode(line, type=_Heading)
        except (OSError, msgspec.MsgspecError):
            return None
        if heading.folder != str(folder) or len(content) != 16 * files or sha256(content) != heading.sha256:
            return None
        numbers = array("Q", content)
        if sys.byteorder == "big":
            numbers.byteswap()
        return Imprinted(numbers)

    def forget(self, folder: Path) -> None:
        """Drop the record of a folder, if there is one.

        Raises:
            StoreError: the disk refuses.
        """
        path = self._path(folder)
        with storing(path), contextlib.suppress(FileNotFoundError):
            path.unlink()

    def sweep(self) -> None:
        """Drop the records of folders that are gone, and what a kill left.

        Raises:
            StoreError: the disk refuses.
        """
        if not self._folder.is_dir():
            return
        with storing(self._folder):
            for path in self._folder.iterdir():
                if path.name.startswith(TEMPORARY) or (path.suffix == SUFFIX and not _is_of_a_folder(path)):
                    path.unlink()

    def _path(self, folder: Path) -> Path:
        return self._folder / f"{sha256(os.fsencode(folder))}{SUFFIX}"


def _is_of_a_folder(path: Path) -> bool:
    with path.open("rb") as file, contextlib.suppress(msgspec.MsgspecError):
        return os.path.isdir(msgspec.json.decode(file.readline(_HEADING_MAX), type=_Heading).folder)
    return False


def _settled(folder: Path, newest: int) -> bool:
    """Wait until what changes on the file system of `folder` has a later time than `newest`."""
    probe = folder / f"{TEMPORARY}clock"
    descriptor = os.open(probe, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(_TRIES):
            os.utime(descriptor)
            if os.fstat(descriptor).st_ctime_ns > newest:
                return True
            time.sleep(_PAUSE)
        return False
    finally:
        os.close(descriptor)
        os.unlink(probe)
