"""The rehearsal: what an export would seal, found out without writing to the depot.

It reads a published state, which is one consistent set of files at any time, so it takes no lock. What must be
fetched and is not in the depot's cache goes to a temporary place, and with it at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sealift.digest import sha256
from sealift.listing import Blob
from sealift.manifest import Part, Release, ReleaseBlob, encode
from sealift.progress import Progress

from .archives.inflations import Inflations
from .bases import bases_for
from .depots import sites
from .depots.depot import Depot
from .depots.holding import Holding, in_folder, of_depot
from .depots.published import Reference, published_release, require
from .differences.patching import Difference, difference, size_of
from .exporting import check_places
from .reliance import probes_of, reliance
from .scratch import scratch
from .sealing import Effort, check_lock, check_same, lock_of, release_of, seal_in
from .source import Workshop
from .spec import Spec

if TYPE_CHECKING:
    from keys.repository import State
    from sealift.receipt import Statement


OFFERED = 2
"""Releases of the depot that a rehearsal compares with at most, the newest ones, where it is told none."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A way to carry a release."""

    base: tuple[str, ...]
    """What it would be a difference to; nothing where it is whole."""
    size: int
    """Bytes of the files that would cross, without metadata."""
    inside: Inflations
    """What of it would travel inflated."""
    needs: tuple[str, ...] = ()
    """Programs that the sites are not known to have, and that it would need there."""


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """A release as it would be exported."""

    release: Release
    manifest: str
    """The digest of its manifest."""
    new: bool
    """Whether it is not published yet; if it is, the content is the same."""
    choices: tuple[Choice, ...]
    """How large it would be, whole and as a difference."""


def rehearse(
    wanted: Sequence[Spec | Reference],
    depot: Depot,
    out: Path,
    *,
    effort: Effort,
    progress: Progress,
    since: Sequence[Reference] = (),
    receipts: Sequence[Statement] = (),
) -> tuple[Rehearsed, ...]:
    """Collect and pack what is wanted, and compare it with what the depot published.

    Args:
        wanted: as for `exporting.export`.
        depot: is read only.
        out: the bundle that would be written.
        effort: levels and workers.
        progress: told the bytes read.
        since: releases that the sites hold; else the newest of the depot are tried.
        receipts: of the sites that it would be for.

    Raises:
        UsageError: a release was published with other content, is unknown, or would hold the depot or `out`.
        SourceError: a source cannot be collected, or differs from its lock.
        TrustError: the depot's metadata does not verify.
        StoreError: a temporary file cannot be written.
    """
    from keys.repository import verify

    check_places(wanted, depot, out)
    state = verify(depot.folder)
    known = tuple(sites.accept(depot, each, state.fingerprint) for each in receipts)

    def choices(holding: Holding) -> tuple[Choice, ...]:
        release = holding.release
        relied = reliance(known)

        def compared(bases: Sequence[Holding], rebuilders: Mapping[str, str]) -> Difference:
            with scratch() as folder:
                return difference(
                    holding,
                    bases,
                    folder,
                    level=effort.difference_level,
                    workers=effort.threads,
                    progress=progress,
                    inflate=effort.inflate and (relied.zlib or effort.small),
                    zlib=relied.zlib,
                    rebuilders=rebuilders,
                    small=effort.small,
                )

        if since or known:
            ways = [bases_for(release, depot, state, since=since, sites=known)]
        else:
            ways = [(base,) for base in _newest(depot, state, release)]
        found = [Choice(base=(), size=size_of(holding), inside=Inflations())]
        for bases in ways:
            if bases:
                labels = tuple(base.release.label for base in bases)
                made = compared(bases, relied.rebuilders)
                found.append(Choice(base=labels, size=made.size, inside=made.inside))
                if needs := tuple(made.inside.missed):
                    made = compared(bases, {**relied.rebuilders, **probes_of(needs)})
                    found.append(Choice(base=labels, size=made.size, inside=made.inside, needs=needs))
        return tuple(found)

    return tuple(_rehearsed(each, depot, state, choices, effort, progress) for each in wanted)


def _newest(depot: Depot, state: State, release: Release) -> list[Holding]:
    """The newest releases of the same name that the depot published."""
    entries = [each for each in state.entries if each.name == release.name and each.version != release.version]
    entries.sort(key=lambda each: each.published, reverse=True)
    return [
        of_depot(
            depot, depot.release(Blob(sha256=each.sha256, length=each.length)), depot.part(release.name, each.version)
        )
        for each in entries[:OFFERED]
        if each.version
    ]


def _rehearsed(
    wanted: Spec | Reference,
    depot: Depot,
    state: State,
    choices: Callable[[Holding], tuple[Choice, ...]],
    effort: Effort,
    progress: Progress,
) -> Rehearsed:
    def published(blob: Blob) -> Rehearsed:
        former = depot.release(blob)
        holding = of_depot(depot, former, depot.part(former.name, former.version))
        return Rehearsed(release=former, manifest=blob.sha256, new=False, choices=choices(holding))

    if isinstance(wanted, Reference):
        return published(require(state, depot, wanted.name, wanted.version))
    lock = lock_of(wanted)
    known = published_release(state, wanted.name, wanted.version)
    progress.start(f"reading {wanted.name}@{wanted.version}")
    with scratch() as folder:
        workshop = Workshop(
            base=wanted.base, cache=folder, progress=progress, spare=depot.folder / "cache", depot=depot.folder
        )
        packed = seal_in(folder, wanted, lock, workshop, effort=effort, keep=known is None)
        progress.finish()
        check_lock(lock, packed)
        release, _ = release_of(wanted, packed, lock)
        if known is None:
            content = encode(release)
            said = ReleaseBlob(name=release.name, version=release.version, sha256=sha256(content), length=len(content))
            holding = in_folder(folder, release, Part(release=said, index=packed.index, packs=packed.packs))
            return Rehearsed(release=release, manifest=said.sha256, new=True, choices=choices(holding))
    check_same(release, depot.release(known))
    return published(known)
