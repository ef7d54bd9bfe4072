"""Source `oci`: an image, a chart or any other OCI artifact, with its referrers, as an OCI layout.

It comes from a registry, from an OCI layout (a folder or a tar), or from what `docker save` wrote. Its manifests,
configurations and layers are taken byte for byte, so every digest, signature and pin holds at the site.

Invariant: nothing is collected from a registry whose digest neither the spec nor its lock says.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from sealift.document import Problem
from sealift.errors import MalformedError, SourceError, UsageError
from sealift.names import visible
from sealift.oci import names
from sealift.oci.names import Name, hex_of

from ..source import Found, Trace, Workshop

if TYPE_CHECKING:
    from ..images.gathering import Wish
    from ..images.origin import Origin
    from ..images.shed import Shed

KIND = "oci"
IMAGE_MAX = 4096
PLATFORM = "^[a-z0-9]{1,32}/[a-z0-9]{1,32}(/[a-z0-9.]{1,32})?$"
DIGEST = "^sha256:[0-9a-f]{64}$"
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "image": {
            "type": "string",
            "minLength": 1,
            "maxLength": IMAGE_MAX,
            "description": "REGISTRY/REPOSITORY:TAG, with @sha256:… or without; or oci:PATH:TAG for an OCI layout, a "
            "folder or a tar; or docker-archive:PATH:NAME for what docker save wrote.",
        },
        "as": {
            "type": "string",
            "minLength": 1,
            "maxLength": names.NAME_MAX,
            "description": "REGISTRY/REPOSITORY:TAG by which sites know the image; what it is called where it comes "
            "from if left out.",
        },
        "platforms": {
            "type": "array",
            "minItems": 1,
            "maxItems": 64,
            "uniqueItems": True,
            "items": {"type": "string", "pattern": PLATFORM},
            "description": "Which platforms of the image are taken, as linux/amd64; all if left out.",
        },
        "referrers": {
            "type": "boolean",
            "description": "Whether signatures, SBOMs and attestations come along; true if left out.",
        },
        "manifest": {
            "type": "string",
            "pattern": DIGEST,
            "description": "The digest of its manifest or index; `sealift-bundle lock` finds it out if left out.",
        },
        "attached": {
            "type": "string",
            "maxLength": 1 << 20,
            "description": "The digests of what refers to the image, with spaces between; `sealift-bundle lock` finds "
            "them out if left out.",
        },
        "token_host": {
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            "description": "The host of the token service, where it is neither the registry's nor akin to it.",
        },
        "unsafe_http": {
            "type": "boolean",
            "description": "Whether the registry is asked without TLS; false if left out.",
        },
    },
    "required": ["image"],
    "additionalProperties": False,
}

_PIN = "run `sealift-bundle lock`, or write the digest of the manifest in the spec as `manifest`"
_LAYOUTS, _ARCHIVE = ("oci", "oci-archive"), "docker-archive"


class _Want(msgspec.Struct, frozen=True, kw_only=True):
    image: Annotated[str, msgspec.Meta(min_length=1, max_length=IMAGE_MAX, pattern="^[^\x00]*\\Z")]
    known_as: Annotated[str, msgspec.Meta(min_length=1, max_length=names.NAME_MAX)] | None = msgspec.field(
        name="as", default=None
    )
    platforms: (
        Annotated[
            tuple[Annotated[str, msgspec.Meta(pattern=PLATFORM[:-1] + "\\Z")], ...],
            msgspec.Meta(min_length=1, max_length=64),
        ]
        | None
    ) = None
    referrers: bool = True
    manifest: Annotated[str, msgspec.Meta(pattern=DIGEST[:-1] + "\\Z")] | None = None
    attached: Annotated[str, msgspec.Meta(max_length=1 << 20)] | None = None
    token_host: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None = None
    unsafe_http: bool = False

    @property
    def local(self) -> tuple[str, str, str | None] | None:
        """The transport, the path and what is named behind it; None where the image is in a registry."""
        transport, colon, rest = self.image.partition(":")
        if not colon or transport not in (*_LAYOUTS, _ARCHIVE):
            return None
        path, colon, name = rest.partition(":")
        return transport, path, name if colon else None

    @property
    def name(self) -> Name:
        """What it is called in its registry."""
        return names.parse(self.image.removeprefix("docker://"))


def collect(want: Mapping[str, Any], workshop: Workshop) -> Iterator[Found]:
    """Yield the image's layout, fetched as far as the workshop's cache does not hold it.

    Raises:
        UsageError: a key has the wrong form, or a configuration of this machine cannot be read.
        SourceError: no digest is known, or the image cannot be fetched.
        IntegrityError: something has another digest than it should.
        MalformedError: something is no image.
        StoreError: the cache cannot be written.
    """
    from ..images.gathering import found, resolve
    from ..images.shed import shed

    asked = _parse(want)
    wish = _wish(asked)
    if asked.local is None and wish.manifest is None:
        raise SourceError(f"image {wish.shown} has no digest", hint=_PIN)
    with shed(workshop) as kept, _origin(asked, workshop, kept) as origin:
        image = resolve(wish, origin)
        size = sum(blob.size for blob in image.graph.blobs.values())
        workshop.progress.start(f"fetch {wish.shown}", size)
        entries = list(found(image, origin, kept))
        workshop.progress.finish()
    yield from entries


def pin(want: Mapping[str, Any], workshop: Workshop) -> Mapping[str, Any]:
    """The digest of the image as `manifest`, and those of what refers to it as `attached`.

    Raises:
        UsageError: a key has the wrong form, or a configuration of this machine cannot be read.
        SourceError: the image cannot be had.
        IntegrityError, MalformedError: what is there is not what it should be.
    """
    from ..images.gathering import resolve
    from ..images.shed import shed

    asked = _parse(want)
    with shed(workshop) as kept, _origin(asked, workshop, kept) as origin:
        image = resolve(_wish(asked), origin)
    return {"manifest": image.digest, "attached": " ".join(image.attached)}


def traces(want: Mapping[str, Any]) -> list[Trace]:
    """What the image is called where it comes from, and the digests of its manifest and of what refers to it.

    Raises:
        UsageError: a key has the wrong form.
    """
    asked = _parse(want)
    wish = _wish(asked)
    if wish.manifest is None:
        return []
    place = "" if asked.local else f"oci://{asked.name.registry}/{asked.name.repository}"
    return [
        Trace(name=wish.shown, uri=f"{place}@{digest}" if place else "", digest={"sha256": hex_of(digest)})
        for digest in (wish.manifest, *(wish.attached or ()))
    ]


def lint(want: Mapping[str, Any], base: Path, *, pinned: bool) -> list[Problem]:
    """What is wrong with the names, whether a local file is there, and whether a digest is known; nobody is asked."""
    found = []
    try:
        asked = msgspec.convert({"image": want.get("image")}, _Want)
    except msgspec.ValidationError:
        asked = None
    if asked is not None:
        try:
            if asked.local is None:
                _ = asked.name
            else:
                os.stat(base / asked.local[1])
        except MalformedError as error:
            found.append(Problem(steps=("image",), message=error.message, hint=error.hint))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            hint = "check the path: unless it is absolute, it starts from the folder of the spec"
            found.append(
                Problem(
                    steps=("image",), message=f"{visible(asked.local[1] if asked.local else '')!r}: {reason}", hint=hint
                )
            )
        else:
            if asked.local is None and pinned and "manifest" not in want and asked.name.digest is None:
                message = "neither `manifest` nor a lock says the image's digest"
                found.append(Problem(steps=(), message=message, hint=_PIN, missing=True))
    known_as = want.get("as")
    if isinstance(known_as, str) and known_as:
        try:
            _known_as(known_as)
        except UsageError as error:
            found.append(Problem(steps=("as",), message=error.message, hint=error.hint))
    if "image" not in want and pinned:
        found.append(Problem(steps=(), message="the key 'image' is missing", hint="name the image", missing=True))
    return found


def reaches(want: Mapping[str, Any], base: Path, place: Path) -> bool:
    """Whether the layout or the archive holds `place`, or lies in it; never of an image in a registry.

    Raises:
        UsageError: a key has the wrong form.
    """
    asked = _parse(want)
    if asked.local is None:
        return False
    root, real = Path(os.path.realpath(base / asked.local[1])), Path(os.path.realpath(place))
    return root == real or real in root.parents or root in real.parents


def _parse(want: Mapping[str, Any]) -> _Want:
    try:
        asked = msgspec.convert(want, _Want)
        if asked.local is None:
            _ = asked.name
    except msgspec.ValidationError as error:
        raise UsageError(f"source oci: {visible(str(error))}") from error
    except MalformedError as error:
        raise UsageError(f"source oci: {error.message}", hint=error.hint) from error
    return asked


def _known_as(text: str) -> Name:
    try:
        name = names.parse(text)
    except MalformedError as error:
        raise UsageError(error.message, hint=error.hint) from error
    if name.digest:
        raise UsageError(f"{visible(text)!r} bears a digest", hint="write REGISTRY/REPOSITORY:TAG")
    return name


def _wish(asked: _Want) -> Wish:
    from ..images.gathering import Wish

    manifest = asked.manifest
    if asked.local is None and asked.name.digest:
        if manifest not in (None, asked.name.digest):
            raise UsageError(f"image {visible(asked.image)} has another digest than `manifest` says")
        manifest = asked.name.digest
    return Wish(
        shown=visible(asked.image),
        known_as=_known_as(asked.known_as) if asked.known_as else None,
        platforms=asked.platforms or (),
        referrers=asked.referrers,
        manifest=manifest,
        attached=None if asked.attached is None else tuple(asked.attached.split()),
    )


@contextlib.contextmanager
def _origin(asked: _Want, workshop: Workshop, kept: Shed) -> Iterator[Origin]:
    if asked.local is None:
        from sealift.patience import Patience
        from sealift.wire.wire import Wire

        from ..images.remote import WORKERS, Remote
        from ..network.connections import OPENER

        patience = Patience()
        wire = Wire(OPENER, os.environ, patience, connections=WORKERS)
        remote = Remote(
            asked.name, kept, wire, unsafe_http=asked.unsafe_http, token_host=asked.token_host, patience=patience
        )
        with remote.opened() as origin:
            yield origin
        return
    from ..images.local import Archive, Folder, Layout
    from ..images.saved import DockerArchive

    transport, place, named = asked.local
    path = Path(os.path.normpath(workshop.base / place))
    if transport == _ARCHIVE:
        yield DockerArchive(Archive(path, kept), visible(place), named)
    else:
        yield Layout(Folder(path, kept) if path.is_dir() else Archive(path, kept), visible(place), named)
