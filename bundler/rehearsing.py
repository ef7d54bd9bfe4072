"""The rehearsal: what an export would seal, found out without writing to the depot.

It reads a published state, which is one consistent set of files at any time, so it takes no lock. What must be
fetched and is not in the depot's cache goes to a temporary place, and with it at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sealift.digest import sha256
from sealift.manifest import Release, encode
from sealift.progress import Progress

from .depot import Depot
from .exporting import Reference, check_places, published_release, require
from .scratch import scratch
from .sealing import Effort, check_lock, check_same, digests, lock_of, release_of
from .sources import Workshop
from .spec import Spec

if TYPE_CHECKING:
    from keys.repository import State


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """A release as it would be exported."""

    release: Release
    manifest: str
    """The digest of its manifest."""
    new: bool
    """Whether it is not published yet; if it is, the content is the same."""


def rehearse(
    wanted: Sequence[Spec | Reference], depot: Depot, out: Path, *, effort: Effort, progress: Progress
) -> tuple[Rehearsed, ...]:
    """Collect and hash what is wanted, and compare it with what the depot published.

    Args:
        wanted: as for `exporting.export`.
        depot: is read only.
        out: the bundle that would be written.
        effort: workers.
        progress: told the bytes read.

    Raises:
        UsageError: a release was published with other content, is unknown, or would hold the depot or `out`.
        SourceError: a source cannot be collected, or differs from its lock.
        TrustError: the depot's metadata does not verify.
        StoreError: a temporary file cannot be written.
    """
    from keys.repository import verify

    check_places(wanted, depot, out)
    state = verify(depot.folder)
    return tuple(_rehearsed(each, depot, state, effort, progress) for each in wanted)


def _rehearsed(wanted: Spec | Reference, depot: Depot, state: State, effort: Effort, progress: Progress) -> Rehearsed:
    if isinstance(wanted, Reference):
        blob = require(state, depot, wanted.name, wanted.version)
        return Rehearsed(release=depot.release(blob), manifest=blob.sha256, new=False)
    lock = lock_of(wanted)
    progress.start(f"reading {wanted.name}@{wanted.version}")
    with scratch() as folder:
        workshop = Workshop(base=wanted.base, cache=folder, progress=progress, spare=depot.folder / "cache")
        packed = digests(wanted, lock, workshop, effort=effort)
    progress.finish()
    check_lock(lock, packed)
    release = release_of(wanted, packed)
    known = published_release(state, wanted.name, wanted.version)
    if known is None:
        return Rehearsed(release=release, manifest=sha256(encode(release)), new=True)
    former = depot.release(known)
    check_same(release, former)
    return Rehearsed(release=former, manifest=known.sha256, new=False)
