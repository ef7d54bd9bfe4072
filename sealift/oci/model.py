"""Manifests and indexes: bytes from outside become types here, after their digest was checked.

What is read of them is what leads further: descriptors, the subject, the platform. All else travels as it is,
because the bytes are what the digest names. A document that could be taken for a manifest and for an index is
refused, whatever it says of itself (CVE-2021-41190).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..digest import sha256
from ..errors import IntegrityError, MalformedError
from ..names import visible
from ..strict_json import parse
from .names import is_digest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFESTS = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)
"""The media types that are understood, in the order in which a registry is asked for them."""
INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})

MANIFEST_MAX = 4 << 20
"""Bytes of a manifest or an index at most, as registries have it."""
LAYERS_MAX = 2048
CHILDREN_MAX = 4096
BLOB_MAX = 1 << 40
"""Bytes of a blob at most."""
_TYPE_MAX = 255
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """What names a manifest or a blob."""

    media_type: str
    digest: str
    size: int
    """Bytes."""
    platform: str | None = None
    """`os/architecture` or `os/architecture/variant`; of an index's children only."""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_manifest(self) -> bool:
        """Whether it names a manifest or an index, by its media type."""
        return self.media_type in MANIFESTS


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest or an index, as far as it leads further."""

    descriptor: Descriptor
    content: bytes
    children: tuple[Descriptor, ...] = ()
    """Of an index: its manifests and indexes."""
    blobs: tuple[Descriptor, ...] = ()
    """Of a manifest: its configuration and its layers."""
    subject: str | None = None
    """The digest of the manifest that this one is about."""
    artifact_type: str = ""
    """What kind of thing it is, as a list of referrers says it."""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_index(self) -> bool:
        """Whether it lists manifests."""
        return self.descriptor.media_type in INDEXES


def media_type_of(content: bytes, said: str | None, what: str) -> str:
    """The media type of a manifest's content, which its own field, a header or its shape tells.

    Args:
        content: the bytes.
        said: what a registry's Content-Type says; None where nobody says anything.
        what: its name, for the message.

    Raises:
        MalformedError: it is none that is understood, or two that contradict each other.
    """
    tree = parse(content, what, cap=MANIFEST_MAX)
    own = tree.get("mediaType")
    said = said.partition(";")[0].strip().lower() if said else None
    if said not in MANIFESTS and not (own is None and said and said.startswith(_SCHEMA_1)):
        said = None
    found = own if isinstance(own, str) and own else said
    if found is None:
        found = OCI_INDEX if "manifests" in tree else OCI_MANIFEST if "layers" in tree else ""
    if own is not None and said is not None and own != said:
        raise MalformedError(f"{what} is sent as {visible(said)} and calls itself {visible(str(own))[:_TYPE_MAX]}")
    if found.startswith(_SCHEMA_1) or tree.get("schemaVersion") == 1:
        raise MalformedError(
            f"{what} is a manifest of docker's schema 1, which no digest of its layers can be checked by",
            hint="push the image anew with a current tool",
        )
    if found not in MANIFESTS:
        raise MalformedError(
            f"{what} has the media type {visible(found)[:_TYPE_MAX]!r}, which is no manifest's and no index's"
        )
    return found


def read(content: bytes, descriptor: Descriptor) -> Manifest:
    """The manifest or index that `descriptor` names.

    Raises:
        IntegrityError: the content has another digest or size.
        MalformedError: it is none, or is another kind than the descriptor says.
    """
    what = f"manifest {descriptor.digest[:19]}…"
    check(content, descriptor, what)
    found = media_type_of(content, descriptor.media_type, what)
    if found != descriptor.media_type:
        raise MalformedError(f"{what} is named as {visible(descriptor.media_type)} and is {found}")
    tree = parse(content, what, cap=MANIFEST_MAX)
    if tree.get("schemaVersion") != 2:
        raise MalformedError(f"{what} has another schemaVersion than 2")
    index = found in INDEXES
    foreign = ("config", "layers", "fsLayers") if index else ("manifests", "fsLayers")
    if wrong := sorted(key for key in foreign if key in tree):
        raise MalformedError(f"{what} has {wrong[0]!r}, so it could be taken for a manifest and for an index")
    named = tree.get("artifactType", "")
    if not isinstance(named, str) or len(named) > _TYPE_MAX:
        raise MalformedError(f"{what} has no valid artifactType")
    children: tuple[Descriptor, ...] = ()
    blobs: tuple[Descriptor, ...] = ()
    if index:
        children = tuple(_list(tree.get("manifests"), "manifests", CHILDREN_MAX, what))
    else:
        config = descriptor_of(tree.get("config"), f"the configuration of {what}")
        blobs = (config, *_list(tree.get("layers", []), "layers", LAYERS_MAX, what))
        named = named or config.media_type
    subject = tree.get("subject")
    return Manifest(
        descriptor=descriptor,
        content=content,
        children=children,
        blobs=blobs,
        subject=descriptor_of(subject, f"the subject of {what}").digest if subject is not None else None,
        artifact_type=named,
        annotations=_annotations(tree.get("annotations"), what),
    )


def check(content: bytes, descriptor: Descriptor, what: str) -> None:
    """Refuse content that is not what a descriptor names.

    Raises:
        IntegrityError: it has another digest or size.
    """
    found = f"sha256:{sha256(content)}"
    if found != descriptor.digest:
        raise IntegrityError(
            f"{what} does not match its digest: expected {descriptor.digest[7:23]}…, found {found[7:23]}…",
            hint="whoever sent it lies or is damaged: ask another registry, or the one who keeps this one",
        )
    if len(content) != descriptor.size:
        raise IntegrityError(
            f"{what} has {len(content)} bytes, and {descriptor.size} are said",
            hint="what names it is wrong: build the image anew",
        )


def named(content: bytes, said: str | None, what: str) -> Descriptor:
    """The descriptor of a manifest's content.

    Raises:
        MalformedError: it is no manifest that is understood.
    """
    media_type = media_type_of(content, said, what)
    return Descriptor(media_type=media_type, digest=f"sha256:{sha256(content)}", size=len(content))


def descriptor_of(value: Any, what: str) -> Descriptor:
    """The descriptor that a JSON value is.

    Raises:
        MalformedError: it is none.
    """
    if not isinstance(value, dict):
        raise MalformedError(f"{what} is no descriptor")
    media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
    if not isinstance(media_type, str) or not 0 < len(media_type) <= _TYPE_MAX:
        raise MalformedError(f"{what} has no valid media type")
    if not isinstance(digest, str) or not is_digest(digest):
        raise MalformedError(f"{what} has no sha-256 digest, the only kind that is understood")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= BLOB_MAX:
        raise MalformedError(f"{what} has no valid size")
    if media_type in MANIFESTS and size > MANIFEST_MAX:
        raise MalformedError(f"{what} is a manifest of {size} bytes, and {MANIFEST_MAX} are allowed")
    return Descriptor(
        media_type=media_type,
        digest=digest,
        size=size,
        platform=_platform(value.get("platform"), what),
        annotations=_annotations(value.get("annotations"), what),
    )


def _list(value: Any, key: str, limit: int, what: str) -> Iterator[Descriptor]:
    if not isinstance(value, list):
        raise MalformedError(f"{what} has no list {key!r}")
    if len(value) > limit:
        raise MalformedError(f"{what} has {len(value)} {key}, and {limit} are allowed")
    for number, item in enumerate(value):
        yield descriptor_of(item, f"{key}[{number}] of {what}")


def _platform(value: Any, what: str) -> str | None:
    if value is None:
        return None
    parts = [value.get(key) for key in ("os", "architecture", "variant")] if isinstance(value, dict) else []
    words = [part for part in parts if part]
    texts = [part for part in words if isinstance(part, str) and len(part) <= 64 and "/" not in part]
    if len(texts) != len(words) or len(texts) < 2 or texts[:2] != parts[:2]:
        raise MalformedError(f"{what} has no valid platform")
    return "/".join(texts)


def _annotations(value: Any, what: str) -> Mapping[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise MalformedError(f"{what} has annotations that are no strings")
    return value
