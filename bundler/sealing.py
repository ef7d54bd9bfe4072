"""Sealing: a spec becomes a release, once. The same content again is the same release; other content is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from sealift import FORMAT
from sealift.digest import sha256
from sealift.durable import make_folder
from sealift.errors import UsageError
from sealift.listing import Blob
from sealift.manifest import Artifact, Part, Release, ReleaseBlob, encode
from sealift.plugins import kinds
from sealift.progress import Progress
from sealift.provenance import Statement

from . import lock as locks
from .depots.depot import Depot
from .lookout import Lookout
from .parts.packing import Packed, pack
from .provenance import statement_of
from .scratch import scratch
from .source import Found, Workshop, kind_made_by
from .spec import Spec, Wanted


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """A release in the depot, and whether it was there before."""

    part: Part
    release: Release
    new: bool


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much work to put into sealing."""

    level: int
    """zstd's compression level, 1 to 22."""
    threads: int
    """Worker processes."""
    difference_level: int = 3
    """zstd's level of what is compressed against a base, 1 to 22."""
    inflate: bool = True
    """Whether archives may travel inflated in a difference."""
    small: bool = False
    """Whether what nothing rebuilds of them travels as tokens in a difference, which takes long."""


def gather(
    spec: Spec, lock: locks.Lock | None, workshop: Workshop, lookout: Lookout
) -> list[tuple[str, Iterator[Found]]]:
    """What the sources of a spec find, by artifact, in the order of the release manifest.

    Args:
        spec: what is wanted.
        lock: what its sources are pinned to.
        workshop: what they may use.
        lookout: sees all that is found.

    Raises:
        SourceError: a source cannot be collected.
    """
    sources = kinds("bundler.sources", "sealift.sources")
    found = []
    for wanted in spec.artifacts:
        source, want = sources[wanted.source], pinned(lock, wanted)
        entries = source.collect(want, workshop)
        found.append((wanted.name, lookout.over(wanted.name, kind_made_by(source, want), entries)))
    return found


def pinned(lock: locks.Lock | None, wanted: Wanted) -> Mapping[str, Any]:
    """What the spec wants, with what the lock pins."""
    return locks.apply(lock, wanted.name, wanted.source, wanted.want) if lock else wanted.want


def seal(spec: Spec, depot: Depot, known: Callable[[], Blob | None], *, effort: Effort, progress: Progress) -> Sealed:
    """Make the release of `spec` in the depot, or find that it is the one that was published.

    Whether there is one, only the signed metadata says, which takes a while to load: where the depot has no
    record of such a release, it is packed meanwhile.

    Args:
        spec: what to seal.
        depot: the depot, whose lock the caller holds.
        known: finds the manifest of the release of that name and version that was published, if there is one.
        effort: level and workers.
        progress: told the bytes read.

    Raises:
        SourceError: a source cannot be collected, or differs from the lock.
        UsageError: the release was published with other content, or its templates or their schema cannot be used.
        StoreError: the disk refuses.
    """
    lock = lock_of(spec)
    workshop = Workshop(base=spec.base, cache=depot.folder / "cache", progress=progress, depot=depot.folder)
    progress.start(f"sealing {spec.name}@{spec.version}")
    published = known() if depot.remembers(spec.name, spec.version) else None
    if published:
        packed = digests(spec, lock, workshop, effort=effort, parent=depot.folder)
    else:
        lookout = Lookout(spec)
        packed = pack(
            gather(spec, lock, workshop, lookout),
            depot.folder,
            level=effort.level,
            workers=effort.threads,
            progress=progress,
            meanwhile=known,
        )
        packed = replace(packed, values=lookout.seen())
        published = known()
    progress.finish()
    check_lock(lock, packed)
    release, statement = release_of(spec, packed, lock)
    if published:
        former = depot.release(published)
        check_same(release, former)
        return Sealed(part=depot.part(spec.name, spec.version), release=former, new=False)
    depot.keep_manifest(statement)
    blob, _ = depot.keep_manifest(release)
    said = ReleaseBlob(name=spec.name, version=spec.version, sha256=blob.sha256, length=blob.length)
    part = Part(release=said, index=packed.index, packs=packed.packs)
    depot.record(part)
    return Sealed(part=part, release=release, new=True)


def lock_of(spec: Spec) -> locks.Lock | None:
    """The lock beside a spec, or None if there is none.

    Raises:
        UsageError: it was made for another release or version.
        MalformedError: it is no lock.
        StoreError: it cannot be read.
    """
    lock = locks.read(locks.path_of(spec.path))
    if lock:
        locks.check_label(lock, spec.name, spec.version)
    return lock


def check_lock(lock: locks.Lock | None, packed: Packed) -> None:
    """Refuse content that differs from a lock, where there is one.

    Raises:
        SourceError: it does.
    """
    for artifact in packed.artifacts if lock else ():
        locks.check(lock, artifact.name, artifact.digest)


def release_of(spec: Spec, packed: Packed, lock: locks.Lock | None) -> tuple[Release, Statement]:
    """The manifest of what a spec resolved to, and the statement of its provenance, which it names.

    Raises:
        SourceError: the statement is longer than a release can hold.
    """
    statement = statement_of(spec, lock, packed)
    content = encode(statement)
    sources = kinds("bundler.sources", "sealift.sources")
    kind_of = {wanted.name: kind_made_by(sources[wanted.source], pinned(lock, wanted)) for wanted in spec.artifacts}
    artifacts = tuple(msgspec.structs.replace(each, kind=kind_of[each.name]) for each in packed.artifacts)
    release = Release(
        format=FORMAT,
        type="release",
        name=spec.name,
        version=spec.version,
        artifacts=artifacts,
        hooks=spec.hooks,
        values=packed.values,
        provenance=Blob(sha256=sha256(content), length=len(content)),
    )
    return release, statement


def digests(
    spec: Spec, lock: locks.Lock | None, workshop: Workshop, *, effort: Effort, parent: Path | None = None
) -> Packed:
    """Find the digests of what a spec resolves to, and keep nothing.

    Args:
        spec: what is collected.
        lock: what its sources are pinned to.
        workshop: what they may use.
        effort: level and workers.
        parent: where listings lie meanwhile; the system's place for temporary files if None.

    Raises:
        SourceError: a source cannot be collected.
        StoreError: the disk refuses.
    """
    with scratch(parent) as folder:
        return seal_in(folder, spec, lock, workshop, effort=effort, keep=False)


def seal_in(
    folder: Path, spec: Spec, lock: locks.Lock | None, workshop: Workshop, *, effort: Effort, keep: bool
) -> Packed:
    """Pack what a spec resolves to into a scratch folder.

    Args:
        folder: a scratch folder.
        spec: what is collected.
        lock: what its sources are pinned to.
        workshop: what they may use.
        effort: level and workers.
        keep: whether to compress and write content; without, only digests are found.

    Raises:
        SourceError: a source cannot be collected.
        StoreError: the disk refuses.
    """
    for name in ("trees", "index", "packs"):
        make_folder(folder / name)
    lookout = Lookout(spec)
    packed = pack(
        gather(spec, lock, workshop, lookout),
        folder,
        level=effort.level,
        workers=effort.threads,
        progress=workshop.progress,
        keep=keep,
    )
    return replace(packed, values=lookout.seen())


def check_same(release: Release, former: Release) -> None:
    """Refuse a release that has other content than the published one of its name and version.

    Raises:
        UsageError: it has.
    """
    now, before = _identities(release.artifacts), _identities(former.artifacts)
    different = sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))
    if release.hooks != former.hooks:
        different.append("hooks")
    if release.values != former.values:
        different.append("values")
    if different:
        raise UsageError(
            f"{former.label} was already published with other content (what differs: {', '.join(different)})",
            hint="a release never changes: give it a new version",
        )


def _identities(artifacts: tuple[Artifact, ...]) -> dict[str, tuple[str, str]]:
    return {artifact.name: (artifact.kind, artifact.digest) for artifact in artifacts}
