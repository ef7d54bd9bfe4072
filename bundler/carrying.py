"""Carrying: what crosses of a release, whole or as a difference to what its sites hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sealift.listing import Blob, file_name
from sealift.manifest import Part, Release
from sealift.progress import Progress

from .depots.depot import Depot
from .depots.holding import Holding
from .differences.patching import Difference, difference
from .reliance import Reliance
from .sealing import Effort, Sealed


@dataclass(frozen=True, kw_only=True)
class Carried:
    """A release in a bundle."""

    sealed: Sealed
    part: Part
    """What the bundle holds of it."""
    folder: Path
    """The folder with `trees/`, `index/` and `packs/` that its files lie in."""
    difference: Difference | None = None
    """How it differs from its bases, where it is no whole part."""

    @property
    def release(self) -> Release:
        """Its manifest."""
        return self.sealed.release

    def files(self) -> tuple[tuple[str, Path, Blob], ...]:
        """Its content files by kind, with where they lie, in the order of a bundle's members."""
        trees = self.part.trees or tuple(artifact.tree for artifact in self.release.artifacts)
        kinds = (("trees", trees), ("index", (self.part.index,)), ("packs", self.part.packs))
        return tuple((kind, self.folder / kind / file_name(blob), blob) for kind, blobs in kinds for blob in blobs)


def carry(
    sealed: Sealed,
    depot: Depot,
    new: Holding,
    bases: Sequence[Holding],
    folder: Path,
    *,
    effort: Effort,
    progress: Progress,
    relied: Reliance,
) -> Carried:
    """Make what a bundle holds of a release for sites that hold `bases`; whole, where there are none.

    Args:
        sealed: the release in the depot.
        depot: where whole parts lie.
        new: the same release, to be read.
        bases: what the sites hold.
        folder: a scratch folder.
        effort: level and workers.
        progress: told the bytes that are compared.
        relied: what may be counted on to compress at the sites.

    Raises:
        UsageError: there are too many bases, or one is the release itself.
        IntegrityError: the depot is damaged.
        StoreError: the disk refuses.
    """
    if not bases:
        return Carried(sealed=sealed, part=sealed.part, folder=depot.folder)
    made = difference(
        new,
        bases,
        folder,
        level=effort.difference_level,
        workers=effort.threads,
        progress=progress,
        inflate=effort.inflate and (relied.zlib or effort.small),
        zlib=relied.zlib,
        rebuilders=relied.rebuilders,
        small=effort.small,
    )
    return Carried(sealed=sealed, part=made.part, folder=folder, difference=made)
