"""What an index of a kind looks like, as a function of the packages that it lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from sealift.manifest import Kind

from .record import Record
from .side import Page


class Form(Protocol):
    """An index of a kind."""

    name: str
    """The kind and, behind a space, whatever else pages depend on beside their records."""
    kind: Kind
    """Of the artifacts that it lists."""

    def examine(self, path: str, file: Path, sha256: str, key: str) -> tuple[Record, Mapping[str, bytes]]:
        """What a package says of itself, and the contents that belong beside it, by what they are.

        Args:
            path: in its artifact.
            file: where its content lies now.
            sha256: its digest.
            key: `Record.key`.

        Raises:
            MalformedError: it is not what its name says.
        """

    def page(self, name: str, records: Sequence[Record]) -> tuple[str, Page]:
        """A page's folder, which is its own, and its files for these records, which are in the order of their slots."""

    def cover(self, listed: Mapping[str, Sequence[Record]], live: Path | None) -> Mapping[str, bytes]:
        """The files that belong to no page, by their paths.

        Args:
            listed: the records of each page.
            live: the folder that is served now.

        Raises:
            DeployError: they cannot be made.
        """
