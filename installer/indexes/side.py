"""One of the two sides of an index: a folder that is served, or that becomes what is served next.

    indexes/a/ …      what is served when `current` leads here
    indexes/a.json    what it is made of

The side that is not served is brought to what should be served by changing the pages that differ, and those alone;
then the link is turned to it, and the other side is brought to the same. While a side is being changed nothing says
what it is made of, so that one which a kill left half-changed is made anew. No file is written in place: two sides
share what they have in common by hard links.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from sealift.durable import TEMPORARY, storing, sync_folder, write_file
from sealift.errors import StoreError, UsageError
from sealift.reading import bounded

from .pool import Pool, create, linked, make_open_folder, settle
from .record import Hold

FORMAT = 1
MARK_MAX = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Page:
    """The files of a part of an index, by their paths in its folder."""

    written: Mapping[str, bytes] = field(default_factory=dict)
    """Their content."""
    taken: Mapping[str, str] = field(default_factory=dict)
    """The digest of each that is in the pool."""


class Mark(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a side is made of."""

    format: int = FORMAT
    form: str
    """How it is made; see `Form.name`."""
    holds: dict[str, Hold]
    cover: dict[str, str]
    """The digests of the files that belong to no page, by their paths."""


class Side:
    """A folder of an index, and what is said of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._base = str(folder)
        self._folders: set[str] = set()
        """That are known to be there."""
        self._mark = folder.with_name(f"{folder.name}.json")
        self._changed: list[str] = []

    def mark(self) -> Mark | None:
        """What it is made of; None where nothing says so.

        Raises:
            UsageError: a newer sealift made it.
            StoreError: what is said cannot be read.
        """
        content = bounded(self._mark, MARK_MAX)
        if content is None:
            return None
        try:
            mark = msgspec.json.decode(content, type=Mark)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreError(f"{self._mark} is damaged", hint="restore it from a backup") from error
        if mark.format != FORMAT:
            raise UsageError(f"{self._mark} was written by a newer sealift", hint="install the newer sealift here")
        return mark

    def begin(self) -> None:
        """From now on nothing says what it is made of, until `end`.

        Raises:
            StoreError: the disk refuses.
        """
        self._changed, self._folders = [], set()
        with storing(self._mark):
            if os.path.lexists(self._mark):
                os.unlink(self._mark)
                sync_folder(self._mark.parent)

    def end(self, mark: Mark) -> None:
        """Make it durable, and say what it is made of.

        Raises:
            StoreError: the disk refuses.
        """
        settle([path for path in self._changed if os.path.lexists(path)], str(self.folder.parent))
        write_file(self._mark, msgspec.json.encode(mark, order="sorted"))

    def clear(self) -> None:
        """Make it empty.

        Raises:
            StoreError: the disk refuses.
        """
        with storing(self.folder):
            if os.path.lexists(self.folder):
                aside = self.folder.with_name(f"{TEMPORARY}{self.folder.name}")
                os.rename(self.folder, aside)
                shutil.rmtree(aside)
            make_open_folder(self._base)

    def copy(self, other: Side) -> None:
        """Make it what another side is, by hard links; it is empty now.

        Raises:
            StoreError: the disk refuses.
        """
        for path in _files(other._base):
            self.link(path, f"{other._base}/{path}")

    def link(self, path: str, source: str) -> None:
        """Let a path be a file that is elsewhere.

        Raises:
            StoreError: the disk refuses.
        """
        to = self._ready(path)
        linked(source, to)
        self._changed.append(to)

    def write(self, path: str, content: bytes) -> None:
        """Let a path have this content.

        Raises:
            StoreError: the disk refuses.
        """
        to = self._ready(path)
        with storing(to):
            if not create(to, content):
                temporary = f"{os.path.dirname(to)}/{TEMPORARY}{os.path.basename(to)}"
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
                create(temporary, content)
                os.rename(temporary, to)
        self._changed.append(to)

    def put(self, folder: str, page: Page, pool: Pool) -> None:
        """Let a folder hold the files of a page, and nothing else.

        Raises:
            StoreError: the disk refuses.
        """
        fresh = not os.path.lexists(f"{self._base}/{folder}")
        for path, content in page.written.items():
            self.write(f"{folder}/{path}", content)
        for path, digest in page.taken.items():
            self.link(f"{folder}/{path}", pool.path(digest))
        if not fresh:
            self.keep_only(folder, {*page.written, *page.taken})

    def keep_only(self, folder: str, paths: Collection[str]) -> None:
        """Remove what a folder holds beside these paths.

        Raises:
            StoreError: the disk refuses.
        """
        with storing(f"{self._base}/{folder}"):
            for path in list(_files(f"{self._base}/{folder}")):
                if path not in paths:
                    self.remove(f"{folder}/{path}")

    def remove(self, path: str) -> None:
        """Remove a file, and the folders that are empty without it.

        Raises:
            StoreError: the disk refuses.
        """
        gone = f"{self._base}/{path}"
        with storing(gone):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(gone)
            above = os.path.dirname(gone)
            while above != self._base and os.path.isdir(above) and not os.listdir(above):
                os.rmdir(above)
                self._folders.discard(above)
                above = os.path.dirname(above)
        self._changed.append(above)

    def wrong(self, folder: str, page: Page) -> str | None:
        """What a page's folder lacks, has otherwise or has besides; of what is taken only names are looked at."""
        base = f"{self._base}/{folder}"
        there = set(_files(base))
        for path, content in page.written.items():
            if path not in there or not _holds(f"{base}/{path}", content):
                return f"{base}/{path}"
        for path in page.taken:
            if path not in there:
                return f"{base}/{path}"
        for path in sorted(there):
            if path not in page.written and path not in page.taken:
                return f"{base}/{path}"
        return None

    def _ready(self, path: str) -> str:
        """The path below this side, its folders being there."""
        to = f"{self._base}/{path}"
        above = os.path.dirname(to)
        if above not in self._folders:
            with storing(above):
                make_open_folder(above)
            self._folders.add(above)
        return to


def _holds(path: str, content: bytes) -> bool:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            return file.read(len(content) + 1) == content
    return False


def _files(base: str) -> Iterator[str]:
    """The paths of all that is no folder, below a folder that may be missing."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with contextlib.suppress(FileNotFoundError), os.scandir(f"{base}/{below}") as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{below}{entry.name}/")
                else:
                    yield f"{below}{entry.name}"
