"""Whom a site trusts, and how offered metadata moves that trust forward: pure functions over bytes.

`anchor` begins trust from a root and its fingerprint; `refresh` takes what is trusted and what is offered,
and says what would be trusted after it. They neither write nor look at a clock, so that the caller commits the new
trust when, and only when, everything else of the bundle is in place. The steps are those of `workflow`.

Beyond them: a gap in the root chain is an error, not the end of the walk; snapshot, targets and delegated targets
always come from the offer; every role that the targets delegate to and the snapshot names must be there and in
order, also where nothing is asked of it, so that no role's metadata can be withheld or set back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from .digest import HEX, sha256
from .errors import MalformedError, TrustError, UsageError
from .root_terms import Purpose
from .strict_json import canonical
from .tuf_rules import CAPS, Document, Target, read
from .waiver import Accepted, accept
from .workflow import FRESH, STRANGER, Workflow

__all__ = [
    "ROTATIONS_MAX",
    "Refreshed",
    "Target",
    "Trust",
    "Versions",
    "anchor",
    "check_fingerprint",
    "check_purpose",
    "refresh",
]

ROTATIONS_MAX = 256
"""New roots that one offer may carry."""

_ROOT = re.compile(r"([1-9][0-9]{0,15})\.root\.json")


class Trust(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is trusted: metadata that was verified, byte for byte."""

    roots: tuple[bytes, ...]
    """Every root from the enrolled one to the newest, ascending without a gap."""
    timestamp: bytes | None = None
    snapshot: bytes | None = None
    targets: bytes | None = None
    delegated: dict[str, bytes] = {}
    """The targets of each role that the top-level targets delegate to, by its name."""


class Versions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The version of each role's metadata; 0 where there is none yet."""

    root: int
    timestamp: int = 0
    snapshot: int = 0
    targets: int = 0
    delegated: dict[str, int] = {}
    """Of each delegated role that the snapshot ever named; such a name never vanishes."""


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """What an offer amounts to, every signature verified."""

    trust: Trust
    """What is to be trusted once the offer is admitted."""
    versions: Versions
    expires: datetime
    """When the timestamp ends, and with it the time to admit this offer."""
    root_expires: datetime
    """When the newest root ends, which no online key decides."""
    purpose: Purpose
    """What the newest root is for."""
    targets: Mapping[str, Target]
    """All targets by path, those of delegated roles included."""
    waiver: Accepted | None = None
    """What lets the offer pass although something in it has expired; None where nothing has."""

    @property
    def root_version(self) -> int:
        """The version of the newest root."""
        return self.versions.root

    @property
    def timestamp_version(self) -> int:
        """The version of the timestamp."""
        return self.versions.timestamp

    @property
    def snapshot_version(self) -> int:
        """The version of the snapshot."""
        return self.versions.snapshot

    @property
    def targets_version(self) -> int:
        """The version of the top-level targets."""
        return self.versions.targets

    def target(self, path: str) -> Target | None:
        """The target at `path`, if the metadata vouches for one."""
        return self.targets.get(path)


def check_fingerprint(root: bytes, fingerprint: str) -> None:
    """Refuse `root` unless its SHA-256 is `fingerprint`: hexadecimal, in any case and grouping.

    Raises:
        UsageError: `fingerprint` is not 64 hexadecimal digits.
        TrustError: it is another root's.
    """
    wanted = re.sub(r"[\s:-]", "", fingerprint).lower().removeprefix("sha256")
    if not HEX.fullmatch(wanted):
        raise UsageError(
            "a fingerprint has 64 hexadecimal digits", hint="copy it whole, as `sealift-keys show` prints it"
        )
    found = sha256(root)
    if found != wanted:
        raise TrustError(
            f"the root has another fingerprint than the one given: it is {found}",
            hint="do not enrol this file: ask for the root again, and for its fingerprint by another way",
        )


def anchor(root: bytes, fingerprint: str, *, reference: datetime, purpose: Purpose | None = "production") -> Trust:
    """Begin trust with `root`, which is authenticated by its fingerprint before it is parsed.

    Args:
        root: root metadata of any version.
        fingerprint: its SHA-256, see `check_fingerprint`.
        reference: the time that the root must not have expired at.
        purpose: what the root must be for; None where that makes no difference.

    Raises:
        UsageError: `fingerprint` is not one.
        MalformedError: `root` is not acceptable root metadata.
        TrustError: the fingerprint is another one's, too few of the root's own keys signed it, it expired, or it is
            for another purpose.
    """
    if len(root) > CAPS["root"]:
        raise MalformedError(f"the root has {len(root)} bytes, more than the {CAPS['root']} that are allowed")
    check_fingerprint(root, fingerprint)
    document = read("root", root, "the root")
    Workflow(document, reference=reference).check_root()
    check_purpose(document, purpose)
    return Trust(roots=(root,))


def check_purpose(root: Document, purpose: Purpose | None) -> None:
    """Refuse a root that is for something else than `purpose`; None stands for either.

    Raises:
        TrustError: it is.
    """
    if purpose not in (None, root.purpose):
        raise TrustError(
            f"the root is for {root.purpose}, and this site is to be one for {purpose}",
            hint="a root for development belongs at a site that is enrolled with --development, and at no other",
        )


def refresh(
    trust: Trust,
    offered: Mapping[str, bytes],
    *,
    reference: datetime,
    waiver: bytes | None = None,
    site: str | None = None,
) -> Refreshed:
    """Walk from what is trusted to what is offered, or refuse (TUF 1.0, sections 5.3 to 5.6).

    Args:
        trust: what is trusted now; it stays as it is.
        offered: metadata by name as a bundle holds it (`2.root.json`, `timestamp.json`, `7.snapshot.json`,
            `7.targets.json`, `3.team-a.json`). Names of roles that nobody delegates to are passed over.
        reference: the time that nothing offered must have expired at.
        waiver: the file of a waiver for this offer, which is checked whether it is needed or not.
        site: what this site is called, for a waiver that is meant for one site.

    Raises:
        MalformedError: a needed member is missing, or is not acceptable metadata.
        TrustError: a signature, a threshold, a version, an expiry, the root chain or the waiver is not acceptable.
    """
    held_root = read("root", trust.roots[-1], "the trusted root")
    offered_roots = _roots(offered)
    _check_known_roots(trust, held_root.version, offered_roots)
    walk = Workflow(held_root, reference=reference)
    added = _walk_roots(walk, offered_roots)
    walk.check_root()

    content = _member(offered, "timestamp.json")
    waived = None
    if waiver is not None:
        timestamp = read("timestamp", content, "timestamp.json")
        waived = accept(waiver, walk.root, timestamp, reference=reference, site=site)
        walk.waive()
    timestamp = walk.timestamp(content, trust.timestamp)
    version = timestamp.listed["snapshot.json"]
    snapshot = walk.snapshot(_numbered(offered, "snapshot", version), version, trust.snapshot)
    version = snapshot.listed["targets.json"]
    targets = walk.targets(_numbered(offered, "targets", version), version, trust.targets)
    delegated = {}
    for role in targets.delegated:
        if version := snapshot.listed.get(f"{role}.json", 0):
            content = _numbered(offered, role, version)
            delegated[role] = walk.delegated(role, content, version, trust.delegated.get(role))
    late = min(each.expires for each in (timestamp, snapshot, targets, *delegated.values())) <= reference

    return Refreshed(
        trust=Trust(
            roots=trust.roots + tuple(root for root in added),
            timestamp=timestamp.content,
            snapshot=snapshot.content,
            targets=targets.content,
            delegated={role: each.content for role, each in delegated.items()},
        ),
        versions=Versions(
            root=walk.root.version,
            timestamp=timestamp.version,
            snapshot=snapshot.version,
            targets=targets.version,
            delegated={
                name.removesuffix(".json"): version
                for name, version in sorted(snapshot.listed.items())
                if name != "targets.json"
            },
        ),
        expires=timestamp.expires,
        root_expires=walk.root.expires,
        purpose=walk.root.purpose,
        targets={path: found for each in (targets, *delegated.values()) for path, found in each.targets.items()},
        waiver=waived if late else None,
    )


def _roots(offered: Mapping[str, bytes]) -> dict[int, bytes]:
    found = {int(match[1]): name for name in offered if (match := _ROOT.fullmatch(name))}
    return {version: offered[name] for version, name in sorted(found.items())}


def _check_known_roots(trust: Trust, newest: int, offered: Mapping[int, bytes]) -> None:
    first = newest - len(trust.roots) + 1
    for version, content in offered.items():
        if first <= version <= newest and content != (mine := trust.roots[version - first]):
            name = f"{version}.root.json"
            if canonical(read("root", content, name).signed) != canonical(read("root", mine, name).signed):
                raise TrustError(f"the bundle's root {version} is not the root {version} of this site", hint=STRANGER)


def _walk_roots(walk: Workflow, offered: Mapping[int, bytes]) -> list[bytes]:
    trusted = walk.root.version
    newer = [version for version in offered if version > trusted]
    if len(newer) > ROTATIONS_MAX:
        raise TrustError(
            f"the bundle carries {len(newer)} new roots, more than the {ROTATIONS_MAX} that are allowed",
            hint="import an older bundle first, whose root chain is shorter",
        )
    for wanted, version in enumerate(newer, trusted + 1):
        if version != wanted:
            raise TrustError(
                f"the bundle carries root {version}, but root {wanted} is missing between it and this site's {trusted}",
                hint="ask for an export that carries the whole root chain",
            )
        walk.next_root(offered[version])
    return [offered[version] for version in newer]


def _member(offered: Mapping[str, bytes], name: str) -> bytes:
    if name not in offered:
        raise MalformedError(f"the bundle has no metadata/{name}", hint=FRESH)
    return offered[name]


def _numbered(offered: Mapping[str, bytes], role: str, version: int) -> bytes:
    return _member(offered, f"{version}.{role}.json")
