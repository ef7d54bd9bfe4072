"""Holdings: releases that can be looked into, whether they lie in a bundle or in a depot."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sealift import opening
from sealift import tree as trees
from sealift.container import Reader
from sealift.difference import Inflated, Patch, outline
from sealift.digest import sha256
from sealift.errors import MalformedError, UsageError
from sealift.index import Frame, frames
from sealift.listing import Blob, file_name
from sealift.manifest import Artifact, Part, Release
from sealift.names import label_in
from sealift.opening import Opened, member_of
from sealift.reading import bounded
from sealift.tree import Entry
from sealift.trust import anchor, check_fingerprint

from .depot import Depot, intact
from .published import require

if TYPE_CHECKING:
    from sealift.trust import Trust

ROOT_MAX = 512_000


@dataclass(frozen=True, kw_only=True)
class Holding:
    """A release, and how to read its listings."""

    release: Release
    part: Part
    published: str
    entries: Callable[[Artifact], Iterator[Entry]]
    frames: Callable[[], Iterator[Frame]]
    """Of a whole release."""
    brought: Callable[[], Iterator[Patch | Inflated]] = lambda: iter(())
    """What a difference brings."""
    provenance: Callable[[], bytes | None] = lambda: None
    """The statement of where its artifacts came from, its digest checked; None where it has none."""
    packs: Path | None = None
    """The folder of its packs, where they can be read one by one."""


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """Whom a bundle's signatures are checked against."""

    root: Path | None = None
    fingerprint: str | None = None
    depot: Path | None = None

    @property
    def given(self) -> bool:
        """Whether anybody is named; otherwise the bundle's own first root is taken, which proves nothing."""
        return bool(self.root or self.fingerprint or self.depot)

    def trust(self, bundle: Reader, now: datetime) -> Trust:
        """The trust to begin with.

        Raises:
            MalformedError: the bundle lacks its first root.
            TrustError: the root has another fingerprint than the one given.
            StoreError: the root cannot be read.
        """
        content = self._root(bundle)
        if self.fingerprint:
            check_fingerprint(content, self.fingerprint)
        return anchor(content, sha256(content), reference=now, purpose=None)

    def _root(self, bundle: Reader) -> bytes:
        path = self.root or (self.depot / "metadata" / "1.root.json" if self.depot else None)
        if path is None:
            return bundle.read(bundle.find("metadata/1.root.json"))
        content = bounded(path, ROOT_MAX, follow=True)
        if content is None:
            raise UsageError(f"there is no root {path}", hint="name root metadata, such as 1.root.json")
        return content


@contextlib.contextmanager
def open_bundle(path: Path, anchor: Anchor, now: datetime) -> Iterator[tuple[Reader, Opened]]:
    """An authenticated bundle.

    Raises:
        MalformedError, IntegrityError, TrustError, StoreError: as `sealift.opening.authenticate`.
    """
    with Reader(path) as bundle:
        yield bundle, opening.authenticate(bundle, anchor.trust(bundle, now), reference=now)


def in_bundle(bundle: Reader, opened: Opened) -> tuple[Holding, ...]:
    """The releases of an authenticated bundle."""
    return tuple(_in_bundle(bundle, content) for content in opened.contents)


def _in_bundle(bundle: Reader, content: opening.Content) -> Holding:
    def entries(artifact: Artifact) -> Iterator[Entry]:
        if content.part.base:
            raise UsageError(
                f"{bundle.path} is a difference, and says only what changes in the files of {content.release.label}",
                hint=f"name the release in its depot: {content.release.label} --depot DIR",
            )
        compressed = bundle.read(member_of(bundle, "trees", artifact.tree))
        return trees.checked(compressed, artifact.tree, artifact.digest)

    def all_frames() -> Iterator[Frame]:
        index = content.part.index
        compressed = bundle.read(member_of(bundle, "index", index))
        return frames(compressed, index)

    def brought() -> Iterator[Patch | Inflated]:
        index = content.part.index
        return outline(bundle.read(member_of(bundle, "index", index)), index)

    return Holding(
        release=content.release,
        part=content.part,
        published=content.published,
        entries=entries,
        frames=all_frames,
        brought=brought,
        provenance=lambda: opening.provenance(bundle, content.release),
    )


def in_depot(depot: Depot, name: str, version: str) -> Holding:
    """A release that the depot published.

    Raises:
        UsageError: it has none of that name and version.
        TrustError: its metadata does not verify.
    """
    from keys.repository import verify

    state = verify(depot.folder)
    blob = require(state, depot, name, version)
    published = next(entry.published for entry in state.entries if (entry.name, entry.version) == (name, version))
    return of_depot(depot, depot.release(blob), depot.part(name, version), published)


def of_depot(depot: Depot, release: Release, part: Part, published: str = "") -> Holding:
    """A release that lies in the depot, published or about to be."""
    return in_folder(depot.folder, release, part, published)


def in_folder(folder: Path, release: Release, part: Part, published: str = "") -> Holding:
    """A release whose files lie in `trees/`, `index/` and `packs/` below `folder`, as in a depot."""

    def read(kind: str, blob: Blob) -> bytes:
        path = folder / kind / file_name(blob)
        return intact(path, blob)

    def entries(artifact: Artifact) -> Iterator[Entry]:
        return trees.entries(read("trees", artifact.tree), artifact.tree, artifact.digest)

    def all_frames() -> Iterator[Frame]:
        return frames(read("index", part.index), part.index)

    def provenance() -> bytes | None:
        blob = release.provenance
        return intact(folder / "manifests" / f"{blob.sha256}.json", blob) if blob else None

    return Holding(
        release=release,
        part=part,
        published=published,
        entries=entries,
        frames=all_frames,
        provenance=provenance,
        packs=folder / "packs",
    )


@contextlib.contextmanager
def holdings(what: str, anchor: Anchor, now: datetime) -> Iterator[tuple[Holding, ...]]:
    """The releases that `what` names: a bundle's file, or `name@version` of the anchor's depot.

    Raises:
        UsageError: it names neither.
    """
    label = label_in(what)
    if os.path.exists(what) or not label:
        with open_bundle(Path(what), anchor, now) as (bundle, opened):
            yield in_bundle(bundle, opened)
    elif anchor.depot is None:
        raise UsageError(f"{what} is no file", hint="name a bundle, or give --depot with NAME@VERSION")
    else:
        yield (in_depot(Depot(anchor.depot), *label),)


def only(held: tuple[Holding, ...], what: str) -> Holding:
    """The release of a bundle that has one.

    Raises:
        MalformedError: it has several.
    """
    if len(held) != 1:
        raise MalformedError(f"{what} holds {len(held)} releases", hint="name one of them as NAME@VERSION with --depot")
    return held[0]
