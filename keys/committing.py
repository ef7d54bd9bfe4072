"""Putting signed metadata into a depot so that a reader, or a kill at any instant, sees the old state or the new one.

Files whose names bear a version are written first: nothing names them yet. Then comes one rename, the commit:
- without a new root, that of `timestamp.json`;
- with a new root, that of `N.root.json`. Where it changes the online keys, the timestamp that these keys signed lies
  beside it as `N.timestamp.json` before, counts from the commit on, and takes the place of `timestamp.json` after it
  (`finish`), or at the beginning of the next publication if that was killed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from securesystemslib.signer import Signer
from tuf.api.metadata import MetaFile, Root, TargetFile, Targets

from sealift.durable import storing, sync_folder, write_file

from .metadata import sign_all
from .state import State, stamp_of


def renewed(targets: Targets, expires: datetime, *, additions: Mapping[str, TargetFile] | None = None) -> Targets:
    """The next version of top-level targets, which list `additions` besides."""
    return Targets(
        version=targets.version + 1,
        expires=expires,
        targets={**targets.targets, **(additions or {})},
        delegations=targets.delegations,
        unrecognized_fields=targets.unrecognized_fields,
    )


def commit(
    state: State,
    targets: Targets,
    signer: Signer,
    *,
    teams: Mapping[str, bytes] | None = None,
    root: tuple[Root, bytes] | None = None,
) -> None:
    """Publish `targets`, and what comes with them, over `state`.

    Args:
        state: the depot's, whose lock the caller holds.
        targets: the next top-level targets.
        signer: the online key.
        teams: new metadata of teams, signed, by team.
        root: the next root and its file, where that changes the online keys.

    Raises:
        TrustError: the signer is not entitled, or made a signature that is not its key's.
        UsageError: the targets are more than a site accepts.
        StoreError: the disk refused; the former state stays, or the new one is complete.
    """
    others = {name: meta for name, meta in state.snapshot.meta.items() if name != "targets.json"}
    files = {}
    for team, content in (teams or {}).items():
        version = state.teams[team].version + 1 if team in state.teams else 1
        others[f"{team}.json"] = MetaFile.from_data(version, content, ["sha256"])
        files[f"{version}.{team}.json"] = content
    contents = sign_all(
        targets,
        root[0] if root else state.root,
        signer,
        others=others,
        snapshot_version=state.snapshot.version + 1,
        timestamp_version=state.timestamp.version + 1,
    )
    for name, content in files.items():
        write_file(state.folder / name, content)
    for name, content in contents.items():
        stamp = stamp_of(state.folder, root[0].version) if root and name == "timestamp.json" else state.folder / name
        write_file(stamp, content)
    if root:
        write_file(state.folder / f"{root[0].version}.root.json", root[1])
        finish(state.folder, root[0].version)


def begin(folder: Path, root: tuple[Root, bytes], contents: Mapping[str, bytes]) -> None:
    """Publish a first root over nothing: its file is the commit.

    Raises:
        StoreError: the disk refused; there is no root, or all is there.
    """
    for name, content in contents.items():
        write_file(folder / name, content)
    write_file(folder / f"{root[0].version}.root.json", root[1])


def commit_root(folder: Path, version: int, content: bytes) -> None:
    """Publish a root that leaves the online keys as they are.

    Raises:
        StoreError: the disk refused; the former root stays, or the new one is there.
    """
    stale = stamp_of(folder, version)
    with storing(stale):
        if stale.exists():  # of another root of this version, which was killed before its commit
            stale.unlink()
            sync_folder(folder)
    write_file(folder / f"{version}.root.json", content)


def finish(folder: Path, root: int) -> None:
    """Let the timestamp that came with root `root` take the place of `timestamp.json`, if it has not yet.

    Raises:
        StoreError: the disk refused; the state is the same either way.
    """
    stamp = stamp_of(folder, root)
    with storing(stamp):
        if stamp.exists():
            os.replace(stamp, folder / "timestamp.json")
            sync_folder(folder)
