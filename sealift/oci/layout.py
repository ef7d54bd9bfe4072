"""The OCI image layout (image specification 1.1), as artifacts of the kind `oci` hold it.

    oci-layout           {"imageLayoutVersion":"1.0.0"}
    index.json           which manifests it is about, with their tags and whole names
    blobs/sha256/<hex>   every manifest, configuration and layer

`index.json` is canonical: the same image under the same name gives the same bytes. Of each root it says the tag in
`org.opencontainers.image.ref.name`, as the specification has it, and the whole name in `io.containerd.image.name`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import MalformedError
from ..strict_json import canonical, parse
from . import names
from .model import MANIFEST_MAX, OCI_INDEX, Descriptor, descriptor_of
from .names import Name

MARK, INDEX, BLOBS = "oci-layout", "index.json", "blobs/sha256"
MARK_CONTENT = b'{"imageLayoutVersion":"1.0.0"}'
TAG, NAME = "org.opencontainers.image.ref.name", "io.containerd.image.name"
"""Annotations of a root."""
ROOTS_MAX = 4096
INDEX_MAX = MANIFEST_MAX


@dataclass(frozen=True, kw_only=True)
class Root:
    """A manifest that a layout is about."""

    descriptor: Descriptor
    name: Name | None
    """Where it is from; None where the layout does not say."""
    tag: str | None = None

    @property
    def order(self) -> tuple[str, str, str]:
        """What roots are sorted by."""
        return (self.name.place if self.name else "", self.tag or "", self.descriptor.digest)


def blob_path(digest: str) -> str:
    """Where a layout holds a blob."""
    return f"{BLOBS}/{names.hex_of(digest)}"


def encode(roots: Sequence[Root]) -> bytes:
    """The content of `index.json` for these roots, in canonical form."""
    tree = {
        "manifests": [_value(root) for root in sorted(roots, key=lambda root: root.order)],
        "mediaType": OCI_INDEX,
        "schemaVersion": 2,
    }
    return canonical(tree)


def _value(root: Root) -> dict[str, Any]:
    value: dict[str, Any] = {
        "mediaType": root.descriptor.media_type,
        "digest": root.descriptor.digest,
        "size": root.descriptor.size,
    }
    if root.descriptor.platform:
        parts = root.descriptor.platform.split("/")
        value["platform"] = dict(zip(("os", "architecture", "variant"), parts, strict=False))
    annotations = {}
    if root.tag:
        annotations[TAG] = root.tag
    if root.name:
        digest = None if root.tag else root.descriptor.digest
        annotations[NAME] = Name(
            registry=root.name.registry, repository=root.name.repository, tag=root.tag, digest=digest
        ).text
    return value | ({"annotations": annotations} if annotations else {})


def read(content: bytes, what: str) -> list[Root]:
    """The roots that an `index.json` names.

    Raises:
        MalformedError: it is none.
    """
    tree = parse(content, what, cap=INDEX_MAX)
    if tree.get("schemaVersion") != 2 or tree.get("mediaType", OCI_INDEX) != OCI_INDEX:
        raise MalformedError(f"{what} is no index of an oci layout")
    listed = tree.get("manifests")
    if not isinstance(listed, list) or len(listed) > ROOTS_MAX:
        raise MalformedError(f"{what} lists no manifests, or more than {ROOTS_MAX}")
    return [_root(value, f"manifests[{number}] of {what}") for number, value in enumerate(listed)]


def _root(value: Any, what: str) -> Root:
    descriptor = descriptor_of(value, what)
    tag, whole = descriptor.annotations.get(TAG), descriptor.annotations.get(NAME)
    name = _name(whole) if whole else None
    if name is None and tag and "/" in tag:
        name = _name(tag)
        tag = name.tag if name else None
    if tag is not None and not names.is_tag(tag):
        tag = None
    return Root(descriptor=descriptor, name=name, tag=tag or (name.tag if name else None))


def _name(text: str) -> Name | None:
    """The name that an annotation bears, if it is one: tools write other things there too."""
    try:
        return names.parse(text)
    except MalformedError:
        return None


def check_mark(content: bytes, what: str) -> None:
    """Refuse what is no OCI layout of version 1.

    Raises:
        MalformedError: it is none.
    """
    version = parse(content, what, cap=4096).get("imageLayoutVersion")
    if not isinstance(version, str) or not version.startswith("1."):
        raise MalformedError(f"{what} names no version of the image layout that is known")
