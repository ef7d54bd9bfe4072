"""The stock: what the releases of the depot hold of an image is not fetched again, though the cache has lost it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from images import Sample, digest_of, sample
from liars import Liar, lying
from worlds import NOW, Connected

from bundler.depots import stock as stocks
from bundler.depots.stock import Stock
from bundler.locking import resolve
from bundler.sealing import Effort
from bundler.spec import load
from sealift.errors import TrustError
from sealift.oci.names import hex_of
from sealift.progress import Silent

SIZE = 1_300_000
"""Bytes of a layer that has several chunks."""


@pytest.fixture(autouse=True)
def _home(quiet_home: Path) -> Path:
    return quiet_home


@pytest.fixture
def made() -> Sample:
    """An image."""
    return sample(1, size=SIZE)


@pytest.fixture
def source(made: Sample) -> Iterator[Liar]:
    """An honest registry that says what it was asked for."""
    with lying(made.pile, {"1.0": made.root, made.signature_tag: made.signature}) as server:
        yield server


@pytest.fixture
def depot(connected: Connected, source: Liar) -> Connected:
    """A depot that published the image as shop@1.0, and has an empty cache."""
    publish(connected, source, "1.0")
    shutil.rmtree(connected.depot.folder / "cache")
    source.seen.clear()
    return connected


def lock(connected: Connected, source: Liar, version: str) -> Path:
    """Lock a release of the image with the tag 1.0 as it is now; return its spec."""
    path = connected.root / f"shop-{version}.yaml"
    path.write_text(
        f'release: shop\nversion: "{version}"\nartifacts:\n  web:\n    source: oci\n'
        f"    image: {source.host}/shop/web:1.0\n    as: example.com/shop/web:{version}\n    unsafe_http: true\n"
    )
    effort = Effort(level=1, threads=1)
    resolve(load(path, lint=True, pinned=False), effort=effort, progress=Silent(), now=NOW, depot=connected.depot)
    return path


def publish(connected: Connected, source: Liar, version: str) -> Path:
    """Lock and export it."""
    return connected.export(lock(connected, source, version))


def fetched(source: Liar, kind: str = "blobs") -> set[str]:
    """The digests, and of manifests the tags, of what the registry was asked for."""
    return {path.rpartition("/")[2] for method, path, _ in source.seen if method == "GET" and f"/{kind}/" in path}


def whole(made: Sample) -> set[str]:
    """The digests of all blobs of an image but its manifests; its SBOM is not listed anywhere."""
    other = digest_of(b'{"spdxVersion":"SPDX-2.3"}')
    return {digest for digest in made.pile.blobs if digest not in made.pile.types} - {other}


def test_a_layer_that_the_depot_has_is_not_fetched_again(depot: Connected, source: Liar, made: Sample) -> None:
    """An upgrade asks for the blobs that are new, and for none that a former release has in its packs."""
    former, second = whole(made), sample(5, size=SIZE)
    source.pile.blobs |= second.pile.blobs
    source.pile.types |= second.pile.types
    source.tags |= {"1.0": second.root["digest"], second.signature_tag: second.signature["digest"]}
    publish(depot, source, "2.0")
    assert fetched(source) == whole(second) - former


def test_an_unchanged_image_is_not_fetched_at_all(depot: Connected, source: Liar, made: Sample) -> None:
    """Under another name and version, with the cache gone, nothing but its tags is asked for."""
    publish(depot, source, "1.1")
    assert fetched(source) == set()
    assert not fetched(source, "manifests") & made.pile.types.keys()


def test_a_locked_image_needs_no_registry(depot: Connected, source: Liar) -> None:
    """What was locked is exported from the depot alone."""
    spec = lock(depot, source, "1.1")
    shutil.rmtree(depot.depot.folder / "cache")
    source.twist("", lambda exchange: exchange.reset())
    assert depot.export(spec).stat().st_size > SIZE


def test_a_damaged_pack_is_passed_over(depot: Connected, source: Liar, made: Sample) -> None:
    """Where a frame has another digest than it should, the registry is asked, and the image is whole."""
    for pack in (depot.depot.folder / "packs").iterdir():
        content = bytearray(pack.read_bytes())
        content[len(content) // 2] ^= 1
        pack.write_bytes(content)
    lock(depot, source, "1.1")
    cached = {path.name: path for path in (depot.depot.folder / "cache").iterdir()}
    assert fetched(source)
    for digest in whole(made):
        assert digest_of(cached[hex_of(digest)].read_bytes()) == digest


def test_packs_that_are_gone_are_passed_over(depot: Connected, source: Liar, made: Sample) -> None:
    """Of a depot without its packs everything is fetched."""
    shutil.rmtree(depot.depot.folder / "packs")
    lock(depot, source, "1.1")
    assert fetched(source) == whole(made)


def test_nothing_is_taken_that_no_signature_covers(depot: Connected, source: Liar) -> None:
    """A depot whose metadata was changed is refused."""
    (targets,) = (depot.depot.folder / "metadata").glob("2.targets.json")
    targets.write_bytes(targets.read_bytes().replace(b"shop", b"shap"))
    with pytest.raises(TrustError):
        lock(depot, source, "1.1")


def test_the_newest_releases_are_looked_into(
    depot: Connected, made: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is older than so many releases is had elsewhere."""
    depot.bundle("1.0", {"a": b"a"}, release="other")
    digest = max(whole(made), key=lambda each: len(made.pile.blobs[each]))
    (tmp_path / "cache").mkdir()
    assert Stock(depot.depot.folder).bring(digest, SIZE * 2, tmp_path / "cache")
    monkeypatch.setattr(stocks, "RELEASES_MAX", 0)
    assert Stock(depot.depot.folder).bring(digest, SIZE * 2, tmp_path / "cache") is None


def test_a_blob_that_is_longer_than_it_may_be(depot: Connected, made: Sample, tmp_path: Path) -> None:
    """It is not written out."""
    digest = max(whole(made), key=lambda each: len(made.pile.blobs[each]))
    (tmp_path / "cache").mkdir()
    assert Stock(depot.depot.folder).bring(digest, 1000, tmp_path / "cache") is None
    assert list((tmp_path / "cache").iterdir()) == []
