"""Sealing: a spec becomes a release once, and the same content is found to be the same."""

from __future__ import annotations

import hashlib

import pytest
from worlds import NOW, Connected, sample

from bundler.depots.published import published_release
from bundler.parts.packing import Packed
from bundler.sealing import Effort, Sealed, check_same, digests, release_of, seal
from bundler.source import Workshop
from bundler.spec import Spec, load
from keys.repository import verify
from sealift.errors import SourceError, UsageError
from sealift.hooks import Hook, Hooks
from sealift.manifest import Release, encode
from sealift.progress import Silent

SMALL = {"a": b"a" * 100, "d/b": b"b" * 200, "d/c": b"", "bin/check": b"#!/bin/sh\n"}
EFFORT = Effort(level=3, threads=1)


def sealed(connected: Connected, spec: Spec) -> Sealed:
    """Seal `spec` in the depot."""
    known = published_release(verify(connected.depot.folder), spec.name, spec.version)
    with connected.depot.lock():
        return seal(spec, connected.depot, lambda: known, effort=EFFORT, progress=Silent())


def found(connected: Connected, spec: Spec) -> Packed:
    """The digests of `spec`, found in a temporary place."""
    workshop = Workshop(base=spec.base, cache=connected.root, progress=Silent())
    return digests(spec, None, workshop, effort=EFFORT)


def release(connected: Connected, version: str = "1.0.0") -> Release:
    """The manifest of what a version's spec resolves to."""
    spec = load(connected.root / f"shop-{version}.yaml")
    return release_of(spec, found(connected, spec), None)[0]


def test_a_release_says_what_it_holds(connected: Connected) -> None:
    """Files and bytes of each artifact, in the order of their names."""
    spec = load(connected.spec("1.0.0", SMALL, more="  api: {source: path, path: shop-1.0.0/d}\n"))
    made = sealed(connected, spec)
    assert made.new
    assert [(each.name, each.kind, each.files, each.bytes) for each in made.release.artifacts] == [
        ("api", "files", 2, 200),
        ("web", "files", 4, 310),
    ]


def test_the_manifest_is_kept_under_its_digest(connected: Connected) -> None:
    """Canonical bytes, named by what they hash to."""
    made = sealed(connected, load(connected.spec("1.0.0", SMALL)))
    content = connected.depot.path("manifests", made.part.release).read_bytes()
    assert content == encode(made.release)
    assert made.part.release.sha256 == hashlib.sha256(content).hexdigest()


def test_sealing_publishes_nothing(connected: Connected) -> None:
    """Only signed metadata does, so that a seal that nothing followed may be replaced."""
    spec = connected.spec("1.0.0", SMALL)
    sealed(connected, load(spec))
    assert not verify(connected.depot.folder).entries
    (connected.root / "shop-1.0.0" / "a").write_bytes(b"other")
    assert sealed(connected, load(spec)).new


def test_digests_are_those_that_sealing_finds(connected: Connected) -> None:
    """Without compression or content, the artifacts are the same, trees included, and nothing is kept."""
    spec = load(connected.spec("1.0.0", sample()))
    before = sorted(connected.root.rglob("*"))
    packed = found(connected, spec)
    assert sorted(connected.root.rglob("*")) == before
    assert packed.artifacts == sealed(connected, spec).release.artifacts


def test_an_artifact_that_holds_nothing_is_refused(connected: Connected) -> None:
    """Patterns that take nothing are an error of the source."""
    spec = load(connected.spec("1.0.0", SMALL, more="    exclude: ['*']\n"))
    with pytest.raises(SourceError, match="nothing is in it that the patterns take"):
        sealed(connected, spec)


def test_what_differs_is_named(connected: Connected) -> None:
    """Artifacts that changed, came or went, and hooks; not the level or the worker."""
    connected.spec("1.0.0", SMALL, more="  api: {source: path, path: shop-1.0.0/d}\n")
    one = release(connected)
    check_same(one, one)
    connected.spec("1.0.0", {"a": b"other"}, more="  docs: {source: path, path: shop-1.0.0/d}\n")
    two = release(connected)
    with pytest.raises(UsageError, match=r"\(what differs: api, docs, web\)"):
        check_same(two, one)
    hooked = Release(
        format=1,
        type="release",
        name=one.name,
        version=one.version,
        artifacts=one.artifacts,
        hooks=Hooks(after_switch=(Hook(run=("x",)),)),
    )
    with pytest.raises(UsageError, match=r"\(what differs: hooks\)"):
        check_same(hooked, one)


def test_the_time_of_publication_is_not_part_of_a_release(connected: Connected) -> None:
    """It stands in the signed metadata, so that the same content is the same release at any time."""
    connected.bundle("1.0.0", SMALL)
    (entry,) = [entry for entry in verify(connected.depot.folder).entries if entry.kind == "release"]
    assert entry.published == f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
    manifest = connected.depot.path("manifests", connected.made["shop-1.0.0.sealift"].sealed[0].part.release)
    assert b"2026" not in manifest.read_bytes()
