"""Manifests: what a release is, and what a bundle carries. Canonical JSON, named by its own digest.

TUF targets metadata lists both by digest; everything below them is bound by digests in them.
Nothing in them depends on time or on who signs, so that the same content gives the same manifests.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

from . import FORMAT
from .digest import check_form, sha256
from .errors import MalformedError
from .hooks import NONE, Hooks
from .listing import CONTENT_MAX, LISTING_MAX, Blob, ListingBlob, decode
from .names import check_path, check_release, check_spaced, check_version, visible

MANIFEST_MAX = 16 << 20
"""Bytes of a manifest at most."""
PACK_MAX = 1 << 30
"""Bytes of a pack at most."""
AUDIENCE_MAX = 1000
"""Sites that a bundle may be for."""
Kind = Literal["files", "oci", "wheels", "npm", "debs"]
TEMPLATES_MAX = 4096
"""Templates of a release."""
BASES_MAX = 8
"""Releases that a difference refers to at most."""
T = TypeVar("T", bound=msgspec.Struct)


class _Versioned(msgspec.Struct, frozen=True):
    format: int


class Artifact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An immutable file tree of a release."""

    name: str
    kind: Kind
    """How it is to be deployed: as the files that they are, as images and the like in an OCI layout, or as Python,
    npm or Debian packages."""
    digest: str
    """SHA-256 of the tree's content: the artifact's identity, whatever compressed it."""
    tree: ListingBlob
    files: int
    bytes: int
    """Bytes of all its files."""


class Values(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a site fills in before it deploys the release. Paths are those of `Release.place`."""

    schema: str
    """The file that holds the JSON Schema of the values."""
    templates: tuple[str, ...]
    """The files that values are filled in, ascending."""


class Release(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A release manifest."""

    format: int
    type: Literal["release"]
    name: str
    version: str
    artifacts: tuple[Artifact, ...]
    hooks: Hooks = NONE
    values: Values | None = None
    provenance: Blob | None = None
    """The file of the statement that says where the artifacts came from (`sealift.provenance`)."""

    @property
    def label(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    def place(self, path: str) -> tuple[Artifact, str] | None:
        """The artifact that a path of the release lies in, and the path there; None where there is no such artifact.

        With several artifacts, a path of the release begins with the artifact's name.
        """
        if len(self.artifacts) == 1:
            return self.artifacts[0], path
        name, _, inner = path.partition("/")
        return next(((each, inner) for each in self.artifacts if each.name == name and inner), None)


class ReleaseBlob(Blob, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A release manifest's file, and whose it is."""

    name: str
    version: str


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One release in a bundle, or at a depot or a site, and where its content lies."""

    release: ReleaseBlob
    index: ListingBlob
    packs: tuple[Blob, ...]
    base: tuple[ReleaseBlob, ...] = ()
    """The releases that it is a difference to; none where it is whole."""
    trees: tuple[ListingBlob, ...] = ()
    """In a difference, what makes the trees of its release from those of the base. At a site that made a whole part
    of a difference, its own files of the trees, whose content is the signed one."""


class Bundle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A bundle manifest. Its own digest is the bundle's id."""

    format: int
    type: Literal["bundle"]
    root_version: int
    """The TUF root that signs for it, so that a gap in the root chain is noticed."""
    parts: tuple[Part, ...]
    audience: tuple[str, ...] = ()
    """The names of the sites that it is for, ascending; for every site where there are none."""


def encode(manifest: msgspec.Struct) -> bytes:
    """The canonical bytes of a manifest: keys sorted, no white space, UTF-8."""
    return msgspec.json.encode(manifest, order="sorted")


def target_of_release(name: str, version: str) -> str:
    """The TUF target path of a release manifest, which a namespace makes one of a delegated role."""
    return f"releases/{name}/{version}.json"


def target_of_bundle(identity: str) -> str:
    """The TUF target path of a bundle manifest."""
    return f"bundles/{identity}.json"


def release(content: bytes) -> Release:
    """The release manifest in `content`, whose digest the caller has checked.

    Raises:
        MalformedError: it is none, or breaks a rule of the format.
    """
    manifest = _canonical(content, Release, "the release manifest")
    check_spaced(manifest.name)
    check_version(manifest.version)
    names = [artifact.name for artifact in manifest.artifacts]
    if not names or names != sorted(set(names)):
        raise MalformedError("the release manifest has no artifacts, or not in order")
    if manifest.hooks == NONE and manifest.hooks is not NONE:
        raise MalformedError("the release manifest has hooks without any command")
    if manifest.provenance is not None:
        _check_blob(manifest.provenance, MANIFEST_MAX)
    for artifact in manifest.artifacts:
        check_release(artifact.name)
        check_form(artifact.digest, f"artifact {artifact.name}")
        _check_blob(artifact.tree, LISTING_MAX)
        if artifact.files < 0 or artifact.bytes < 0:
            raise MalformedError(f"artifact {artifact.name} has a negative size")
    if sum(artifact.tree.size for artifact in manifest.artifacts) > CONTENT_MAX:
        raise MalformedError(f"the trees of the release have more than {CONTENT_MAX} bytes together")
    if manifest.values:
        _check_values(manifest, manifest.values)
    return manifest


def bundle(content: bytes) -> Bundle:
    """The bundle manifest in `content`, whose digest the caller has checked.

    Raises:
        MalformedError: it is none, or breaks a rule of the format.
    """
    manifest = _canonical(content, Bundle, "the bundle manifest")
    if manifest.root_version < 1 or not 0 < len(manifest.parts) <= 1024:
        raise MalformedError("the bundle manifest has no parts, too many, or no root version")
    if list(manifest.audience) != sorted(set(manifest.audience)) or len(manifest.audience) > AUDIENCE_MAX:
        raise MalformedError("the bundle manifest has an audience that is too large, or not in order")
    for site in manifest.audience:
        check_release(site)
    for part in manifest.parts:
        check_spaced(part.release.name)
        check_version(part.release.version)
        _check_blob(part.release, MANIFEST_MAX)
        _check_blob(part.index, LISTING_MAX)
        for pack in part.packs:
            _check_blob(pack, PACK_MAX)
        _check_difference(part)
    if len({(part.release.name, part.release.version) for part in manifest.parts}) != len(manifest.parts):
        raise MalformedError("the bundle manifest has a release twice")
    return manifest


def _check_values(manifest: Release, values: Values) -> None:
    if not values.templates or list(values.templates) != sorted(set(values.templates)):
        raise MalformedError("the release manifest has values without templates, or not in order")
    if len(values.templates) > TEMPLATES_MAX:
        raise MalformedError(f"the release manifest has more than {TEMPLATES_MAX} templates")
    for path in (values.schema, *values.templates):
        check_path(path)
        found = manifest.place(path)
        if found is None or found[0].kind != "files":
            raise MalformedError(f"the release manifest names {visible(path)!r}, which no artifact of files can hold")


def _check_difference(part: Part) -> None:
    for each in part.base:
        check_spaced(each.name)
        check_version(each.version)
        _check_blob(each, MANIFEST_MAX)
    for tree in part.trees:
        _check_blob(tree, LISTING_MAX)
    releases = {(each.name, each.version) for each in (*part.base, part.release)}
    if bool(part.base) != bool(part.trees) or len(part.base) > BASES_MAX or len(releases) != len(part.base) + 1:
        raise MalformedError("the bundle manifest has a difference without trees, or with a base twice or too many")


def _check_blob(blob: Blob, limit: int) -> None:
    check_form(blob.sha256, "a manifest")
    if not 0 < blob.length <= limit:
        raise MalformedError(f"a manifest names a file of {blob.length} bytes; the limit is {limit}")
    if isinstance(blob, ListingBlob) and not 0 < blob.size <= CONTENT_MAX:
        raise MalformedError(f"a manifest names a listing of {blob.size} bytes; the limit is {CONTENT_MAX}")


def _canonical(content: bytes, kind: type[T], what: str) -> T:
    version = decode(content, _Versioned, what).format
    if version != FORMAT:
        raise MalformedError(
            f"{what} has format {version}, and this program reads format {FORMAT}", hint="install a newer sealift here"
        )
    manifest = decode(content, kind, what)
    if sha256(encode(manifest)) != sha256(content):
        raise MalformedError(f"{what} is not in canonical form")
    return manifest
