"""Locking: finding what a spec resolves to now, and writing it beside the spec or comparing it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from sealift.errors import MalformedError, SourceError
from sealift.plugins import kinds
from sealift.progress import Progress

from . import lock as locks
from .depots.depot import Depot
from .lock import Lock, Locked
from .overlap import check_apart
from .scratch import scratch
from .sealing import Effort, digests, lock_of
from .source import Workshop
from .spec import Spec


def resolve(
    spec: Spec, *, effort: Effort, progress: Progress, now: datetime, depot: Depot | None = None
) -> tuple[Path, Lock]:
    """Write the lock of `spec`; return where it is and what it says.

    Args:
        spec: what is looked up.
        now: the time that the lock says of what is new or has changed since the lock that is there.
        effort: workers.
        progress: told the bytes fetched and read.
        depot: whose cache keeps what is fetched, for the export; it is locked meanwhile. Without one, all of it
            goes to a temporary folder and is fetched again.

    Raises:
        UsageError: an artifact would hold the lock itself, or the depot.
        SourceError: a source cannot be collected.
        StoreError: the disk refuses.
    """
    path = locks.path_of(spec.path)
    _check_places(spec, path, depot)
    with _workshop(spec, depot, progress) as workshop:
        sources = kinds("bundler.sources", "sealift.sources")
        pins = {wanted.name: sources[wanted.source].pin(wanted.want, workshop) for wanted in spec.artifacts}
        provisional = Lock(
            release=spec.name,
            version=spec.version,
            artifacts={
                wanted.name: locks.locked(
                    wanted.source, wanted.want, pins[wanted.name], "", schema=sources[wanted.source].SCHEMA
                )
                for wanted in spec.artifacts
            },
        )
        found = _digests(spec, provisional, workshop, effort)
    lock = Lock(
        release=spec.name,
        version=spec.version,
        artifacts={
            name: Locked(source=entry.source, digest=found[name], pins=entry.pins)
            for name, entry in provisional.artifacts.items()
        },
    )
    lock = _timed(lock, path, f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
    locks.write(path, lock)
    return path, lock


def check(spec: Spec, *, effort: Effort, progress: Progress, depot: Depot | None = None) -> tuple[Path, Lock]:
    """Compare what `spec` resolves to with its lock, and write nothing but the cache of `depot`, if it is given.

    Raises:
        UsageError: an artifact would hold the lock itself, or the depot, or the lock is another release's.
        SourceError: there is no lock, a source cannot be collected, or it differs from the lock.
    """
    path = locks.path_of(spec.path)
    _check_places(spec, path, depot)
    lock = lock_of(spec)
    if lock is None:
        raise SourceError(f"there is no lock {path}", hint=f"write it: sealift-bundle lock {spec.path}")
    with _workshop(spec, depot, progress) as workshop:
        for name, digest in _digests(spec, lock, workshop, effort).items():
            locks.check(lock, name, digest)
    return path, lock


def _timed(lock: Lock, path: Path, now: str) -> Lock:
    """`lock` with the time of each artifact: the one in the lock at `path` where the artifact is the same there."""
    former: Mapping[str, Locked] = {}
    with contextlib.suppress(MalformedError):
        if (known := locks.read(path)) and (known.release, known.version) == (lock.release, lock.version):
            former = known.artifacts

    def one(name: str, entry: Locked) -> Locked:
        known = former.get(name)
        same = known is not None and known.time and replace(known, time="") == entry
        return known if known is not None and same else replace(entry, time=now)

    return replace(lock, artifacts={name: one(name, entry) for name, entry in lock.artifacts.items()})


@contextlib.contextmanager
def _workshop(spec: Spec, depot: Depot | None, progress: Progress) -> Iterator[Workshop]:
    with depot.lock() if depot else contextlib.nullcontext(), scratch() as folder:
        cache = depot.folder / "cache" if depot else folder
        yield Workshop(base=spec.base, cache=cache, progress=progress, depot=depot.folder if depot else None)


def _check_places(spec: Spec, path: Path, depot: Depot | None) -> None:
    check_apart(spec, {"its own lock": path} | ({"the depot": depot.folder} if depot else {}))


def _digests(spec: Spec, lock: Lock, workshop: Workshop, effort: Effort) -> dict[str, str]:
    workshop.progress.start(f"reading {spec.name}@{spec.version}")
    packed = digests(spec, lock, workshop, effort=effort)
    workshop.progress.finish()
    return {artifact.name: artifact.digest for artifact in packed.artifacts}
