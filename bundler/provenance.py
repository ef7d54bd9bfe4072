"""Provenance: what the sources of a release say of where it came from, as one statement.

Nothing in it is found out at export: the same spec and lock give the same statement, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator

from sealift.errors import SourceError
from sealift.manifest import MANIFEST_MAX, Artifact, encode
from sealift.names import visible
from sealift.plugins import kinds
from sealift.provenance import DEPENDENCIES_MAX, Annotations, Dependency, Statement, statement

from . import lock as locks
from .parts.packing import Packed
from .source import Trace, traces_of
from .spec import Spec, Wanted


def statement_of(spec: Spec, lock: locks.Lock | None, packed: Packed) -> Statement:
    """Where the artifacts of a spec came from.

    Raises:
        SourceError: there is more to say than a release can hold.
    """
    sources = kinds("bundler.sources", "sealift.sources")
    artifacts = {artifact.name: artifact for artifact in packed.artifacts}
    dependencies = tuple(
        _dependency(wanted, lock, trace)
        for wanted in spec.artifacts
        for trace in _traces(sources[wanted.source], wanted, lock, artifacts[wanted.name])
    )
    subjects = {artifact.name: artifact.digest for artifact in packed.artifacts}
    made = statement(spec.name, spec.version, subjects, dependencies)
    if len(dependencies) > DEPENDENCIES_MAX or len(encode(made)) > MANIFEST_MAX:
        raise SourceError(
            f"the provenance of {spec.name}@{spec.version} is longer than a release can hold: "
            f"{len(dependencies)} things were collected",
            hint="make several releases of it",
        )
    return made


def _traces(source: object, wanted: Wanted, lock: locks.Lock | None, artifact: Artifact) -> Iterator[Trace]:
    """What the source tells; where it tells nothing, the artifact as it was found."""
    want = locks.apply(lock, wanted.name, wanted.source, wanted.want)
    empty = True
    for trace in traces_of(source, want):
        empty = False
        yield trace
    if empty:
        yield Trace(name=wanted.name, digest={"sha256": artifact.digest})


def _dependency(wanted: Wanted, lock: locks.Lock | None, trace: Trace) -> Dependency:
    entry = lock.artifacts.get(wanted.name) if lock else None
    return Dependency(
        name=visible(trace.name),
        uri=trace.uri,
        digest=dict(trace.digest),
        annotations=Annotations(
            artifact=wanted.name,
            source=wanted.source,
            locked=entry.time if entry else "",
            signature=trace.signature,
            signers=tuple(trace.signers),
        ),
    )
