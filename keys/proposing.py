"""From a wish to a signing request: the next root, a team's next metadata, a waiver. Nothing is written here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from tuf.api.metadata import Root, TargetFile, Targets

from sealift.errors import TrustError, UsageError
from sealift.root_terms import WAIVER
from sealift.waiver import DAYS_MAX, waiver

from . import depot as depots
from .changes import team_rule
from .clients import refuse_unreadable
from .lineup import Lineup, Rule, check_apart, lineup, make_root
from .metadata import read
from .request import Request
from .state import State

ROOT_DAYS = 730
"""Days that a root lives. Renewing one gathers the holders of offline keys, and it must then be carried to every
site before the former one expires: two years leave room for a yearly ceremony that slips."""
DAYS_LONGEST = 3650
"""Days that anything may live."""


def first_root(line: Lineup, *, now: datetime, days: int = ROOT_DAYS) -> Request:
    """The request for the first root of a depot.

    Raises:
        UsageError, PolicyError: no root may say `line`, or it would live too long.
    """
    root = make_root(line, version=1, expires=until(now, days))
    return Request(role="root", roots=(), signed=root.to_dict(), signatures={})


def next_root(depot: Path, state: State, line: Lineup, *, now: datetime, days: int = ROOT_DAYS) -> Request:
    """The request for the root that follows the depot's newest one.

    Raises:
        UsageError: no root may say `line`, or it would live too long.
        PolicyError: a key would have two roles, or an enrolled client could not read one.
        TrustError, StoreError: the depot's roots cannot be read.
    """
    before = lineup(state.root)
    teams = team_rules(state.targets)
    check_apart(line, teams)
    refuse_unreadable(before.keys.values(), line.keys.values(), clients(depot), fresh=False)
    root = make_root(line, version=state.root.version + 1, expires=until(now, days))
    return Request(role="root", roots=roots(state), signed=root.to_dict(), signatures={})


def next_team(
    state: State,
    team: str,
    *,
    now: datetime,
    days: int,
    additions: Mapping[str, TargetFile] | None = None,
    rule: Rule | None = None,
) -> Request:
    """The request for a team's next metadata, which lists what it listed before and `additions`.

    Args:
        state: the depot's.
        team: the role.
        now: the time, aware.
        days: how long the metadata lives.
        additions: new releases, by target path.
        rule: who is to sign for the team from now on; as until now where None.

    Raises:
        UsageError: nothing delegates to the team.
        TrustError, StoreError: the depot's files cannot be read.
    """
    refuse_dismissed(state, team)
    rule = rule or team_rule(state.targets, team)
    if rule is None:
        raise UsageError(
            f"there is no team {team}", hint=f"delegate to it first: sealift-keys delegate {team} --add FILE"
        )
    before = state.teams.get(team)
    listed = dict(before.targets) if before else {}
    after = Targets(
        version=before.version + 1 if before else 1,
        expires=until(now, days),
        targets={**listed, **(additions or {})},
    )
    former = read(state.folder / f"{before.version}.{team}.json", Targets) if before else None
    top = read(state.folder / f"{state.targets.version}.targets.json", Targets)
    return Request(
        role=team, roots=roots(state), signed=after.to_dict(), signatures={}, targets=top, former=former, rule=rule
    )


def refuse_dismissed(state: State, team: str) -> None:
    """Refuse a team whose name was another's: sites hold what that one released.

    Raises:
        UsageError: it was dismissed.
    """
    if team in state.dismissed:
        raise UsageError(
            f"{team} was dismissed, and its name is not given again", hint="give the new team a name of its own"
        )


def next_waiver(
    state: State, timestamp: bytes, version: int, *, now: datetime, days: int, reason: str, site: str | None
) -> Request:
    """The request for a waiver of the timestamp metadata `timestamp`.

    Raises:
        MalformedError: the reason or the site is not acceptable.
        UsageError: it would live too long.
        TrustError: the root has no waiver role.
    """
    if not 1 <= days <= DAYS_MAX:
        raise UsageError(f"a waiver cannot live {days} days", hint=f"give --days 1 to {DAYS_MAX}")
    now = now.astimezone(UTC)
    made = waiver(timestamp, version, issued=now, expires=now + timedelta(days=days), reason=reason, site=site)
    request = Request(role=WAIVER, roots=roots(state), signed=made.signed, signatures={})
    _ = request.quorums
    return request


def clients(depot: Path) -> dict[str, str]:
    """The versions that the depot's sites run, as noted.

    Raises:
        UsageError, MalformedError, StoreError: as `depot.settings`.
    """
    noted = depots.settings(depot).clients
    return {} if noted is msgspec.UNSET else noted


def team_rules(targets: Targets) -> dict[str, Rule]:
    """The rule of each team that `targets` delegates to."""
    named = (targets.delegations.roles or {}) if targets.delegations else {}
    return {team: rule for team in named if (rule := team_rule(targets, team))}


def roots(state: State) -> tuple[bytes, ...]:
    """The files of the depot's root chain.

    Raises:
        TrustError, StoreError: one cannot be read.
    """
    return tuple(read(state.folder / f"{version}.root.json", Root) for version in range(1, state.root.version + 1))


def until(now: datetime, days: int) -> datetime:
    """When something that lives `days` from `now` on expires, to the second.

    Raises:
        UsageError: it would live too long, or not at all.
    """
    if not 1 <= days <= DAYS_LONGEST:
        raise UsageError(f"a life of {days} days is out of range", hint=f"give --days 1 to {DAYS_LONGEST}")
    return now.astimezone(UTC).replace(microsecond=0) + timedelta(days=days)


def refuse_expired(request: Request, now: datetime) -> None:
    """Refuse to publish what has expired while it waited.

    Raises:
        TrustError: it has.
    """
    ends = datetime.strptime(str(request.signed["expires"]), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    if now >= ends:
        raise TrustError(f"{request.name} expired on {ends:%Y-%m-%d}", hint="make the request anew, and sign it again")
