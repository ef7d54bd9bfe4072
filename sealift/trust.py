"""Whom a site trusts, and how offered metadata moves that trust forward: TUF's client workflow without I/O.

`anchor` begins trust from a root and its fingerprint; `refresh` takes what is trusted and what is offered,
and says what would be trusted after it. Both are pure functions over bytes that neither write nor look at a
clock, so that the caller commits the new trust when, and only when, everything else of the bundle is in place.

The rules (signatures, thresholds, expiry, rollback, section 5.3 of the specification) are those of the library
`tuf`. Its `TrustedMetadataSet` is private to it, and is used nevertheless: the public `ngclient.Updater` around
it writes as it goes and takes its own time of day. `tuf_rules` adds what `tuf` lets pass.

Where this is stricter than `ngclient`: a gap in the root chain is an error, not the end of the walk; a known
root, and metadata of a known version, must say what the trusted one says; trusted metadata that no longer
verifies is passed over only after a root rotation (which is how a site recovers from versions that were driven
too far ahead), and is an error otherwise; snapshot and targets always come from the offer.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

import msgspec

from .digest import HEX, sha256
from .errors import MalformedError, TrustError, UsageError
from .strict_json import canonical
from .tuf_rules import CAPS, Document, Target, read

if TYPE_CHECKING:
    from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet

__all__ = ["ROTATIONS_MAX", "Refreshed", "Target", "Trust", "Versions", "anchor", "check_fingerprint", "refresh"]

ROTATIONS_MAX = 256
"""New roots that one offer may carry."""

_ROOT = re.compile(r"([1-9][0-9]{0,15})\.root\.json")
_FRESH = "ask for a new export: `sealift-bundle export` of the same release makes one that fits"
_STRANGER = "compare the root's fingerprint here with the one that the security team publishes"
_DAMAGED = "restore the site folder from a backup, or enrol a new site folder"


class Trust(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is trusted: metadata that was verified, byte for byte."""

    roots: tuple[bytes, ...]
    """Every root from the enrolled one to the newest, ascending without a gap."""
    timestamp: bytes | None = None
    snapshot: bytes | None = None
    targets: bytes | None = None


class Versions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The version of each role's metadata; 0 where there is none yet."""

    root: int
    timestamp: int = 0
    snapshot: int = 0
    targets: int = 0


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
    targets: Mapping[str, Target]
    """The top-level targets by path; delegations are not followed yet."""

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


def anchor(root: bytes, fingerprint: str, *, reference: datetime) -> Trust:
    """Begin trust with `root`, which is authenticated by its fingerprint before it is parsed.

    Args:
        root: root metadata of any version.
        fingerprint: its SHA-256, see `check_fingerprint`.
        reference: the time that the root must not have expired at.

    Raises:
        UsageError: `fingerprint` is not one.
        MalformedError: `root` is not acceptable root metadata.
        TrustError: the fingerprint is another one's, too few of the root's own keys signed it, or it expired.
    """
    if len(root) > CAPS["root"]:
        raise MalformedError(f"the root has {len(root)} bytes, more than the {CAPS['root']} that are allowed")
    check_fingerprint(root, fingerprint)
    document = read("root", root, "the root")
    _begin(document, reference)
    _check_expiry(document, reference)
    return Trust(roots=(root,))


def refresh(trust: Trust, offered: Mapping[str, bytes], *, reference: datetime) -> Refreshed:
    """Walk from what is trusted to what is offered, or refuse (TUF 1.0, sections 5.3 to 5.6).

    Args:
        trust: what is trusted now; it stays as it is.
        offered: metadata by name as a bundle holds it (`2.root.json`, `timestamp.json`, `7.snapshot.json`,
            `7.targets.json`). Names of other roles are passed over.
        reference: the time that nothing offered must have expired at.

    Raises:
        MalformedError: a needed member is missing, or is not acceptable metadata.
        TrustError: a signature, a threshold, a version, an expiry or the root chain is not acceptable.
    """
    held_root = read("root", trust.roots[-1], "the trusted root")
    offered_roots = _roots(offered)
    _check_known_roots(trust, held_root.version, offered_roots)
    chosen = _begin(held_root, reference)
    added = _walk_roots(chosen, held_root.version, offered_roots)
    newest = added[-1] if added else held_root
    _check_expiry(newest, reference)
    rotated = bool(added)

    old = _recall("timestamp", trust.timestamp, chosen.update_timestamp, rotated=rotated)
    timestamp = read("timestamp", _member(offered, "timestamp.json"), "timestamp.json")
    with _judged(timestamp, reference, old):
        _unless_equal(chosen.update_timestamp, timestamp.content)
    _check_expiry(timestamp, reference)
    _check_same(timestamp, old)
    if old and old.version == timestamp.version:
        timestamp = old

    old = _recall("snapshot", trust.snapshot, lambda held: chosen.update_snapshot(held, trusted=True), rotated=rotated)
    snapshot = _numbered(offered, "snapshot", timestamp.listed["snapshot.json"])
    with _judged(snapshot, reference, old):
        chosen.update_snapshot(snapshot.content)
    _check_same(snapshot, old)

    targets = _numbered(offered, "targets", snapshot.listed["targets.json"])
    with _judged(targets, reference, None):
        chosen.update_targets(targets.content)
    if trust.targets is not None and not rotated:
        _check_same(targets, read("targets", trust.targets, "the trusted targets"))

    return Refreshed(
        trust=Trust(
            roots=trust.roots + tuple(root.content for root in added),
            timestamp=timestamp.content,
            snapshot=snapshot.content,
            targets=targets.content,
        ),
        versions=Versions(
            root=newest.version,
            timestamp=timestamp.version,
            snapshot=snapshot.version,
            targets=targets.version,
        ),
        expires=timestamp.expires,
        root_expires=newest.expires,
        targets=targets.targets,
    )


def _begin(root: Document, reference: datetime) -> TrustedMetadataSet:
    with _judged(root, reference, None):
        chosen = _workflow()(root.content)
    chosen.reference_time = reference.astimezone(UTC)
    return chosen


@cache
def _workflow() -> Callable[[bytes], TrustedMetadataSet]:
    """What begins a `TrustedMetadataSet`, imported without the rest of `tuf.ngclient`.

    The package imports its network client, which opens a socket when it is imported; an empty one stands in for it
    meanwhile.
    """
    import tuf

    from .hybrid import register

    register()
    name = "tuf.ngclient"
    there = name in sys.modules
    if not there:
        bare = ModuleType(name)
        bare.__path__ = [os.path.join(folder, "ngclient") for folder in tuf.__path__]
        sys.modules[name] = bare
    try:
        from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
        from tuf.ngclient.config import EnvelopeType
    finally:
        if not there:
            del sys.modules[name]
    return lambda root: TrustedMetadataSet(root, EnvelopeType.METADATA)


def _roots(offered: Mapping[str, bytes]) -> dict[int, bytes]:
    found = {int(match[1]): name for name in offered if (match := _ROOT.fullmatch(name))}
    return {version: offered[name] for version, name in sorted(found.items())}


def _check_known_roots(trust: Trust, newest: int, offered: Mapping[int, bytes]) -> None:
    first = newest - len(trust.roots) + 1
    for version, content in offered.items():
        if first <= version <= newest and content != (mine := trust.roots[version - first]):
            name = f"{version}.root.json"
            if canonical(read("root", content, name).signed) != canonical(read("root", mine, name).signed):
                raise TrustError(f"the bundle's root {version} is not the root {version} of this site", hint=_STRANGER)


def _walk_roots(chosen: TrustedMetadataSet, trusted: int, offered: Mapping[int, bytes]) -> list[Document]:
    newer = [version for version in offered if version > trusted]
    if len(newer) > ROTATIONS_MAX:
        raise TrustError(
            f"the bundle carries {len(newer)} new roots, more than the {ROTATIONS_MAX} that are allowed", hint=_STRANGER
        )
    walked = []
    for wanted, version in enumerate(newer, trusted + 1):
        if version != wanted:
            raise TrustError(
                f"the bundle carries root {version}, but root {wanted} is missing between it and this site's {trusted}",
                hint="ask for an export that carries the whole root chain",
            )
        root = _numbered(offered={f"{version}.root.json": offered[version]}, role="root", version=version)
        with _judged(root, chosen.reference_time, None):
            chosen.update_root(root.content)
        walked.append(root)
    return walked


def _member(offered: Mapping[str, bytes], name: str) -> bytes:
    if name not in offered:
        raise MalformedError(f"the bundle has no metadata/{name}", hint=_FRESH)
    return offered[name]


def _numbered(offered: Mapping[str, bytes], role: str, version: int) -> Document:
    name = f"{version}.{role}.json"
    document = read(role, _member(offered, name), name)
    if document.version != version:
        raise TrustError(f"{name} says that it is version {document.version}", hint=_FRESH)
    return document


def _recall(role: str, held: bytes | None, load: Callable[[bytes], object], *, rotated: bool) -> Document | None:
    """Load what is trusted already, so that rollback is noticed; None where there is none, or new keys replaced it."""
    from tuf.api.exceptions import BadVersionNumberError, ExpiredMetadataError, UnsignedMetadataError

    if held is None:
        return None
    document = read(role, held, f"the trusted {role}")
    try:
        load(held)
    except UnsignedMetadataError as error:
        if rotated:
            return None
        raise TrustError(f"the {role} that this site holds does not verify any more", hint=_DAMAGED) from error
    except (ExpiredMetadataError, BadVersionNumberError):
        pass  # loaded all the same: `tuf` keeps it as the bound that newer metadata must not fall below
    return document


def _unless_equal(load: Callable[[bytes], object], content: bytes) -> None:
    from tuf.api.exceptions import EqualVersionNumberError

    with contextlib.suppress(EqualVersionNumberError):
        load(content)


def _check_same(new: Document, old: Document | None) -> None:
    if old and old.version == new.version and canonical(old.signed) != canonical(new.signed):
        raise TrustError(
            f"the bundle has another {new.role} {new.version} than the one that this site has already admitted",
            hint="its depot was probably restored from a backup: ask for a newer export",
        )


def _check_expiry(document: Document, reference: datetime) -> None:
    if reference >= document.expires:
        raise _expired(document, reference)


def _expired(document: Document, reference: datetime) -> TrustError:
    ended, now = document.expires, reference.astimezone(UTC)
    form = "%Y-%m-%d" if ended.date() != now.date() else "%Y-%m-%d %H:%M:%S"
    whose = "the root" if document.role == "root" else f"the bundle's {document.role}"
    remedy = "ask the security team for a new root" if document.role == "root" else "ask for a fresh export"
    return TrustError(
        f"{whose} expired on {ended:{form}}, and it is {now:{form}} here",
        hint=f"check this machine's clock; where it is right, {remedy}",
    )


@contextlib.contextmanager
def _judged(document: Document, reference: datetime, old: Document | None) -> Iterator[None]:
    """Say what `tuf` thinks of `document` in our own words."""
    from securesystemslib.exceptions import Error as SecureSystemsError
    from tuf.api import exceptions

    try:
        yield
    except exceptions.ExpiredMetadataError as error:
        raise _expired(document, reference) from error
    except exceptions.UnsignedMetadataError as error:
        raise TrustError(
            f"{document.name} is not signed by the keys that this site trusts ({error})", hint=_STRANGER
        ) from error
    except exceptions.BadVersionNumberError as error:
        for what, new, known in _fallen(document, old):
            raise TrustError(
                "this bundle is older than one that this site has already admitted"
                f" ({what} {new}, the site has {known})",
                hint=_FRESH,
            ) from error
        raise TrustError(f"{document.name} has another version than the bundle says", hint=_FRESH) from error
    except exceptions.LengthOrHashMismatchError as error:
        raise TrustError(
            f"{document.name} is not the {document.role} that the rest of the bundle was signed with", hint=_FRESH
        ) from error
    except (exceptions.RepositoryError, SecureSystemsError, ValueError) as error:
        said = str(error)[:200]
        raise TrustError(f"{document.name} is not acceptable: {said[:1].lower()}{said[1:]}", hint=_FRESH) from error


def _fallen(document: Document, old: Document | None) -> Sequence[tuple[str, int, int]]:
    """Which versions fall below the known ones: role, offered, known."""
    if old is None:
        return []
    pairs = [(document.role, document.version, old.version)]
    pairs += [(name.removesuffix(".json"), document.listed.get(name, 0), known) for name, known in old.listed.items()]
    return [pair for pair in pairs if pair[1] < pair[2]]
