"""Parcels: packages that are taken as they are, each a file of the artifact, its digest, and where it comes from.

A lock writes one as `<sha256> <bytes> <path> <address>`, so that whoever reads a change of the lock sees what changed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sealift.durable import storing
from sealift.errors import MalformedError, UsageError
from sealift.names import check_path, folded, visible

from .hauling import haul
from .network.fetch import Wanted
from .network.line import Line
from .network.web import check_url
from .source import Found, Trace, Workshop

_LINE = re.compile(r"([0-9a-f]{64}) (0|[1-9][0-9]{0,14}) (\S{1,3072}) (\S{1,8192})")
_HINT = "run `sealift-bundle lock` to write what the spec says now"


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """A package as it is taken."""

    path: str
    """Of the file in the artifact."""
    sha256: str
    length: int
    """Bytes."""
    url: str
    """Without credentials, query and fragment."""

    @property
    def line(self) -> str:
        """As a lock says it."""
        return f"{self.sha256} {self.length} {self.path} {self.url}"

    @property
    def trace(self) -> Trace:
        """As provenance says it."""
        return Trace(name=self.path, uri=self.url, digest={"sha256": self.sha256})

    @property
    def wanted(self) -> Wanted:
        """What is to be fetched."""
        return Wanted(url=self.url, sha256=self.sha256, length=self.length)


def parse(lines: Sequence[str], source: str) -> list[Parcel]:
    """What a lock says, in canonical order.

    Raises:
        UsageError: a line has not the form, or two files of the artifact would be one.
    """
    found: list[Parcel] = []
    names: dict[str, str] = {}
    for line in lines:
        said = _LINE.fullmatch(line)
        try:
            if said is None:
                raise MalformedError("not of the form that `lock` writes")
            parcel = Parcel(sha256=said[1], length=int(said[2]), path=check_path(said[3]), url=check_url(said[4]))
        except (MalformedError, UsageError) as error:
            raise UsageError(f"source {source}: {visible(line)[:80]!r}: {error.message}", hint=_HINT) from error
        _check_name(parcel.path, names, source)
        found.append(parcel)
    return sorted(found, key=lambda parcel: _position(parcel.path))


def _check_name(path: str, names: dict[str, str], source: str) -> None:
    """Refuse a file that is there already, and names that are one where letter case is folded.

    Args:
        path: of the file.
        names: each name so far, by its folded form; those of the file and of its folders are added.
        source: for the message.
    """
    components = path.split("/")
    for depth in range(1, len(components) + 1):
        name = "/".join(components[:depth])
        former = names.get(folded(name))
        if former is not None and (former != name or depth == len(components)):
            raise UsageError(
                f"source {source}: {visible(former)} and {visible(name)} are one name where letter case is folded",
                hint="leave one of them out of the lock file, then run `sealift-bundle lock`",
            )
        names[folded(name)] = name


def _position(path: str) -> list[bytes]:
    return [component.encode() for component in path.split("/")]


def found(parcels: Sequence[Parcel], workshop: Workshop, line: Line, *, label: str) -> Iterator[Found]:
    """The files and the folders that they lie in; what the workshop's cache lacks is fetched first.

    Args:
        parcels: in canonical order.
        workshop: whose cache keeps them.
        line: the connections.
        label: what the progress is called.

    Raises:
        SourceError, IntegrityError, StoreError: as `hauling.haul`.
    """
    fetched = haul([parcel.wanted for parcel in parcels], workshop, line, label=label)
    inside: list[str] = []
    for parcel, file in zip(parcels, fetched, strict=True):
        folders = parcel.path.split("/")[:-1]
        for depth in range(1, len(folders) + 1):
            if inside[:depth] != folders[:depth]:
                yield Found("/".join(folders[:depth]), "dir")
        inside = folders
        with storing(file.path):
            status = os.stat(file.path)
        stamp = (status.st_ino, status.st_mtime_ns)
        yield Found(parcel.path, "file", False, status.st_size, str(file.path), stamp)
