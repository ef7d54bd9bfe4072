"""Locking: finding what a spec resolves to now, and writing it beside the spec or comparing it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sealift.errors import SourceError
from sealift.plugins import kinds
from sealift.progress import Progress

from . import lock as locks
from .depot import Depot
from .lock import Lock, Locked
from .overlap import check_apart
from .scratch import scratch
from .sealing import Effort, digests, lock_of
from .sources import Workshop
from .spec import Spec


def resolve(spec: Spec, *, effort: Effort, progress: Progress, depot: Depot | None = None) -> tuple[Path, Lock]:
    """Write the lock of `spec`; return where it is and what it says.

    Args:
        spec: what is looked up.
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


@contextlib.contextmanager
def _workshop(spec: Spec, depot: Depot | None, progress: Progress) -> Iterator[Workshop]:
    with depot.lock() if depot else contextlib.nullcontext(), scratch() as folder:
        yield Workshop(base=spec.base, cache=depot.folder / "cache" if depot else folder, progress=progress)


def _check_places(spec: Spec, path: Path, depot: Depot | None) -> None:
    check_apart(spec, {"its own lock": path} | ({"the depot": depot.folder} if depot else {}))


def _digests(spec: Spec, lock: Lock, workshop: Workshop, effort: Effort) -> dict[str, str]:
    workshop.progress.start(f"reading {spec.name}@{spec.version}")
    packed = digests(spec, lock, workshop, effort=effort)
    workshop.progress.finish()
    return {artifact.name: artifact.digest for artifact in packed.artifacts}
