"""The current signed state of a depot, trusted only after it was verified from its first root on.

Whoever can write to the depot can change its files, so nothing is taken from them before `tuf` verified signatures
and digests: root chain, timestamp, snapshot, targets. Expiry is judged by the caller, because an expired
timestamp can be renewed. A depot returned to an earlier state is noticed by the newer files that it still holds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Key
from tuf.api.exceptions import LengthOrHashMismatchError, UnsignedMetadataError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, T, TargetFile, Targets, Timestamp

from sealift.digest import sha256
from sealift.durable import storing
from sealift.errors import MalformedError, TrustError

from . import depot as depots
from .metadata import parse, read

ROOTS_MAX = 256
"""Root versions at most: `tuf`'s client walks no further in one go."""

_NAME = re.compile(r"([1-9][0-9]{0,9})\.(root|snapshot|targets)\.json")
_RELEASE = re.compile(r"releases/([^/]+)/([^/]+)\.json")
_RESTORE = "restore the depot's metadata folder from its newest backup; somebody may have changed it"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One target that the depot's targets metadata lists."""

    path: str
    kind: str
    """`release` or `bundle`."""
    name: str | None
    version: str | None
    """Of a release; None for a bundle."""
    length: int
    """Bytes of the manifest."""
    sha256: str
    published: str
    """RFC 3339, UTC, to the second."""


@dataclass(frozen=True, kw_only=True)
class State:
    """Verified metadata of a depot. Treat what it holds as read-only."""

    folder: Path
    """Where the metadata files lie."""
    fingerprint: str
    """SHA-256 of the first root's bytes: what a site enrols with."""
    root: Root
    timestamp: Timestamp
    snapshot: Snapshot
    targets: Targets

    @property
    def files(self) -> tuple[Path, ...]:
        """The files in a bundle's order: every root, timestamp, snapshot, targets."""
        return bundle_order(self.folder, self.root.version, self.snapshot.version, self.targets.version)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What is published, ordered by path.

        Raises:
            MalformedError: a target lacks Sealift's own description.
        """
        return tuple(_entry(path, target) for path, target in sorted(self.targets.targets.items()))


def bundle_order(folder: Path, root: int, snapshot: int, targets: int) -> tuple[Path, ...]:
    """The files of a state with these versions, in the order in which a bundle holds them."""
    roots = (f"{version}.root.json" for version in range(1, root + 1))
    names = (*roots, "timestamp.json", f"{snapshot}.snapshot.json", f"{targets}.targets.json")
    return tuple(folder / name for name in names)


def verify(depot: Path) -> State:
    """Read and verify the depot's current metadata; expiry is not judged.

    The depot's lock is the caller's job where a publisher may be at work.

    Raises:
        UsageError: `depot` is no depot.
        MalformedError: a file is not metadata.
        TrustError: a file is missing, over-long, or not signed as the root demands, a digest or version
            does not match, the root chain has a gap, or the state is older than one that was here before.
        StoreError: a file cannot be read.
    """
    depots.settings(depot)
    folder = depot / depots.METADATA
    held = _held(folder)
    root, fingerprint = _root(folder, held["root"])

    path = folder / "timestamp.json"
    metadata = parse(read(path, Timestamp), Timestamp, path)
    _refuse_strays(metadata, root.keys, path)
    timestamp = _delegated(root, metadata, path)
    snapshot = _listed(folder, root, timestamp.snapshot_meta, Snapshot)
    if "targets.json" not in snapshot.meta:
        raise TrustError(f"snapshot {snapshot.version} of {depot} lists no targets", hint=_RESTORE)
    targets = _listed(folder, root, snapshot.meta["targets.json"], Targets)

    for role, current in (("snapshot", snapshot.version), ("targets", targets.version)):
        newest = max(held[role], default=0)
        if newest > current + 1:
            raise TrustError(
                f"{folder} holds {role} {newest}, but its timestamp still names {current}: it was returned "
                "to an earlier state",
                hint="restore the newest timestamp.json, so that no version number is signed twice",
            )
    return State(
        folder=folder, fingerprint=fingerprint, root=root, timestamp=timestamp, snapshot=snapshot, targets=targets
    )


def verify_root(path: Path) -> tuple[Root, str]:
    """A single root file that its own keys sign, and the SHA-256 of its bytes.

    Raises:
        MalformedError: it is no root.
        TrustError: it is missing, over-long, or its own keys do not sign it.
        StoreError: it cannot be read.
    """
    metadata, digest = _self_signed(path)
    return metadata.signed, digest


def _self_signed(path: Path) -> tuple[Metadata[Root], str]:
    content = read(path, Root)
    metadata = parse(content, Root, path)
    _delegated(metadata.signed, metadata, path)
    return metadata, sha256(content)


def _held(folder: Path) -> dict[str, set[int]]:
    held: dict[str, set[int]] = {"root": set(), "snapshot": set(), "targets": set()}
    with storing(folder):
        for name in os.listdir(folder):
            if found := _NAME.fullmatch(name):
                held[found[2]].add(int(found[1]))
    return held


def _root(folder: Path, versions: set[int]) -> tuple[Root, str]:
    """Walk the root chain as the specification's section 5.3 does, from the first root."""
    if versions != set(range(1, len(versions) + 1)) or not 1 <= len(versions) <= ROOTS_MAX:
        raise TrustError(f"the roots in {folder} are not all there: found {sorted(versions)[:8]}", hint=_RESTORE)
    first, fingerprint = _self_signed(folder / "1.root.json")
    root = first.signed
    for version in range(1, len(versions) + 1):
        path = folder / f"{version}.root.json"
        successor = first if version == 1 else _self_signed(path)[0]
        if successor.signed.version != version:
            raise TrustError(f"{path} says that it is version {successor.signed.version}", hint=_RESTORE)
        _refuse_strays(successor, {**root.keys, **successor.signed.keys}, path)
        root = _delegated(root, successor, path)
    return root, fingerprint


def _listed(folder: Path, root: Root, meta: MetaFile, role: type[T]) -> T:
    path = folder / f"{meta.version}.{role.type}.json"
    content = read(path, role)
    if meta.length is None or not meta.hashes:
        raise TrustError(f"{path} is listed without length and digest", hint=_RESTORE)
    try:
        meta.verify_length_and_hashes(content)
    except LengthOrHashMismatchError as error:
        raise TrustError(f"{path} does not match what is signed about it", hint=_RESTORE) from error
    signed = _delegated(root, parse(content, role, path), path)
    if signed.version != meta.version:
        raise TrustError(f"{path} says that it is version {signed.version}", hint=_RESTORE)
    return signed


def _delegated(root: Root, metadata: Metadata[T], path: Path) -> T:
    try:
        root.verify_delegate(metadata.signed.type, metadata.signed_bytes, metadata.signatures)
    except UnsignedMetadataError as error:
        raise TrustError(f"{path} is not signed as root {root.version} demands: {error}", hint=_RESTORE) from error
    return metadata.signed


def _refuse_strays(metadata: Metadata[T], keys: Mapping[str, Key], path: Path) -> None:
    """Refuse a signature that does not verify, even where enough others do: somebody touched the file."""
    for keyid, signature in metadata.signatures.items():
        try:
            if keyid not in keys:
                raise UnverifiedSignatureError("its key is not known")
            keys[keyid].verify_signature(signature, metadata.signed_bytes)
        except UnverifiedSignatureError as error:
            raise TrustError(
                f"{path} bears a signature of {keyid[:8]!r} that does not verify", hint=_RESTORE
            ) from error


def _entry(path: str, target: TargetFile) -> Entry:
    custom = target.custom
    ours = custom.get("sealift") if isinstance(custom, dict) else None
    if not isinstance(ours, dict) or "sha256" not in target.hashes:
        raise MalformedError(f"target {path[:120]!r} lacks Sealift's description")
    release = _RELEASE.fullmatch(path)
    return Entry(
        path=path,
        kind=str(ours.get("type")),
        name=release[1] if release else None,
        version=release[2] if release else None,
        length=target.length,
        sha256=target.hashes["sha256"],
        published=cast(str, ours.get("published")) if isinstance(ours.get("published"), str) else "",
    )
