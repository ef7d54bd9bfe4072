"""Trust that was lost is begun anew by hand, and forgets nothing that is still known: attacks 19, 26, 27 and 102."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from forge import Forge, sha256
from strange import spaced
from teams import Team
from termed import TermedDepot
from worlds import Isolated

from installer.collecting import collect
from installer.receipting import receipt
from installer.records.ledger import Entry
from installer.records.site import Site
from installer.records.state import SINCE
from installer.recovering import recover
from sealift.errors import MalformedError, SealiftError, StoreError, TrustError, UsageError
from sealift.receipt import read as read_receipt
from sealift.trust import Versions
from tests.tufmaker import NOW, Depot

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def forge() -> Forge:
    """The keys that sign the bundles of these tests."""
    return Forge()


@pytest.fixture(scope="module")
def bundles(forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three bundles, each newer than the one before."""
    folder = tmp_path_factory.mktemp("bundles")
    return [forge.bundle(folder / f"{n}", version=n, release=f"1.0.{n}") for n in (1, 2, 3)]


@pytest.fixture(scope="module")
def worn(forge: Forge, bundles: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site that admitted the second bundle; copy it, do not change it."""
    root = tmp_path_factory.mktemp("worn")
    Site.create(root / "site", forge.root, sha256(forge.root), NOW, name="plant-7")
    shutil.copy(root / "site/state.json", root / "old-state.json")
    shutil.copy(root / "site/marks.json", root / "old-marks.json")
    shutil.copy(root / "site/ledger.jsonl", root / "old-ledger.jsonl")
    Isolated(root=root, folder=root / "site", srv=root / "srv", now=NOW).admit(bundles[1])
    return root


@pytest.fixture
def isolated(worn: Path, tmp_path: Path) -> Isolated:
    """A copy of the site."""
    shutil.copytree(worn, tmp_path, dirs_exist_ok=True)
    return Isolated(root=tmp_path, folder=tmp_path / "site", srv=tmp_path / "srv", now=NOW)


@pytest.fixture
def enrolled_by_hand(forge: Forge, tmp_path: Path) -> Isolated:
    """A site that holds nothing yet."""
    Site.create(tmp_path / "fresh", forge.root, sha256(forge.root), NOW)
    return Isolated(root=tmp_path, folder=tmp_path / "fresh", srv=tmp_path / "srv", now=NOW)


def _again(isolated: Isolated, forge: Forge) -> Site:
    return recover(isolated.folder, forge.root, sha256(forge.root), NOW)


def _last(site: Site) -> Entry:
    *_, last = site.ledger.read()
    return last


def _remove(*names: str) -> Damage:
    def damage(site: Path) -> None:
        for name in names:
            (site / name).unlink()

    return damage


def _restore(*names: str) -> Damage:
    return lambda site: [shutil.copy(site.parent / f"old-{name}", site / name) for name in names]


def _zero(name: str) -> Damage:
    return lambda site: (site / name).write_bytes(bytes((site / name).stat().st_size))


def _cut(name: str) -> Damage:
    return lambda site: (site / name).write_bytes((site / name).read_bytes()[:-30])


DAMAGES: dict[str, Damage] = {
    "state deleted": _remove("state.json"),
    "marks deleted": _remove("marks.json"),
    "state and marks deleted": _remove("state.json", "marks.json"),
    "ledger deleted": _remove("ledger.jsonl"),
    "state and ledger deleted": _remove("state.json", "ledger.jsonl"),
    "marks and ledger deleted": _remove("marks.json", "ledger.jsonl"),
    "state zeroed": _zero("state.json"),
    "marks zeroed": _zero("marks.json"),
    "ledger zeroed": _zero("ledger.jsonl"),
    "state cut": _cut("state.json"),
    "marks cut": _cut("marks.json"),
    "ledger cut": _cut("ledger.jsonl"),
    "state from a backup": _restore("state.json"),
    "ledger from a backup": _restore("ledger.jsonl"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_lost_state_is_noticed_and_trust_begun_anew(
    damage: Damage, isolated: Isolated, forge: Forge, bundles: list[Path]
) -> None:
    """26, 27: every command refuses; after the fingerprint was given again, old bundles are refused still."""
    damage(isolated.folder)
    with pytest.raises(TrustError):
        isolated.admit(bundles[2])
    site = _again(isolated, forge)
    assert _last(site).event == "trust-begun-anew"
    assert site.state.versions == Versions(root=1, timestamp=2) or site.state.versions.snapshot == 2
    assert site.state.admitted == ()
    with pytest.raises(TrustError, match="older than one that this site has seen"):
        isolated.admit(bundles[0])
    done = isolated.admit(bundles[1])
    assert (done.new, done.written) == (("shop@1.0.2",), 0)
    isolated.admit(bundles[2])
    assert isolated.site.ledger.verify(isolated.site.marks.ledger if isolated.site.marks else None).sound


def test_the_ledger_says_why(isolated: Isolated, forge: Forge) -> None:
    """Whose fingerprint it was, what was wrong, and below what nothing is admitted."""
    (isolated.folder / "state.json").unlink()
    last = _last(_again(isolated, forge))
    assert last.detail["fingerprint"] == sha256(forge.root)
    assert last.detail["why"] == "the trust state of this site is missing"
    assert last.detail["versions"]["timestamp"] == 2
    assert last.detail["not_before"] == "2026-11-22T09:00:00Z"
    assert last.seq == 3


def test_a_broken_ledger_is_kept_beside_the_new_one(isolated: Isolated, forge: Forge) -> None:
    """102: what was written stays, and the new ledger says which it was."""
    path = isolated.folder / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b"enrolled", b"ENROLLED"))
    content = path.read_bytes()
    (isolated.folder / "marks.json").unlink()
    last = _last(_again(isolated, forge))
    assert last.seq == 1
    former = last.detail["former_ledger"]
    assert former["sha256"] == sha256(content)
    assert (isolated.folder / former["file"]).read_bytes() == content


def test_a_site_in_order_is_not_begun_anew(isolated: Isolated, forge: Forge) -> None:
    """It is no way to forget what is known."""
    before = isolated.fingerprint_of_everything()
    with pytest.raises(UsageError, match="nothing is wrong with the trust"):
        _again(isolated, forge)
    assert isolated.fingerprint_of_everything() == before


def test_the_fingerprint_is_needed_again(isolated: Isolated, forge: Forge) -> None:
    """A root that somebody left beside the site is not believed."""
    (isolated.folder / "state.json").unlink()
    other = Depot().root()
    with pytest.raises(TrustError, match="another fingerprint"):
        recover(isolated.folder, other, sha256(forge.root), NOW)
    assert not (isolated.folder / "state.json").exists()


def test_another_depots_root_does_not_forget_versions(isolated: Isolated) -> None:
    """19: a stranger's root of the same version meets the marks of the former one."""
    (isolated.folder / "state.json").unlink()
    stranger = Forge()
    recover(isolated.folder, stranger.root, sha256(stranger.root), NOW)
    with pytest.raises(TrustError, match="older than one that this site has seen"):
        isolated.admit(stranger.bundle(isolated.root / "strange", version=1))


def test_a_newer_root_lets_versions_begin_again(isolated: Isolated, forge: Forge) -> None:
    """21: as everywhere, a root that moved on frees the versions below it."""
    (isolated.folder / "state.json").unlink()
    second = forge.depot.root(2)
    site = recover(isolated.folder, second, sha256(second), NOW)
    assert site.state.versions == Versions(root=2)
    isolated.admit(forge.bundle(isolated.root / "again", roots={1: forge.root, 2: second}, root_version=2))


def test_nothing_known_begins_at_nothing(isolated: Isolated, forge: Forge) -> None:
    """With state, marks and ledger gone only the store shows that there was a site; the ledger says what is known."""
    _remove("state.json", "marks.json", "ledger.jsonl")(isolated.folder)
    with pytest.raises(TrustError, match="missing"):
        Site.create(isolated.folder, forge.root, sha256(forge.root), NOW)
    site = _again(isolated, forge)
    assert (site.state.versions, site.state.newest, site.state.called) == (Versions(root=1), SINCE, None)
    assert _last(site).detail["versions"]["timestamp"] == 0


def test_an_empty_folder_is_not_recovered(forge: Forge, tmp_path: Path) -> None:
    """Where there never was a site, there is nothing to begin anew."""
    (tmp_path / "site").mkdir(mode=0o700)
    with pytest.raises(StoreError, match="is no site"):
        recover(tmp_path / "site", forge.root, sha256(forge.root), NOW)
    with pytest.raises(StoreError, match="no such folder"):
        recover(tmp_path / "other", forge.root, sha256(forge.root), NOW)


@pytest.mark.parametrize("name", ["state.json", "marks.json"])
def test_newer_files_are_not_written_over(isolated: Isolated, forge: Forge, name: str) -> None:
    """101: what only a newer Sealift reads is not lost."""
    path = isolated.folder / name
    path.write_bytes(path.read_bytes().replace(b'"format":2', b'"format":3'))
    content = path.read_bytes()
    with pytest.raises(TrustError, match="written by a newer sealift"):
        _again(isolated, forge)
    assert path.read_bytes() == content


def test_what_runs_is_not_removed_before_it_is_known_again(
    isolated: Isolated, forge: Forge, bundles: list[Path]
) -> None:
    """93: gc waits until what environments use was imported again."""
    isolated.apply("1.0.2")
    (isolated.folder / "state.json").unlink()
    _again(isolated, forge)
    work = isolated.installation

    def clean() -> None:
        collect(isolated.site, work, keep=3, dry_run=False, clock=lambda: NOW)

    with pytest.raises(StoreError, match=r"an environment uses shop@1\.0\.2, which this site has not admitted"):
        clean()
    isolated.admit(bundles[1])
    clean()
    isolated.apply("1.0.2")


@pytest.mark.parametrize("step", ["state.json", "ledger.jsonl", "marks.json"])
def test_a_kill_while_trust_is_begun_anew_is_no_loss(
    isolated: Isolated, forge: Forge, bundles: list[Path], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """79: the same command, run again, ends what a kill cut short, and the bounds still hold."""
    from installer import recovering
    from installer.records import ledger

    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    (isolated.folder / "state.json").unlink()
    with monkeypatch.context() as patch:
        if step == "state.json":
            patch.setattr(recovering, "write_state", killed)
        elif step == "ledger.jsonl":
            patch.setattr(ledger.Ledger, "append_all", killed)
        else:
            patch.setattr(recovering, "write_marks", killed)
        with pytest.raises(Killed):
            _again(isolated, forge)
    try:
        Site.open(isolated.folder)
    except TrustError:
        _again(isolated, forge)
    with pytest.raises(SealiftError, match="older than one that this site has seen"):
        isolated.admit(bundles[0])
    isolated.admit(bundles[2])


def test_a_wrong_clock_is_not_remembered_either(isolated: Isolated, forge: Forge) -> None:
    """29: trust that is begun anew keeps signed times, and not the clock's."""
    (isolated.folder / "state.json").unlink()
    site = recover(isolated.folder, forge.root, sha256(forge.root), datetime(2027, 4, 1, tzinfo=NOW.tzinfo))
    assert f"{site.state.newest:%Y-%m-%d}" == "2026-11-22"


# What is kept


def test_the_name_is_kept_where_it_can_be_read(isolated: Isolated, forge: Forge) -> None:
    """34: a site that was named stays in its audiences; one whose state is lost can be named again."""
    (isolated.folder / "marks.json").unlink()
    assert _again(isolated, forge).state.called == "plant-7"
    (isolated.folder / "state.json").unlink()
    assert _again(isolated, forge).state.called is None
    (isolated.folder / "state.json").unlink()
    site = recover(isolated.folder, forge.root, sha256(forge.root), NOW, name="plant-7")
    assert (site.state.name, site.state.named) == ("plant-7", True)


def test_the_ledger_alone_keeps_version_and_time(isolated: Isolated, forge: Forge) -> None:
    """19: where state and marks are gone, what was admitted still bounds what may come."""
    _remove("state.json", "marks.json")(isolated.folder)
    state = _again(isolated, forge).state
    assert state.versions == Versions(root=1, timestamp=2)
    assert f"{state.newest:%Y-%m-%dT%H:%M}" == "2026-11-22T09:00"
    assert state.generation == 3


def test_a_ledger_that_lacks_its_end_is_not_in_order(isolated: Isolated, forge: Forge) -> None:
    """102: marks that are left know more lines than a ledger that was cut between two of them; it is set aside."""
    content = (isolated.folder / "ledger.jsonl").read_bytes()
    (isolated.folder / "ledger.jsonl").write_bytes(content[: content.rindex(b"\n", 0, -1) + 1])
    (isolated.folder / "state.json").unlink()
    site = _again(isolated, forge)
    (entry,) = site.ledger.read()
    assert isinstance(entry.detail["former_ledger"], dict)
    assert entry.detail["root"] == 1
    assert site.state.versions.timestamp == 2


@pytest.mark.parametrize("lost", ["state.json", "marks.json"])
def test_the_newest_time_is_kept_whatever_the_ledger_says(isolated: Isolated, forge: Forge, lost: str) -> None:
    """28: what state or marks remember is later than what the ledger's releases bear, and counts."""
    later = NOW + timedelta(days=1)
    with (site := isolated.site).lock():
        site.commit(msgspec.structs.replace(site.state, newest=later), [])
    (isolated.folder / lost).unlink()
    assert _again(isolated, forge).state.newest == later


def test_a_receipt_is_by_the_same_key_after_trust_was_begun_anew(isolated: Isolated, forge: Forge) -> None:
    """The site's own key stays, so that the depot knows its receipts; they say honestly that nothing is admitted."""
    before, _ = receipt(isolated.site, NOW)
    (isolated.folder / "state.json").unlink()
    after, content = receipt(_again(isolated, forge), NOW)
    assert after.fingerprint == before.fingerprint
    assert after.generation > before.generation
    assert read_receipt(content, "receipt") == after
    assert (len(before.releases), len(after.releases)) == (1, 0)


@pytest.mark.parametrize("lost", ["state.json", "marks.json"])
def test_every_version_is_kept(enrolled_by_hand: Isolated, forge: Forge, lost: str) -> None:
    """19: snapshot, targets and teams as well as the timestamp, from the state or from the marks."""
    site = enrolled_by_hand
    site.admit(forge.bundle(site.root / "team", spaced(forge, Team())))
    wanted = site.site.state.versions
    (site.folder / lost).unlink()
    assert recover(site.folder, forge.root, sha256(forge.root), NOW).state.versions == wanted
    assert wanted == Versions(root=1, timestamp=1, snapshot=1, targets=1, delegated={"team-a": 1})


def test_the_new_state_is_one_commit_in_the_ledger(isolated: Isolated, forge: Forge) -> None:
    """The event bears the commit's number, so that it is written once."""
    (isolated.folder / "state.json").unlink()
    site = _again(isolated, forge)
    detail = _last(site).detail
    assert (site.state.generation, detail["generation"], detail["ordinal"]) == (3, 3, 0)
    assert site.marks is not None
    assert site.marks.generation == 3


def test_lost_folders_are_made_anew_and_private(isolated: Isolated, forge: Forge) -> None:
    """A store that is gone as well is one that nobody else may read."""
    (isolated.folder / "state.json").unlink()
    shutil.rmtree(isolated.folder / "store")
    _again(isolated, forge)
    assert {path.stat().st_mode & 0o777 for path in (isolated.folder / "store").iterdir()} == {0o700}


def test_trust_is_not_begun_anew_with_what_no_enrolment_takes(isolated: Isolated) -> None:
    """16: a root for development, an expired one, and a name that is none."""
    (isolated.folder / "state.json").unlink()
    toy = TermedDepot(purpose="development").root()
    with pytest.raises(TrustError, match="the root is for development"):
        recover(isolated.folder, toy, sha256(toy), NOW)
    recover(isolated.folder, toy, sha256(toy), NOW, purpose="development")
    old = Depot().root(expires="2025-06-01T00:00:00Z")
    with pytest.raises(TrustError, match="the root expired"):
        recover(isolated.folder, old, sha256(old), NOW - timedelta(days=9999))
    with pytest.raises(MalformedError, match="no valid name"):
        recover(isolated.folder, toy, sha256(toy), NOW, name="../x")


def test_trust_is_not_begun_anew_beside_another_command(isolated: Isolated, forge: Forge) -> None:
    """90: the lock is waited for, and then the site is left alone."""
    site = isolated.site
    with site.lock():
        (isolated.folder / "state.json").unlink()
        with pytest.raises(StoreError, match="this site"):
            _again(isolated, forge)
    assert not (isolated.folder / "state.json").exists()
