"""What a depot or a single root says, for people and for JSON: roles, keys, thresholds, expiry, warnings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import Root, Signed

from .state import verify, verify_root

WARNING_DAYS = 90
"""Days before an expiry from which it is warned of: time for a ceremony and for the carriage after it."""
_ROLES = ("root", "targets", "snapshot", "timestamp")


@dataclass(frozen=True, kw_only=True)
class Role:
    """One top-level role, as the root defines it."""

    name: str
    threshold: int
    keys: tuple[str, ...]
    """The first eight digits of each key id."""
    schemes: tuple[str, ...]
    version: int | None
    """Of the role's current metadata; None where only a root was looked at."""
    expires: str | None
    """RFC 3339, UTC."""
    days_left: int | None
    """Whole days; negative once expired."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """A depot or a root; `dataclasses.asdict` makes JSON of it."""

    subject: str
    kind: str
    """`depot` or `root`."""
    fingerprint: str
    """SHA-256: of a depot's first root, which sites enrol with, or of the root file that was named."""
    root_version: int
    roles: tuple[Role, ...]
    releases: int | None
    bundles: int | None
    """How many are published; None for a root file."""
    warnings: tuple[str, ...]


def describe(depot: Path, now: datetime) -> Description:
    """Describe a depot, once it was verified.

    Args:
        depot: the depot.
        now: the time, aware, from which days are counted.

    Raises:
        UsageError, MalformedError, TrustError, StoreError: as `keys.repository.verify`.
    """
    state = verify(depot)
    signed = (state.root, state.targets, state.snapshot, state.timestamp)
    kinds = [entry.kind for entry in state.entries]
    return _description(str(depot), "depot", state.fingerprint, state.root, signed, kinds, now)


def describe_root(path: Path, now: datetime) -> Description:
    """Describe the single root file `path`, once its own keys were seen to sign it.

    Args:
        path: such as `1.root.json`.
        now: the time, aware, from which days are counted.

    Raises:
        MalformedError: it is no root.
        TrustError: it is missing, over-long, or its own keys do not sign it.
        StoreError: it cannot be read.
    """
    root, fingerprint = verify_root(path)
    return _description(str(path), "root", fingerprint, root, [root], None, now)


def grouped(fingerprint: str) -> str:
    """A fingerprint in blocks of eight digits, as a person reads it aloud."""
    return " ".join(fingerprint[at : at + 8] for at in range(0, len(fingerprint), 8))


def _description(
    subject: str,
    kind: str,
    fingerprint: str,
    root: Root,
    signed: Iterable[Signed],
    kinds: list[str] | None,
    now: datetime,
) -> Description:
    current = {each.type: each for each in signed}
    roles = tuple(_role(name, root, current.get(name), now) for name in _ROLES)
    return Description(
        subject=subject,
        kind=kind,
        fingerprint=fingerprint,
        root_version=root.version,
        roles=roles,
        releases=None if kinds is None else kinds.count("release"),
        bundles=None if kinds is None else kinds.count("bundle"),
        warnings=tuple(_warnings(roles)),
    )


def _role(name: str, root: Root, signed: Signed | None, now: datetime) -> Role:
    role = root.roles[name]
    return Role(
        name=name,
        threshold=role.threshold,
        keys=tuple(keyid[:8] for keyid in role.keyids),
        schemes=tuple(sorted({root.keys[keyid].scheme for keyid in role.keyids})),
        version=signed.version if signed else None,
        expires=signed.expires.strftime("%Y-%m-%dT%H:%M:%SZ") if signed else None,
        days_left=(signed.expires - now).days if signed else None,
    )


def _warnings(roles: Iterable[Role]) -> Iterable[str]:
    remedies = {"root": "the holders of the root keys must sign a new one"}
    for role in roles:
        if role.days_left is None or role.expires is None or role.days_left >= WARNING_DAYS:
            continue
        day = role.expires[:10]
        when = f"expired on {day}" if role.days_left < 0 else f"expires in {role.days_left} days, on {day}"
        yield f"{role.name} {when}: {remedies.get(role.name, 'the next export renews it')}"
