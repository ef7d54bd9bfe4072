"""What a depot or a single root says, for people and for JSON: roles, keys, thresholds, expiry, warnings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import msgspec
from tuf.api.metadata import Root, Signed

from sealift.root_terms import WAIVER, terms

from . import depot as depots
from .lineup import Rule
from .pending import held
from .proposing import team_rules
from .state import verify, verify_root

WARNING_DAYS = 90
"""Days before an expiry from which it is warned of: time for a ceremony and for the carriage after it."""
_ROLES = ("root", "targets", "snapshot", "timestamp")
_SIGNS = {
    "root": "which keys count",
    "targets": "which releases and bundles there are",
    "snapshot": "which lists are current",
    "timestamp": "which snapshot is current",
    WAIVER: "that one late bundle may pass",
}


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
    signs: str = ""
    """What the role's signatures are for."""
    places: tuple[str | None, ...] = ()
    """Where each key lives, as far as the depot knows."""


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
    purpose: str = "production"
    clients: Mapping[str, str] = field(default_factory=dict)
    """Which version of Sealift each site runs, as noted."""
    waiting: tuple[str, ...] = ()
    """The requests that wait for signatures."""
    dismissed: tuple[str, ...] = ()
    """Teams that sign no more, whose names stay taken."""


def describe(depot: Path, now: datetime) -> Description:
    """Describe a depot, once it was verified.

    Args:
        depot: the depot.
        now: the time, aware, from which days are counted.

    Raises:
        UsageError, MalformedError, TrustError, StoreError: as `keys.repository.verify`.
    """
    state = verify(depot)
    described = _description(
        str(depot),
        "depot",
        state.fingerprint,
        state.root,
        (state.root, state.targets, state.snapshot, state.timestamp),
        [entry.kind for entry in state.entries],
        now,
    )
    settings = depots.settings(depot)
    rules = team_rules(state.targets)
    teams = tuple(_team(name, rule, state.teams.get(name), now) for name, rule in rules.items())
    lines = lineup_of(state.root, rules)
    roles = tuple(
        replace(role, places=tuple(settings.place(depot, keyid) for keyid in lines[role.name]))
        for role in (*described.roles, *teams)
    )
    return replace(
        described,
        roles=roles,
        warnings=(*_warnings(roles), *_shared(rules)),
        clients={} if settings.clients is msgspec.UNSET else settings.clients,
        waiting=tuple(request.name for request in held(depot)),
        dismissed=tuple(state.dismissed),
    )


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
    said = terms(root.to_dict())
    roles = tuple(_role(name, root, current.get(name), now) for name in _ROLES)
    if said.waiver is not None:
        keys = [root.keys[keyid] for keyid in said.waiver.keyids]
        roles += (_of(WAIVER, Rule(keys=tuple(keys), threshold=said.waiver.threshold), None, now),)
    return Description(
        subject=subject,
        kind=kind,
        fingerprint=fingerprint,
        root_version=root.version,
        roles=roles,
        releases=None if kinds is None else kinds.count("release"),
        bundles=None if kinds is None else kinds.count("bundle"),
        warnings=tuple(_warnings(roles)),
        purpose=said.purpose,
    )


def lineup_of(root: Root, teams: Mapping[str, Rule]) -> dict[str, tuple[str, ...]]:
    """The key ids of every role of a root, and of every team."""
    said = terms(root.to_dict())
    found = {name: tuple(role.keyids) for name, role in root.roles.items()}
    found |= {WAIVER: said.waiver.keyids} if said.waiver else {}
    return found | {name: rule.ids for name, rule in teams.items()}


def _role(name: str, root: Root, signed: Signed | None, now: datetime) -> Role:
    role = root.roles[name]
    return _of(name, Rule(keys=tuple(root.keys[keyid] for keyid in role.keyids), threshold=role.threshold), signed, now)


def _team(name: str, rule: Rule, signed: Signed | None, now: datetime) -> Role:
    return replace(_of(name, rule, signed, now), signs=f"the releases {name}/*")


def _of(name: str, rule: Rule, signed: Signed | None, now: datetime) -> Role:
    return Role(
        name=name,
        threshold=rule.threshold,
        keys=tuple(key.keyid[:8] for key in rule.keys),
        schemes=tuple(sorted({key.scheme for key in rule.keys})),
        version=signed.version if signed else None,
        expires=signed.expires.strftime("%Y-%m-%dT%H:%M:%SZ") if signed else None,
        days_left=(signed.expires - now).days if signed else None,
        signs=_SIGNS.get(name, ""),
    )


def _shared(teams: Mapping[str, Rule]) -> Iterable[str]:
    owners: dict[str, list[str]] = {}
    for team, rule in teams.items():
        for keyid in rule.ids:
            owners.setdefault(keyid, []).append(team)
    for keyid, names in owners.items():
        if len(names) > 1:
            yield f"key {keyid[:8]} signs for {' and '.join(names)}: if it is stolen, all of them are affected"


def _warnings(roles: Iterable[Role]) -> Iterable[str]:
    online = dict.fromkeys(("targets", "snapshot", "timestamp"), "the next export renews it")
    remedies = {"root": "the holders of the root keys must sign a new one: sealift-keys renew root", **online}
    for role in roles:
        if role.days_left is None or role.expires is None or role.days_left >= WARNING_DAYS:
            continue
        day = role.expires[:10]
        when = f"expired on {day}" if role.days_left < 0 else f"expires in {role.days_left} days, on {day}"
        remedy = remedies.get(
            role.name, f"the team must sign anew (sealift-keys renew {role.name}), or end: sealift-keys dismiss"
        )
        yield f"{role.name} {when}: {remedy}"
