"""Locking: finding what a spec resolves to now, and writing it beside the spec or comparing it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sealift.durable import storing
from sealift.errors import SourceError
from sealift.plugins import kinds
from sealift.progress import Progress

from . import lock as locks
from .lock import Lock, Locked
from .sealing import Effort, digests
from .sources import Workshop
from .spec import Spec


def resolve(spec: Spec, *, effort: Effort, progress: Progress) -> tuple[Path, Lock]:
    """Write the lock of `spec`; return where it is and what it says.

    Raises:
        SourceError: a source cannot be collected.
        StoreError: the disk refuses.
    """
    path = locks.path_of(spec.path)
    with _workshop(spec, progress) as workshop:
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


def check(spec: Spec, *, effort: Effort, progress: Progress) -> tuple[Path, Lock]:
    """Compare what `spec` resolves to with its lock, and write nothing.

    Raises:
        SourceError: there is no lock, a source cannot be collected, or it differs from the lock.
    """
    path = locks.path_of(spec.path)
    lock = locks.read(path)
    if lock is None:
        raise SourceError(f"there is no lock {path}", hint=f"write it: sealift-bundle lock {spec.path}")
    with _workshop(spec, progress) as workshop:
        for name, digest in _digests(spec, lock, workshop, effort).items():
            locks.check(lock, name, digest)
    return path, lock


@contextlib.contextmanager
def _workshop(spec: Spec, progress: Progress) -> Iterator[Workshop]:
    with storing(spec.base), tempfile.TemporaryDirectory(prefix="sealift-") as folder:
        yield Workshop(base=spec.base, cache=Path(folder), progress=progress)


def _digests(spec: Spec, lock: Lock, workshop: Workshop, effort: Effort) -> dict[str, str]:
    workshop.progress.start(f"reading {spec.name}@{spec.version}")
    packed = digests(spec, lock, workshop, effort=effort, scratch=workshop.cache)
    workshop.progress.finish()
    return {artifact.name: artifact.digest for artifact in packed.artifacts}
