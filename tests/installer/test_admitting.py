"""An import takes all of a bundle or nothing, once, and can be repeated and resumed."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from mounts import read_only, tmpfs
from racing import at_once
from shop import admitted, events, shop
from worlds import NOW, Connected, Isolated, sample

from installer.admitting import admit
from installer.auditing import audit, repair
from installer.records.site import Site
from sealift.container import Member, Reader
from sealift.errors import IntegrityError, MalformedError, StoreError, TrustError
from sealift.progress import Silent


def _packs(site: Isolated) -> list[Path]:
    return sorted((site.folder / "store" / "packs").iterdir())


def _flip(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def _sound(site: Isolated) -> bool:
    return audit(site.site, deep=True, workers=2, progress=Silent()).sound


def test_an_import_admits_every_release_of_a_bundle(connected: Connected, isolated: Isolated) -> None:
    """In one commit, with a line in the ledger for each."""
    specs = [connected.spec(version, shop(version)) for version in ("1.0.0", "1.1.0")]
    done = isolated.admit(connected.export(specs, connected.root / "both.sealift"))
    assert done.new == ("shop@1.0.0", "shop@1.1.0")
    assert (events(isolated, "admitted", "1.0.0"), events(isolated, "admitted", "1.1.0")) == (1, 1)
    assert _sound(isolated)


def test_importing_again_changes_nothing(connected: Connected, isolated: Isolated) -> None:
    """Not the state, not the ledger, not a file of the store."""
    bundle = connected.bundle("1.0.0")
    first = isolated.admit(bundle)
    before = isolated.fingerprint_of_everything()
    ledger = (isolated.folder / "ledger.jsonl").read_bytes()
    again = isolated.admit(bundle)
    assert (again.new, again.written, again.present) == ((), 0, first.written)
    assert isolated.fingerprint_of_everything() == before
    assert (isolated.folder / "ledger.jsonl").read_bytes() == ledger


def test_an_import_goes_on_where_it_stopped(connected: Connected, isolated: Isolated) -> None:
    """Packs that arrived whole before the medium failed are not written again."""
    specs = [connected.spec("1.0.0", sample()), connected.spec("1.1.0", shop("1.1.0"))]
    bundle = connected.export(specs, connected.root / "both.sealift")
    with Reader(bundle) as reader:
        packs = reader.of("pack")
    assert len(packs) >= 2
    good = bundle.read_bytes()
    _flip(bundle, packs[-1].offset)
    with pytest.raises(IntegrityError):
        admit(isolated.site, bundle, now=NOW, workers=1, progress=Silent())
    arrived = {path.name: path.stat().st_ino for path in _packs(isolated)}
    assert len(arrived) == len(packs) - 1
    bundle.write_bytes(good)
    done = isolated.admit(bundle)
    assert (done.written, done.present) == (packs[-1].size, sum(pack.size for pack in packs[:-1]))
    assert {name: (isolated.folder / "store" / "packs" / name).stat().st_ino for name in arrived} == arrived


def test_a_damaged_pack_is_repaired_by_the_same_import(connected: Connected, isolated: Isolated) -> None:
    """And the ledger says which."""
    bundle = connected.bundle("1.0.0")
    isolated.admit(bundle)
    pack = _packs(isolated)[0]
    _flip(pack, 0)
    assert not audit(isolated.site, deep=False, workers=1, progress=Silent()).sound
    assert isolated.admit(bundle).repaired == (pack.name.removesuffix(".zst"),)
    assert _sound(isolated)
    assert events(isolated, "repaired") == 1


@pytest.mark.parametrize("kind", ["packs", "trees", "index", "manifests"])
def test_what_is_missing_is_brought_back_by_the_same_import(
    connected: Connected, isolated: Isolated, kind: str
) -> None:
    """Packs, trees, indexes and manifests alike."""
    bundle = connected.bundle("1.0.0", shop("1.0.0"))
    isolated.admit(bundle)
    for path in (isolated.folder / "store" / kind).iterdir():
        path.unlink()
    isolated.admit(bundle)
    assert _sound(isolated)


def test_damage_is_repaired_from_an_older_bundle(connected: Connected, isolated: Isolated) -> None:
    """One that an import refuses by now: no signature is needed, since the site knows the digest."""
    old = connected.bundle("1.0.0")
    isolated.admit(old)
    isolated.admit(connected.bundle("1.1.0", shop("1.1.0")))
    with pytest.raises(TrustError):
        isolated.admit(old)
    _flip(_packs(isolated)[0], 0)
    found = audit(isolated.site, deep=False, workers=1, progress=Silent())
    assert repair(isolated.site, old, found.damaged, now=NOW, progress=Silent()) == tuple(
        damage.path for damage in found.damaged
    )
    assert _sound(isolated)


def test_a_repair_takes_nothing_that_is_damaged_itself(connected: Connected, isolated: Isolated) -> None:
    """A bundle with the same damage mends nothing and leaves nothing behind."""
    bundle = connected.bundle("1.0.0")
    isolated.admit(bundle)
    pack = _packs(isolated)[0]
    with Reader(bundle) as reader:
        offset = reader.find(f"packs/{pack.name}").offset
    _flip(bundle, offset)
    _flip(pack, 0)
    found = audit(isolated.site, deep=False, workers=1, progress=Silent())
    before = isolated.fingerprint_of_everything()
    assert repair(isolated.site, bundle, found.damaged, now=NOW, progress=Silent()) == ()
    assert isolated.fingerprint_of_everything() == before


def test_an_older_bundle_after_a_newer_one_is_refused(connected: Connected, isolated: Isolated) -> None:
    """The site is untouched, and the refusal is in the ledger."""
    old = connected.bundle("1.0.0", shop("1.0.0"))
    isolated.admit(connected.bundle("1.1.0", shop("1.1.0")))
    before = isolated.fingerprint_of_everything()
    with pytest.raises(TrustError):
        isolated.admit(old)
    assert isolated.fingerprint_of_everything() == before
    assert events(isolated, "refused") == 1


def test_imports_at_the_same_time_leave_the_newer_state(
    connected: Connected, enroll: Callable[[Connected, str], Isolated]
) -> None:
    """90: twenty rounds of two processes; one waits its turn or is refused, and never is the older one left."""
    bundles = [connected.bundle(version, shop(version)) for version in ("1.0.0", "1.1.0")]
    newest = enroll(connected, "newest")
    newest.admit(bundles[1])
    wanted = newest.site.state.versions
    for number in range(20):
        site = enroll(connected, f"site-{number}")
        codes = at_once([partial(site.admit, bundle) for bundle in bundles])
        assert set(codes) <= {0, StoreError.exit_code, TrustError.exit_code}, codes
        if codes[1] == 0:
            assert site.site.state.versions == wanted
        else:
            assert codes[1] == StoreError.exit_code
            assert codes[0] == 0
        site.admit(bundles[1])
        assert site.site.state.versions == wanted
        assert admitted(site)[-1] == "1.1.0"
        assert _sound(site)


def test_a_bundle_on_a_read_only_medium_is_imported(connected: Connected, isolated: Isolated, tmp_path: Path) -> None:
    """Nothing is written beside it."""
    medium = tmp_path / "medium"
    medium.mkdir()
    bundle = connected.bundle("1.0.0", shop("1.0.0"))
    bundle.rename(medium / bundle.name)
    with read_only(medium):
        assert isolated.admit(medium / bundle.name).new == ("shop@1.0.0",)


def test_a_bundle_that_nobody_may_write_is_imported(connected: Connected, isolated: Isolated) -> None:
    """The same by modes, for whoever is not root."""
    bundle = connected.bundle("1.0.0", shop("1.0.0"))
    bundle.chmod(0o400)
    assert isolated.admit(bundle).new == ("shop@1.0.0",)


def test_an_import_needs_no_more_room_than_the_bundle(connected: Connected, tmp_path: Path) -> None:
    """Measured while it runs, on a disk of its own; the reserve that must stay free is not used."""
    bundle = connected.bundle("1.0.0", {**sample(), "more.bin": bytes(range(256)) * 20_000})
    with tmpfs(tmp_path / "disk", "size=64m") as disk:
        site = _enrolled(connected, disk)
        before, most, ended = _used(disk), 0, threading.Event()

        def watch() -> None:
            nonlocal most
            while not ended.wait(0.001):
                most = max(most, _used(disk))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            site.admit(bundle)
        finally:
            ended.set()
            watcher.join()
        most = max(most, _used(disk))
        assert most - before <= bundle.stat().st_size + (256 << 10)


def test_an_import_that_fits_just_so_is_admitted(connected: Connected, tmp_path: Path) -> None:
    """A disk with the bundle's size, the reserve, and a little for folders."""
    bundle = connected.bundle("1.0.0", sample())
    room = bundle.stat().st_size + (16 << 20) + (512 << 10)
    with tmpfs(tmp_path / "disk", f"size={room}") as disk:
        assert _enrolled(connected, disk).admit(bundle).new == ("shop@1.0.0",)


def test_an_import_again_needs_no_room(connected: Connected, tmp_path: Path) -> None:
    """What is there is not counted as missing, however full the disk is."""
    bundle = connected.bundle("1.0.0", sample())
    with tmpfs(tmp_path / "disk", "size=40m") as disk:
        site = _enrolled(connected, disk)
        site.admit(bundle)
        disk_usage = os.statvfs(disk)
        (disk / "ballast").write_bytes(bytes(disk_usage.f_bavail * disk_usage.f_frsize - (1 << 20)))
        assert site.admit(bundle).written == 0


def test_a_file_that_is_no_bundle_is_refused_and_recorded(isolated: Isolated, tmp_path: Path) -> None:
    """Malformed input, exit code 4."""
    path = tmp_path / "notes.txt"
    path.write_text("hello\n" * 500)
    with pytest.raises(MalformedError, match="no sealift bundle"):
        isolated.admit(path)
    assert events(isolated, "refused") == 1


def test_a_bundle_of_another_depot_is_refused(connected: Connected, isolated: Isolated, tmp_path: Path) -> None:
    """Signed by a stranger: nothing of it is kept."""
    from bundler.depots.depot import Depot
    from keys.ceremony import init

    root = tmp_path / "stranger"
    root.mkdir()
    made = init(root / "depot", root_keys=1, threshold=1, passphrase=None, now=NOW, unsafe_unencrypted=True)
    stranger = Connected(root=root, depot=Depot(root / "depot"), fingerprint=made.fingerprint)
    before = isolated.fingerprint_of_everything()
    with pytest.raises(TrustError):
        isolated.admit(stranger.bundle("1.0.0", shop("1.0.0")))
    assert isolated.fingerprint_of_everything() == before
    assert events(isolated, "refused") == 1


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_store_is_private_whatever_the_umask(connected: Connected, tmp_path: Path, umask: int) -> None:
    """100: nobody else can enter the site, and nobody else can write anything in it."""
    bundle = connected.bundle("1.0.0", shop("1.0.0"))
    former = os.umask(umask)
    try:
        site = _enrolled(connected, tmp_path)
        site.admit(bundle)
        site.apply("1.0.0")
    finally:
        os.umask(former)
    assert site.folder.stat().st_mode & 0o777 == 0o700
    assert not [path for path in site.folder.rglob("*") if path.lstat().st_mode & 0o022]


def _enrolled(connected: Connected, folder: Path) -> Isolated:
    Site.create(folder / "site", connected.first_root.read_bytes(), connected.fingerprint, NOW)
    return Isolated(root=folder, folder=folder / "site", srv=folder / "srv")


def _used(folder: Path) -> int:
    status = os.statvfs(folder)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


@pytest.mark.parametrize("folder", ["manifests", "trees", "index"])
def test_a_medium_that_changes_after_the_check_is_not_believed(
    connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """88: what is kept was checked as it was read for that, though it was read and found good before."""
    bundle = connected.bundle("1.0.0", shop("1.0.0"))
    seen: set[str] = set()
    read = Reader.read

    def changing(reader: Reader, member: Member) -> bytes:
        content = read(reader, member)
        if member.name.startswith(folder) and member.name in seen:
            content = bytes([content[0] ^ 1]) + content[1:]
        seen.add(member.name)
        return content

    monkeypatch.setattr(Reader, "read", changing)
    with pytest.raises(IntegrityError):
        isolated.admit(bundle)
    monkeypatch.undo()
    assert admitted(isolated) == []
    isolated.admit(bundle)
    assert _sound(isolated)


def test_room_is_counted_once_for_what_releases_share(connected: Connected, tmp_path: Path) -> None:
    """Releases of the same content have the same packs, which the bundle holds once and the store too."""
    files = {"noise.bin": random.Random(7).randbytes(8 << 20)}
    specs = [connected.spec(version, files) for version in ("1.0.0", "1.0.1", "1.0.2", "1.0.3")]
    bundle = connected.export(specs, connected.root / "same.sealift")
    room = bundle.stat().st_size + (16 << 20) + (512 << 10)
    with tmpfs(tmp_path / "disk", f"size={room}") as disk:
        assert len(_enrolled(connected, disk).admit(bundle).new) == 4
