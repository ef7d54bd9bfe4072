"""The current signed state of a depot, trusted only after it was verified from its first root on.

Whoever can write to the depot can change its files, so nothing is taken from them before `tuf` verified signatures
and digests: root chain, timestamp, snapshot, targets. Expiry is judged by the caller, because an expired
timestamp can be renewed. A root that changes the online keys is published together with a timestamp of its own,
`N.timestamp.json`: writing `N.root.json` commits both, and the timestamp in force is that one until it has taken the
place of `timestamp.json`. A depot returned to an earlier state is noticed by the newer files that it still holds.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import cast

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Key
from tuf.api.exceptions import LengthOrHashMismatchError, UnsignedMetadataError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, T, TargetFile, Targets, Timestamp

from sealift.digest import sha256
from sealift.durable import storing
from sealift.errors import MalformedError, TrustError, UsageError
from sealift.names import NAMESPACE
from sealift.root_terms import terms

from . import depot as depots
from .metadata import parse, read

ROOTS_MAX = 256
"""Root versions at most: `tuf`'s client walks no further in one go."""

_NAME = re.compile(rf"([1-9][0-9]{{0,9}})\.({NAMESPACE.pattern})\.json")
_RELEASE = re.compile(r"releases/((?:[^/]+/)?[^/]+)/([^/]+)\.json")
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
    teams: Mapping[str, Targets]
    """The metadata of each role that the top-level targets delegate to, where there is some yet."""
    dismissed: Mapping[str, int]
    """The last version of each team that was dismissed: a snapshot never loses a name, since sites would refuse it."""
    stamp: Path
    """The file of the timestamp."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files in a bundle's order: every root, timestamp, snapshot, targets, then the teams' by name."""
        teams = {name: team.version for name, team in self.teams.items()}
        return bundle_order(self.folder, self.root.version, self.snapshot.version, self.targets.version, teams)

    def target(self, path: str) -> TargetFile | None:
        """The target at `path`, whoever lists it."""
        found = (signed.targets.get(path) for signed in (self.targets, *self.teams.values()))
        return next((target for target in found if target is not None), None)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What is published, ordered by path.

        Raises:
            MalformedError: a target lacks Sealift's own description.
        """
        listed = [item for signed in (self.targets, *self.teams.values()) for item in signed.targets.items()]
        return tuple(_entry(path, target) for path, target in sorted(listed, key=itemgetter(0)))


def bundle_order(
    folder: Path, root: int, snapshot: int, targets: int, teams: Mapping[str, int] | None = None
) -> tuple[Path, ...]:
    """The files of a state with these versions, in the order in which a bundle holds them."""
    roots = (f"{version}.root.json" for version in range(1, root + 1))
    own = (f"{version}.{name}.json" for name, version in sorted((teams or {}).items()))
    names = (*roots, "timestamp.json", f"{snapshot}.snapshot.json", f"{targets}.targets.json", *own)
    return tuple(folder / name for name in names)


def stamp_of(folder: Path, root: int) -> Path:
    """The timestamp that was published together with root `root`, until it takes the place of `timestamp.json`."""
    return folder / f"{root}.timestamp.json"


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
    try:
        return _verify(depot, folder, held)
    except TrustError:
        again = _held(folder)
        if again == held:
            raise
    return _verify(depot, folder, again)


def _verify(depot: Path, folder: Path, held: Mapping[str, set[int]]) -> State:
    if not held.get("root") and (depot / depots.REQUESTS).is_dir():
        raise UsageError(
            f"{depot} waits for its first root: too few of the root keys have signed it",
            hint=f"sealift-keys sign {depot / depots.REQUESTS}/root-1.request.json, then sealift-keys publish",
        )
    root, fingerprint = _root(folder, held.get("root", set()))
    path = stamp_of(folder, root.version)
    with storing(path):
        if not path.exists():
            path = folder / "timestamp.json"
    metadata = parse(read(path, Timestamp), Timestamp, path)
    _refuse_strays(metadata, root.keys, path)
    timestamp = _delegated(root, Timestamp.type, metadata, path)
    snapshot = _listed(folder, root, Snapshot.type, timestamp.snapshot_meta, Snapshot)
    if "targets.json" not in snapshot.meta:
        raise TrustError(f"snapshot {snapshot.version} of {depot} lists no targets", hint=_RESTORE)
    targets = _listed(folder, root, Targets.type, snapshot.meta["targets.json"], Targets)
    teams: dict[str, Targets] = {}
    dismissed: dict[str, int] = {}
    for name in sorted(snapshot.meta.keys() - {"targets.json"}):
        team = name.removesuffix(".json")
        if targets.delegations is None or team not in (targets.delegations.roles or {}):
            dismissed[team] = snapshot.meta[name].version
        else:
            teams[team] = _listed(folder, targets, team, snapshot.meta[name], Targets)

    current = {"snapshot": snapshot.version, "targets": targets.version}
    current |= {team: signed.version for team, signed in teams.items()} | dismissed
    for role, version in current.items():
        newest = max(held.get(role, set()), default=0)
        if newest > version + 1:
            raise TrustError(
                f"{folder} holds {role} {newest}, but its timestamp still names {version}: it was returned "
                "to an earlier state",
                hint="restore the newest timestamp.json, so that no version number is signed twice",
            )
    return State(
        folder=folder,
        fingerprint=fingerprint,
        root=root,
        timestamp=timestamp,
        snapshot=snapshot,
        targets=targets,
        teams=teams,
        dismissed=dismissed,
        stamp=path,
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


def chain(contents: Iterable[bytes], place: str) -> tuple[Root, ...]:
    """Every root of a chain, each verified by the one before it and by itself (specification, section 5.3).

    Args:
        contents: the files, from version 1 on, at least one; each is looked at before the next is taken.
        place: where they lie, for messages.

    Raises:
        MalformedError: one is no root.
        TrustError: one is not signed as it must be, bears a signature that does not verify, or has another version.
    """
    walked: list[Root] = []
    for version, content in enumerate(contents, 1):
        path = f"{place}/{version}.root.json"
        metadata = parse(content, Root, path)
        successor = _delegated(metadata.signed, Root.type, metadata, path)
        if successor.version != version:
            raise TrustError(f"{path} says that it is version {successor.version}", hint=_RESTORE)
        former = walked[-1] if walked else successor
        _refuse_strays(metadata, {**former.keys, **successor.keys}, path)
        _delegated(former, Root.type, metadata, path)
        if terms(former.to_dict()).purpose != terms(successor.to_dict()).purpose:
            raise TrustError(f"{path} has another purpose than the root before it", hint=_RESTORE)
        walked.append(successor)
    return tuple(walked)


def _self_signed(path: Path) -> tuple[Metadata[Root], str]:
    content = read(path, Root)
    metadata = parse(content, Root, path)
    _delegated(metadata.signed, Root.type, metadata, path)
    return metadata, sha256(content)


def _held(folder: Path) -> dict[str, set[int]]:
    held: dict[str, set[int]] = {}
    with storing(folder):
        for name in os.listdir(folder):
            if (found := _NAME.fullmatch(name)) and found[2] != Timestamp.type:
                held.setdefault(found[2], set()).add(int(found[1]))
    return held


def _root(folder: Path, versions: set[int]) -> tuple[Root, str]:
    """Walk the root chain from the first root."""
    if versions != set(range(1, len(versions) + 1)) or not 1 <= len(versions) <= ROOTS_MAX:
        raise TrustError(f"the roots in {folder} are not all there: found {sorted(versions)[:8]}", hint=_RESTORE)
    first = read(folder / "1.root.json", Root)
    later = (read(folder / f"{version}.root.json", Root) for version in range(2, len(versions) + 1))
    return chain(itertools.chain([first], later), str(folder))[-1], sha256(first)


def _listed(folder: Path, delegator: Root | Targets, name: str, meta: MetaFile, role: type[T]) -> T:
    path = folder / f"{meta.version}.{name}.json"
    content = read(path, role)
    if meta.length is None or not meta.hashes:
        raise TrustError(f"{path} is listed without length and digest", hint=_RESTORE)
    try:
        meta.verify_length_and_hashes(content)
    except LengthOrHashMismatchError as error:
        raise TrustError(f"{path} does not match what is signed about it", hint=_RESTORE) from error
    signed = _delegated(delegator, name, parse(content, role, path, name=name), path)
    if signed.version != meta.version:
        raise TrustError(f"{path} says that it is version {signed.version}", hint=_RESTORE)
    return signed


def _delegated(delegator: Root | Targets, role: str, metadata: Metadata[T], path: Path | str) -> T:
    try:
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except UnsignedMetadataError as error:
        raise TrustError(
            f"{path} is not signed as {delegator.type} {delegator.version} demands: {error}", hint=_RESTORE
        ) from error
    return metadata.signed


def _refuse_strays(metadata: Metadata[T], keys: Mapping[str, Key], path: Path | str) -> None:
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
