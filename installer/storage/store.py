"""The site's content store: packs, trees, indexes and manifests, each a file named by its digest.

Nothing in it is trusted by its place: whoever reads a file checks its digest against what the site's
state says. So a file that was damaged after it was admitted is noticed before it is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from sealift import index as indexes
from sealift import manifest as manifests
from sealift import tree as trees
from sealift.content import Content
from sealift.digest import sha256
from sealift.durable import storing
from sealift.errors import IntegrityError, StoreError
from sealift.index import Frame
from sealift.listing import Blob, ListingBlob, file_name
from sealift.manifest import Artifact, Part, Release
from sealift.provenance import Statement
from sealift.provenance import parse as parse_provenance
from sealift.reading import bounded
from sealift.tree import Entry

SPARE = 16 << 20
"""Bytes that must stay free on the disk: for the state, the ledger and the folders."""
_REPAIR = "import a bundle that holds it: that repairs the store"


class Store:
    """The folder `store/` of a site."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, kind: str, blob: Blob) -> Path:
        """Where a file of a kind (`packs`, `trees`, `index`) is or would be."""
        return self.folder / kind / file_name(blob)

    def pack(self, blob: Blob) -> Path:
        """Where a pack is or would be."""
        return self.path("packs", blob)

    def tree(self, blob: Blob) -> Path:
        """Where a tree is or would be."""
        return self.path("trees", blob)

    def index(self, blob: Blob) -> Path:
        """Where an index is or would be."""
        return self.path("index", blob)

    def manifest(self, blob: Blob) -> Path:
        """Where a manifest is or would be."""
        return self.folder / "manifests" / f"{blob.sha256}.json"

    def free(self) -> int:
        """Bytes that are free on its disk.

        Raises:
            StoreError: the disk refuses.
        """
        with storing(self.folder):
            disk = os.statvfs(self.folder)
        return disk.f_bavail * disk.f_frsize

    def require(self, size: int, bundle: str) -> None:
        """Refuse what the disk has no room for, with some to spare.

        Args:
            size: bytes that are to be written.
            bundle: the file that they come of.

        Raises:
            StoreError: it has none, or refuses.
        """
        free = self.free()
        if size and free < size + SPARE:
            raise StoreError(
                f"{self.folder}: {size + SPARE:,} bytes are needed for {bundle}, and {free:,} are free",
                hint="make room (sealift-install gc removes what no environment uses), then import it again",
            )

    def release(self, blob: Blob) -> Release:
        """An admitted release's manifest.

        Raises:
            IntegrityError: it is missing or damaged.
        """
        return manifests.release(_load(self.manifest(blob), blob))

    def held(self, part: Part) -> Release:
        """An admitted release's manifest, with the site's own files of the trees where it has its own.

        Raises:
            IntegrityError: it is missing or damaged.
        """
        release = self.release(part.release)
        if not part.trees:
            return release
        if len(part.trees) != len(release.artifacts):
            raise IntegrityError(f"the site does not have a tree for each artifact of {release.label}", hint=_REPAIR)
        artifacts = tuple(
            msgspec.structs.replace(artifact, tree=tree)
            for artifact, tree in zip(release.artifacts, part.trees, strict=True)
        )
        return msgspec.structs.replace(release, artifacts=artifacts)

    def entries(self, artifact: Artifact) -> Iterator[Entry]:
        """The entries of an admitted artifact.

        Raises:
            IntegrityError: its tree is missing or damaged.
        """
        return trees.entries(_load(self.tree(artifact.tree), artifact.tree), artifact.tree, artifact.digest)

    def content(self, part: Part) -> Content:
        """The chunks of an admitted part, and where they lie.

        Raises:
            IntegrityError: a listing of it is missing or damaged.
        """
        content = Content()
        for artifact in self.held(part).artifacts:
            for entry in self.entries(artifact):
                content.add(entry)
        content.place(self.frames(part.index), [self.pack(pack) for pack in part.packs])
        return content

    def provenance(self, release: Release) -> Statement | None:
        """Where an admitted release came from; None where nobody says so.

        Raises:
            IntegrityError: the statement is missing or damaged.
            MalformedError: it is none.
        """
        blob = release.provenance
        if blob is None:
            return None
        return parse_provenance(_load(self.manifest(blob), blob), f"the provenance of {release.label}")

    def frames(self, blob: ListingBlob) -> Iterator[Frame]:
        """The frames of an admitted index.

        Raises:
            IntegrityError: it is missing or damaged.
        """
        return indexes.frames(_load(self.index(blob), blob), blob)

    def files_of(self, part: Part) -> Iterator[tuple[Path, Blob]]:
        """Every file that an admitted part needs.

        Raises:
            IntegrityError: its release manifest is missing or damaged.
        """
        yield self.manifest(part.release), part.release
        release = self.held(part)
        if release.provenance:
            yield self.manifest(release.provenance), release.provenance
        yield self.index(part.index), part.index
        for artifact in release.artifacts:
            yield self.tree(artifact.tree), artifact.tree
        for pack in part.packs:
            yield self.pack(pack), pack


def _load(path: Path, blob: Blob) -> bytes:
    content = bounded(path, blob.length) or b""
    if len(content) != blob.length:
        raise IntegrityError(f"{path} is missing or has another size", hint=_REPAIR)
    if sha256(content) != blob.sha256:
        raise IntegrityError(f"{path} does not match its digest: the disk has damaged it", hint=_REPAIR)
    return content
