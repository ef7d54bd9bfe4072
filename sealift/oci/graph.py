"""The graph of an image: every manifest and blob that a root leads to.

Manifests are read level by level, those of a level at once; each is checked before it is parsed. What a subject
names is not followed: a signature is about its image, and does not hold it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..at_once import at_once
from ..errors import MalformedError
from .model import MANIFEST_MAX, Descriptor, Manifest, read

DEPTH_MAX = 8
"""Indexes inside indexes."""
MANIFESTS_MAX = 4096
MANIFEST_BYTES_MAX = 64 << 20
"""Bytes of all manifests of a graph."""
BLOBS_MAX = 65_536


@dataclass(kw_only=True)
class Graph:
    """What was found so far: each digest once."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    """By digest; an index stands before what it lists."""
    blobs: dict[str, Descriptor] = field(default_factory=dict)
    """By digest: configurations and layers."""

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return sum(blob.size for blob in self.blobs.values())


def walk(
    graph: Graph, roots: Iterable[Descriptor], fetch: Callable[[Descriptor], bytes], *, workers: int = 4
) -> list[Manifest]:
    """Add to `graph` all that `roots` lead to; return the manifests that are new in it.

    Args:
        graph: what is known already, and is not fetched again.
        roots: manifests or indexes.
        fetch: gives a manifest's content; called from several threads.
        workers: how many.

    Raises:
        IntegrityError: a manifest has another digest or size than its descriptor says.
        MalformedError: one is none, or there are too many of them, or they lie too deep.
    """
    new: list[Manifest] = []
    level = [root for root in roots if _is_new(graph.manifests, root)]
    for _ in range(DEPTH_MAX + 1):
        if not level:
            return new
        found = _read(level, fetch, workers)
        graph.manifests.update((manifest.descriptor.digest, manifest) for manifest in found)
        new += found
        _check_bounds(graph)
        below: dict[str, Descriptor] = {}
        for manifest in found:
            for blob in manifest.blobs:
                _agree(graph.blobs.setdefault(blob.digest, blob), blob)
            for child in manifest.children:
                if child.is_manifest:
                    if _is_new(graph.manifests, child):
                        _agree(below.setdefault(child.digest, child), child)
                else:
                    _agree(graph.blobs.setdefault(child.digest, child), child)
        level = list(below.values())
    raise MalformedError(f"there are indexes inside indexes, more than {DEPTH_MAX} deep")


def _is_new(manifests: dict[str, Manifest], descriptor: Descriptor) -> bool:
    known = manifests.get(descriptor.digest)
    if known is None:
        return True
    _agree(known.descriptor, descriptor)
    return False


def _agree(known: Descriptor, other: Descriptor) -> None:
    """Refuse two descriptors of one digest that contradict each other."""
    if known.size != other.size or ((known.is_manifest or other.is_manifest) and known.media_type != other.media_type):
        raise MalformedError(f"{known.digest[:19]}… is named twice, with different sizes or media types")


def _read(level: list[Descriptor], fetch: Callable[[Descriptor], bytes], workers: int) -> list[Manifest]:
    found: dict[str, Manifest] = {}

    def one(descriptor: Descriptor) -> None:
        if not descriptor.is_manifest or descriptor.size > MANIFEST_MAX:
            raise MalformedError(f"{descriptor.digest[:19]}… is no manifest of an allowed size")
        found[descriptor.digest] = read(fetch(descriptor), descriptor)

    distinct = list({descriptor.digest: descriptor for descriptor in level}.values())
    if len(distinct) == 1:
        one(distinct[0])
    else:
        if sum(descriptor.size for descriptor in distinct) > MANIFEST_BYTES_MAX:
            raise _too_much()
        at_once(one, tuple(distinct), workers=workers)
    return [found[descriptor.digest] for descriptor in distinct]


def _check_bounds(graph: Graph) -> None:
    size = sum(manifest.descriptor.size for manifest in graph.manifests.values())
    if len(graph.manifests) > MANIFESTS_MAX or size > MANIFEST_BYTES_MAX or len(graph.blobs) > BLOBS_MAX:
        raise _too_much()


def _too_much() -> MalformedError:
    return MalformedError(
        f"the image has more than {MANIFESTS_MAX} manifests, {MANIFEST_BYTES_MAX >> 20} MiB of them, "
        f"or {BLOBS_MAX} blobs"
    )
