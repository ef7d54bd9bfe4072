"""Garbage is what no environment uses and nobody asked to keep; all else stays whole."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from molds import Molded
from shop import admitted, events, hold, serving, shop
from worlds import NOW, Connected, Isolated

from installer.auditing import audit
from installer.collecting import Collected, collect
from installer.deployments import Journal
from installer.environments.environment import load
from installer.environments.filling import VARIANT
from installer.folders.shelf import Shelf
from installer.records.site import Site
from installer.storage.deployable import identity_of
from sealift.errors import DeployError, IntegrityError, StoreError
from sealift.progress import Silent

VERSIONS = ("1.0.0", "1.1.0", "1.2.0", "1.3.0")


@pytest.fixture
def site(connected: Connected, isolated: Isolated, molded: Molded) -> Isolated:
    """A site that holds four releases and runs none."""
    hold(molded, connected, isolated, *VERSIONS)
    return isolated


def _gc(site: Isolated, *, keep: int = 0, dry_run: bool = False) -> Collected:
    work = site.installation
    return collect(work.site, work, keep=keep, dry_run=dry_run, clock=lambda: NOW)


def _sound(site: Isolated) -> bool:
    return audit(site.site, deep=True, workers=1, progress=Silent()).sound


def _folders(site: Isolated) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in (site.srv / "releases").iterdir())


@pytest.mark.parametrize(
    ("keep", "left"),
    [(0, []), (1, ["1.3.0"]), (3, ["1.1.0", "1.2.0", "1.3.0"]), (4, list(VERSIONS)), (99, list(VERSIONS))],
)
def test_the_newest_releases_stay(site: Isolated, keep: int, left: list[str]) -> None:
    """So many of each name; the store holds what they need, and no more."""
    done = _gc(site, keep=keep)
    assert admitted(site) == left
    assert list(done.releases) == [f"shop@{version}" for version in VERSIONS if version not in left]
    assert len(list((site.folder / "store" / "manifests").iterdir())) == 2 * len(left)
    assert _sound(site)


def test_each_name_is_counted_for_itself(connected: Connected, site: Isolated) -> None:
    """The newest of one release does not push out another's."""
    site.admit(connected.bundle("9.0.0", {"other.txt": b"other"}, release="other"))
    _gc(site, keep=1)
    assert [each.label for each in site.site.state.admitted] == ["shop@1.3.0", "other@9.0.0"]


def test_what_runs_and_what_ran_before_stays(site: Isolated) -> None:
    """However old it is: a rollback needs no medium."""
    for version in VERSIONS[:3]:
        site.apply(version)
    done = _gc(site)
    assert admitted(site) == ["1.1.0", "1.2.0"]
    assert (_folders(site), done.folders) == (["1.1.0", "1.2.0"], 1)
    site.installation.rollback("plant-7")
    assert serving(site) == "1.1.0"
    assert _sound(site)


def test_what_an_interrupted_operation_works_on_stays(site: Isolated) -> None:
    """A journal names what it came from and what it goes to."""
    site.apply("1.0.0")
    work = site.installation
    plan = work.plan(load(site.environment("1.1.0")))
    work.deployments.keep_journal(
        Journal(operation="1", action="apply", phase="staging", before=plan.before, after=plan.after, served=(None,))
    )
    _gc(site)
    assert admitted(site) == ["1.0.0", "1.1.0"]


@pytest.fixture
def unapart(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Two environments may come to one place, as older versions let them."""
    monkeypatch.setattr("installer.outlook.Outlook._check_apart", lambda *_, **__: None)
    return monkeypatch


def test_environments_that_share_a_place_keep_each_others_releases(site: Isolated, unapart: pytest.MonkeyPatch) -> None:
    """What one of them ran before is not pruned for the other."""
    work = site.installation
    for name, versions in (("plant-8", VERSIONS[:2]), ("plant-7", VERSIONS[2:])):
        for version in versions:
            path = site.environment(version)
            path.write_text(path.read_text().replace("plant-7", name))
            work.apply(load(path))
    unapart.undo()
    _gc(site)
    assert _folders(site) == sorted(VERSIONS)
    site.installation.rollback("plant-8")
    assert serving(site) == "1.0.0"


@pytest.mark.usefixtures("unapart")
def test_an_interrupted_operation_of_another_environment_keeps_its_folder(site: Isolated) -> None:
    """It staged a release beside what a second environment runs, and was killed."""
    site.apply("1.3.0")
    path = site.environment("1.0.0")
    path.write_text(path.read_text().replace("plant-7", "plant-8"))
    work = site.installation
    plan = work.plan(load(path))
    work._stage(plan, work._deployable(plan.admitted), work.targets(plan.environment))
    work.deployments.keep_journal(
        Journal(operation="1", action="apply", phase="staging", before=plan.before, after=plan.after, served=(None,))
    )
    _gc(site)
    assert _folders(site) == ["1.0.0", "1.3.0"]


def test_a_dry_run_says_what_would_go_and_removes_nothing(site: Isolated) -> None:
    """Not a file, not a line in the ledger; the real run removes just that."""
    site.apply("1.0.0")
    before = site.fingerprint_of_everything()
    ledger = (site.folder / "ledger.jsonl").read_bytes()
    said = _gc(site, keep=1, dry_run=True)
    assert said.releases == ("shop@1.1.0", "shop@1.2.0")
    assert site.fingerprint_of_everything() == before
    assert (site.folder / "ledger.jsonl").read_bytes() == ledger
    done = _gc(site, keep=1)
    assert (done.releases, done.files, done.bytes) == (said.releases, said.files, said.bytes)


def test_gc_again_removes_nothing(site: Isolated) -> None:
    """And writes no further line."""
    _gc(site, keep=1)
    before = site.fingerprint_of_everything()
    assert _gc(site, keep=1) == Collected(releases=(), files=0, bytes=0, folders=0, packs=0, saved=0)
    assert site.fingerprint_of_everything() == before
    assert events(site, "removed") == 1


def test_rests_of_interrupted_imports_are_removed(site: Isolated) -> None:
    """What no release needs is garbage, whatever its name."""
    rests = [site.folder / "store" / "packs" / ".tmp-rest", site.folder / "store" / "trees" / f"{'0' * 64}.zst"]
    for path in rests:
        path.write_bytes(b"rest")
    assert _gc(site, keep=4).files == 2
    assert not any(path.exists() for path in rests)
    assert _sound(site)


def test_rooms_of_killed_programs_are_removed(site: Isolated) -> None:
    """What a program that compressed a layer left in its folder, when all was killed, is garbage too."""
    room = site.folder / "store" / ".tmp-remade.3"
    (room / "out").mkdir(parents=True)
    (room / "layer").write_bytes(b"rest")
    _gc(site, keep=4)
    assert not room.exists()
    assert _sound(site)


def test_content_that_two_releases_share_stays_with_the_one_that_is_kept(
    connected: Connected, isolated: Isolated
) -> None:
    """Packs are removed when no release needs them any more."""
    for version in ("1.0.0", "1.1.0"):
        isolated.admit(connected.bundle(version, {"same.txt": b"same\n" * 100}))
    _gc(isolated, keep=1)
    assert admitted(isolated) == ["1.1.0"]
    assert _sound(isolated)
    isolated.apply("1.1.0")


def test_a_collected_release_can_be_imported_again(connected: Connected, isolated: Isolated) -> None:
    """With the bundle that brought it last."""
    bundle = connected.bundle("1.0.0", shop("1.0.0"))
    isolated.admit(bundle)
    _gc(isolated)
    assert isolated.admit(bundle).new == ("shop@1.0.0",)
    assert _sound(isolated)


def test_a_damaged_manifest_stops_gc(site: Isolated) -> None:
    """Nobody knows then what is needed: nothing is removed."""
    site.apply("1.0.0")
    current = site.site.state.admitted[0]
    path = site.folder / "store" / "manifests" / f"{current.part.release.sha256}.json"
    path.write_bytes(b"{}")
    before = site.fingerprint_of_everything()
    with pytest.raises(IntegrityError):
        _gc(site)
    assert site.fingerprint_of_everything() == before


def test_gc_during_an_apply_is_refused(site: Isolated) -> None:
    """92, 93: one command changes a site at a time."""
    with site.site.lock(), pytest.raises(StoreError, match="another sealift command"):
        _gc(site)


def test_a_release_that_failed_its_check_is_collected(site: Isolated) -> None:
    """What was staged and returned from is used by nobody."""
    site.apply("1.0.0")
    with pytest.raises(DeployError):
        site.apply("1.1.0", more="health:\n  - command: [/bin/false]\n    retries: 0\n")
    assert _gc(site).folders == 1
    assert _folders(site) == ["1.0.0"]


def test_what_serves_is_never_pruned(site: Isolated) -> None:
    """93: not even where the site's record says that something else serves."""
    site.apply("1.0.0")
    work = site.installation
    state = work.deployments.state("plant-7")
    assert state.current is not None
    other = msgspec.structs.replace(state.current, version="1.3.0", manifest="0" * 64)
    work.deployments.keep_state(msgspec.structs.replace(state, current=other))
    _gc(site)
    assert serving(site) == "1.0.0"


def test_what_sealift_did_not_deploy_is_never_pruned(site: Isolated) -> None:
    """A folder `releases` that was there before may hold other things, and links to them: they stay."""
    releases = site.srv / "releases"
    (releases / "backup").mkdir(parents=True)
    (releases / "backup" / "data").write_text("precious")
    (releases / "notes.txt").write_text("mine")
    (releases / "1.0.0-0123456789ab").symlink_to("backup")
    site.apply("1.0.0")
    site.apply("1.1.0")
    site.apply("1.2.0")
    assert _gc(site).folders == 1
    assert (releases / "1.0.0-0123456789ab" / "data").read_text() == "precious"
    assert (releases / "notes.txt").read_text() == "mine"
    assert serving(site) == "1.2.0"


def test_a_long_version_with_a_variant_is_pruned(tmp_path: Path) -> None:
    """However long a version is, the folder of its release with values is known as ours."""
    shelf = Shelf(tmp_path / "srv")
    shelf.prepare()
    identity = identity_of("1" * 60, "0" * 64, "a" * VARIANT)
    (shelf.releases / identity).mkdir()
    (shelf.releases / f"{identity}-{'b' * 12}").mkdir()
    assert shelf.prune(()) == 1
    assert not (shelf.releases / identity).exists()


def test_what_no_release_needs_goes_before_anything_is_recorded(
    site: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk the rests of a failed import are what makes room for the record."""
    orphan = site.folder / "store" / "packs" / ("ab" * 32 + ".zst")
    orphan.write_bytes(b"left by an import that was cut short")

    def full(*_: object) -> None:
        raise StoreError("no space left on device")

    monkeypatch.setattr(Site, "commit", full)
    with pytest.raises(StoreError):
        _gc(site)
    assert not orphan.exists()
