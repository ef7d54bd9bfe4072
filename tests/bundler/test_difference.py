"""What changed between two releases, file by file."""

from __future__ import annotations

import random

import pytest
from worlds import Connected

from bundler.depots.holding import in_depot
from bundler.differences.difference import Change, changes

LARGE = random.Random(3).randbytes(3 << 20)
OLD = {"a": b"a" * 10, "d/b": b"b" * 20, "large": LARGE}


def differ(connected: Connected) -> list[Change]:
    """What changed from 1 to 2."""
    return list(changes(in_depot(connected.depot, "shop", "1"), in_depot(connected.depot, "shop", "2")))


def test_the_same_content_has_no_changes(connected: Connected) -> None:
    """Another version of the same files changed nothing."""
    for version in "12":
        connected.bundle(version, OLD)
    assert differ(connected) == []


def test_each_path_that_differs_is_told_once(connected: Connected) -> None:
    """Added, removed and changed, in canonical order, with sizes before and after and what is new."""
    connected.bundle("1", OLD)
    connected.bundle("2", {"a": b"A" * 11, "copy": b"b" * 20, "e/new": b"n" * 5, "large": LARGE})
    assert differ(connected) == [
        Change(artifact="web", path="a", kind="changed", before=10, after=11, new=11),
        Change(artifact="web", path="copy", kind="added", before=0, after=20, new=0),
        Change(artifact="web", path="d", kind="removed", before=0, after=0, new=0),
        Change(artifact="web", path="d/b", kind="removed", before=20, after=0, new=0),
        Change(artifact="web", path="e", kind="added", before=0, after=0, new=0),
        Change(artifact="web", path="e/new", kind="added", before=0, after=5, new=5),
    ]


def test_only_the_changed_chunks_of_a_large_file_are_new(connected: Connected) -> None:
    """A few bytes in the middle of megabytes are new content of a chunk or two."""
    connected.bundle("1", OLD)
    connected.bundle("2", {**OLD, "large": LARGE[: 2 << 20] + b"inserted" + LARGE[2 << 20 :]})
    (change,) = differ(connected)
    assert (change.path, change.kind, change.before, change.after) == ("large", "changed", 3 << 20, (3 << 20) + 8)
    assert 0 < change.new <= 2 << 20


def test_new_content_counts_once(connected: Connected) -> None:
    """Two files of the same new content need it once."""
    connected.bundle("1", OLD)
    connected.bundle("2", {**OLD, "x": b"x" * 7, "y": b"x" * 7})
    assert [change.new for change in differ(connected)] == [7, 0]


@pytest.mark.parametrize("kind", ["mode", "link", "target"])
def test_what_is_no_content_is_a_change_too(connected: Connected, kind: str) -> None:
    """The executable bit, a file that became a link, a link that leads elsewhere."""
    connected.spec("1", OLD)
    connected.spec("2", OLD)
    one, two = connected.root / "shop-1", connected.root / "shop-2"
    if kind == "mode":
        (two / "a").chmod(0o755)
    else:
        (two / "a").unlink()
        (two / "a").symlink_to("d/b")
    if kind == "target":
        (one / "a").unlink()
        (one / "a").symlink_to("large")
    for version in "12":
        connected.export(connected.spec(version))
    (change,) = differ(connected)
    assert (change.path, change.kind, change.new) == ("a", "changed", 0)


def test_artifacts_come_and_go(connected: Connected) -> None:
    """Every path of an artifact that only one release has is added or removed."""
    connected.bundle("1", OLD, more="  docs: {source: path, path: shop-1/d}\n")
    connected.bundle("2", OLD, more="  more: {source: path, path: shop-1/d}\n")
    assert [(change.artifact, change.path, change.kind, change.new) for change in differ(connected)] == [
        ("docs", "b", "removed", 0),
        ("more", "b", "added", 0),
    ]
