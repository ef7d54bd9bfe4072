"""A clock that is wrong shuts no site, and opens none: attacks 20, 28 and 29."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from forge import Forge, sha256
from worlds import Isolated

from installer.records.site import Site
from installer.records.state import SINCE
from sealift.errors import TrustError
from tests.tufmaker import NOW, PAST

UNSET = datetime(1970, 1, 1, 0, 3, tzinfo=UTC)
AHEAD = NOW + timedelta(days=120)
"""Before the root ends, and after the bundles of these tests do."""
SOON = "2026-12-24T00:00:00Z"

Enrol = Callable[[datetime], Isolated]


@pytest.fixture(scope="module")
def forge() -> Forge:
    """The keys that sign the bundles of these tests."""
    return Forge()


@pytest.fixture
def enrol(forge: Forge, tmp_path: Path) -> Enrol:
    """Enrols a site whose clock says what is given."""

    def make(clock: datetime) -> Isolated:
        Site.create(tmp_path / "site", forge.root, sha256(forge.root), clock)
        return Isolated(root=tmp_path, folder=tmp_path / "site", srv=tmp_path / "srv", now=clock)

    return make


def test_a_site_enrolled_in_1970_works(forge: Forge, enrol: Enrol, tmp_path: Path) -> None:
    """29: without a clock the signed times are the site's clock."""
    site = enrol(UNSET)
    site.admit(forge.bundle(tmp_path / "one"))
    assert site.site.state.newest == datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
    assert site.site.reference(site.now) == datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
    site.admit(forge.bundle(tmp_path / "two", version=2, release="1.0.1"))


def test_a_site_in_1970_refuses_what_had_expired_by_signed_time(forge: Forge, enrol: Enrol, tmp_path: Path) -> None:
    """20, 29: a frozen bundle is refused although the clock would let it pass."""
    site = enrol(UNSET)
    site.admit(forge.bundle(tmp_path / "one"))
    with pytest.raises(TrustError, match="expired on 2026-05-01, and it is 2026-11-22 here"):
        site.admit(forge.bundle(tmp_path / "frozen", version=2, expires=PAST))


def test_a_site_in_1970_refuses_what_no_sealift_made(forge: Forge, enrol: Enrol, tmp_path: Path) -> None:
    """20: even before its first import, a site knows that it is not 1970."""
    site = enrol(UNSET)
    assert site.site.reference(UNSET) == SINCE
    with pytest.raises(TrustError, match="expired on 2025-12-31, and it is 2026-01-01 here"):
        site.admit(forge.bundle(tmp_path / "old", expires="2025-12-31T00:00:00Z"))


def test_a_site_enrolled_far_ahead_works_once_the_clock_is_right(forge: Forge, enrol: Enrol, tmp_path: Path) -> None:
    """29: the clock of the enrolment counts for nothing beside one that is later than all signed times."""
    site = enrol(AHEAD)
    bundle = forge.bundle(tmp_path / "one", expires=SOON)
    with pytest.raises(TrustError, match="expired on 2026-12-24, and it is 2027-03-22 here"):
        site.admit(bundle)
    site.now = NOW
    site.admit(bundle)


def test_a_clock_that_ran_ahead_during_an_import_leaves_no_trace(forge: Forge, enrol: Enrol, tmp_path: Path) -> None:
    """29: only signed times are remembered."""
    site = enrol(NOW)
    site.now = AHEAD
    site.admit(forge.bundle(tmp_path / "one"))
    site.now = NOW
    site.admit(forge.bundle(tmp_path / "two", version=2, release="1.0.1", expires=SOON))


def test_a_clock_that_lost_its_time_is_at_least_the_enrolments(forge: Forge, enrol: Enrol, tmp_path: Path) -> None:
    """28: a clock that stands before all signed times proves nothing, and the enrolment's is the better guess."""
    site = enrol(AHEAD)
    site.now = UNSET
    with pytest.raises(TrustError, match="expired on 2026-12-24, and it is 2027-03-22 here"):
        site.admit(forge.bundle(tmp_path / "one", expires=SOON))


def test_a_clock_set_back_behind_a_signed_time_changes_nothing(forge: Forge, enrol: Enrol, tmp_path: Path) -> None:
    """28: the reference never goes back behind what was signed, over any number of imports."""
    site = enrol(NOW)
    site.admit(forge.bundle(tmp_path / "one"))
    floor = site.site.state.newest
    for number, clock in enumerate([SINCE, UNSET, NOW - timedelta(days=90)], 2):
        site.now = clock
        site.admit(forge.bundle(tmp_path / f"{number}", version=number, release=f"1.0.{number}"))
        assert site.site.reference(clock) >= floor


def test_a_clock_at_the_very_signed_time_is_believed(forge: Forge, enrol: Enrol, tmp_path: Path) -> None:
    """28: only a clock before it is known to be wrong."""
    site = enrol(AHEAD)
    site.now = NOW
    site.admit(forge.bundle(tmp_path / "one"))
    newest = site.site.state.newest
    assert site.site.reference(newest) == newest
    assert site.site.reference(newest - timedelta(seconds=1)) == AHEAD


def test_a_root_that_expired_is_not_enrolled_in_1970(tmp_path: Path) -> None:
    """29: a root that ended before any Sealift was made is refused whatever the clock says."""
    forge = Forge()
    root = forge.depot.root(expires="2025-06-01T00:00:00Z")
    with pytest.raises(TrustError, match="the root expired on 2025-06-01"):
        Site.create(tmp_path / "site", root, sha256(root), UNSET)
