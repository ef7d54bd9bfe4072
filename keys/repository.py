"""Publishing: the depot's targets, snapshot and timestamp, signed anew when there is something to say.

Invariants: a target, once listed, never changes; a version number is signed once; `timestamp.json` is written
last and is the commit, so a kill at any instant leaves the old state or the new one. The files of an
unfinished publication (one version above the current) are overwritten by the next.

The depot's lock is the caller's job: hold `sealift.durable.locked(depot / "lock", …)` around `publish` and
around whatever copies the files that it names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from securesystemslib.signer import Signer
from tuf.api.metadata import Root, TargetFile

from sealift.digest import check_form
from sealift.errors import MalformedError, PolicyError, TrustError, UsageError
from sealift.names import check_spaced, check_version, folded, visible

from . import depot as depots
from .committing import commit, finish, renewed
from .keyfile import load
from .lineup import Rule
from .pending import save
from .places import Secrets, open_signer
from .proposing import next_team
from .state import Entry, State, bundle_order, verify

__all__ = [
    "ROLE_DAYS",
    "Addition",
    "Entry",
    "Published",
    "State",
    "metadata_files",
    "online_signer",
    "publish",
    "team_signers",
    "verify",
]

ROLE_DAYS = 180
"""Days that targets, snapshot and timestamp live. Carriage is slow: a medium may wait weeks for an aeroplane
or a maintenance window, and what expires on the way is refused at the site."""

_PATH = re.compile(r"(releases)/((?:[^/]+/)?[^/]+)/([^/]+)\.json|(bundles)/([^/]+)\.json")


@dataclass(frozen=True, kw_only=True)
class Addition:
    """A manifest to be listed."""

    length: int
    """Bytes."""
    sha256: str
    kind: Literal["release", "bundle"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """The depot's current state after a publication."""

    root: int
    timestamp: int
    snapshot: int
    targets: int
    """The versions of the four roles."""
    files: tuple[Path, ...]
    """The metadata files in a bundle's order: every root, timestamp, snapshot, targets."""
    changed: bool
    """Whether anything was signed."""


def publish(
    depot: Path,
    additions: Mapping[str, Addition],
    *,
    signer_for: Callable[[Root], Signer],
    now: datetime,
    published: datetime,
    days: int = ROLE_DAYS,
    team_signers: Callable[[Rule], Sequence[Signer]] = lambda _: (),
) -> Published:
    """List `additions` in the depot's signed targets, or renew what is about to expire, or do nothing.

    Nothing is signed when every addition is listed already and more than half of `days` is left.

    Args:
        depot: the depot, whose lock the caller holds.
        additions: by target path, `releases/<name>/<version>.json` or `bundles/<sha256>.json`. What a team's
            namespace begins is listed by the team, and needs its signatures.
        signer_for: unlocks the online key; called once, and only when something is to be signed.
        now: the time, aware, by which expiry is judged and set.
        published: the time, aware, that the additions bear; `SOURCE_DATE_EPOCH` may have set it.
        days: how long the new metadata lives.
        team_signers: unlocks the keys of a team that are at hand, of its threshold or fewer.

    Raises:
        PolicyError: a team must sign first: its request now waits in the depot; or what one signed has expired.
            Nothing was published.
        UsageError: a release was already published with other content, there are too many, or `published`
            lies in the future.
        MalformedError: a target path or a file of the depot does not have its form.
        TrustError: the depot's metadata does not verify, the root has expired, or the key is not entitled.
        StoreError: the disk refused; the former state stays, or the new one is complete.
    """
    now = now.astimezone(UTC)
    if published > now + timedelta(days=1):
        raise UsageError(
            f"the time of publication lies in the future: {published:%Y-%m-%d}, and it is {now:%Y-%m-%d} here",
            hint="check SOURCE_DATE_EPOCH and this machine's clock",
        )
    state = verify(depot)
    if state.root.is_expired(now):
        raise TrustError(
            f"root {state.root.version} of {depot} expired on {state.root.expires:%Y-%m-%d}",
            hint="the holders of the root keys must sign a new root before anything can be published",
        )
    finish(state.folder, state.root.version)
    fresh, own = _fresh(state, additions, published)
    earliest = min(state.timestamp.expires, state.snapshot.expires, state.targets.expires)
    half = timedelta(days=days) / 2
    for team, signed in state.teams.items():
        if team not in own and signed.expires - now <= half:
            own[team] = {}
    teams = _team_files(depot, state, own, team_signers, now, days)
    if not fresh and not teams and earliest - now > half:
        return Published(
            root=state.root.version,
            timestamp=state.timestamp.version,
            snapshot=state.snapshot.version,
            targets=state.targets.version,
            files=state.files,
            changed=False,
        )
    commit(
        state,
        renewed(state.targets, now + timedelta(days=days), additions=fresh),
        signer_for(state.root),
        teams=teams,
    )
    versions = {team: signed.version + (team in teams) for team, signed in state.teams.items()}
    versions |= {team: 1 for team in teams if team not in state.teams}
    return Published(
        root=state.root.version,
        timestamp=state.timestamp.version + 1,
        snapshot=state.snapshot.version + 1,
        targets=state.targets.version + 1,
        files=bundle_order(
            state.folder, state.root.version, state.snapshot.version + 1, state.targets.version + 1, versions
        ),
        changed=True,
    )


def _team_files(
    depot: Path,
    state: State,
    own: Mapping[str, Mapping[str, TargetFile]],
    team_signers: Callable[[Rule], Sequence[Signer]],
    now: datetime,
    days: int,
) -> dict[str, bytes]:
    """The signed metadata of each team that has something to say, or an error and a request that waits."""
    files = {}
    for team, additions in own.items():
        request = next_team(state, team, now=now, days=days, additions=additions)
        for signer in team_signers(request.quorums[0].rule):
            request = request.sign(signer)
        if request.complete:
            files[team] = request.content()
        elif additions:
            path = save(depot, request, fresh=True)
            short = request.missing(request.quorums[0])
            raise PolicyError(
                f"{team} must sign its releases first: {short} more of its keys are needed",
                hint=f"let its holders sign {path} (sealift-keys sign), publish that (sealift-keys publish), "
                "and run this again",
            )
        elif now >= state.teams[team].expires:
            raise PolicyError(
                f"{team} has signed nothing new, and what it signed expired on {state.teams[team].expires:%Y-%m-%d}: "
                "no site would admit a bundle",
                hint=f"let it sign anew (sealift-keys renew {team}), or end it (sealift-keys dismiss {team})",
            )
    return files


def metadata_files(depot: Path) -> list[Path]:
    """The depot's current metadata files, verified, in a bundle's order: all roots, timestamp, snapshot, targets.

    Raises:
        UsageError, MalformedError, TrustError, StoreError: as `verify`.
    """
    return list(verify(depot).files)


def online_signer(depot: Path, secrets: Secrets, *, unsafe_unencrypted: bool = False) -> Callable[[Root], Signer]:
    """What `publish` takes to unlock the depot's online key.

    Args:
        depot: the depot.
        secrets: gives its passphrase or PIN; asked only when something is to be signed.
        unsafe_unencrypted: accept a key that lies in the clear.
    """

    def unlock(root: Root) -> Signer:
        settings = depots.settings(depot)
        for keyid in root.roles["timestamp"].keyids:
            place = settings.place(depot, keyid)
            if place is not None:
                return open_signer(place, root.keys[keyid], secrets, unsafe_unencrypted=unsafe_unencrypted)
        path = depots.online_key(depot)
        return load(path, lambda: secrets.existing(str(path)), unsafe_unencrypted=unsafe_unencrypted)

    return unlock


def team_signers(
    depot: Path, secrets: Secrets, *, unsafe_unencrypted: bool = False
) -> Callable[[Rule], Sequence[Signer]]:
    """What `publish` takes to unlock those keys of a team whose place the depot knows, as many as must sign.

    Args:
        depot: the depot.
        secrets: as for `online_signer`.
        unsafe_unencrypted: accept keys that lie in the clear.
    """

    def unlock(rule: Rule) -> Sequence[Signer]:
        settings = depots.settings(depot)
        known = [(place, key) for key in rule.keys if (place := settings.place(depot, key.keyid)) is not None]
        return [
            open_signer(place, key, secrets, unsafe_unencrypted=unsafe_unencrypted)
            for place, key in known[: rule.threshold]
        ]

    return unlock


def _fresh(
    state: State, additions: Mapping[str, Addition], published: datetime
) -> tuple[dict[str, TargetFile], dict[str, dict[str, TargetFile]]]:
    """What is not listed yet: at the top level, and by team."""
    stamp = published.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    before = {
        path: target for signed in (state.targets, *state.teams.values()) for path, target in signed.targets.items()
    }
    known = {folded(path): path for path in before}
    fresh: dict[str, TargetFile] = {}
    own: dict[str, dict[str, TargetFile]] = {}
    for path, addition in additions.items():
        label, team = _label(path, addition)
        listed = before.get(path)
        if listed is None:
            other = known.setdefault(folded(path), path)
            if other != path:
                raise UsageError(
                    f"{label} differs only by case from {visible(other)!r}, which is already published",
                    hint="give it a version that differs in more than case",
                )
            custom = {"custom": {"sealift": {"type": addition.kind, "published": stamp}}}
            file = TargetFile(addition.length, {"sha256": addition.sha256}, path, custom)
            if team:
                own.setdefault(team, {})[path] = file
            else:
                fresh[path] = file
        elif (listed.length, listed.hashes) != (addition.length, {"sha256": addition.sha256}):
            raise UsageError(
                f"{label} was already published with other content",
                hint="a release never changes: give it a new version",
            )
    return fresh, own


def _label(path: str, addition: Addition) -> tuple[str, str]:
    """What a target is called in a message, and the team whose it is."""
    found = _PATH.fullmatch(path)
    check_form(addition.sha256, path)
    if found and found[1] and addition.kind == "release":
        team = found[2].partition("/")[0] if "/" in found[2] else ""
        return f"release {check_spaced(found[2])} {check_version(found[3])}", team
    if found and found[4] and addition.kind == "bundle" and found[5] == addition.sha256:
        return f"bundle {addition.sha256[:16]}", ""
    raise MalformedError(f"{visible(path)[:120]!r} is no target path of a {addition.kind}")
