"""What every place that images come from offers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from sealift.oci.layout import Root
from sealift.oci.model import Descriptor, Manifest


class Origin(Protocol):
    """A place that has an image. Manifests and blobs that it gives have the digests that they are asked for by."""

    def root(self, digest: str | None) -> Root:
        """The image: by `digest` where it is known, else by what the spec calls it.

        Raises:
            SourceError: there is none.
        """

    def manifest(self, descriptor: Descriptor) -> bytes:
        """A manifest's content; called from several threads.

        Raises:
            SourceError: there is none.
            IntegrityError: it has another digest.
        """

    def descriptor(self, digest: str) -> Descriptor:
        """What names the manifest of a digest.

        Raises:
            SourceError: there is none.
        """

    def attached(self, manifests: Sequence[Manifest]) -> list[Root]:
        """What refers to these manifests: signatures, SBOMs, attestations; each with its tag, where it has one.

        Raises:
            SourceError: it cannot be found out.
        """

    def blobs(self, wanted: Sequence[Descriptor]) -> dict[str, Path]:
        """The files that hold these blobs, by digest, each checked.

        Raises:
            SourceError: one cannot be had.
            IntegrityError: one has another digest or size.
        """


Opened = AbstractContextManager[Origin]
