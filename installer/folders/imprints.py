"""Imprints: what the file system says of each file of a deployed release, from before anybody else could reach it.

Whoever writes to a file, or puts another one in its place, changes the time of its last change (`st_ctime`) or its
inode, and cannot set either back but by turning the system's clock or by writing to the disk below the file system,
as only root can. So a file with its imprint still holds what was written then, and can be taken for the next release
without being read. A file without, or any doubt about the record, means that it is hashed.

The record lies in the site's folder, one file for each deployed folder: its own digest and a newline, then for each
file of the trees, in their order, its inode and its time in nanoseconds, as 64-bit numbers of this machine.
"""

from __future__ import annotations

import contextlib
import os
import time
from array import array
from collections.abc import Iterable
from pathlib import Path

import msgspec

from sealift.digest import sha256
from sealift.durable import TEMPORARY, make_folder, storing, write_file
from sealift.errors import StoreError, TrustError
from sealift.reading import bounded

SUFFIX = ".imprint"
_HEADING = 65
"""Bytes before the numbers."""
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


class Imprints:
    """The records of the folders at one place."""

    def __init__(self, room: Path) -> None:
        """Take the folder of the records, which is made when it is needed."""
        self._room = room

    def take(self, made: Path, paths: Iterable[str | None], identity: str, *, since: int) -> None:
        """Record a folder that is whole, and that nobody else can enter yet.

        Nothing is recorded where the file system's clock does not move on within a tenth of a second: then what
        is written next might have the same time.

        Args:
            made: the folder; for a moment a file lies beside it.
            paths: its files, in the order of the trees; None for one that is not to be taken for another release.
            identity: what it will be called.
            since: when it was begun, by the file system's clock, in nanoseconds since 1970. Whoever knows another
                name of a file could write to it meanwhile: one that was modified since then has no imprint.

        Raises:
            StoreError: the disk refuses.
        """
        numbers = array("Q")
        with storing(made):
            root = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                for path in paths:
                    if path is None:
                        numbers.extend((0, 0))
                    else:
                        status = os.stat(path, dir_fd=root, follow_symlinks=False)
                        doubtful = status.st_nlink > 1 and status.st_mtime_ns >= since
                        numbers.extend((0, 0) if doubtful else (status.st_ino, status.st_ctime_ns))
            finally:
                os.close(root)
            settled = _settled(made.parent, max(numbers[1::2], default=0))
        if not settled:
            self._forget(identity)
            return
        content = numbers.tobytes()
        make_folder(self._room, mode=0o700)
        write_file(self._path(identity), sha256(content).encode() + b"\n" + content, mode=0o600)

    def find(self, identity: str, files: int) -> Imprinted | None:
        """The imprints of a deployed folder; None where there is no sound record of it.

        Args:
            identity: what it is called.
            files: how many files its release has.
        """
        try:
            record = bounded(self._path(identity), _HEADING + 16 * files)
        except (StoreError, TrustError):
            return None
        if record is None or len(record) != _HEADING + 16 * files:
            return None
        content = record[_HEADING:]
        if record[:_HEADING] != sha256(content).encode() + b"\n":
            return None
        return Imprinted(array("Q", content))

    def sweep(self, releases: Path) -> None:
        """Drop the records of what lies no more in the folder `releases`, and what a kill left.

        Raises:
            StoreError: the disk refuses.
        """
        if not self._room.is_dir():
            return
        with storing(self._room):
            for path in self._room.iterdir():
                if path.name.startswith(TEMPORARY) or (path.suffix == SUFFIX and not (releases / path.stem).is_dir()):
                    path.unlink()

    def _forget(self, identity: str) -> None:
        path = self._path(identity)
        with storing(path), contextlib.suppress(FileNotFoundError):
            path.unlink()

    def _path(self, identity: str) -> Path:
        return self._room / f"{identity}{SUFFIX}"


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
