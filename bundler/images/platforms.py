"""Some platforms of an image: a new index of the chosen manifests, which are themselves unchanged.

Registries refuse an index whose manifests they do not have, so an index cannot keep its digest when it loses some.
What was chosen keeps its own. Where it is one manifest alone, that one is the image. An image that is no index is
taken as it is. Attestations that BuildKit puts beside a manifest in the index stay with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sealift.digest import sha256
from sealift.errors import SourceError
from sealift.names import visible
from sealift.oci.graph import Graph
from sealift.oci.model import MANIFEST_MAX, Descriptor, Manifest
from sealift.strict_json import canonical, parse

REFERENCE = "vnd.docker.reference.digest"
"""The annotation by which BuildKit says which manifest an attestation is about."""


class Selection:
    """The part of a graph that some platforms need."""

    def __init__(self, graph: Graph, platforms: Sequence[str]) -> None:
        self._graph = graph
        self._platforms = platforms
        self._met: set[str] = set()
        self.made: dict[str, bytes] = {}
        """The content of each new index, by digest."""

    def of(self, root: Descriptor, what: str) -> Descriptor:
        """What is left of `root`.

        Args:
            root: the image.
            what: its name, for the message.

        Raises:
            SourceError: a platform is not there.
        """
        if not self._graph.manifests[root.digest].is_index:
            return root
        chosen = self._chosen(self._graph.manifests[root.digest])
        if missing := [each for each in self._platforms if each not in self._met]:
            has = sorted(
                {visible(child.platform) for child in self._all() if child.platform and "unknown" not in child.platform}
            )
            raise SourceError(
                f"{what} has no platform {visible(missing[0])}", hint=f"it has {', '.join(has)[:400] or 'no platforms'}"
            )
        return chosen if chosen is not None else root

    def _all(self) -> list[Descriptor]:
        return [child for manifest in self._graph.manifests.values() for child in manifest.children]

    def _chosen(self, index: Manifest) -> Descriptor | None:
        """What is left of an index: itself, one manifest of it, a new index, or nothing."""
        kept: dict[int, Descriptor] = {}
        for number, child in enumerate(index.children):
            inner = self._graph.manifests.get(child.digest)
            if inner is not None and inner.is_index:
                if (left := self._chosen(inner)) is not None:
                    kept[number] = replace(left, platform=left.platform or child.platform)
            elif self._fits(child):
                kept[number] = child
        originals = {index.children[number].digest for number in kept}
        for number, child in enumerate(index.children):
            if child.annotations.get(REFERENCE) in originals and child.digest not in originals:
                kept[number] = child
        if not kept:
            return None
        if len(kept) == 1:
            return next(iter(kept.values()))
        if len(kept) == len(index.children) and all(
            kept[number] == child for number, child in enumerate(index.children)
        ):
            return index.descriptor
        return self._index(index, kept)

    def _fits(self, child: Descriptor) -> bool:
        met = [each for each in self._platforms if child.platform and f"{child.platform}/".startswith(f"{each}/")]
        self._met.update(met)
        return bool(met)

    def _index(self, index: Manifest, kept: Mapping[int, Descriptor]) -> Descriptor:
        tree = parse(index.content, "an index", cap=MANIFEST_MAX)
        listed: list[dict[str, Any]] = tree["manifests"]
        tree["manifests"] = [
            {
                **listed[number],
                "digest": kept[number].digest,
                "size": kept[number].size,
                "mediaType": kept[number].media_type,
            }
            for number in sorted(kept)
        ]
        content = canonical(tree)
        digest = f"sha256:{sha256(content)}"
        self.made[digest] = content
        return Descriptor(
            media_type=index.descriptor.media_type,
            digest=digest,
            size=len(content),
            platform=index.descriptor.platform,
        )
