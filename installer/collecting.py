"""Collecting garbage: what no environment uses and nobody asked to keep leaves the site."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

import msgspec

from sealift.durable import storing
from sealift.errors import StoreError
from sealift.manifest import Part
from sealift.progress import Progress, Silent

from .applying import Installation
from .deployments import Deployed, Deployments
from .records.event import event
from .records.folder import STORE
from .records.site import Site
from .records.state import Admitted
from .storage.remaking import sweep_rooms
from .storage.repacking import Wasteful, fitting, repack, wasteful
from .storage.store import Store

_Needs = Callable[[tuple[Admitted, ...]], set[Path]]


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What was removed, or would be."""

    releases: tuple[str, ...]
    files: int
    bytes: int
    folders: int
    """Folders of releases at targets; not known before they are removed."""
    packs: int
    """Packs of which little was needed, and that were packed anew."""
    saved: int
    """Bytes that this freed, nearly."""


def collect(
    site: Site,
    installation: Installation,
    *,
    keep: int,
    dry_run: bool,
    clock: Callable[[], datetime],
    progress: Progress | None = None,
) -> Collected:
    """Remove releases and store files that are not needed, and pack anew what is needed of packs in small part.

    Kept are the `keep` newest releases of each name, and whatever an environment runs, ran before, or is
    being changed to.

    Raises:
        StoreError: the disk refuses, another command is at work, or an environment uses what is not admitted.
        IntegrityError: a manifest that is kept is damaged, so that nobody knows what it needs; or another
            listing is, or a pack that is to be packed anew. What is not needed has left then.
    """
    with site.lock():
        used = _used(installation)
        _check_known(site, used)
        stay = _stay(site.state.admitted, keep, used)
        gone = tuple(each for each in site.state.admitted if each not in stay)
        store = Store(site.store)
        needs = _needs(store)
        needed = needs(stay)
        unneeded = [path for path in _files(site.store) if path not in needed]
        size = sum(path.stat().st_size for path in unneeded)
        folders = 0
        if not dry_run:
            sweep_rooms(store.folder)
            _remove_orphans(needs(site.state.admitted), unneeded)  # first: a full disk needs room to record the rest
            if gone:
                noted = event("removed", {"releases": [each.label for each in gone]}, clock())
                site.commit(msgspec.structs.replace(site.state, admitted=stay), [noted])
            for path in unneeded:
                with storing(path):
                    path.unlink(missing_ok=True)
            folders = _prune(installation)
        waste = wasteful(store, stay)
        if not dry_run:
            waste = fitting(store, waste)
            if waste:
                _repack(site, store, waste, clock(), progress or Silent(), needs)
    return Collected(
        releases=tuple(each.label for each in gone),
        files=len(unneeded),
        bytes=size,
        folders=folders,
        packs=len(waste),
        saved=sum(each.wasted for each in waste),
    )


def _repack(site: Site, store: Store, waste: list[Wasteful], now: datetime, progress: Progress, needs: _Needs) -> None:
    admitted = repack(store, site.state.admitted, waste, progress)
    noted = event("packed-anew", {"packs": sorted(each.pack.sha256 for each in waste)}, now)
    site.commit(msgspec.structs.replace(site.state, admitted=admitted), [noted])
    _remove_orphans(needs(admitted), _files(site.store))


def _check_known(site: Site, used: set[tuple[str, str]]) -> None:
    """Refuse while an environment runs what the site does not know any more: its content would be removed."""
    if unknown := sorted(used - {(each.name, each.version) for each in site.state.admitted}):
        name, version = unknown[0]
        raise StoreError(
            f"an environment uses {name}@{version}, which this site has not admitted since its trust was begun anew",
            hint="import the bundle that brought it again; then gc knows what it needs",
        )


def _remove_orphans(needed: set[Path], files: list[Path]) -> None:
    """Remove those of `files` that are not needed."""
    for path in files:
        if path not in needed:
            with storing(path):
                path.unlink()


def _used(installation: Installation) -> set[tuple[str, str]]:
    used = set()
    deployments = installation.deployments
    for name in deployments.names():
        used |= {(each.release, each.version) for each in _deployed(deployments, name)}
    return used


def _deployed(deployments: Deployments, name: str) -> list[Deployed]:
    """What an environment runs, ran before, and is being changed from and to."""
    journal = deployments.journal(name)
    states = [deployments.state(name), *([journal.before, journal.after] if journal else [])]
    return [each for state in states for each in (state.current, state.previous) if each]


def _stay(admitted: tuple[Admitted, ...], keep: int, used: set[tuple[str, str]]) -> tuple[Admitted, ...]:
    """Those to keep, in the order in which they were admitted."""
    newest: dict[str, list[Admitted]] = {}
    for each in admitted:
        newest.setdefault(each.name, []).append(each)
    kept = {(each.name, each.version) for group in newest.values() for each in (group[-keep:] if keep else [])}
    return tuple(each for each in admitted if (each.name, each.version) in kept | used)


def _needs(store: Store) -> _Needs:
    """Which files of the store releases need; each release's manifest is read once."""

    @cache
    def of(part: Part) -> tuple[Path, ...]:
        return tuple(path for path, _ in store.files_of(part))

    return lambda admitted: {path for each in admitted for path in of(each.part)}


def _files(store: Path) -> list[Path]:
    found = []
    for name in STORE:
        with storing(store / name):
            found += [store / name / file for file in sorted(os.listdir(store / name))]
    return found


def _prune(installation: Installation) -> int:
    deployments = installation.deployments
    names = deployments.names()
    states = [deployments.state(name) for name in names]
    keep = {each.identity for name in names for each in _deployed(deployments, name)}
    removed = 0
    for state in states:
        if state.current and not deployments.journal(state.environment):
            removed += installation.prune(state, keep)
    return removed
