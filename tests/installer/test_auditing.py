"""The audit names what is damaged in a site, and no more."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from molds import Molded
from shop import shop
from worlds import NOW, Connected, Isolated, sample

from installer.auditing import Audit, audit, repair
from sealift.errors import MalformedError
from sealift.progress import Silent


@pytest.fixture
def site(connected: Connected, isolated: Isolated, molded: Molded) -> Isolated:
    """A site that holds two releases."""
    releases = {"1.0.0": {**sample(), **shop("1.0.0")}, "1.1.0": shop("1.1.0")}
    molded("auditing", lambda: isolated.bring(connected, releases))
    return isolated


def _audit(site: Isolated, *, deep: bool = False) -> Audit:
    return audit(site.site, deep=deep, workers=2, progress=Silent())


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("deep", [False, True])
def test_a_whole_site_is_sound(site: Isolated, deep: bool) -> None:
    """Every file of the store was read, and every line of the ledger."""
    found = _audit(site, deep=deep)
    store = [path for path in (site.folder / "store").rglob("*") if path.is_file()]
    assert found.sound
    assert (found.files, found.bytes) == (len(store), sum(path.stat().st_size for path in store))
    assert found.ledger_entries == 3


def test_an_empty_site_is_sound(isolated: Isolated) -> None:
    """There is nothing that could be damaged."""
    assert (_audit(isolated).sound, _audit(isolated, deep=True).files) == (True, 0)


@pytest.mark.parametrize("kind", ["packs", "trees", "index", "manifests"])
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_flip, id="a flipped bit"),
        pytest.param(lambda path: path.unlink(), id="missing"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-1]), id="shorter"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: (path.unlink(), path.mkdir()), id="a folder"),
        pytest.param(lambda path: (path.rename(f"{path}.real"), path.symlink_to(f"{path}.real")), id="a link"),
    ],
)
@pytest.mark.parametrize("deep", [False, True])
def test_each_damaged_file_is_named(site: Isolated, kind: str, damage: Callable[[Path], object], deep: bool) -> None:
    """94: with the releases that need it, and nothing besides."""
    path = sorted((site.folder / "store" / kind).iterdir())[0]
    damage(path)
    found = _audit(site, deep=deep)
    assert [each.path for each in found.damaged] == [path]
    assert found.damaged[0].releases
    assert set(found.damaged[0].releases) <= {"shop@1.0.0", "shop@1.1.0"}


def test_a_fifo_in_the_store_does_not_hang(site: Isolated) -> None:
    """99: it is named as damaged."""
    path = sorted((site.folder / "store" / "packs").iterdir())[0]
    path.unlink()
    os.mkfifo(path)
    assert [each.path for each in _audit(site).damaged] == [path]


def test_several_damages_are_all_named(site: Isolated) -> None:
    """The whole list, not the first."""
    paths = sorted((site.folder / "store" / "packs").iterdir())
    for path in paths:
        _flip(path)
    assert [each.path for each in _audit(site).damaged] == paths


def test_a_repair_mends_every_kind_of_file(connected: Connected, isolated: Isolated) -> None:
    """From one bundle: what was damaged and what was missing."""
    bundle = connected.bundle("1.0.0", shop("1.0.0"))
    isolated.admit(bundle)
    for path in (isolated.folder / "store").rglob("*"):
        if path.is_file():
            _flip(path)
    while (found := _audit(isolated)).damaged:
        assert repair(isolated.site, bundle, found.damaged, now=NOW, progress=Silent())
    assert _audit(isolated, deep=True).sound


def test_a_repair_from_something_else_changes_nothing(site: Isolated, tmp_path: Path) -> None:
    """A file that is no bundle is an error, and the damage stays named."""
    _flip(sorted((site.folder / "store" / "packs").iterdir())[0])
    path = tmp_path / "notes.txt"
    path.write_text("notes")
    found = _audit(site)
    before = site.fingerprint_of_everything()
    with pytest.raises(MalformedError):
        repair(site.site, path, found.damaged, now=NOW, progress=Silent())
    assert site.fingerprint_of_everything() == before


def test_a_torn_ledger_is_no_damage(site: Isolated) -> None:
    """The next append removes what a power cut tore."""
    with (site.folder / "ledger.jsonl").open("ab") as file:
        file.write(b'{"half')
    assert _audit(site).sound


def test_files_that_no_release_needs_are_no_damage(site: Isolated) -> None:
    """Rests of an interrupted import are gc's business."""
    (site.folder / "store" / "packs" / ".tmp-rest").write_bytes(b"rest")
    assert _audit(site, deep=True).sound
