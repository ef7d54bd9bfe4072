"""Bundles that are valid, and not for this site, not in time, or not their signer's: attacks 16, 20, 30, 32 and 34."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from forge import Forge, sha256
from securesystemslib.signer import Signer
from strange import for_sites, spaced
from teams import Team
from termed import TermedDepot, waived
from worlds import Isolated

from installer.records.site import Site
from sealift.errors import MalformedError, TrustError
from tests.tufmaker import NOW, PAST, signer

Enrol = Callable[..., Isolated]


@pytest.fixture
def enrol(tmp_path: Path) -> Enrol:
    """Enrols a site with a forge's root."""

    def make(forge: Forge, **more: Any) -> Isolated:
        Site.create(tmp_path / "site", forge.root, sha256(forge.root), NOW, **more)
        return Isolated(root=tmp_path, folder=tmp_path / "site", srv=tmp_path / "srv", now=NOW)

    return make


@pytest.fixture(scope="module")
def waiving() -> Forge:
    """A forge whose root has a waiver role."""
    return Forge(depot=TermedDepot(holders=[signer()]))


# Audiences


def test_a_bundle_for_another_site_is_refused(forge: Forge, enrol: Enrol, tmp_path: Path) -> None:
    """34: what is for others is not taken in, and the refusal is on record."""
    site = enrol(forge, name="plant-7")
    with pytest.raises(TrustError, match="for the sites plant-8, plant-9, and this one is plant-7"):
        site.admit(forge.bundle(tmp_path / "b", for_sites("plant-8", "plant-9")))
    assert site.site.state.admitted == ()
    *_, last = site.site.ledger.read()
    assert last.event == "refused"


def test_a_bundle_for_this_site_is_admitted(forge: Forge, enrol: Enrol, tmp_path: Path) -> None:
    """34: one of several names is enough."""
    site = enrol(forge, name="plant-7")
    site.admit(forge.bundle(tmp_path / "b", for_sites("plant-6", "plant-7")))


def test_a_site_without_a_name_is_in_no_audience(forge: Forge, enrol: Enrol, tmp_path: Path) -> None:
    """34: the folder's name is no name; the hint says how to give one, which makes the bundle pass."""
    site = enrol(forge)
    bundle = forge.bundle(tmp_path / "b", for_sites("site"))
    with pytest.raises(TrustError, match="this site has no name") as caught:
        site.admit(bundle)
    assert "enroll --name" in (caught.value.hint or "")
    assert Site.create(site.folder, forge.root, sha256(forge.root), NOW, name="site").just_named
    site.admit(bundle)
    assert [entry.event for entry in site.site.ledger.read()] == ["enrolled", "refused", "named", "admitted"]


def test_a_site_keeps_its_name(forge: Forge, enrol: Enrol) -> None:
    """34: whoever has the root again cannot make one site another."""
    site = enrol(forge, name="plant-7")
    with pytest.raises(TrustError, match="is called plant-7"):
        Site.create(site.folder, forge.root, sha256(forge.root), NOW, name="plant-8")
    Site.create(site.folder, forge.root, sha256(forge.root), NOW, name="plant-7")
    assert site.site.state.generation == 1


@pytest.mark.parametrize(
    ("audience", "match"),
    [
        ([], "not in canonical form"),
        (["b", "a"], "not in order"),
        (["a", "a"], "not in order"),
        ([f"s{n:04}" for n in range(1001)], "too large"),
        (["../a"], "no valid name"),
        (["A"], "no valid name"),
        ("plant-7", "is not valid|expected `array`"),
    ],
    ids=["empty", "order", "twice", "large", "path", "case", "text"],
)
def test_an_audience_has_one_form(audience: Any, match: str, forge: Forge, enrol: Enrol, tmp_path: Path) -> None:
    """34: an audience that two readers could take for two is refused."""
    site = enrol(forge, name="plant-7")
    spoils = {"bundle": lambda manifest: {**manifest, "audience": audience}}
    with pytest.raises(MalformedError, match=match):
        site.admit(forge.bundle(tmp_path / "b", spoils))


# Waivers


def test_a_late_bundle_is_admitted_by_a_waiver(waiving: Forge, enrol: Enrol, tmp_path: Path) -> None:
    """20, 30: the ledger says who waived it, and why."""
    site = enrol(waiving)
    bundle = waiving.bundle(tmp_path / "late", expires=PAST)
    with pytest.raises(TrustError, match="the bundle's timestamp expired on 2026-05-01"):
        site.admit(bundle)
    content = waived(_timestamp(waiving, expires=PAST), _holders(waiving))
    done = site.admit(bundle, waiver=content)
    assert done.waived == "the ship was late"
    *_, last = site.site.ledger.read()
    assert last.event == "waived"
    assert last.detail["waiver"] == sha256(content)
    assert last.detail["reason"] == "the ship was late"
    assert len(last.detail["signers"]) == 1


def test_a_waiver_is_used_up_by_a_newer_bundle(waiving: Forge, enrol: Enrol, tmp_path: Path) -> None:
    """30: a waiver that is still good brings nothing older back."""
    site = enrol(waiving)
    late = waiving.bundle(tmp_path / "late", expires=PAST)
    site.admit(waiving.bundle(tmp_path / "new", version=2, release="1.0.1"))
    content = waived(_timestamp(waiving, expires=PAST), _holders(waiving))
    with pytest.raises(TrustError, match="older than one"):
        site.admit(late, waiver=content)


def test_a_refused_waiver_leaves_the_site_as_it_was(waiving: Forge, enrol: Enrol, tmp_path: Path) -> None:
    """30: neither the waiver nor the bundle leaves a trace but the refusal."""
    site = enrol(waiving)
    before = site.fingerprint_of_everything()
    forged = waived(_timestamp(waiving, expires=PAST), [signer()])
    with pytest.raises(TrustError, match="signed by 0 of the 1 keys"):
        site.admit(waiving.bundle(tmp_path / "late", expires=PAST), waiver=forged)
    assert site.fingerprint_of_everything() == before


def test_a_waived_bundle_does_not_stop_the_next_one(waiving: Forge, enrol: Enrol, tmp_path: Path) -> None:
    """20: after a late bundle, one in time needs no waiver, and one that is late needs its own."""
    site = enrol(waiving)
    content = waived(_timestamp(waiving, expires=PAST), _holders(waiving))
    site.admit(waiving.bundle(tmp_path / "late", expires=PAST), waiver=content)
    with pytest.raises(TrustError, match="for another bundle"):
        site.admit(waiving.bundle(tmp_path / "later", version=2, expires=PAST), waiver=content)
    site.admit(waiving.bundle(tmp_path / "fresh", version=3))


def _holders(forge: Forge) -> Sequence[Signer]:
    assert isinstance(forge.depot, TermedDepot)
    return forge.depot.holders


def _timestamp(forge: Forge, **more: Any) -> bytes:
    return dict(forge.members(**more))["metadata/timestamp.json"]


# Roots for development


def test_a_development_root_is_not_enrolled_by_mistake(enrol: Enrol, tmp_path: Path) -> None:
    """16: a production site never trusts a root for development, and its bundles are a stranger's."""
    toy, real = Forge(depot=TermedDepot(purpose="development")), Forge()
    with pytest.raises(TrustError, match="the root is for development"):
        enrol(toy)
    assert not (tmp_path / "site").exists()
    site = enrol(real)
    with pytest.raises(TrustError, match="root 1 is not the root 1 of this site"):
        site.admit(toy.bundle(tmp_path / "toy"))


def test_a_site_does_not_change_what_it_is_for(forge: Forge, enrol: Enrol) -> None:
    """16: enrolling again for development what was enrolled for production is refused."""
    site = enrol(forge)
    with pytest.raises(TrustError, match="the root is for production, and this site is to be one for development"):
        Site.create(site.folder, forge.root, sha256(forge.root), NOW, purpose="development")


def test_a_development_site_admits_what_is_for_development(enrol: Enrol, tmp_path: Path) -> None:
    """16: where it was asked for, a root for development works like any other."""
    toy = Forge(depot=TermedDepot(purpose="development"))
    enrol(toy, purpose="development").admit(toy.bundle(tmp_path / "toy"))


# Teams


def test_a_teams_release_is_admitted_and_deployed(forge: Forge, isolated: Isolated, tmp_path: Path) -> None:
    """32: a release with a namespace, signed by its team, goes all the way, and its slash makes no folder."""
    done = isolated.admit(forge.bundle(tmp_path / "team", spaced(forge, Team())))
    assert done.new == ("team-a/shop@1.0.0",)
    assert isolated.site.state.versions.delegated == {"team-a": 1}
    from installer.environments.environment import load as load_environment

    isolated.installation.apply(load_environment(isolated.environment("1.0.0", release="team-a/shop")))
    assert (isolated.srv / "current" / "index.html").is_file()
    assert not any("team-a" in path.name for path in tmp_path.rglob("*"))


def test_content_of_another_team_is_refused(forge: Forge, isolated: Isolated, tmp_path: Path) -> None:
    """32: team B signs nothing under team A's name."""
    spoils = spaced(forge, Team(), signer_of=Team(name="team-b"))
    with pytest.raises(TrustError, match=r"1\.team-a\.json is not signed by the keys"):
        isolated.admit(forge.bundle(tmp_path / "b", spoils))


def test_a_team_lists_no_other_teams_release(forge: Forge, isolated: Isolated, tmp_path: Path) -> None:
    """32: a release of team B that team A lists is refused, though A's signature is good."""
    spoils = spaced(forge, Team(), name="team-b/shop")
    with pytest.raises(TrustError, match="may list nothing but releases/team-a"):
        isolated.admit(forge.bundle(tmp_path / "b", spoils))


@pytest.mark.parametrize("name", ["team-a/../shop", "a/b/shop", "/shop", "team-a/", "Team/shop", "team-a//shop"])
def test_a_namespace_has_one_form(name: str, forge: Forge, isolated: Isolated, tmp_path: Path) -> None:
    """52: a release's name is one name, or a namespace and one name."""
    with pytest.raises((TrustError, MalformedError)):
        isolated.admit(forge.bundle(tmp_path / "b", spaced(forge, Team(), name=name)))
    assert isolated.site.state.admitted == ()


def test_a_namespace_without_its_role_is_nobodys(forge: Forge, isolated: Isolated, tmp_path: Path) -> None:
    """32: the top level does not list a team's release in its place."""
    spoils = spaced(forge, Team())
    del spoils["metadata"]
    spoils["targets"] = lambda targets: {
        path.replace("releases/shop/", "releases/team-a/shop/"): found for path, found in targets.items()
    }
    with pytest.raises(TrustError, match="which only the role 'team-a' may list"):
        isolated.admit(forge.bundle(tmp_path / "b", spoils))


def test_a_late_carriers_clock_is_not_the_waivers(waiving: Forge, enrol: Enrol, tmp_path: Path) -> None:
    """30: a waiver that has ended stays ended where the clock is set back behind a signed time."""
    site = enrol(waiving)
    site.admit(waiving.bundle(tmp_path / "new"))
    floor = site.site.state.newest
    content = waived(
        _timestamp(waiving, expires=PAST, version=2), _holders(waiving), issued=floor - timedelta(days=9), days=9
    )
    site.now = NOW - timedelta(days=8)
    with pytest.raises(TrustError, match="the waiver expired at"):
        site.admit(waiving.bundle(tmp_path / "late", version=2, expires=PAST), waiver=content)
