"""The depot's folder: its lock, what a killed writer left, and content that is known by its digest."""

from __future__ import annotations

from pathlib import Path

import pytest
from worlds import Connected

from bundler.depots.depot import FOLDERS, Depot
from sealift.errors import IntegrityError, SealiftError, StoreError, UsageError

SMALL = {"a": b"a" * 10}


def test_a_folder_without_keys_is_no_depot(tmp_path: Path) -> None:
    """The hint says how to make one."""
    with pytest.raises(UsageError, match="is no depot") as raised:
        Depot(tmp_path)
    assert "sealift-keys init" in (raised.value.hint or "")


def test_two_writers_exclude_each_other(connected: Connected) -> None:
    """The second is told so with exit 8; when the first has ended, it gets the lock."""
    other = Depot(connected.depot.folder)
    with connected.depot.lock(), pytest.raises(StoreError, match="another sealift command"), other.lock():
        pass
    with other.lock():
        pass


@pytest.mark.parametrize("folder", [".", "metadata", "records/shop", *FOLDERS])
def test_what_a_killed_writer_left_is_cleared_away(connected: Connected, folder: str) -> None:
    """Temporary files, wherever a writer makes them."""
    connected.bundle("1.0.0", SMALL)
    left = connected.depot.folder / folder / ".tmp-left"
    left.touch()
    with connected.depot.lock():
        assert not left.exists()


def test_a_folder_that_a_killed_comparison_left_is_cleared_away(connected: Connected) -> None:
    """A re-export that was killed leaves its listings in a folder of the depot."""
    left = connected.depot.folder / ".tmp-left" / "trees"
    left.mkdir(parents=True)
    (left / "x").touch()
    with connected.depot.lock():
        assert not left.parent.exists()


@pytest.mark.parametrize("folder", ["cache", "cache/deb", "packs"])
def test_a_folder_that_a_killed_fetch_left_is_cleared_away(connected: Connected, folder: str) -> None:
    """79: apt fetches into a folder of the cache; what a kill leaves of it, with all in it, does not stay for ever."""
    left = connected.depot.folder / folder / ".tmp-left" / "partial"
    left.mkdir(parents=True)
    (left / ".tmp-file").touch()
    with connected.depot.lock():
        assert not left.parent.exists()


def test_what_a_failed_writer_left_is_cleared_away(connected: Connected) -> None:
    """An error inside leaves no temporary names, and is raised as it is."""

    def fail() -> None:
        with connected.depot.lock():
            (connected.depot.folder / "packs" / ".tmp-x").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not list(connected.depot.folder.rglob(".tmp-*"))


def test_content_files_stay(connected: Connected) -> None:
    """Clearing away touches nothing that is complete."""
    connected.bundle("1.0.0", SMALL)
    before = sorted(connected.depot.folder.rglob("*"))
    with connected.depot.lock():
        pass
    assert sorted(connected.depot.folder.rglob("*")) == before


@pytest.mark.parametrize("damage", ["missing", "longer", "shorter", "other"])
def test_a_damaged_manifest_is_noticed(connected: Connected, damage: str) -> None:
    """Its size and digest are the published ones, or it is exit 5 with a hint."""
    connected.bundle("1.0.0", SMALL)
    blob = connected.made["shop-1.0.0.sealift"].sealed[0].part.release
    path = connected.depot.path("manifests", blob)
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(
            {"longer": content + b" ", "shorter": content[:-1], "other": content.replace(b"shop", b"shup")}[damage]
        )
    with pytest.raises(IntegrityError):
        connected.depot.release(blob)


@pytest.mark.parametrize("content", [b"", b"{}", b"[", b"\xff"])
def test_a_damaged_record_is_noticed(connected: Connected, content: bytes) -> None:
    """What cannot be read is an error with an exit code, and not a crash."""
    connected.bundle("1.0.0", SMALL)
    (connected.depot.folder / "records/shop/1.0.0.json").write_bytes(content)
    with pytest.raises(SealiftError):
        connected.depot.part("shop", "1.0.0")


def test_a_record_says_where_the_content_is(connected: Connected) -> None:
    """It is what the bundle's manifest says."""
    connected.bundle("1.0.0", SMALL)
    assert connected.depot.part("shop", "1.0.0") == connected.made["shop-1.0.0.sealift"].sealed[0].part
