"""The stock: the blobs of images that the depot's own releases hold, by their digests.

What the cache has let go of lies in the packs all the same. An artifact of the kind `oci` names its files by their
digests, so its tree says which blobs it has, and nobody needs to be asked for them again.

Invariants: only what the depot's signed metadata lists is looked into, and a blob that comes out of a pack is hashed
before it gets its name. A release whose files are missing or damaged is passed over: its blobs are had elsewhere.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from sealift.errors import IntegrityError
from sealift.listing import Blob
from sealift.manifest import Artifact
from sealift.oci.layout import blob_path
from sealift.oci.names import hex_of

from .depot import Depot
from .former import Files
from .holding import Holding, of_depot

RELEASES_MAX = 1024
"""Releases that are looked into, the newest ones."""


class Stock:
    """The blobs of a depot's images. It may be used by several threads at once."""

    def __init__(self, depot: Path) -> None:
        """Take the depot's folder; nothing is read before something is asked for."""
        self._depot = depot
        self._lock = threading.Lock()
        self._places: dict[str, tuple[Holding, Artifact]] = {}
        """Where each blob lies, by its path in a layout, as far as releases were looked into."""
        self._rest = self._looking()
        self._open: tuple[Holding, Path, Files] | None = None
        """The release that was taken from last, since blobs that are wanted together mostly lie together."""

    def bring(self, digest: str, limit: int, cache: Path) -> Path | None:
        """Write a blob into a cache, under its digest; None where no release has it.

        Args:
            digest: the blob's.
            limit: bytes that it may have.
            cache: the folder.

        Raises:
            TrustError: the depot's metadata does not verify.
            StoreError: the cache cannot be written.
        """
        path = blob_path(digest)
        with self._lock:
            while path not in self._places:
                if not next(self._rest, False):
                    return None
            with contextlib.suppress(IntegrityError):
                return self._brought(path, hex_of(digest), limit, cache)
        return None

    def _brought(self, path: str, hexadecimal: str, limit: int, cache: Path) -> Path | None:
        holding, artifact = self._places[path]
        entry = next(entry for entry in holding.entries(artifact) if entry.path == path)
        if entry.type != "file" or entry.size > limit:
            return None
        if self._open is None or self._open[:2] != (holding, cache):
            self._open = (holding, cache, Files(holding, cache))
        written = self._open[2].path_of(entry)
        return written if written.name == hexadecimal else None

    def _looking(self) -> Iterator[bool]:
        """Look into one release after the other, the newest first; say each time that there was one."""
        if not any((self._depot / "records").glob("*/*.json")):
            return
        from keys.repository import verify

        depot = Depot(self._depot)
        releases = [entry for entry in verify(self._depot).entries if entry.kind == "release"]
        newest = sorted(releases, key=lambda entry: entry.published, reverse=True)[:RELEASES_MAX]
        seen: set[str] = set()
        for entry in newest:
            with contextlib.suppress(IntegrityError):
                release = depot.release(Blob(sha256=entry.sha256, length=entry.length))
                images = [each for each in release.artifacts if each.kind == "oci" and each.digest not in seen]
                if images:
                    holding = of_depot(depot, release, depot.part(release.name, release.version))
                    for artifact in images:
                        for found in holding.entries(artifact):
                            self._places.setdefault(found.path, (holding, artifact))
                        seen.add(artifact.digest)
            yield True
