"""What a signing request changes, in plain words, computed from the metadata itself and from nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from securesystemslib.signer import Key
from tuf.api.metadata import Root, Targets

from sealift.errors import MalformedError
from sealift.names import visible
from sealift.waiver import of_tree

from .lineup import ONLINE, ROLES, ROOT, WAIVER, Rule, lineup
from .request import Request

SIGNS = {
    ROOT: "signs roots: says which keys count",
    ONLINE: "signs targets, snapshot and timestamp: what export publishes",
    WAIVER: "signs waivers: lets one late bundle pass",
}


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing that will be different."""

    subject: str
    """`root`, `online`, `waiver`, `version`, a release, …"""
    text: str
    """Such as `threshold 1 → 2`."""


def changes(request: Request) -> tuple[Change, ...]:
    """All that `request` changes, in a fixed order.

    Raises:
        MalformedError, TrustError: the request is not what it should be.
    """
    if request.role == WAIVER:
        return tuple(_waiver(request))
    if (after := request.next_root) is not None:
        return tuple(_root(request.root, after))
    return tuple(_team(request))


def _root(before: Root | None, after: Root) -> Iterator[Change]:
    old, new = lineup(before) if before else None, lineup(after)
    yield Change(subject="version", text=_arrow(str(before.version) if before else None, str(after.version)))
    yield Change(subject="expires", text=_arrow(_day(before.expires) if before else None, _day(after.expires)))
    if old is None or old.purpose != new.purpose:
        yield Change(subject="purpose", text=_arrow(old.purpose if old else None, new.purpose))
    for role in ROLES:
        yield from _rule(role, old.rule(role) if old else None, new.rule(role))


def _rule(role: str, old: Rule | None, new: Rule | None) -> Iterator[Change]:
    if new is None:
        if old is not None:
            yield Change(subject=role, text="is gone: nobody has this role any more")
        return
    if old is None or old.threshold != new.threshold or len(old.keys) != len(new.keys):
        yield Change(subject=role, text=f"threshold {_arrow(_of(old) if old else None, _of(new))}")
    former = old.keys if old else ()
    for key in new.keys:
        if key not in former:
            yield Change(subject=role, text=f"+ key {named(key)}")
    for key in former:
        if key not in new.keys:
            yield Change(subject=role, text=f"- key {named(key)}")


def _team(request: Request) -> Iterator[Change]:
    if request.targets is None or request.rule is None:
        raise MalformedError(f"the request for {request.role} does not say what it follows")
    top, before = request.top(), request.former_team()
    yield Change(subject="version", text=_arrow(str(before.version) if before else None, str(request.version)))
    yield Change(
        subject="expires", text=_arrow(_day(before.expires) if before else None, _day(request.next_team.expires))
    )
    yield from _rule(request.role, team_rule(top, request.role) if top else None, request.rule)
    old = dict(before.targets) if before else {}
    new = request.next_team.targets
    for path in sorted(new.keys() | old.keys()):
        name = visible(path.removeprefix("releases/").removesuffix(".json"))
        if path not in old:
            yield Change(subject="release", text=f"+ {name}  manifest sha256:{new[path].hashes.get('sha256', '')}")
        elif path not in new:
            yield Change(subject="release", text=f"- {name}, which was published: a release never goes away")
        elif old[path] != new[path]:
            yield Change(subject="release", text=f"changes {name}, which was published: a release never changes")


def _waiver(request: Request) -> Iterator[Change]:
    found = of_tree(request.signed)
    stamp = found.timestamp
    yield Change(subject="timestamp", text=f"{stamp.version}, sha256:{stamp.sha256}")
    yield Change(subject="site", text=found.site or "every site")
    yield Change(subject="holds", text=f"from {found.issued} to {found.expires}")
    yield Change(subject="reason", text=visible(found.reason))


def team_rule(targets: Targets, team: str) -> Rule | None:
    """The rule by which `targets` delegates to `team`."""
    if targets.delegations is None or team not in (targets.delegations.roles or {}):
        return None
    role = (targets.delegations.roles or {})[team]
    return Rule(keys=tuple(targets.delegations.keys[keyid] for keyid in role.keyids), threshold=role.threshold)


def named(key: Key) -> str:
    """A key as a holder compares it."""
    return f"{key.keyid} ({key.scheme})"


def required(request: Request) -> Sequence[str]:
    """Who must sign, and who has, a line for each quorum."""
    lines = []
    for quorum in request.quorums:
        have = [keyid[:8] for keyid in quorum.rule.ids if keyid in request.signatures]
        need = f"{quorum.rule.threshold} of {len(quorum.rule.keys)} keys of {quorum.whose}"
        if quorum.whose == "the keys that are new":
            need = (
                f"all {len(quorum.rule.keys)} keys that are new" if len(quorum.rule.keys) > 1 else "the key that is new"
            )
        known = " ".join(keyid[:8] for keyid in quorum.rule.ids)
        lines.append(f"{need} ({known}): {len(have)} signed" + (f", {' '.join(have)}" if have else ""))
    return lines


def _of(rule: Rule) -> str:
    return f"{rule.threshold} of {len(rule.keys)}"


def _day(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d}"


def _arrow(old: str | None, new: str) -> str:
    return new if old is None else f"{old} → {new}" if old != new else f"{new}, as before"
