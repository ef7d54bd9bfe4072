"""The images that an admitted release holds: its artifacts of the kind `oci`, each an OCI layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sealift.errors import MalformedError, UsageError
from sealift.names import visible
from sealift.oci import layout
from sealift.oci.graph import Graph, walk
from sealift.oci.layout import Root
from sealift.oci.model import MANIFEST_MAX, Descriptor
from sealift.oci.names import is_digest

from ..storage.content import Contents
from ..storage.deployable import Deployable
from ..storage.store import Store

_HINT = "it was made by a faulty program: ask who exported it"


@dataclass(frozen=True, kw_only=True)
class Image:
    """An artifact that is an image, a chart or the like, with what refers to it."""

    artifact: str
    roots: tuple[Root, ...]
    graph: Graph
    contents: Contents

    def read(self, descriptor: Descriptor) -> bytes:
        """A manifest's content."""
        return self.graph.manifests[descriptor.digest].content

    def pieces(self, digest: str, start: int = 0) -> Iterator[bytes]:
        """A blob's content from the byte `start` on.

        Raises:
            IntegrityError: the store is damaged.
        """
        return self.contents.pieces(self.artifact, layout.blob_path(digest), start)

    def sizes(self) -> dict[str, int]:
        """The bytes of every manifest and blob, by digest, sorted."""
        found = {digest: manifest.descriptor.size for digest, manifest in self.graph.manifests.items()}
        found |= {digest: blob.size for digest, blob in self.graph.blobs.items()}
        return dict(sorted(found.items()))


def images(deployable: Deployable, store: Store) -> tuple[Image, ...]:
    """Every image of a release, in the order of its artifacts; of what a target takes of it, where that is a part.

    Raises:
        UsageError: it holds none, or what is taken by name is no image.
        IntegrityError: the store is damaged.
        MalformedError: an artifact is not the layout that it should be.
    """
    names = [artifact.name for artifact in deployable.artifacts if artifact.kind == "oci"]
    if deployable.only is not None and (others := sorted(deployable.only - set(names))):
        raise UsageError(
            f"artifact {others[0]} of {deployable.release.label} is no image",
            hint="name images alone in `artifacts`, and deploy the rest to a target of another kind, such as directory",
        )
    if not names:
        raise UsageError(
            f"{deployable.release.label} holds no image",
            hint="deploy it to a target of another kind, such as directory",
        )
    contents = Contents(deployable, store, names)
    return tuple(_image(name, contents) for name in names)


def root_of(deployable: Deployable, store: Store, artifact: str) -> str:
    """The digest of the one image of an artifact, by which it is pinned.

    Raises:
        UsageError: there is no such artifact, or it holds several images.
        IntegrityError: the store is damaged.
        MalformedError: it is not the layout that it should be.
    """
    if artifact not in {each.name for each in deployable.release.artifacts if each.kind == "oci"}:
        raise UsageError(
            f"{deployable.release.label} has no image {visible(artifact)[:80]!r}", hint="name an artifact of images"
        )
    held = _image(artifact, Contents(deployable, store, [artifact]))
    found = {root.descriptor.digest for root in held.roots if not (root.tag or "sha256-").startswith("sha256-")}
    if len(found) != 1:
        raise UsageError(f"artifact {artifact} of {deployable.release.label} holds {len(found)} images with a tag")
    return found.pop()


def _image(artifact: str, contents: Contents) -> Image:
    what = f"artifact {artifact}"
    layout.check_mark(contents.read(artifact, layout.MARK, 4096), f"{what}: {layout.MARK}")
    content = contents.read(artifact, layout.INDEX, layout.INDEX_MAX)
    roots = layout.read(content, f"{what}: {layout.INDEX}")
    if not roots or layout.encode(roots) != content:
        raise MalformedError(f"{what}: {layout.INDEX} names nothing, or is not in canonical form", hint=_HINT)
    if any(root.name is None for root in roots):
        raise MalformedError(f"{what}: {layout.INDEX} does not say what its image is called", hint=_HINT)
    graph = Graph()
    walk(
        graph,
        [root.descriptor for root in roots],
        lambda descriptor: contents.read(artifact, layout.blob_path(descriptor.digest), MANIFEST_MAX),
        workers=1,
    )
    image = Image(artifact=artifact, roots=tuple(roots), graph=graph, contents=contents)
    for digest, size in image.sizes().items():
        file = contents.files[artifact].get(layout.blob_path(digest))
        if not is_digest(digest) or file is None or file.size != size:
            raise MalformedError(f"{what} lacks {visible(digest)[:23]}…, or has it with another size", hint=_HINT)
    return image
