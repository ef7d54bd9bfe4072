"""Gathering: an image with all that it needs and all that refers to it becomes the tree of an OCI layout."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sealift.digest import sha256
from sealift.durable import storing
from sealift.errors import MalformedError, SourceError
from sealift.oci import layout
from sealift.oci.graph import Graph, walk
from sealift.oci.layout import Root
from sealift.oci.model import Descriptor, Manifest
from sealift.oci.names import Name, is_digest, is_tag

from ..source import Found
from .origin import Origin
from .platforms import Selection
from .shed import Shed

ATTACHED_MAX = 1024
"""Manifests that refer to an image, directly or over others."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is wanted of an image."""

    shown: str
    """What the spec calls it, safe to print."""
    known_as: Name | None
    """What sites are to call it, where that is not what it is called where it comes from."""
    platforms: tuple[str, ...]
    """All where empty."""
    referrers: bool
    manifest: str | None
    """The digest of its manifest or index, where it is known."""
    attached: tuple[str, ...] | None
    """The digests of what refers to it, each behind its tag and an `@` where it has one; None where unknown."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image with all that belongs to it; its blobs are not fetched yet."""

    digest: str
    """Of the manifest or index where it comes from."""
    roots: tuple[Root, ...]
    """The image, then what refers to it."""
    graph: Graph

    @property
    def attached(self) -> tuple[str, ...]:
        """What refers to the image, as `Wish.attached` has it."""
        return tuple(sorted(f"{root.tag or ''}@{root.descriptor.digest}".lstrip("@") for root in self.roots[1:]))


def resolve(wish: Wish, origin: Origin) -> Image:
    """Find out what belongs to an image, by its manifests alone.

    Raises:
        SourceError: it cannot be had, or lacks a platform.
        IntegrityError, MalformedError: what is there is not what it should be.
    """
    root = origin.root(wish.manifest)
    name = wish.known_as or root.name
    if name is None:
        raise SourceError(
            f"{wish.shown} does not say what the image is called",
            hint="write its name in the spec as `as`: REGISTRY/REPOSITORY:TAG",
        )
    tag = wish.known_as.tag if wish.known_as else root.tag
    graph = Graph()
    walk(graph, [root.descriptor], origin.manifest)
    top = root.descriptor
    if wish.platforms:
        graph, top = _selected(graph, top, wish)
    roots = [Root(descriptor=top, name=name, tag=tag)]
    for each in _attached(wish, origin, graph):
        roots.append(Root(descriptor=each.descriptor, name=name, tag=each.tag))
    return Image(digest=root.descriptor.digest, roots=tuple(roots), graph=graph)


def _selected(whole: Graph, top: Descriptor, wish: Wish) -> tuple[Graph, Descriptor]:
    selection = Selection(whole, wish.platforms)
    top = selection.of(top, wish.shown)

    def content(descriptor: Descriptor) -> bytes:
        made = selection.made.get(descriptor.digest)
        return whole.manifests[descriptor.digest].content if made is None else made

    graph = Graph()
    walk(graph, [top], content)
    return graph, top


def _attached(wish: Wish, origin: Origin, graph: Graph) -> list[Root]:
    """What refers to the image, and what refers to that; all of it is in the graph then."""
    if wish.attached is not None:
        roots = [_root(origin, each) for each in wish.attached]
        walk(graph, [root.descriptor for root in roots], origin.manifest)
        return roots
    found: dict[tuple[str | None, str], Root] = {}
    fresh: Sequence[Manifest] = list(graph.manifests.values()) if wish.referrers else []
    while fresh:
        about = {manifest.descriptor.digest for manifest in fresh}
        roots = []
        for root in origin.attached(fresh):
            if found.setdefault((root.tag, root.descriptor.digest), root) is root:
                roots.append(root)
        if len(found) > ATTACHED_MAX:
            raise MalformedError(
                f"{wish.shown} has more than {ATTACHED_MAX} signatures and other referrers",
                hint="leave them out: `referrers: false`",
            )
        fresh = walk(graph, [root.descriptor for root in roots], origin.manifest)
        for root in roots:
            subject = graph.manifests[root.descriptor.digest].subject
            if root.tag is None and subject not in about:
                raise MalformedError(
                    f"{wish.shown}: {root.descriptor.digest[:19]}… is listed as a referrer, and is none",
                    hint="the registry is damaged or hostile: ask the one who keeps it",
                )
    return sorted(found.values(), key=lambda root: root.order)


def _root(origin: Origin, pinned: str) -> Root:
    tag, _, digest = pinned.rpartition("@")
    if not is_digest(digest) or (tag and not is_tag(tag)):
        raise SourceError("`attached` holds what is no digest", hint="run `sealift-bundle lock` to write it anew")
    return Root(descriptor=origin.descriptor(digest), name=None, tag=tag or None)


def found(image: Image, origin: Origin, shed: Shed) -> Iterator[Found]:
    """Fetch what is lacking, and yield the tree of the image's layout in canonical order.

    Raises:
        SourceError: a blob cannot be had.
        IntegrityError: one has another digest.
        StoreError: the cache cannot be written.
    """
    blobs = [blob for blob in image.graph.blobs.values() if blob.digest not in image.graph.manifests]
    files = {
        manifest.descriptor.digest: shed.keep(manifest.content, manifest.descriptor.digest)
        for manifest in image.graph.manifests.values()
    }
    files |= origin.blobs(blobs)
    own = {layout.INDEX: layout.encode(image.roots), layout.MARK: layout.MARK_CONTENT}
    yield Found("blobs", "dir")
    yield Found(layout.BLOBS, "dir")
    for digest in sorted(files):
        yield _file(layout.blob_path(digest), files[digest])
    for path in sorted(own):
        yield _file(path, shed.keep(own[path], f"sha256:{sha256(own[path])}"))


def _file(path: str, origin: Path) -> Found:
    with storing(origin):
        status = os.stat(origin)
    return Found(path, "file", False, status.st_size, str(origin), (status.st_ino, status.st_mtime_ns))
