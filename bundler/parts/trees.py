"""The trees of a release as they are written: one after the other, in the order of its artifacts."""

from __future__ import annotations

from pathlib import Path

from sealift.errors import SourceError
from sealift.listing import Writer
from sealift.manifest import Artifact
from sealift.tree import KIND

from .cutting import Cut, file_entry
from .grouping import Group


class Trees:
    """Writes one tree after the other into `folder`."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self._folder = folder
        self._names = names
        self._writer: Writer | None = None
        self._files = self._bytes = 0
        self._digests: list[str] = []
        self._sizes: list[int] = []
        """The chunks of the large file that is under way."""
        self._done: list[Artifact] = []

    def add(self, group: Group, cut: Cut) -> None:
        """Write the lines of a group; groups come in order.

        Raises:
            SourceError: the artifact before it held nothing.
            StoreError: the disk refuses.
        """
        while len(self._done) < group.artifact:
            self._close()
        if self._writer is None:
            self._writer = Writer(self._folder, KIND)
        self._files += group.files
        self._bytes += group.size
        if not group.window:
            self._writer.add_encoded(cut.lines)
            return
        self._digests += [digest.hex() for digest in cut.digests]
        self._sizes += cut.sizes
        if group.window.last:
            file = group.window.file
            self._writer.add(file_entry(file.path, file.executable, file.size, self._digests, self._sizes))
            self._digests, self._sizes = [], []

    def _close(self) -> None:
        name = self._names[len(self._done)]
        if self._writer is None:
            raise SourceError(f"artifact {name} holds nothing", hint="check its path and its patterns")
        tree, digest = self._writer.finish()
        self._writer = None
        self._done.append(
            Artifact(name=name, kind="files", digest=digest, tree=tree, files=self._files, bytes=self._bytes)
        )
        self._files = self._bytes = 0

    def finish(self) -> tuple[Artifact, ...]:
        """End the last tree and return what the release manifest says of each.

        Raises:
            SourceError: an artifact held nothing.
            StoreError: the disk refuses.
        """
        while len(self._done) < len(self._names):
            self._close()
        return tuple(self._done)

    def abandon(self) -> None:
        """Leave nothing half-written behind."""
        if self._writer:
            self._writer.abandon()
