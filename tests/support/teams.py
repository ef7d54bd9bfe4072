"""Delegated roles for a depot of `tests.tufmaker`: teams that sign for their own namespace, honestly or not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from securesystemslib.signer import Signer

from tests.tufmaker import FUTURE, Depot, Tree, key_id, key_tree, load, seal, signer


@dataclass(frozen=True, kw_only=True, eq=False)
class Team:
    """A role that top-level targets delegate to."""

    name: str = "team-a"
    keys: Sequence[Signer] = field(default_factory=lambda: [signer()])
    threshold: int = 1

    def rule(self, **changes: object) -> Tree:
        """What the delegation says of it."""
        return {
            "name": self.name,
            "keyids": [key_id(key) for key in self.keys],
            "threshold": self.threshold,
            "terminating": True,
            "paths": [f"releases/{self.name}/*/*.json"],
            **changes,
        }

    def targets(
        self,
        version: int = 1,
        files: Mapping[str, Tree] | None = None,
        *,
        expires: str = FUTURE,
        keys: Sequence[Signer] | None = None,
        **more: object,
    ) -> bytes:
        """Its own targets metadata."""
        signed = {"_type": "targets", "spec_version": "1.0.31", "version": version, "expires": expires}
        return seal({**signed, "targets": dict(files or {}), **more}, self.keys if keys is None else keys)


def delegations(*teams: Team, **more: Any) -> Tree:
    """The delegations of top-level targets to `teams`."""
    keys = {key_id(key): key_tree(key) for team in teams for key in team.keys}
    return {"keys": keys, "roles": [team.rule() for team in teams], **more}


def offer(
    depot: Depot,
    version: int = 1,
    *,
    teams: Mapping[Team, bytes] | None = None,
    said: Tree | None = None,
    files: Mapping[str, Tree] | None = None,
    roots: Mapping[int, bytes] | None = None,
    expires: Mapping[str, str] | None = None,
    listed: Mapping[str, int] | None = None,
) -> dict[str, bytes]:
    """The metadata of a bundle with the metadata of `teams`.

    Args:
        depot: whose top-level keys sign.
        version: of timestamp, snapshot and targets.
        teams: each with its file.
        said: the delegations, where they are not those to `teams`.
        files: what the top-level targets list.
        roots: the root chain.
        expires: when a top-level role does.
        listed: further names that the snapshot lists, with their versions.
    """
    until = {**dict.fromkeys(("timestamp", "snapshot", "targets"), FUTURE), **(expires or {})}
    own = teams or {}
    more = {"delegations": said if said is not None else delegations(*own)}
    targets = depot.targets(version, files, expires=until["targets"], **more)
    meta = {"targets.json": _meta(targets)}
    meta |= {f"{team.name}.json": _meta(content) for team, content in own.items()}
    meta |= {name: {"version": number} for name, number in (listed or {}).items()}
    head = {"spec_version": "1.0.31", "version": version}
    snapshot = seal({"_type": "snapshot", "expires": until["snapshot"], "meta": meta, **head}, depot.keys["snapshot"])
    return {
        **{f"{number}.root.json": content for number, content in (roots or {}).items()},
        "timestamp.json": depot.timestamp(version, snapshot, expires=until["timestamp"]),
        f"{version}.snapshot.json": snapshot,
        f"{version}.targets.json": targets,
        **{f"{load(content)['signed']['version']}.{team.name}.json": content for team, content in own.items()},
    }


def _meta(content: bytes) -> Tree:
    return {
        "version": load(content)["signed"]["version"],
        "length": len(content),
        "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
    }
