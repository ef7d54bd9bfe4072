"""The image for this machine's own platform, of an artifact that may hold several, and a layout of it alone."""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from sealift.durable import Draft, make_folder, storing, sync_folder, write_file
from sealift.errors import IntegrityError, UsageError
from sealift.oci import layout
from sealift.oci.layout import Root
from sealift.oci.model import Descriptor, Manifest
from sealift.oci.names import Name, hex_of

from ..images.images import Image

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "ppc64le": "ppc64le"}


@dataclass(frozen=True, kw_only=True)
class Native:
    """An image that this machine can run."""

    image: Image
    name: Name
    """Where it is from, with its tag."""
    manifest: Manifest

    @property
    def digest(self) -> str:
        """Of its manifest."""
        return self.manifest.descriptor.digest

    @property
    def id(self) -> str:
        """What podman calls it: the digest of its configuration, in hexadecimal digits."""
        return hex_of(self.manifest.blobs[0].digest)


def architecture() -> str:
    """This machine's, as images call it."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def native(image: Image) -> Native:
    """The image for this machine.

    Raises:
        UsageError: there is none, or the artifact holds several images.
    """
    roots = [root for root in image.roots if not (root.tag or "sha256-").startswith("sha256-")]
    if len(roots) != 1:
        raise UsageError(f"artifact {image.artifact} holds {len(roots)} images with a tag", hint="one can be run")
    (root,) = roots
    assert root.name is not None
    wanted = f"linux/{architecture()}"
    found = _find(image, root.descriptor, wanted)
    if found is None or not found.blobs:
        raise UsageError(
            f"artifact {image.artifact} has no image for {wanted}",
            hint="export it with that platform, or run it elsewhere",
        )
    return Native(image=image, name=root.name, manifest=found)


def _find(image: Image, descriptor: Descriptor, wanted: str) -> Manifest | None:
    manifest = image.graph.manifests.get(descriptor.digest)
    if manifest is None or not manifest.is_index:
        return manifest
    for child in manifest.children:
        said = child.platform
        if said is None or said == wanted or said.startswith(f"{wanted}/"):
            found = _find(image, child, wanted)
            if found is not None:
                return found
    return None


def write(found: Native, folder: Path) -> int:
    """Write a layout of the image alone, called `image`, in a new folder; return the bytes of its blobs.

    Raises:
        IntegrityError: the store is damaged, or a blob is not what its digest says.
        StoreError: the disk refuses.
    """
    make_folder(folder / layout.BLOBS)
    size = 0
    for blob in (found.manifest.descriptor, *found.manifest.blobs):
        size += blob.size
        path = folder / layout.blob_path(blob.digest)
        running = hashlib.sha256()
        with storing(path), Draft(path.with_name(f".tmp-{os.getpid()}")) as draft:
            for piece in found.image.pieces(blob.digest):
                running.update(piece)
                draft.write(piece)
            if f"sha256:{running.hexdigest()}" != blob.digest:
                raise IntegrityError(f"artifact {found.image.artifact}: {blob.digest[:19]}… has other content")
            draft.keep(path, sync=False)
    sync_folder(folder / layout.BLOBS)
    write_file(
        folder / layout.INDEX, layout.encode([Root(descriptor=found.manifest.descriptor, name=None, tag="image")])
    )
    write_file(folder / layout.MARK, layout.MARK_CONTENT)
    return size
