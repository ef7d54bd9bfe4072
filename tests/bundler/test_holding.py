"""Looking into releases, in a bundle or in a depot, once their signatures were checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from worlds import NOW, Connected

from bundler.depots.holding import Anchor, Holding, holdings, in_bundle, in_depot, only, open_bundle
from sealift.errors import IntegrityError, MalformedError, StoreError, TrustError, UsageError

SMALL = {"a": b"a" * 10, "d/b": b"b" * 20}


def told(held: Holding) -> tuple[object, ...]:
    """What a release says, wherever it lies."""
    return (
        held.release,
        held.part,
        held.published,
        [entry for artifact in held.release.artifacts for entry in held.entries(artifact)],
        list(held.frames()),
    )


def test_a_release_is_the_same_in_a_bundle_and_in_the_depot(connected: Connected) -> None:
    """Manifest, listings, frames and the time of publication."""
    path = connected.bundle("1.0.0", SMALL)
    with open_bundle(path, Anchor(depot=connected.depot.folder), NOW) as (bundle, opened):
        (held,) = in_bundle(bundle, opened)
        assert told(held) == told(in_depot(connected.depot, "shop", "1.0.0"))
        assert held.published == "2026-05-01T12:00:00Z"


@pytest.mark.parametrize("named", ["root", "fingerprint", "depot", "nothing"])
def test_a_bundle_opens_for_whom_it_was_signed(connected: Connected, named: str) -> None:
    """By the root, its fingerprint or the depot; without any of them by its own root, which is not `given`."""
    path = connected.bundle("1.0.0", SMALL)
    anchor = {
        "root": Anchor(root=connected.first_root),
        "fingerprint": Anchor(fingerprint=connected.fingerprint),
        "depot": Anchor(depot=connected.depot.folder),
        "nothing": Anchor(),
    }[named]
    assert anchor.given is (named != "nothing")
    with open_bundle(path, anchor, NOW) as (_, opened):
        assert opened.contents[0].release.label == "shop@1.0.0"


@pytest.mark.parametrize("named", ["root", "fingerprint", "depot", "root and wrong fingerprint"])
def test_a_bundle_of_a_stranger_does_not_open(
    connected: Connected, another: Callable[..., Connected], named: str
) -> None:
    """Another root, another fingerprint or another depot is exit 6."""
    path, other = connected.bundle("1.0.0", SMALL), another("other")
    anchor = {
        "root": Anchor(root=other.first_root),
        "fingerprint": Anchor(fingerprint=other.fingerprint),
        "depot": Anchor(depot=other.depot.folder),
        "root and wrong fingerprint": Anchor(root=connected.first_root, fingerprint=other.fingerprint),
    }[named]
    with pytest.raises(TrustError), open_bundle(path, anchor, NOW):
        pass


def test_a_root_that_cannot_be_read_is_named(connected: Connected) -> None:
    """A wrong path is wrong usage."""
    path = connected.bundle("1.0.0", SMALL)
    with pytest.raises(UsageError, match="there is no root"), open_bundle(path, Anchor(root=Path("/no")), NOW):
        pass


def test_what_is_no_bundle_is_told(tmp_path: Path) -> None:
    """A file of another form is exit 4, a file that is not there exit 8."""
    (tmp_path / "x").write_bytes(b"x" * 5000)
    with pytest.raises(MalformedError), open_bundle(tmp_path / "x", Anchor(), NOW):
        pass
    with pytest.raises(StoreError), open_bundle(tmp_path / "y", Anchor(), NOW):
        pass


def test_a_name_is_looked_up_in_the_depot(connected: Connected) -> None:
    """`NAME@VERSION` with a depot, the path of a bundle without."""
    path = connected.bundle("1.0.0", SMALL)
    anchor = Anchor(depot=connected.depot.folder)
    with holdings("shop@1.0.0", anchor, NOW) as (one,), holdings(str(path), anchor, NOW) as (two,):
        assert one.release == two.release


def test_a_name_without_a_depot_is_told(tmp_path: Path) -> None:
    """The hint names `--depot`."""
    with pytest.raises(UsageError, match=r"shop@1\.0\.0 is no file") as raised, holdings("shop@1.0.0", Anchor(), NOW):
        pass
    assert "--depot" in (raised.value.hint or "")


def test_an_unknown_release_of_a_depot_is_told(connected: Connected) -> None:
    """The hint says how to see what there is."""
    with pytest.raises(UsageError, match="no release shop@2"):
        in_depot(connected.depot, "shop", "2")


def test_a_damaged_listing_of_a_depot_is_noticed(connected: Connected) -> None:
    """Its digest is checked before anything of it is shown."""
    connected.bundle("1.0.0", SMALL)
    (path,) = (connected.depot.folder / "trees").iterdir()
    path.write_bytes(bytes(path.stat().st_size))
    held = in_depot(connected.depot, "shop", "1.0.0")
    with pytest.raises(IntegrityError):
        list(held.entries(held.release.artifacts[0]))


def test_one_release_is_meant_where_one_is_asked_for(connected: Connected) -> None:
    """A bundle of two cannot be compared as if it were one."""
    path = connected.export([connected.spec("1", SMALL), connected.spec("2", SMALL)])
    with holdings(str(path), Anchor(), NOW) as held, pytest.raises(MalformedError, match="holds 2 releases") as raised:
        only(held, path.name)
    assert "NAME@VERSION" in (raised.value.hint or "")
