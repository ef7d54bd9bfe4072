"""From a request that has all its signatures to the depot: nothing is published before every quorum is met.

What was checked when the request was made is checked again, because the depot may have moved on, and because a
request is a file that others could change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from securesystemslib.signer import Signer
from tuf.api.metadata import DelegatedRole, Delegations, Root, Targets

from sealift.durable import write_file
from sealift.errors import TrustError, UsageError
from sealift.names import visible
from sealift.tuf_rules import pattern_of

from . import depot as depots
from .changes import team_rule
from .clients import refuse_unreadable
from .committing import begin, commit, commit_root, finish, renewed
from .lineup import WAIVER, Lineup, Rule, check_apart, check_rule, lineup
from .metadata import sign_all
from .pending import drop, held
from .proposing import clients, refuse_dismissed, refuse_expired, team_rules, until
from .repository import ROLE_DAYS
from .request import Request
from .state import ROOTS_MAX, State, verify

SignerFor = Callable[[Root], Signer]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a request has become."""

    name: str
    """Such as `root-2`."""
    path: Path
    """The file that was written: a root, a team's metadata, or a waiver."""
    resigned: bool
    """Whether targets, snapshot and timestamp were signed anew with it."""


def publish_request(depot: Path, request: Request, *, signer_for: SignerFor, now: datetime) -> Outcome:
    """Publish `request`, and remove it from those that wait.

    Args:
        depot: the depot, whose lock the caller holds.
        request: what was signed.
        signer_for: unlocks the online key, where something that it signs changes with this.
        now: the time, aware.

    Raises:
        PolicyError: the request breaks the policy, or an enrolled client could not read its keys.
        TrustError: signatures are missing, the depot has moved on, something expired, or does not verify.
        StoreError: the disk refused; the former state stays, or the new one is complete.
    """
    now = now.astimezone(UTC)
    _check_complete(request)
    refuse_expired(request, now)
    if request.role == WAIVER:
        outcome = _waiver(depot, request)
    elif (root := request.next_root) is not None:
        outcome = _root(depot, request, root, signer_for, now)
    else:
        outcome = _team(depot, request, signer_for, now)
    drop(depot, request)
    return outcome


def delegate(
    depot: Path, team: str, rule: Rule, *, signer_for: SignerFor, now: datetime, days: int = ROLE_DAYS
) -> None:
    """Let the keys of `rule` sign releases whose names begin with `team/`, and publish that.

    Args:
        depot: the depot, whose lock the caller holds.
        team: the role.
        rule: its keys and threshold; what the team has published must still be signed by these.
        signer_for: unlocks the online key.
        now: the time, aware.
        days: how long the new metadata lives.

    Raises:
        UsageError: a number is out of range.
        PolicyError: a key has another role already, or an enrolled client could not read one.
        TrustError: the root has expired, or what the team has published is no longer signed by enough keys.
        StoreError: the disk refused; the former state stays, or the new one is complete.
    """
    state = _current(depot, now)
    targets = proposed(depot, state, team, rule, now, days=days)
    if team in state.teams and not still_signed(state, team, targets):
        raise TrustError(
            f"what {team} has published would no longer be signed by {rule.threshold} of its keys",
            hint=f"let the team sign anew: sealift-keys rotate {team} makes a request for that",
        )
    commit(state, targets, signer_for(state.root))


def dismiss(depot: Path, team: str, *, signer_for: SignerFor, now: datetime) -> int:
    """Let a team sign no more, and publish that; return how many of its releases nothing vouches for from now on.

    Its requests are dropped, and its name stays taken where it has published anything. The snapshot goes on naming
    what it published last, because sites refuse one that loses a name.

    Args:
        depot: the depot, whose lock the caller holds.
        team: the role.
        signer_for: unlocks the online key.
        now: the time, aware.

    Raises:
        UsageError: there is no such team.
        TrustError: the root has expired, or the key is not entitled.
        StoreError: the disk refused; the former state stays, or the new one is complete.
    """
    state = _current(depot, now)
    rules, waiting = team_rules(state.targets), [request for request in held(depot) if request.role == team]
    if team not in rules:
        for request in waiting:  # a dismissal that was killed left them
            drop(depot, request)
        refuse_dismissed(state, team)
        raise UsageError(f"there is no team {visible(team)[:40]}", hint="sealift-keys show lists the teams")
    del rules[team]
    targets = _with(renewed(state.targets, now.astimezone(UTC) + timedelta(days=ROLE_DAYS)), rules)
    commit(state, targets, signer_for(state.root))
    for request in waiting:
        drop(depot, request)
    return len(state.teams[team].targets) if team in state.teams else 0


def proposed(depot: Path, state: State, team: str, rule: Rule, now: datetime, *, days: int = ROLE_DAYS) -> Targets:
    """The next top-level targets, by which `rule` holds for `team`; nothing is signed.

    Raises:
        UsageError: a number is out of range.
        PolicyError: a key has another role already, or an enrolled client could not read one.
    """
    return _delegating(depot, state, team, rule, now.astimezone(UTC) + timedelta(days=days))


def renew_online(depot: Path, *, signer_for: SignerFor, now: datetime, days: int = ROLE_DAYS) -> datetime:
    """Sign targets, snapshot and timestamp anew, and return when they expire.

    Args:
        depot: the depot, whose lock the caller holds.
        signer_for: unlocks the online key.
        now: the time, aware.
        days: how long they live.

    Raises:
        UsageError: they would live too long.
        TrustError: the root has expired, or the key is not entitled.
        StoreError: the disk refused; the former state stays, or the new one is complete.
    """
    state = _current(depot, now)
    ends = until(now, days)
    commit(state, renewed(state.targets, ends), signer_for(state.root))
    return ends


def still_signed(state: State, team: str, targets: Targets) -> bool:
    """Whether the metadata that a team has published holds under the delegation in `targets`, to the last signature."""
    from tuf.api.exceptions import UnsignedMetadataError

    from .metadata import parse, read

    path = state.folder / f"{state.teams[team].version}.{team}.json"
    metadata = parse(read(path, Targets), Targets, path, name=team)
    try:
        targets.verify_delegate(team, metadata.signed_bytes, metadata.signatures)
    except UnsignedMetadataError:
        return False
    rule = team_rule(targets, team)
    return rule is not None and metadata.signatures.keys() <= set(rule.ids)


def _check_complete(request: Request) -> None:
    for quorum in request.quorums:
        if short := request.missing(quorum):
            raise TrustError(
                f"{request.name} is not signed by enough keys of {quorum.whose}: {short} more must sign",
                hint="let further holders sign the request: sealift-keys sign",
            )


def _current(depot: Path, now: datetime) -> State:
    state = verify(depot)
    if state.root.is_expired(now):
        raise TrustError(
            f"root {state.root.version} of {depot} expired on {state.root.expires:%Y-%m-%d}",
            hint="the holders of the root keys must sign a new root: sealift-keys renew root",
        )
    finish(state.folder, state.root.version)
    return state


def _root(depot: Path, request: Request, root: Root, signer_for: SignerFor, now: datetime) -> Outcome:
    after = lineup(root)
    content = request.content()
    ends = now + timedelta(days=ROLE_DAYS)
    if request.root is None:
        refuse_unreadable((), after.keys.values(), clients(depot), fresh=True)
        contents = sign_all(
            Targets(expires=ends), root, signer_for(root), others={}, snapshot_version=1, timestamp_version=1
        )
        folder = depot / depots.METADATA
        if (folder / "1.root.json").exists():
            raise TrustError(f"{depot} has a first root already", hint="the request is an old one: remove it")
        begin(folder, (root, content), contents)
        return Outcome(name=request.name, path=folder / "1.root.json", resigned=True)
    state = verify(depot)
    _check_follows(request, state)
    _check_root(depot, state, after)
    if root.version > ROOTS_MAX:
        raise UsageError(f"a depot has at most {ROOTS_MAX} roots", hint="make a new depot, and enrol every site anew")
    path = state.folder / f"{root.version}.root.json"
    finish(state.folder, state.root.version)
    if set(lineup(state.root).online.keys) == set(after.online.keys):
        commit_root(state.folder, root.version, content)
        return Outcome(name=request.name, path=path, resigned=False)
    commit(state, renewed(state.targets, ends), signer_for(root), root=(root, content))
    return Outcome(name=request.name, path=path, resigned=True)


def _check_follows(request: Request, state: State) -> None:
    from .proposing import roots

    if request.roots != roots(state):
        raise TrustError(
            f"{request.name} follows root {len(request.roots)} of another chain than this depot's, "
            f"which is at root {state.root.version}",
            hint="make the request anew in this depot, and let it be signed again",
        )


def _check_root(depot: Path, state: State, after: Lineup) -> None:
    teams = team_rules(state.targets)
    check_apart(after, teams)
    before = lineup(state.root).keys.values()
    refuse_unreadable(before, after.keys.values(), clients(depot), fresh=False)


def _team(depot: Path, request: Request, signer_for: SignerFor, now: datetime) -> Outcome:
    state = _current(depot, now)
    team, rule = request.role, request.quorums[0].rule
    refuse_dismissed(state, team)
    _check_rule_stands(request, team_rule(state.targets, team))
    former = state.teams.get(team)
    if request.version != (former.version if former else 0) + 1:
        raise TrustError(
            f"{request.name} does not follow what {team} has published, which is version "
            f"{former.version if former else 0}",
            hint="make the request anew, and let it be signed again",
        )
    after = request.next_team
    for path, target in (former.targets if former else {}).items():
        if after.targets.get(path) != target:
            raise TrustError(
                f"{request.name} changes or removes {path}, which was published",
                hint="a release never changes: make the request anew",
            )
    targets = _delegating(depot, state, team, rule, now + timedelta(days=ROLE_DAYS))
    content = request.content()
    commit(state, targets, signer_for(state.root), teams={team: content})
    return Outcome(name=request.name, path=state.folder / f"{request.version}.{team}.json", resigned=True)


def _check_rule_stands(request: Request, current: Rule | None) -> None:
    """Refuse a request that was made when other keys were its team's: it would bring them back."""
    team, top = request.role, request.top()
    if current is None:
        raise TrustError(
            f"{request.name} is of a team that there is not", hint=f"delegate to it first: sealift-keys delegate {team}"
        )
    made_under = team_rule(top, team) if top else None
    if made_under is None or (set(made_under.ids), made_under.threshold) != (set(current.ids), current.threshold):
        raise TrustError(
            f"{request.name} was made when other keys signed for {team}",
            hint="remove it from the depot's requests, make it anew, and let it be signed again",
        )


def _delegating(depot: Path, state: State, team: str, rule: Rule, expires: datetime) -> Targets:
    """The next top-level targets, by which `rule` holds for `team`."""
    check_rule(rule, team)
    refuse_dismissed(state, team)
    line, rules = lineup(state.root), {**team_rules(state.targets), team: rule}
    check_apart(line, {team: rule})
    before = [key for each in team_rules(state.targets).values() for key in each.keys]
    refuse_unreadable([*line.keys.values(), *before], rule.keys, clients(depot), fresh=False)
    return _with(renewed(state.targets, expires), rules)


def _with(targets: Targets, rules: Mapping[str, Rule]) -> Targets:
    """`targets`, which delegate to the teams of `rules` and to nobody else."""
    targets.delegations = Delegations(
        keys={key.keyid: key for each in rules.values() for key in each.keys},
        roles={
            name: DelegatedRole(name, list(each.ids), each.threshold, True, [pattern_of(name)])
            for name, each in rules.items()
        },
    )
    return targets


def _waiver(depot: Path, request: Request) -> Outcome:
    state = verify(depot)
    _check_follows(request, state)
    path = depot / f"{request.name}.json"
    write_file(path, request.content())
    return Outcome(name=request.name, path=path, resigned=False)
