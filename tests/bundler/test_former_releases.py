"""Source `release`: an artifact that the depot published before becomes part of another release."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from images import sample as image_sample
from worlds import NOW, Connected, Isolated, sample

from bundler import lock as locks
from bundler.locking import resolve
from bundler.sealing import Effort
from bundler.spec import load
from sealift.errors import IntegrityError, SourceError, TrustError, UsageError
from sealift.manifest import Release
from sealift.progress import Silent

SMALL = {"a": b"a" * 100, "d/b": b"b" * 200, "empty": b"", "bin/check": b"#!/bin/sh\n"}


def combined(connected: Connected, version: str = "1.0", *, keys: str = "release: shop@1.0.0") -> Path:
    """A spec of the release `all` whose artifact `shop` is one of a former release, and its lock."""
    spec = connected.root / f"all-{version}.yaml"
    spec.write_text(f"release: all\nversion: '{version}'\nartifacts:\n  shop:\n    source: release\n    {keys}\n")
    effort = Effort(level=1, threads=1)
    resolve(load(spec, lint=True, pinned=False), effort=effort, progress=Silent(), now=NOW, depot=connected.depot)
    return spec


def sealed(connected: Connected, bundle: Path) -> Release:
    """The release of a bundle that was just exported."""
    (each,) = connected.made[bundle.name].sealed
    return each.release


def test_its_tree_is_the_very_same(connected: Connected) -> None:
    """Small files, large ones of many chunks, empty ones, links and execute bits: one digest, and no new content."""
    connected.spec("1.0.0", sample())
    (connected.root / "shop-1.0.0" / "link").symlink_to("bin/check")
    former = sealed(connected, connected.export(connected.root / "shop-1.0.0.yaml"))
    shutil.rmtree(connected.root / "shop-1.0.0")
    again = sealed(connected, connected.export(combined(connected)))
    assert again.artifacts[0].digest == former.artifacts[0].digest
    assert again.artifacts[0].name == "shop"


def test_services_are_released_apart_and_combined(connected: Connected, isolated: Isolated) -> None:
    """A site gets the combination, and its provenance says which releases it is made of."""
    connected.bundle("1.0.0", SMALL)
    connected.bundle("2.0.0", {"api": b"api\n"}, release="api")
    keys = "release: shop@1.0.0\n  api:\n    source: release\n    release: api@2.0.0"
    bundle = connected.export(combined(connected, keys=keys))
    isolated.admit(bundle)
    release = sealed(connected, bundle)
    assert [(each.name, each.files) for each in release.artifacts] == [("api", 1), ("shop", 4)]
    assert release.provenance
    said = connected.depot.path("manifests", release.provenance).read_text()
    assert "urn:sealift:release:shop@1.0.0" in said
    assert "urn:sealift:release:api@2.0.0" in said


def test_a_combination_is_small_as_a_difference(connected: Connected, isolated: Isolated) -> None:
    """What a site holds of the former release does not cross again."""
    isolated.admit(connected.bundle("1.0.0", sample()))
    bundle = connected.export(combined(connected), since=["shop@1.0.0"])
    assert bundle.stat().st_size < 60_000
    isolated.admit(bundle)


def test_its_kind_stays(connected: Connected) -> None:
    """An image of a former release is an image in the new one."""
    connected.export(connected.images("1.0.0", image_sample(1)))
    release = sealed(connected, connected.export(combined(connected)))
    assert release.artifacts[0].kind == "oci"


def test_it_is_pinned_by_the_manifest(connected: Connected, another: Callable[..., Connected]) -> None:
    """Another depot with another release of that name is refused: exit 3."""
    connected.bundle("1.0.0", SMALL)
    spec = combined(connected)
    entry = locks.read(locks.path_of(spec))
    assert entry
    assert entry.artifacts["shop"].pins["artifact"] == "web"
    other = another("other")
    other.bundle("1.0.0", {"a": b"other"})
    with pytest.raises(SourceError, match="another one than was locked"):
        other.export(spec)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("release: shop@9", "no release shop@9"),
        ("release: shop@1.0.0\n    artifact: api", "no artifact api"),
        ("release: both@1.0", "several artifacts"),
    ],
)
def test_what_the_depot_has_not_is_refused(connected: Connected, keys: str, message: str) -> None:
    """Exit 3, and the hint says what there is."""
    connected.bundle("1.0.0", SMALL)
    more = "  api: {source: path, path: both-1.0/d}\n"
    connected.export(connected.spec("1.0", SMALL, release="both", more=more))
    with pytest.raises(SourceError, match=message) as raised:
        combined(connected, keys=keys)
    assert raised.value.hint


@pytest.mark.parametrize(
    "keys", ["release: shop", "release: '../x@1'", "release: shop@1/0", "release: 's@1'\n    artifact: ../x"]
)
def test_names_that_are_none_are_refused(connected: Connected, keys: str) -> None:
    """Exit 2, with line and column, before the depot is asked."""
    with pytest.raises(UsageError, match=r"yaml:\d+:\d+: artifacts.shop"):
        combined(connected, keys=keys)


def test_without_a_depot_nothing_is_locked(connected: Connected) -> None:
    """The hint says how to name one."""
    connected.bundle("1.0.0", SMALL)
    spec = combined(connected)
    with pytest.raises(SourceError, match="none was named") as raised:
        resolve(load(spec), effort=Effort(level=1, threads=1), progress=Silent(), now=NOW)
    assert "--depot" in (raised.value.hint or "")


def test_a_damaged_depot_is_noticed(connected: Connected) -> None:
    """94: a pack that does not match its digest gives no file; neither does metadata that nobody signed."""
    connected.bundle("1.0.0", sample())
    spec = combined(connected)
    shutil.rmtree(connected.depot.folder / "cache")
    (pack,) = (connected.depot.folder / "packs").iterdir()
    pack.chmod(0o644)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)
    with pytest.raises(IntegrityError):
        connected.export(spec)
    newest = sorted((connected.depot.folder / "metadata").glob("*.targets.json"))[-1]
    newest.write_bytes(newest.read_bytes().replace(b'"length"', b'"lenght"', 1))
    with pytest.raises((TrustError, IntegrityError)):
        connected.export(spec)
