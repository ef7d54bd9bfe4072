"""A former release: what the depot published, as files again.

Its chunks come out of the depot's packs, each frame's digest checked first, and its files go to the cache by their own
digests. Only what the depot's signed metadata lists is taken.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from sealift.content import Chunks, Content
from sealift.durable import TEMPORARY, Draft, storing
from sealift.errors import SourceError
from sealift.listing import file_name
from sealift.manifest import Artifact
from sealift.names import visible
from sealift.progress import Silent
from sealift.tree import Entry

from ..network.cache import kept
from .depot import Depot
from .holding import Holding, of_depot

_EMPTY = hashlib.sha256().hexdigest()


def published(depot: Path, name: str, version: str, manifest: str | None = None) -> Holding:
    """A release that the depot published.

    Args:
        depot: its folder.
        name: the release's name.
        version: its version.
        manifest: the digest that its manifest must have, where it is known.

    Raises:
        SourceError: the depot published none, or another one.
        TrustError: its metadata does not verify.
        IntegrityError: it is damaged.
    """
    from keys.repository import verify

    from .published import published_release

    blob = published_release(verify(depot), name, version)
    label = f"{name}@{version}"
    if blob is None:
        raise SourceError(
            f"the depot has no release {label}",
            hint=f"see what it has: sealift-bundle list --depot {visible(str(depot))}",
        )
    if manifest is not None and blob.sha256 != manifest:
        raise SourceError(
            f"the depot's {label} is another one than was locked",
            hint="export into the depot that it was locked with, or run `sealift-bundle lock` again",
        )
    held = Depot(depot)
    return of_depot(held, held.release(blob), held.part(name, version))


def artifact_of(holding: Holding, name: str | None) -> Artifact:
    """An artifact of a release, or the only one that it has.

    Raises:
        SourceError: there is none of that name, or several and none was named.
    """
    artifacts = {each.name: each for each in holding.release.artifacts}
    if name is None and len(artifacts) == 1:
        return next(iter(artifacts.values()))
    if name is None or name not in artifacts:
        missing = "several artifacts" if name is None else f"no artifact {visible(name)}"
        raise SourceError(
            f"{holding.release.label} has {missing}", hint=f"write one of them as `artifact`: {', '.join(artifacts)}"
        )
    return artifacts[name]


def _content(holding: Holding) -> Content:
    content = Content()
    for each in holding.release.artifacts:
        for entry in holding.entries(each):
            content.add(entry)
    folder = holding.packs or Path()
    content.place(holding.frames(), [folder / file_name(pack) for pack in holding.part.packs])
    return content


class Files:
    """Writes files of a release that lies in a depot into a cache, by their digests."""

    def __init__(self, holding: Holding, cache: Path) -> None:
        """Take the release and the cache.

        Raises:
            IntegrityError: the depot is damaged.
        """
        self._content = _content(holding)
        self._chunks = Chunks([self._content])
        self._cache = cache

    def path_of(self, entry: Entry) -> Path:
        """The file with the content of an entry; its name is the digest of what it holds.

        Raises:
            IntegrityError: the depot is damaged.
            StoreError: the cache cannot be written.
        """
        if len(entry.chunks) < 2:
            digest = entry.chunks[0] if entry.chunks else _EMPTY
            if held := kept(self._cache / digest, digest, Silent()):
                return held.path
        return self._write(entry)

    def _write(self, entry: Entry) -> Path:
        running = hashlib.sha256()
        with storing(self._cache), Draft(self._cache / f"{TEMPORARY}former.{os.getpid()}") as draft:
            for digest, _ in entry.pieces():
                piece = self._chunks.read(0, self._content.numbers[bytes.fromhex(digest)])
                running.update(piece)
                draft.write(piece)
            path = self._cache / running.hexdigest()
            draft.keep(path, sync=False)
        return path
