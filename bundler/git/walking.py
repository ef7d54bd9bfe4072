"""Walking: the tree of a commit as the entries of an artifact, its files laid down in the cache by their SHA-256.

Nothing is checked out: no filter, no attribute and no line ending changes what the commit holds. An entry that
cannot be carried makes the whole artifact fail.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sealift.errors import MalformedError, SourceError, UsageError
from sealift.names import PATH_MAX, check_link, check_path, folded, visible

from ..network.cache import lay_down
from ..source import Found
from .address import Address
from .objects import Member, Objects

ENTRIES_MAX = 500_000
BYTES_MAX = 64 << 30
"""Bytes of all files of an artifact."""
DEEP_MAX = 128
"""Folders inside each other."""
SUBMODULES_MAX = 256
NESTED_MAX = 8
"""Submodules inside each other."""
MODULES_MAX = 1 << 20
"""Bytes of a `.gitmodules`."""
_LFS = b"version https://git-lfs.github.com/spec/v1\n"
_LFS_MAX = 1024
_HEADER = re.compile(rb"tree ([0-9a-f]{40}|[0-9a-f]{64})\n")


class Place(NamedTuple):
    """A commit of a repository, and how its objects are read."""

    objects: Objects
    address: Address
    commit: str
    nested: int = 0


class Asked(NamedTuple):
    """What of a commit is wanted."""

    folder: str
    submodules: bool | None
    pointers: bool
    """Whether pointers of LFS are carried as the files that they are."""


@dataclass(kw_only=True)
class Walk:
    """One pass over a commit, and its submodules."""

    asked: Asked
    cache: Path
    spare: Path | None
    enter: Callable[[Address, str, int], Place]
    """Opens the commit of a submodule."""
    modules: Callable[[Objects, str], dict[str, str]]
    """The addresses in a `.gitmodules`, by path; it is named by its blob."""
    found: list[Found] = field(default_factory=list)
    _files: dict[str, tuple[Path, int, tuple[int, int]]] = field(default_factory=dict)
    _bytes: int = 0
    _submodules: int = 0

    def walk(self, place: Place) -> list[Found]:
        """All entries, in canonical order.

        Raises:
            SourceError: the folder is not there, or something in it cannot be carried.
            MalformedError: an object has not the form that it should have.
            Damaged: the objects are not what they should be.
        """
        tree = self._root(place)
        listed = self._modules(place, tree)
        inside = ""
        for part in self.asked.folder.split("/") if self.asked.folder else ():
            member = next((each for each in place.objects.tree(tree) if each.name == part.encode()), None)
            if member is None or member.kind != "dir":
                what = "is not there" if member is None else f"is a {member.kind}"
                raise SourceError(f"{place.address.shown}: the folder {inside + part} {what}", hint="check `folder`")
            tree, inside = member.id, f"{inside}{part}/"
        self._folder(place, tree, "", inside, listed, 0)
        if not self.found:
            raise SourceError(f"{place.address.shown}: nothing is in that tree", hint="check `folder`")
        return self.found

    def _root(self, place: Place) -> str:
        content = place.objects.read(place.commit, "commit", 1 << 20)
        if (header := _HEADER.match(content)) is None:
            raise MalformedError(f"the commit {place.commit} names no tree")
        return header[1].decode()

    def _modules(self, place: Place, tree: str) -> dict[str, str]:
        """The addresses of the submodules of a commit, by path."""
        if not self.asked.submodules:
            return {}
        file = next((each for each in place.objects.tree(tree) if each.name == b".gitmodules"), None)
        if file is None:
            return {}
        if file.kind != "file":
            raise SourceError(f"{place.address.shown}: .gitmodules is a {file.kind}")
        place.objects.read(file.id, "blob", MODULES_MAX)
        return self.modules(place.objects, file.id)

    def _folder(self, place: Place, tree: str, path: str, inside: str, listed: dict[str, str], deep: int) -> None:
        """Take what is in a folder.

        Args:
            place: where it is.
            tree: its id.
            path: where it is in the artifact: empty, or with a `/` at its end.
            inside: where it is in its repository, likewise.
            listed: the addresses of that repository's submodules.
            deep: folders around it.
        """
        if deep > DEEP_MAX:
            raise SourceError(f"{place.address.shown}: more than {DEEP_MAX} folders lie inside each other")
        names: dict[str, str] = {}
        for member in sorted(place.objects.tree(tree)):
            here = self._checked(place, path, member, names)
            if member.kind == "dir":
                self._add(place, Found(here, "dir"))
                self._folder(place, member.id, f"{here}/", inside + here[len(path) :] + "/", listed, deep + 1)
            elif member.kind == "submodule":
                self._submodule(place, member, here, inside + here[len(path) :], listed, deep)
            elif member.kind == "link":
                with _carried(place):
                    target = check_link(here, _text(place.objects.read(member.id, "blob", PATH_MAX)))
                self._add(place, Found(here, "link", target=target))
            else:
                self._file(place, member, here)

    def _checked(self, place: Place, path: str, member: Member, names: dict[str, str]) -> str:
        """The path of an entry in the artifact, if it may bear it."""
        with _carried(place):
            name = _text(member.name)
            if "/" in name:
                raise MalformedError(f"the name {visible(name)!r} holds a '/'")
            here = check_path(path + name)
            if folded(name) == ".git" or re.fullmatch(r"git~[0-9]+", folded(name)):
                raise MalformedError(f"{visible(here)!r} has a name that git takes for its own")
            if (other := names.setdefault(folded(name), name)) != name:
                raise MalformedError(
                    f"{visible(here)!r} and {visible(other)!r} beside it are one name where case or Unicode form is "
                    "folded"
                )
            return here

    def _add(self, place: Place, found: Found) -> None:
        if len(self.found) >= ENTRIES_MAX:
            raise SourceError(f"{place.address.shown}: the tree has more than {ENTRIES_MAX} entries")
        if self.found and self.found[-1].path == found.path:
            raise SourceError(f"{place.address.shown}: {visible(found.path)!r} stands there twice")
        self.found.append(found)

    def _file(self, place: Place, member: Member, here: str) -> None:
        known = self._files.get(member.id)
        if known is None:
            size = place.objects.size(member.id, "blob")
            self._count(place, size)
            pieces = place.objects.pieces(member.id, "blob", size)
            if size <= _LFS_MAX:
                content = b"".join(pieces)
                if content.startswith(_LFS) and not self.asked.pointers:
                    raise SourceError(
                        f"{place.address.shown}: {visible(here)!r} is a pointer of git LFS: its content lies elsewhere",
                        hint="fetch that content by source `url` or `bucket`, or write `lfs: pointers` to carry the "
                        "pointers as they are",
                    )
                pieces = iter((content,))
            laid = lay_down(self.cache, self.spare, pieces)
            status = laid.path.stat()
            known = self._files[member.id] = laid.path, size, (status.st_ino, status.st_mtime_ns)
        else:
            self._count(place, known[1])
        origin, size, stamp = known
        self._add(place, Found(here, "file", member.kind == "program", size, str(origin), stamp))

    def _count(self, place: Place, size: int) -> None:
        self._bytes += size
        if self._bytes > BYTES_MAX:
            raise SourceError(f"{place.address.shown}: the tree has more than {BYTES_MAX} bytes")

    def _submodule(
        self, place: Place, member: Member, here: str, inside: str, listed: dict[str, str], deep: int
    ) -> None:
        shown = visible(here)
        if self.asked.submodules is None:
            raise SourceError(
                f"{place.address.shown}: {shown!r} is a submodule",
                hint="write `submodules: true` to take it in, or `submodules: false` to leave it out",
            )
        if not self.asked.submodules:
            return
        url = listed.get(inside)
        if url is None:
            raise SourceError(f"{place.address.shown}: .gitmodules does not say where the submodule {shown!r} is")
        self._submodules += 1
        if place.nested >= NESTED_MAX or self._submodules > SUBMODULES_MAX:
            raise SourceError(
                f"{place.address.shown}: more than {SUBMODULES_MAX} submodules, or {NESTED_MAX} inside each other"
            )
        with _carried(place):
            address = place.address.beside(url)
        self._add(place, Found(here, "dir"))
        below = self.enter(address, member.id, place.nested + 1)
        tree = self._root(below)
        self._folder(below, tree, f"{here}/", "", self._modules(below, tree), deep + 1)


@contextlib.contextmanager
def _carried(place: Place) -> Iterator[None]:
    """Say of what cannot be carried where it comes from."""
    try:
        yield
    except (MalformedError, UsageError) as error:
        raise SourceError(
            f"{place.address.shown}: {error.message}", hint="mend it in the repository, or take another `folder`"
        ) from error


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise MalformedError(
            f"the name of {visible(name.decode('utf-8', 'surrogateescape'))!r} is not UTF-8"
        ) from error
