"""A depot whose key is valid and whose releases or times are not to be believed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forge import CHUNKS, Forge, compress, file, folder
from worlds import Isolated

from installer.records.state import SINCE
from sealift.errors import TrustError


def test_a_release_that_changed_is_refused(forge: Forge, good: Path, isolated: Isolated, tmp_path: Path) -> None:
    """A release never changes: other content under an admitted name and version is refused, validly signed or not."""
    isolated.admit(good)
    before = isolated.fingerprint_of_everything()
    changed = forge.bundle(tmp_path / "changed", {"entries": lambda lines: [*lines, folder("zz")]}, version=2)
    with pytest.raises(TrustError, match=re.escape("another shop@1.0.0 than the one that this site has already")):
        isolated.admit(changed)
    assert isolated.fingerprint_of_everything() == before
    *_, last = isolated.site.ledger.read()
    assert last.event == "refused"


def test_a_release_that_is_packed_otherwise_is_the_same(
    forge: Forge, good: Path, isolated: Isolated, tmp_path: Path
) -> None:
    """How content is packed is no part of a release: the same manifest is the same release."""
    isolated.admit(good)
    frames = [compress(b"".join(CHUNKS), 19)]
    done = isolated.admit(forge.bundle(tmp_path / "again", {"frames": lambda _: frames}, version=2))
    assert (done.new, done.present) == ((), 0)


def published(time: str) -> Callable[[Any], Any]:
    """Targets that bear this time."""
    return lambda targets: {
        path: {**target, "custom": {"sealift": {"type": "release", "published": time}}}
        for path, target in targets.items()
    }


def test_a_time_in_the_far_future_does_not_end_a_sites_life(forge: Forge, isolated: Isolated, tmp_path: Path) -> None:
    """29: a depot's clock that was far ahead once would make every later bundle look expired."""
    isolated.admit(forge.bundle(tmp_path / "ahead", {"targets": published("2099-01-01T00:00:00Z")}))
    assert isolated.site.state.newest == SINCE
    isolated.admit(forge.bundle(tmp_path / "later", version=2, release="1.0.1"))


def test_a_stolen_online_key_does_not_end_a_sites_life(forge: Forge, isolated: Isolated, tmp_path: Path) -> None:
    """21: the times that it signs, expiry included, count no further than the root does, which it cannot sign."""
    stolen = {"targets": published("9000-01-01T00:00:00Z")}
    isolated.admit(forge.bundle(tmp_path / "stolen", stolen, expires="9999-01-01T00:00:00Z"))
    assert isolated.site.state.newest == SINCE
    isolated.admit(forge.bundle(tmp_path / "later", version=2, release="1.0.1"))


def test_a_signed_time_holds_a_clock_that_was_set_back(forge: Forge, isolated: Isolated, tmp_path: Path) -> None:
    """28: what expired by the newest signed time stays expired, whatever the clock says."""
    isolated.admit(forge.bundle(tmp_path / "new", {"targets": published("2027-03-01T00:00:00Z")}))
    with pytest.raises(TrustError, match="expired on 2027-02-01, and it is 2027-03-01 here"):
        isolated.admit(forge.bundle(tmp_path / "old", version=2, expires="2027-02-01T00:00:00Z"))


def test_names_that_other_systems_reserve_are_plain_files(forge: Forge, isolated: Isolated, tmp_path: Path) -> None:
    """59: they mean nothing on Linux, and are carried as they are."""
    names = ["CON", "a."]
    isolated.admit(forge.bundle(tmp_path / "names", {"entries": lambda lines: [*map(file, names), *lines]}))
    isolated.apply("1.0.0")
    assert all((isolated.srv / "current" / name).is_file() for name in names)
