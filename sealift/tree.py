"""Trees: the canonical list of what an artifact holds. The digest of a tree's content names the artifact.

Entries come depth first: a folder before what is in it, siblings in the order of the UTF-8 bytes of
their names. So a reader checks each line against the one before and against the folders that are open:
nothing comes twice, nothing lies in a file or a link, and no two siblings collide on a disk that folds
case or normalises Unicode.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from .digest import HEX, check_form
from .errors import MalformedError
from .frame import FRAME_MAX
from .listing import ListingBlob, decode_line, lines
from .names import check_link, check_path, folded, visible

KIND = "tree"
ENTRIES_MAX = 16_000_000
SIZE_MAX = 1 << 50


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line of a tree."""

    path: str
    type: Literal["file", "dir", "link"]
    mode: Literal["", "0644", "0755"] = ""
    """POSIX permission bits, of files and folders: what matters of them is whether it may be executed."""
    size: int = 0
    """Bytes of a file."""
    chunks: tuple[str, ...] = ()
    """SHA-256 of each piece of a file, in order; none for an empty file."""
    sizes: tuple[int, ...] = ()
    """Bytes of each piece, where there is more than one."""
    target: str = ""
    """Where a symbolic link points to."""

    def pieces(self) -> Iterator[tuple[str, int]]:
        """The digest and the size in bytes of each piece of a file."""
        if self.sizes:
            return zip(self.chunks, self.sizes, strict=True)
        return iter([(self.chunks[0], self.size)] if self.chunks else [])


def entries(compressed: bytes, blob: ListingBlob, content_digest: str) -> Iterator[Entry]:
    """Yield the entries of a tree that this site admitted before, so that only its digest is to be checked.

    Raises:
        IntegrityError: a digest or a size does not match.
        MalformedError: it is no tree.
    """
    decoder = msgspec.json.Decoder(Entry)
    for line in lines(compressed, blob, KIND, content_digest):
        try:
            yield decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedError(f"a line of a tree is malformed: {error}") from error


def checked(compressed: bytes, blob: ListingBlob, content_digest: str) -> Iterator[Entry]:
    """Yield the entries of a tree that came from outside, each only after all its rules were checked.

    Raises:
        IntegrityError: a digest or a size does not match.
        MalformedError: it is no tree, or breaks a rule of the format.
    """
    gate = Gate()
    for line in lines(compressed, blob, KIND, content_digest):
        yield gate.new(line)


class Gate:
    """Takes the lines of a tree in order, and gives each entry only after all its rules were checked."""

    def __init__(self) -> None:
        self._order = Order()
        self._decode = msgspec.json.Decoder(Entry).decode

    def new(self, line: bytes) -> Entry:
        """The entry of a line that came from outside.

        Raises:
            MalformedError: it breaks a rule of the format.
        """
        entry = decode_line(line, Entry, "a line of a tree")
        check_path(entry.path)
        _check_fields(entry)
        self._order.check(entry.path, folder=entry.type == "dir")
        return entry

    def known(self, line: bytes) -> Entry:
        """The entry of a line of a tree that was admitted: what it says was checked then, and where it stands is now.

        Raises:
            MalformedError: it may not stand here.
        """
        try:
            entry = self._decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedError(f"a line of a tree is malformed: {error}") from error
        self._order.check(entry.path, folder=entry.type == "dir")
        return entry


def _check_fields(entry: Entry) -> None:
    if len(entry.chunks) == 1 and entry.type == "file" and entry.mode and not entry.sizes and not entry.target:
        if 0 < entry.size <= FRAME_MAX and HEX.fullmatch(entry.chunks[0]):
            return  # most files
    elif (
        entry.type == "dir" and entry.mode == "0755" and not (entry.chunks or entry.sizes or entry.size or entry.target)
    ):
        return
    what = f"{entry.type} {visible(entry.path)!r}"
    if entry.type == "file":
        count = len(entry.chunks)
        sizes = entry.sizes if count > 1 else (entry.size,) * count
        if not entry.mode or entry.target or len(entry.sizes) != (count if count > 1 else 0):
            raise MalformedError(f"{what} lacks a field or has one too many")
        if sum(sizes) != entry.size or entry.size > SIZE_MAX or any(not 0 < size <= FRAME_MAX for size in sizes):
            raise MalformedError(f"{what} has pieces whose sizes do not fit")
        for digest in entry.chunks:
            check_form(digest, what)
        return
    if entry.chunks or entry.sizes or entry.size:
        raise MalformedError(f"{what} has content")
    if entry.type == "link":
        if entry.mode:
            raise MalformedError(f"{what} has a mode")
        check_link(entry.path, entry.target)
    elif entry.mode != "0755" or entry.target:
        raise MalformedError(f"{what} lacks its mode or has a target")


def side_by_side(
    olds: Iterator[tuple[str, Entry]], news: Iterator[tuple[str, Entry]]
) -> Iterator[tuple[tuple[str, Entry] | None, tuple[str, Entry] | None]]:
    """Walk two lists of paths and entries in canonical order in step; yield pairs of the same path.

    One of a pair is None where the other list alone has that path. Memory does not grow with the lists.
    """
    old, new = next(olds, None), next(news, None)
    while old or new:
        left = position(old[0]) if old else None
        right = position(new[0]) if new else None
        if right is None or (left is not None and left < right):
            yield old, None
            old = next(olds, None)
        elif left is None or right < left:
            yield None, new
            new = next(news, None)
        else:
            yield old, new
            old, new = next(olds, None), next(news, None)


def position(path: str) -> str:
    """What sorts paths in canonical order."""
    return path.replace("/", "\0")


class Order:
    """Checks that paths come in canonical order, each in an open folder, and that no siblings collide."""

    def __init__(self) -> None:
        self._last = ""
        self._open: list[tuple[str, set[str]]] = [("", set())]
        self._count = 0

    def check(self, path: str, *, folder: bool) -> None:
        """Take `path` as the next entry.

        Raises:
            MalformedError: it may not stand here.
        """
        parent, _, name = path.rpartition("/")
        key = position(path)
        if key <= self._last:
            raise MalformedError(f"entry {visible(path)!r} comes twice or out of order")
        self._last = key
        self._count += 1
        if self._count > ENTRIES_MAX:
            raise MalformedError(f"a tree has more than {ENTRIES_MAX} entries")
        while self._open[-1][0] != parent:
            self._open.pop()
            if not self._open:
                raise MalformedError(f"entry {visible(path)!r} lies in no folder of the tree")
        names = self._open[-1][1]
        fold = folded(name)
        if fold in names:
            raise MalformedError(
                f"entry {visible(path)!r} has the name of a sibling in other letter case or Unicode form",
                hint="rename one of them: on some disks they would be one file",
            )
        names.add(fold)
        if folder:
            self._open.append((path, set()))
