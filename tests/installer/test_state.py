"""A site is always in its former state or in its new one, and notices when it was set back."""

from __future__ import annotations

import os
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest

from installer.records.event import Event, event
from installer.records.folder import STORE
from installer.records.site import Site
from installer.records.state import FORMAT, SINCE, Admitted, Marks, State, read_marks
from sealift.digest import sha256
from sealift.errors import MalformedError, SealiftError, StoreError, TrustError
from sealift.listing import Blob, ListingBlob
from sealift.manifest import Part, ReleaseBlob
from sealift.trust import Versions, refresh
from tests.tufmaker import NOW, PAST, Depot

LATER = NOW + timedelta(days=3)


@pytest.fixture(scope="module")
def depot() -> Depot:
    """A depot with one key a role."""
    return Depot()


@pytest.fixture(scope="module")
def root(depot: Depot) -> bytes:
    """Its first root."""
    return depot.root()


@pytest.fixture
def folder(tmp_path: Path, root: bytes) -> Path:
    """An enrolled site's folder."""
    return Site.create(tmp_path / "site", root, sha256(root), NOW).path


def _release(version: int) -> Admitted:
    digest = f"{version:064x}"
    return Admitted(
        part=Part(
            release=ReleaseBlob(name="shop", version=f"{version}.0.0", sha256=digest, length=version),
            index=ListingBlob(sha256=digest, length=version, size=version),
            packs=(Blob(sha256=digest, length=version),),
        ),
        bundle="b" * 64,
        time=NOW,
        published="2026-11-20T00:00:00Z",
    )


def _next(state: State, **changes: Any) -> State:
    version = len(state.admitted) + 1
    versions = Versions(root=state.versions.root, timestamp=version, snapshot=version, targets=version)
    wanted = {"admitted": (*state.admitted, _release(version)), "versions": versions, "newest": NOW, **changes}
    return msgspec.structs.replace(state, **wanted)


def _events(state: State) -> list[Event]:
    return [
        event("admitted", {"release": f"shop@{len(state.admitted)}"}, NOW),
        event("repaired", {"packs": 0}, NOW),
    ]


def _admit(site: Site) -> None:
    with site.lock(wait=30):
        state = _next(site.state)
        site.commit(state, _events(state))


def _refuse(site: Site) -> None:
    with site.lock(wait=30):
        site.record("refused", {"why": "older"}, NOW)


def _names(folder: Path) -> list[str]:
    return [entry.event for entry in Site.open(folder).ledger.read()]


# Enrolment


def test_enrolment_makes_a_private_folder(folder: Path) -> None:
    """The folder is its owner's alone, with all that a site needs."""
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name for path in folder.iterdir()} == {
        "lock",
        "state.json",
        "marks.json",
        "ledger.jsonl",
        "store",
        "environments",
    }
    assert {path.name for path in (folder / "store").iterdir()} == set(STORE)
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in ("state.json", "marks.json")} == {0o600}


def test_enrolment_is_in_the_ledger(folder: Path, root: bytes) -> None:
    """The first line says which root the site was enrolled with."""
    (entry,) = Site.open(folder).ledger.read()
    assert entry.event == "enrolled"
    assert entry.detail["fingerprint"] == sha256(root)


def test_an_enrolled_site_opens_with_its_state(folder: Path, root: bytes) -> None:
    """What was enrolled is what is opened."""
    state = Site.open(folder).state
    assert (state.generation, state.name, state.enrolled, state.newest) == (1, "site", NOW, SINCE)
    assert state.trust.roots == (root,)
    assert state.versions == Versions(root=1)


def test_enrolling_again_with_the_same_root_changes_nothing(folder: Path, root: bytes) -> None:
    """The second enrolment says that there was one, and leaves every byte."""
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    again = Site.create(folder, root, sha256(root), LATER)
    assert not again.created
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_the_first_enrolment_says_so(tmp_path: Path, root: bytes) -> None:
    """A program can tell the first enrolment from a repeated one."""
    assert Site.create(tmp_path / "site", root, sha256(root), NOW).created


def test_enrolling_with_another_root_is_refused(folder: Path) -> None:
    """A site never changes its depot."""
    other = Depot().root()
    with pytest.raises(TrustError, match="enrolled already, with another root"):
        Site.create(folder, other, sha256(other), NOW)


def test_a_wrong_fingerprint_leaves_no_folder(tmp_path: Path, root: bytes) -> None:
    """Nothing is made before the root is authenticated."""
    with pytest.raises(TrustError, match="another fingerprint"):
        Site.create(tmp_path / "site", root, sha256(b"another"), NOW)
    assert not (tmp_path / "site").exists()


def test_an_expired_root_leaves_no_folder(tmp_path: Path, depot: Depot) -> None:
    """Nothing is made before the root holds."""
    root = depot.root(expires=PAST)
    with pytest.raises(TrustError, match="expired"):
        Site.create(tmp_path / "site", root, sha256(root), NOW)
    assert not (tmp_path / "site").exists()


def test_something_else_than_a_root_leaves_no_folder(tmp_path: Path) -> None:
    """A file that is no root metadata is malformed, whatever its fingerprint."""
    with pytest.raises(MalformedError):
        Site.create(tmp_path / "site", b"hello", sha256(b"hello"), NOW)
    assert not (tmp_path / "site").exists()


def test_a_folder_with_something_else_in_it_is_not_enrolled(tmp_path: Path, root: bytes) -> None:
    """A home folder does not become a site by mistake, and keeps its mode."""
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (home / "letter.txt").write_text("dear")
    with pytest.raises(StoreError, match=r"not empty and is no site: it holds 'letter\.txt'"):
        Site.create(home, root, sha256(root), NOW)
    assert stat.S_IMODE(home.stat().st_mode) == 0o755


def test_an_empty_folder_can_be_enrolled(tmp_path: Path, root: bytes) -> None:
    """A folder that an operator made beforehand becomes private."""
    (tmp_path / "site").mkdir(mode=0o755)
    site = Site.create(tmp_path / "site", root, sha256(root), NOW)
    assert stat.S_IMODE(site.path.stat().st_mode) == 0o700


# Opening


def test_a_missing_folder_is_no_site(tmp_path: Path) -> None:
    """The hint says how a site begins."""
    with pytest.raises(StoreError, match="no such folder") as caught:
        Site.open(tmp_path / "site")
    assert "sealift-install enroll" in (caught.value.hint or "")


def test_an_empty_folder_is_no_site(tmp_path: Path) -> None:
    """A folder without anything of a site is not one that lost its state."""
    tmp_path.chmod(0o700)
    with pytest.raises(StoreError, match="is no site"):
        Site.open(tmp_path)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_can_write_is_refused(folder: Path, mode: int) -> None:
    """Somebody else could have planted the state."""
    folder.chmod(mode)
    with pytest.raises(TrustError, match="can be written by others") as caught:
        Site.open(folder)
    assert "chmod go-w" in (caught.value.hint or "")


def test_a_folder_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that somebody else owns is not ours."""
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(TrustError, match=f"belongs to another user \\(uid {owner}\\)"):
        Site.open(folder)


@pytest.mark.parametrize("also", [(), ("marks.json",), ("ledger.jsonl",)])
def test_a_missing_state_is_an_error(folder: Path, also: tuple[str, ...]) -> None:
    """Whoever deletes the state does not get old bundles admitted."""
    for name in ("state.json", *also):
        (folder / name).unlink()
    with pytest.raises(TrustError, match="the trust state of this site is missing") as caught:
        Site.open(folder)
    assert "backup taken after" in (caught.value.hint or "")


def test_content_without_a_state_is_an_error(folder: Path) -> None:
    """A store with a pack in it once had a state."""
    (folder / "store/packs/x.zst").write_bytes(b"x")
    for name in ("state.json", "marks.json", "ledger.jsonl"):
        (folder / name).unlink()
    with pytest.raises(TrustError, match="the trust state of this site is missing"):
        Site.open(folder)


@pytest.mark.parametrize("left", ["marks.json", "ledger.jsonl", "store/packs/x.zst"])
def test_what_is_left_of_a_site_cannot_be_enrolled_again(folder: Path, root: bytes, left: str) -> None:
    """A new enrolment over a lost state would forget what the site has seen."""
    (folder / "store/packs/x.zst").write_bytes(b"x")
    for name in {"state.json", "marks.json", "ledger.jsonl", "store/packs/x.zst"} - {left}:
        (folder / name).unlink()
    with pytest.raises(TrustError, match="the trust state of this site is missing"):
        Site.create(folder, root, sha256(root), NOW)


@pytest.mark.parametrize("name", ["state.json", "marks.json"])
@pytest.mark.parametrize(
    "damage",
    [lambda content: b"", lambda content: b"\x00" * len(content), lambda content: content[:-20], lambda content: b"{}"],
    ids=["empty", "zeroed", "truncated", "another"],
)
def test_a_damaged_file_is_an_error(folder: Path, name: str, damage: Callable[[bytes], bytes]) -> None:
    """State and marks that cannot be read are never taken for a new site."""
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    with pytest.raises(TrustError, match="cannot be read: the file is damaged"):
        Site.open(folder)


def test_an_edited_state_is_an_error(folder: Path) -> None:
    """The marks know the digest of the state."""
    path = folder / "state.json"
    path.write_bytes(path.read_bytes().replace(b'"name":"site"', b'"name":"mine"'))
    with pytest.raises(TrustError, match="changed by something else"):
        Site.open(folder)


@pytest.mark.parametrize("name", ["state.json", "marks.json"])
def test_a_newer_format_is_named(folder: Path, name: str) -> None:
    """An older installer does not guess at a newer one's files."""
    path = folder / name
    path.write_bytes(path.read_bytes().replace(b'"format":%d' % FORMAT, b'"format":%d,"new":{}' % (FORMAT + 1)))
    with pytest.raises(TrustError, match="written by a newer sealift"):
        Site.open(folder)


@pytest.mark.parametrize("commits", [1, 2])
def test_a_state_from_an_old_backup_is_an_error(folder: Path, commits: int) -> None:
    """A state that is older than the marks would admit old bundles again."""
    backup = (folder / "state.json").read_bytes()
    for _ in range(commits):
        _admit(Site.open(folder))
    (folder / "state.json").write_bytes(backup)
    with pytest.raises(TrustError, match=f"commit 1 of {commits + 1}.*restored from an old backup"):
        Site.open(folder)


def test_marks_from_an_old_backup_are_an_error(folder: Path) -> None:
    """Marks are never more than one commit behind."""
    backup = (folder / "marks.json").read_bytes()
    for _ in range(2):
        _admit(Site.open(folder))
    (folder / "marks.json").write_bytes(backup)
    with pytest.raises(TrustError, match="high-water marks of this site are older"):
        Site.open(folder)


def test_missing_marks_are_an_error(folder: Path) -> None:
    """Once something was admitted, no site is without marks."""
    _admit(Site.open(folder))
    (folder / "marks.json").unlink()
    with pytest.raises(TrustError, match="high-water marks of this site are missing"):
        Site.open(folder)


def test_missing_marks_are_an_error_after_a_refusal(folder: Path) -> None:
    """A recorded refusal shows that enrolment had ended."""
    _refuse(Site.open(folder))
    (folder / "marks.json").unlink()
    with pytest.raises(TrustError, match="high-water marks of this site are missing"):
        Site.open(folder)


def test_missing_marks_are_an_error_with_content_in_the_store(folder: Path) -> None:
    """A pack in the store shows that enrolment had ended."""
    (folder / "store/packs/x.zst").write_bytes(b"x")
    (folder / "marks.json").unlink()
    with pytest.raises(TrustError, match="high-water marks of this site are missing"):
        Site.open(folder)


def test_a_missing_ledger_is_an_error(folder: Path) -> None:
    """The marks know how long the ledger was."""
    (folder / "ledger.jsonl").unlink()
    with pytest.raises(TrustError, match="the ledger of this site is truncated"):
        Site.open(folder)


def test_an_edited_ledger_is_an_error(folder: Path) -> None:
    """The marks know the ledger's last line."""
    path = folder / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b"enrolled", b"refusedx"))
    with pytest.raises(TrustError, match="line 1 is not the one that was written"):
        Site.open(folder)


def test_a_fifo_in_place_of_the_state_is_an_error(folder: Path) -> None:
    """Opening does not hang on what is no regular file."""
    (folder / "state.json").unlink()
    os.mkfifo(folder / "state.json")
    with pytest.raises(TrustError, match="not a regular file"):
        Site.open(folder)


def test_a_link_in_place_of_the_state_is_an_error(folder: Path, tmp_path: Path) -> None:
    """A symbolic link is not followed."""
    shutil.move(folder / "state.json", tmp_path / "elsewhere")
    (folder / "state.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        Site.open(folder)


# Committing


def test_a_commit_is_state_ledger_and_marks(folder: Path) -> None:
    """After a commit all three files agree, and another process sees it."""
    site = Site.open(folder)
    _admit(site)
    again = Site.open(folder)
    assert again.state == site.state
    assert again.state.generation == 2
    assert again.state.release("shop", "1.0.0") == _release(1)
    assert again.state.release("shop", "2.0.0") is None
    assert _names(folder) == ["enrolled", "admitted", "repaired"]
    assert again.marks is not None
    assert (again.marks.generation, again.marks.versions) == (2, again.state.versions)
    assert again.ledger.verify(again.marks.ledger).sound


def test_trust_survives_the_file_byte_for_byte(folder: Path, depot: Depot) -> None:
    """What `refresh` returns can be stored, opened, and refreshed again."""
    site = Site.open(folder)
    offered = depot.offer(7)
    result = refresh(site.state.trust, offered, reference=NOW)
    with site.lock():
        site.commit(_next(site.state, trust=result.trust, versions=result.versions), [])
    trust = Site.open(folder).state.trust
    assert trust == result.trust
    assert refresh(trust, offered, reference=NOW).trust == trust


def test_a_commit_needs_the_lock(folder: Path) -> None:
    """Without the lock nothing is written."""
    site = Site.open(folder)
    with pytest.raises(RuntimeError, match="not held"):
        site.commit(_next(site.state), [])
    with pytest.raises(RuntimeError, match="not held"):
        site.record("refused", {}, NOW)


def test_a_state_that_is_out_of_date_is_not_committed(folder: Path) -> None:
    """A change that was planned on a former state does not undo what came between."""
    site = Site.open(folder)
    planned = _next(site.state)
    _admit(Site.open(folder))
    with site.lock(), pytest.raises(StoreError, match="the site has changed meanwhile"):
        site.commit(planned, [])
    assert len(Site.open(folder).state.admitted) == 1


def test_a_lock_that_is_held_is_refused(folder: Path) -> None:
    """A second command is told to wait."""
    with Site.open(folder).lock(), pytest.raises(StoreError, match="another sealift command"), Site.open(folder).lock():
        pass


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_a_version_cannot_be_committed_below_a_known_one(folder: Path, role: str) -> None:
    """Even a caller that skips the trust check cannot take a site back."""
    site = Site.open(folder)
    _admit(site)
    older = msgspec.structs.replace(Versions(root=1, timestamp=1, snapshot=1, targets=1), **{role: 0})
    with site.lock(), pytest.raises(TrustError, match=f"{role} 0, known is 1"):
        site.commit(_next(site.state, versions=older), [])


@pytest.mark.parametrize("older", [{}, {"team-a": 2}])
def test_a_teams_version_cannot_be_committed_below_a_known_one(folder: Path, older: dict[str, int]) -> None:
    """A delegated role's version never falls, and never vanishes."""
    site = Site.open(folder)
    with site.lock():
        site.commit(_next(site.state, versions=Versions(root=1, delegated={"team-a": 3})), [])
        with pytest.raises(TrustError, match=f"team-a {older.get('team-a', 0)}, known is 3"):
            site.commit(_next(site.state, versions=Versions(root=1, delegated=older)), [])
        site.commit(_next(site.state, versions=Versions(root=2, delegated=older)), [])


def test_a_root_cannot_be_committed_below_a_known_one(folder: Path) -> None:
    """Roots never go back."""
    site = Site.open(folder)
    with site.lock():
        site.commit(_next(site.state, versions=Versions(root=3)), [])
        with pytest.raises(TrustError, match="root 2, known is 3"):
            site.commit(_next(site.state, versions=Versions(root=2)), [])


def test_versions_may_begin_again_under_a_new_root(folder: Path) -> None:
    """A site recovers from versions that were driven too far ahead."""
    site = Site.open(folder)
    with site.lock():
        site.commit(_next(site.state, versions=Versions(root=1, timestamp=2**53, snapshot=9, targets=9)), [])
        site.commit(_next(site.state, versions=Versions(root=2, timestamp=10, snapshot=9, targets=9)), [])
    assert Site.open(folder).state.versions.timestamp == 10


def test_the_newest_time_never_goes_back(folder: Path) -> None:
    """A clock that is set back does not bring expired bundles back."""
    site = Site.open(folder)
    with site.lock():
        site.commit(_next(site.state, newest=LATER), [])
        site.commit(_next(site.state, newest=NOW), [])
    assert site.state.newest == LATER
    assert site.reference(NOW) == LATER
    assert site.reference(LATER + timedelta(hours=1)) == LATER + timedelta(hours=1)


def test_the_reference_is_utc_whatever_the_clock_says(folder: Path) -> None:
    """A clock in another zone means the same instant."""
    site = Site.open(folder)
    local = LATER.astimezone(timezone(timedelta(hours=8)))
    assert site.reference(local) == LATER
    assert site.reference(local).tzinfo is UTC


def test_a_refusal_changes_nothing_but_the_ledger(folder: Path) -> None:
    """The state keeps every byte, and the marks follow the ledger."""
    before = (folder / "state.json").read_bytes()
    site = Site.open(folder)
    _refuse(site)
    assert (folder / "state.json").read_bytes() == before
    assert _names(folder) == ["enrolled", "refused"]
    assert site.marks is not None
    assert site.marks.ledger.seq == 2


def test_a_refusal_cannot_pass_as_a_commits_event(folder: Path) -> None:
    """The keys that mark an event as part of a commit are not for records."""
    site = Site.open(folder)
    with site.lock(), pytest.raises(ValueError, match="generations"):
        site.record("refused", {"generation": 2, "ordinal": 0}, NOW)


def test_a_refusal_on_a_full_disk_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller gets an error that it can attach to its own."""
    site = Site.open(folder)

    def full(descriptor: int, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    with site.lock():
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(StoreError, match="no space left on device"):
            site.record("refused", {}, NOW)


def test_a_site_that_cannot_be_written_can_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On read-only media an unfinished commit does not keep a reader out."""
    _kill_during(_admit, folder, "replace", 2)
    opened = os.open

    def read_only(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(30, "Read-only file system")
        return opened(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", read_only)
    site = Site.open(folder)
    assert site.state.generation == 2
    with pytest.raises(StoreError, match="read-only file system"), site.lock():
        pass


def test_what_a_killed_writer_left_is_swept(folder: Path) -> None:
    """Half-written copies of the state do not pile up."""
    (folder / ".tmp-state.json.4711").write_bytes(b"half")
    with Site.open(folder).lock():
        assert not (folder / ".tmp-state.json.4711").exists()


# Crashes

CALLS = ("write", "fsync", "replace", "ftruncate")


class _Faults:
    """Makes the n-th of the calls that change the disk go wrong."""

    def __init__(self, patch: pytest.MonkeyPatch, number: int, wrong: Callable[[], None], *, only: str = "") -> None:
        self.count = 0
        for name in (only,) if only else CALLS:
            patch.setattr(os, name, self._wrapped(name, getattr(os, name), number, wrong))

    def _wrapped(
        self, name: str, real: Callable[..., Any], number: int, wrong: Callable[[], None]
    ) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.count += 1
            if self.count == number:
                if name == "write":
                    real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                wrong()
            return real(*arguments)

        return call


def _kill() -> None:
    os._exit(9)


def _fail() -> None:
    raise OSError(5, "Input/output error")


def _kill_during(work: Callable[[Site], None], folder: Path, only: str, number: int) -> bool:
    """Run `work` in a process that is killed at the n-th call; whether it came that far."""
    return _killed(lambda: work(Site.open(folder)), number, only=only)


def _killed(work: Callable[[], object], number: int, *, only: str = "") -> bool:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _Faults(pytest.MonkeyPatch(), number, _kill, only=only)
            work()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 9


def _failed(work: Callable[[], object], number: int) -> bool:
    with pytest.MonkeyPatch.context() as patch:
        faults = _Faults(patch, number, _fail)
        try:
            work()
        except StoreError:
            return True
    return faults.count >= number


CRASHES = pytest.mark.parametrize("crash", [_killed, _failed], ids=["killed", "failed"])
Crash = Callable[[Callable[[], object], int], bool]


def _every_crash(crash: Crash, template: Path, work: Callable[[Path], object], scratch: Path) -> Iterator[Path]:
    """The folder after a crash at the first, the second, … call, until the work ends without one."""
    for number in range(1, 100):
        folder = scratch / f"{number}"
        if template.exists():
            shutil.copytree(template, folder)
        if not crash(lambda folder=folder: work(folder), number):  # type: ignore[misc]
            assert number > 5
            return
        yield folder
    pytest.fail("the work never ended")


def _check_sound(folder: Path) -> Site:
    """The site opens, has each event of each commit exactly once, and goes on working."""
    site = Site.open(folder)
    with site.lock():
        assert site.marks is not None
        verdict = site.ledger.verify(site.marks.ledger)
        assert verdict.sound, verdict
    entries = list(site.ledger.read())
    marked = Counter((entry.detail.get("generation"), entry.detail.get("ordinal")) for entry in entries)
    commits = {(1, 0)} | {(generation, n) for generation in range(2, site.state.generation + 1) for n in range(2)}
    assert {mark: number for mark, number in marked.items() if mark != (None, None)} == dict.fromkeys(commits, 1)
    generation = site.state.generation
    _refuse(site)
    _admit(site)
    assert Site.open(folder).state.generation == generation + 1
    return site


@CRASHES
def test_a_crash_during_a_commit_leaves_the_old_state_or_the_new(folder: Path, tmp_path: Path, crash: Crash) -> None:
    """At every write, fsync and rename the site is as before or as after, and the ledger says which."""
    _admit(Site.open(folder))
    seen = set()
    for after in _every_crash(crash, folder, lambda path: _admit(Site.open(path)), tmp_path):
        state = Site.open(after).state
        assert state.generation == len(state.admitted) + 1
        seen.add(state.generation)
        _check_sound(after)
    assert seen == {2, 3}


@CRASHES
def test_a_crash_during_a_record_leaves_the_state(folder: Path, tmp_path: Path, crash: Crash) -> None:
    """A refusal that could not be recorded costs at most its own line."""
    before = (folder / "state.json").read_bytes()
    for after in _every_crash(crash, folder, lambda path: _refuse(Site.open(path)), tmp_path):
        assert (after / "state.json").read_bytes() == before
        assert len([name for name in _names(after) if name == "refused"]) <= 1
        _check_sound(after)


@CRASHES
def test_a_crash_during_enrolment_can_be_repeated(tmp_path: Path, root: bytes, crash: Crash) -> None:
    """Whatever is left of an enrolment, the same command completes it."""

    def enrol(path: Path) -> Site:
        return Site.create(path, root, sha256(root), NOW)

    for after in _every_crash(crash, tmp_path / "none", enrol, tmp_path):
        site = enrol(after)
        assert site.state.generation == 1
        assert _names(after) == ["enrolled"] or "torn-line-removed" in _names(after)
        _check_sound(after)


@CRASHES
def test_a_crash_during_enrolment_leaves_a_site_or_none(tmp_path: Path, root: bytes, crash: Crash) -> None:
    """A half-made site is either no site yet, or opens."""
    seen = set()
    for after in _every_crash(crash, tmp_path / "none", lambda p: Site.create(p, root, sha256(root), NOW), tmp_path):
        try:
            Site.open(after)
            seen.add("enrolled")
        except StoreError:
            seen.add("no site")
    assert seen == {"enrolled", "no site"}


@CRASHES
def test_a_crash_while_finishing_is_finished_by_the_next(folder: Path, tmp_path: Path, crash: Crash) -> None:
    """Recovery can itself be cut short, again and again."""
    _kill_during(_admit, folder, "replace", 2)
    for after in _every_crash_while_opening(crash, folder, tmp_path):
        assert _check_sound(after).state.release("shop", "1.0.0")


def _every_crash_while_opening(crash: Crash, folder: Path, scratch: Path) -> Iterator[Path]:
    def finish(path: Path) -> None:
        with Site.open(path).lock():
            pass

    for number in range(1, 4):
        after = scratch / f"{number}"
        shutil.copytree(folder, after)
        crash(lambda after=after: finish(after), number)  # type: ignore[misc]
        yield after


def test_a_torn_ledger_line_is_replaced_by_the_whole_one(folder: Path) -> None:
    """A commit whose event was half written gets it whole, and the tear is recorded."""
    assert _killed(lambda: _admit(Site.open(folder)), 2, only="write")
    assert b"\n" not in (folder / "ledger.jsonl").read_bytes()[-20:]
    assert _names(folder) == ["enrolled", "torn-line-removed", "admitted", "repaired"]


def test_a_commit_goes_on_after_a_failed_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same process, under the same lock, a failed ledger write is made up for."""
    site = Site.open(folder)
    with site.lock():
        with pytest.MonkeyPatch.context() as patch:
            _Faults(patch, 2, _fail, only="write")
            with pytest.raises(StoreError, match="the change is made, but the ledger does not say so yet"):
                site.commit(_next(site.state), _events(site.state))
        state = _next(site.state)
        site.commit(state, _events(state))
    assert [entry.detail.get("generation") for entry in site.ledger.read()] == [1, 2, 2, 3, 3]


# Two at once


def test_two_processes_commit_in_turn(folder: Path) -> None:
    """Neither process loses what the other did, and a reader beside them never sees damage."""
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                site = Site.open(folder)
                for _ in range(8):
                    _admit(site)
                    _refuse(site)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    running = set(children)
    while running:
        Site.open(folder)
        for child in list(running):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                assert os.waitstatus_to_exitcode(status) == 0
                running.remove(child)
    site = Site.open(folder)
    assert site.state.generation == 17
    assert [each.version for each in site.state.admitted] == [f"{n}.0.0" for n in range(1, 17)]
    assert Counter(_names(folder)) == {"enrolled": 1, "admitted": 16, "repaired": 16, "refused": 16}
    _check_sound(folder)


def test_a_reader_that_is_overtaken_reads_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two commits between a reader's look at the marks and at the state are no damage."""
    looks: list[Path] = []

    def overtaken(path: Path) -> Marks | None:
        marks = read_marks(path)
        looks.append(path)
        if len(looks) == 1:
            for _ in range(2):
                _admit(Site.open(folder))
        return marks

    monkeypatch.setattr("installer.records.site.read_marks", overtaken)
    assert Site.open(folder).state.generation == 3


def test_every_error_of_a_site_is_one_sentence(folder: Path) -> None:
    """A message is lower case and has no full stop at its end."""
    (folder / "state.json").write_bytes(b"")
    with pytest.raises(SealiftError) as caught:
        Site.open(folder)
    assert caught.value.message[0].islower()
    assert not caught.value.message.endswith(".")


def test_a_time_is_stored_in_utc(tmp_path: Path, root: bytes) -> None:
    """A clock in another zone enrols at the same instant."""
    local = datetime(2026, 11, 22, 17, 30, tzinfo=timezone(timedelta(hours=8)))
    assert (
        b'"enrolled":"2026-11-22T09:30:00Z"'
        in (Site.create(tmp_path / "site", root, sha256(root), local).path / "state.json").read_bytes()
    )
