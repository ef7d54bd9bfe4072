"""Opening a bundle: from an unknown file to content that may be looked at, one step at a time.

1. `authenticate`: the metadata by signatures, then the manifests by digests from it.
2. `listings`: trees and indexes by digests from the manifests, then all their rules.
3. `check_packs` or a copy of one's own: packs by digests from the manifests.

A later step cannot be called without what the former one returns. What the bundle says of itself
outside of that (`SEALIFT.json`) is never read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from . import difference as differences
from . import index as indexes
from . import manifest as manifests
from . import tree as trees
from . import tree_difference
from .container import Member, Reader
from .digest import check
from .errors import IntegrityError, MalformedError, TrustError
from .hashing import Hashing
from .listing import Blob, ListingBlob, file_name, lines
from .manifest import Artifact, Bundle, Part, Release, target_of_bundle, target_of_release
from .progress import Progress
from .tree import Entry
from .trust import Refreshed, Trust, refresh

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
CHUNKS_MAX = 16_000_000
"""Distinct chunks of a release at most: a site keeps the size of each in memory while it checks the index."""
METADATA_MAX = 64 << 20
"""Bytes of all metadata of a bundle at most: 256 rotations of a root with 16 keys are far less."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """One release of an authenticated bundle."""

    part: Part
    release: Release
    published: str
    """When it was published, as signed: RFC 3339, UTC; empty where no such time was signed."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A bundle whose metadata and manifests are authentic; its listings and packs are not yet checked."""

    refreshed: Refreshed
    identity: str
    """The digest of its bundle manifest."""
    manifest: Bundle
    contents: tuple[Content, ...]


def authenticate(
    bundle: Reader, trust: Trust, *, reference: datetime, waiver: bytes | None = None, site: str | None = None
) -> Opened:
    """Check a bundle's signatures against `trust`, and its manifests against what was signed.

    Args:
        bundle: the open file.
        trust: what is trusted now.
        reference: the time by which expiry is judged.
        waiver: the file of a waiver, for a bundle whose metadata has expired.
        site: what this site is called, for a waiver that is meant for one site.

    Raises:
        MalformedError: a member is missing, is one too many, or does not have its form.
        IntegrityError: a manifest does not match its digest.
        TrustError: a signature, a version or an expiry is not acceptable, or a release is not signed for.
    """
    if sum(member.size for member in bundle.of("metadata")) > METADATA_MAX:
        raise MalformedError(f"{bundle.path} holds more than {METADATA_MAX} bytes of metadata")
    offered = {PurePosixPath(member.name).name: bundle.read(member) for member in bundle.of("metadata")}
    refreshed = refresh(trust, offered, reference=reference, waiver=waiver, site=site)
    member = _bundle_manifest(bundle, refreshed)
    manifest = manifests.bundle(_signed(bundle, member, refreshed, target_of_bundle(member.digest), "the bundle"))
    if manifest.root_version != refreshed.root_version:
        raise TrustError(
            f"the bundle was signed under root {manifest.root_version}, and its root chain leads to "
            f"{refreshed.root_version}",
            hint="a root is missing in the bundle: ask for a new export",
        )
    contents = tuple(_content(bundle, part, refreshed) for part in manifest.parts)
    _check_members(bundle, member, contents)
    return Opened(refreshed=refreshed, identity=member.digest, manifest=manifest, contents=contents)


def _bundle_manifest(bundle: Reader, refreshed: Refreshed) -> Member:
    found = [member for member in bundle.of("manifest") if refreshed.target(target_of_bundle(member.digest))]
    if len(found) != 1:
        raise TrustError(
            "the signed metadata does not vouch for this bundle",
            hint="it was put together from several bundles or its manifest is missing: fetch it again",
        )
    return found[0]


def _signed(bundle: Reader, member: Member, refreshed: Refreshed, path: str, what: str) -> bytes:
    target = refreshed.target(path)
    if target is None:
        raise TrustError(f"the signed metadata does not vouch for {what}", hint="ask for a new export")
    if target.length != member.size or target.sha256 != member.digest:
        raise TrustError(f"{what} is not the one that was signed", hint="ask for a new export")
    content = bundle.read(member)
    check(content, member.digest, member.name)
    return content


def _content(bundle: Reader, part: Part, refreshed: Refreshed) -> Content:
    said = part.release
    path, what = target_of_release(said.name, said.version), f"release {said.name}@{said.version}"
    member = _of(bundle, f"manifests/{said.sha256}.json", said)
    release = manifests.release(_signed(bundle, member, refreshed, path, what))
    if part.base and len(part.trees) != len(release.artifacts):
        raise MalformedError(f"the difference to {what} does not have one tree for each artifact")
    if (release.name, release.version) != (said.name, said.version):
        raise TrustError(f"{what} calls itself {release.label}", hint="ask for a new export")
    provenance(bundle, release)
    target = refreshed.target(path)
    sealed = (target.custom or {}).get("sealift", {}) if target else {}
    published = str(sealed.get("published", "")) if isinstance(sealed, dict) else ""
    return Content(part=part, release=release, published=published if _TIME.fullmatch(published) else "")


def _of(bundle: Reader, name: str, blob: Blob) -> Member:
    member = bundle.find(name)
    if member.size != blob.length:
        raise IntegrityError(f"{name} has {member.size} bytes, and its manifest says {blob.length}")
    return member


def member_of(bundle: Reader, kind: str, blob: Blob) -> Member:
    """The member of a kind (`trees`, `index`, `packs`) that a manifest names.

    Raises:
        MalformedError: it is missing.
        IntegrityError: it has another size.
    """
    return _of(bundle, f"{kind}/{file_name(blob)}", blob)


def provenance_member(bundle: Reader, blob: Blob) -> Member:
    """The member that holds the statement of a release's provenance.

    Raises:
        MalformedError: it is missing.
        IntegrityError: it has another size.
    """
    return _of(bundle, f"manifests/{blob.sha256}.json", blob)


def provenance(bundle: Reader, release: Release) -> bytes | None:
    """The statement of a release's provenance, its digest checked; None where the release has none.

    Raises:
        MalformedError: it is missing.
        IntegrityError: it does not match its digest.
    """
    if release.provenance is None:
        return None
    content = bundle.read(provenance_member(bundle, release.provenance))
    check(content, release.provenance.sha256, f"the provenance of {release.label}")
    return content


def _check_members(bundle: Reader, manifest: Member, contents: tuple[Content, ...]) -> None:
    """Refuse members that nothing signed asks for, and miss none."""
    expected = {manifest.name}
    for content in contents:
        expected.add(f"manifests/{content.part.release.sha256}.json")
        if content.release.provenance:
            expected.add(provenance_member(bundle, content.release.provenance).name)
        for kind, blobs in blobs_of(content):
            expected.update(member_of(bundle, kind, blob).name for blob in blobs)
    for member in bundle.members:
        if member.kind not in ("hint", "metadata") and member.name not in expected:
            raise MalformedError(f"{bundle.path} holds {member.name}, which nothing signed asks for")


def blobs_of(content: Content) -> tuple[tuple[str, tuple[Blob, ...]], ...]:
    """The content files of a release by kind: `trees`, `index`, `packs`."""
    return (
        ("trees", content.part.trees or tuple(artifact.tree for artifact in content.release.artifacts)),
        ("index", (content.part.index,)),
        ("packs", content.part.packs),
    )


def packs_of(opened: Opened) -> tuple[Blob, ...]:
    """The distinct packs of a bundle's whole parts, in order."""
    return tuple(
        {
            pack.sha256: pack for content in opened.contents if not content.part.base for pack in content.part.packs
        }.values()
    )


def listings(bundle: Reader, content: Content) -> Iterator[tuple[str, ListingBlob, bytes]]:
    """Yield each tree and the index of a release, as kind, name and file, after all their rules were checked.

    Of a difference, whose rules cannot be checked without its bases, the form is checked alone.

    Raises:
        IntegrityError: a digest does not match.
        MalformedError: a listing breaks a rule of the format.
    """
    if content.part.base:
        yield from _outlines(bundle, content)
        return
    sizes: dict[int, int] = {}
    for artifact in content.release.artifacts:
        compressed = bundle.read(member_of(bundle, "trees", artifact.tree))
        check_tree(compressed, artifact.tree, artifact, sizes)
        yield "trees", artifact.tree, compressed
    index = content.part.index
    compressed = bundle.read(member_of(bundle, "index", index))
    for _ in indexes.checked(compressed, index, content.part.packs, list(sizes.values())):
        pass
    yield "index", index, compressed


def _outlines(bundle: Reader, content: Content) -> Iterator[tuple[str, ListingBlob, bytes]]:
    for tree in content.part.trees:
        compressed = bundle.read(member_of(bundle, "trees", tree))
        for _ in lines(compressed, tree, tree_difference.KIND):
            pass
        yield "trees", tree, compressed
    index = content.part.index
    compressed = bundle.read(member_of(bundle, "index", index))
    for _ in differences.outline(compressed, index):
        pass
    yield "index", index, compressed


def check_tree(compressed: bytes, blob: ListingBlob, artifact: Artifact, sizes: dict[int, int]) -> None:
    """Check all rules of a tree that came from outside, and that it holds what the release manifest says.

    Args:
        compressed: its file.
        blob: what is known of that file.
        artifact: whose tree it is.
        sizes: bytes of each distinct chunk of the release, in order, by its digest as a number, which takes less
            memory than bytes do; those of this tree are added.

    Raises:
        IntegrityError: a digest does not match.
        MalformedError: it breaks a rule of the format.
    """
    tally = Tally(artifact, sizes)
    tally.take(trees.checked(compressed, blob, artifact.digest))
    tally.finish()


class Tally:
    """Checks that the entries of a tree, whose own rules were checked, are what the release manifest says."""

    def __init__(self, artifact: Artifact, sizes: dict[int, int]) -> None:
        """Take whose tree it is, and the sizes, as of `check_tree`."""
        self._artifact = artifact
        self._sizes = sizes
        self._same: dict[int, int] = {}
        """Each size once: most chunks share theirs with others."""
        self._files = self._bytes = 0

    def take(self, entries: Iterable[Entry]) -> None:
        """Take the next entries.

        Raises:
            MalformedError: their chunks are not of one release.
        """
        sizes, same = self._sizes, self._same
        for entry in entries:
            self._files += entry.type == "file"
            self._bytes += entry.size
            for digest, size in entry.pieces():
                if sizes.setdefault(int(digest, 16), same.setdefault(size, size)) != size:
                    raise MalformedError(f"artifact {self._artifact.name} gives one chunk two sizes")
            if len(sizes) > CHUNKS_MAX:
                raise MalformedError(f"the release has more than {CHUNKS_MAX} distinct chunks")

    def finish(self) -> None:
        """Check what all of them are together.

        Raises:
            MalformedError: the release manifest says otherwise.
        """
        if (self._files, self._bytes) != (self._artifact.files, self._artifact.bytes):
            raise MalformedError(f"artifact {self._artifact.name} does not hold what its manifest says")


def check_packs(bundle: Reader, packs: tuple[Blob, ...], *, workers: int, progress: Progress) -> None:
    """Check every pack's digest.

    Raises:
        IntegrityError: one does not match.
    """
    members = tuple(member_of(bundle, "packs", pack) for pack in packs)
    with Hashing(bundle, members, workers=workers, progress=progress) as hashing:
        hashing.finish()
