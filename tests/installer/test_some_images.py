"""The targets `registry` and `oci-layout` with some images of a release: these, whole, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from images import Sample, sample
from registries import Running, registry
from worlds import Connected, Isolated

from installer.environments.environment import load
from sealift.errors import UsageError
from sealift.patience import Patience

_FIRST, _SECOND = sample(51), sample(52)


@pytest.fixture(autouse=True)
def _home(quiet_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    quick = Patience(attempts=2, sleep=lambda _: None)
    monkeypatch.setattr("installer.targets.registry.Patience", lambda: quick)
    return quiet_home


@pytest.fixture
def site(connected: Connected, isolated: Isolated) -> Isolated:
    """A site that holds two images and a folder of files, in one release."""
    spec = connected.images("1.0", _FIRST, _SECOND)
    (connected.root / "notes").mkdir()
    (connected.root / "notes" / "a.txt").write_text("a")
    spec.write_text(spec.read_text() + "  notes: {source: path, path: notes}\n")
    isolated.admit(connected.export(spec))
    return isolated


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Running]:
    """An empty registry."""
    with registry(tmp_path / "core") as running:
        yield running


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Running]:
    """Another one."""
    with registry(tmp_path / "edge") as running:
        yield running


def _to(running: Running, site: Isolated, artifacts: str, path: str = "images") -> str:
    place = f"registry: '{running.host}', path: {site.root}/{path}"
    return f"{{kind: registry, {place}, unsafe_http: true, artifacts: [{artifacts}]}}"


def _root(made: Sample) -> bytes:
    return made.pile.blobs[made.root["digest"]]


def test_each_registry_gets_its_own_images(site: Isolated, core: Running, edge: Running) -> None:
    """Neither has a repository of the other's, and both prove to be whole."""
    second = f"{_to(core, site, 'image-0', 'core')}\n  - {_to(edge, site, 'image-1', 'edge')}"
    site.deploy("1.0", second)
    assert core.manifest("shop/web", "1.0") == _root(_FIRST)
    assert edge.manifest("shop/web1", "1.0") == _root(_SECOND)
    assert (core.tags("shop/web1"), edge.tags("shop/web")) == (set(), set())
    assert site.problems(deep=True) == [None, None]
    edge.forget(next(digest for digest in _SECOND.pile.blobs if digest not in _SECOND.pile.types))
    assert [problem is None for problem in site.problems(deep=True)] == [True, False]


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_a_layout_of_some_images(site: Isolated, form: str) -> None:
    """Nothing lies there of the image that is not named, and what does is compared."""
    site.deploy("1.0", f"{{kind: oci-layout, path: {site.srv}, form: {form}, artifacts: [image-1]}}")
    name = "image-1" if form == "folder" else "image-1.tar"
    assert [path.name for path in (site.srv / "current").iterdir()] == [name]
    assert site.problems(deep=True) == [None]
    damaged = site.srv / "current" / name / ("index.json" if form == "folder" else "")
    damaged.write_bytes(damaged.read_bytes() + b" ")
    assert site.problems(deep=True) != [None]


@pytest.mark.parametrize(
    ("artifacts", "match"),
    [("image-0, image-9", "has no artifact 'image-9'"), ("image-0, notes", "artifact notes of .* is no image")],
)
@pytest.mark.parametrize("kind", ["registry", "oci-layout"])
def test_a_name_of_no_image_is_refused(
    site: Isolated, request: pytest.FixtureRequest, kind: str, artifacts: str, match: str
) -> None:
    """Before anything is written or sent."""
    target = f"{{kind: oci-layout, path: {site.srv}, artifacts: [{artifacts}]}}"
    if kind == "registry":
        target = _to(request.getfixturevalue("core"), site, artifacts)
    with pytest.raises(UsageError, match=match):
        site.deploy("1.0", target)
    assert not (site.srv / "current").exists()
    if kind == "registry":
        assert request.getfixturevalue("core").tags("shop/web") == set()


def test_no_names_are_refused(site: Isolated) -> None:
    """An empty list is an error of the environment, not all of the release."""
    path = site.environment("1.0", target=f"  - {{kind: oci-layout, path: {site.srv}-2, artifacts: []}}\n")
    with pytest.raises(UsageError):
        load(path)
