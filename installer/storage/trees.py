"""The trees of a release that came as a difference: made of those of its bases, and of lines that came along.

Both were authentic before they are looked at: a base's tree by its digest in the site's state, what came by that in the
signed bundle manifest. Lines of a base were checked when it was admitted, so that of them only their order is. What
comes out must have the digest of the signed release manifest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sealift import tree as trees
from sealift import tree_difference
from sealift.container import Reader
from sealift.errors import IntegrityError, MalformedError
from sealift.listing import ListingBlob, Packing, lines
from sealift.manifest import Artifact
from sealift.opening import Content, Tally, member_of
from sealift.reading import bounded

from ..records.state import Admitted
from .store import Store


class Trees(NamedTuple):
    """The trees of a release."""

    files: list[tuple[bytes, ListingBlob]]
    """Each as the site's own file."""
    digests: list[bytes]
    """Of each distinct chunk, in order."""
    sizes: list[int]
    """Bytes of each."""


def rebuild_trees(bundle: Reader, content: Content, bases: Sequence[Admitted], store: Store) -> Trees:
    """Make the trees of a release; nothing is written.

    Args:
        bundle: the bundle that holds the difference.
        content: the difference.
        bases: the admitted releases that it refers to, in its order.
        store: the site's.

    Raises:
        IntegrityError: something does not match its digest, in the bundle or in the store.
        MalformedError: a tree breaks a rule of the format, or does not fit to the bases.
        StoreError: the disk or the medium refuses.
    """
    formers = [{artifact.name: artifact for artifact in store.held(base.part).artifacts} for base in bases]

    def former(base: int, name: str) -> Iterator[bytes]:
        artifact = formers[base].get(name) if 0 <= base < len(formers) else None
        if artifact is None:
            raise MalformedError("a tree difference changes a tree that its bases do not have")
        path = store.tree(artifact.tree)
        file = bounded(path, artifact.tree.length) or b""
        return lines(file, artifact.tree, trees.KIND, artifact.digest)

    sizes: dict[int, int] = {}
    made = []
    for artifact, blob in zip(content.release.artifacts, content.part.trees, strict=True):
        compressed = bundle.read(member_of(bundle, "trees", blob))
        found = tree_difference.tree_lines(compressed, blob, former, artifact.tree.size)
        made.append(_rebuilt(found, artifact, sizes))
    return Trees(made, [number.to_bytes(32, "big") for number in sizes], list(sizes.values()))


def _rebuilt(
    found: Iterator[tree_difference.Taken], artifact: Artifact, sizes: dict[int, int]
) -> tuple[bytes, ListingBlob]:
    """The file of a tree. That it is the signed one comes before what its lines say."""
    packing, gate, tally = Packing(trees.KIND), trees.Gate(), Tally(artifact, sizes)
    fault: MalformedError | None = None
    for some, known in found:
        packing.add(some)
        if fault is None:
            try:
                tally.take(map(gate.known if known else gate.new, some))
            except MalformedError as error:
                fault = error
    file, own, digest = packing.finish()
    if digest != artifact.digest:
        raise IntegrityError(
            f"the tree of artifact {artifact.name} that the difference gives is not the signed one",
            hint="ask for a whole bundle",
        )
    if fault:
        raise fault
    tally.finish()
    return file, own
