"""Packs of which little is of use: gc packs anew what is needed, and no release loses a byte."""

from __future__ import annotations

import random

import pytest
from worlds import NOW, Connected, Isolated

from installer.auditing import audit
from installer.collecting import Collected, collect
from installer.storage.store import SPARE, Store
from sealift.errors import IntegrityError
from sealift.progress import Silent

KIB = 1 << 10


def tree(version: int, *, own: int = 40) -> dict[str, bytes]:
    """Small files that stay, large ones that stay, and 40 files of a version's own, none of which compresses."""
    same = {f"lib/{number}": random.Random(number).randbytes(9 * KIB) for number in range(5)}
    large = {"large": random.Random("large").randbytes(700 * KIB)}
    new = {f"own/{number}": random.Random(f"{version}-{number}").randbytes(20 * KIB) for number in range(own)}
    return same | large | new


def held(site: Isolated) -> int:
    """Bytes of the packs."""
    return sum(path.stat().st_size for path in (site.folder / "store" / "packs").iterdir())


def gc(site: Isolated, *, keep: int = 1, dry_run: bool = False) -> Collected:
    """Collect garbage."""
    work = site.installation
    return collect(work.site, work, keep=keep, dry_run=dry_run, clock=lambda: NOW)


def check_whole(site: Isolated) -> None:
    """Every chunk of every release is there, and has its digest."""
    assert audit(site.site, deep=True, workers=1, progress=Silent()).sound


def size_of(files: dict[str, bytes]) -> int:
    """Bytes of content."""
    return sum(map(len, files.values()))


@pytest.fixture
def site(connected: Connected, isolated: Isolated) -> Isolated:
    """A site that holds 1.0.0, and 1.1.0 and 1.2.0 as differences."""
    isolated.admit(connected.bundle("1.0.0", tree(0)))
    for number in (1, 2):
        isolated.admit(connected.bundle(f"1.{number}.0", tree(number), since=[f"shop@1.{number - 1}.0"]))
    return isolated


def test_what_no_release_needs_leaves_the_packs(site: Isolated) -> None:
    """Once the older releases have left, the store is hardly larger than the one that stays."""
    before = held(site)
    done = gc(site)
    assert done.packs > 0
    assert held(site) < size_of(tree(2)) * 1.02
    assert before - held(site) == pytest.approx(done.bytes + done.saved, rel=0.05)
    check_whole(site)
    site.apply("1.2.0")
    assert {name: (site.srv / "current" / name).read_bytes() for name in tree(2)} == tree(2)


def test_releases_that_share_a_frame_share_it_afterwards(site: Isolated) -> None:
    """What two releases need moves once."""
    done = gc(site, keep=2)
    assert done.packs > 0
    assert held(site) < (size_of(tree(2)) + size_of(tree(1)) - size_of(tree(0, own=0))) * 1.02
    check_whole(site)
    site.apply("1.1.0")
    site.apply("1.2.0")


def test_packs_that_are_needed_in_large_part_stay_as_they_are(connected: Connected, isolated: Isolated) -> None:
    """A few bytes of waste are not worth writing the rest again."""
    isolated.admit(connected.bundle("1.0.0", tree(0, own=5)))
    isolated.admit(connected.bundle("1.1.0", tree(1, own=5), since=["shop@1.0.0"]))
    before = {path.name for path in (isolated.folder / "store" / "packs").iterdir()}
    done = gc(isolated)
    assert (done.releases, done.packs, done.saved) == (("shop@1.0.0",), 0, 0)
    assert {path.name for path in (isolated.folder / "store" / "packs").iterdir()} == before


def test_a_second_gc_finds_nothing_more(site: Isolated) -> None:
    """Not a file changes."""
    gc(site)
    before = site.fingerprint_of_everything()
    again = gc(site)
    assert (again.files, again.packs, again.saved) == (0, 0, 0)
    assert site.fingerprint_of_everything() == before


def test_a_dry_run_says_what_would_be_packed_anew(site: Isolated) -> None:
    """The same figures as the real run's, and nothing is changed."""
    before = site.fingerprint_of_everything()
    said = gc(site, dry_run=True)
    assert site.fingerprint_of_everything() == before
    done = gc(site)
    assert (done.packs, done.saved, done.bytes) == (said.packs, said.saved, said.bytes)


def test_a_difference_to_a_release_that_was_packed_anew_is_taken(connected: Connected, site: Isolated) -> None:
    """It refers to chunks of the release, wherever they lie; the same bundle again changes nothing."""
    gc(site)
    bundle = connected.bundle("1.3.0", tree(3), since=["shop@1.2.0"])
    site.admit(bundle)
    gc(site)
    check_whole(site)
    before = site.fingerprint_of_everything()
    assert site.admit(bundle).written == 0
    assert site.fingerprint_of_everything() == before


def test_a_damaged_pack_is_not_packed_anew(connected: Connected, site: Isolated) -> None:
    """93: its frames are checked before they move; what is there stays, and a whole bundle mends it."""
    part = site.site.state.admitted[0].part
    pack = Store(site.site.store).pack(part.packs[0])
    content = bytearray(pack.read_bytes())
    for place in range(0, len(content), 4 * KIB):
        content[place] ^= 1
    pack.write_bytes(content)
    with pytest.raises(IntegrityError, match="damaged"):
        gc(site)
    assert pack.exists()
    site.admit(connected.export(connected.root / "shop-1.2.0.yaml", connected.root / "whole.sealift"))
    gc(site)
    check_whole(site)


def test_a_disk_without_room_keeps_the_packs(site: Isolated, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is of use must be written before the old pack leaves; the next gc may find the room."""
    monkeypatch.setattr(Store, "free", lambda _: SPARE + 10 * KIB)
    done = gc(site)
    assert (done.releases, done.packs) == (("shop@1.0.0", "shop@1.1.0"), 0)
    check_whole(site)
    monkeypatch.undo()
    assert gc(site).packs > 0


@pytest.mark.parametrize("seed", range(6))
def test_any_chain_of_differences_stays_whole(connected: Connected, isolated: Isolated, seed: int) -> None:
    """Random trees, one after the other, with gc after each."""
    chance = random.Random(seed)
    files = {f"{number}": chance.randbytes(chance.randrange(200 * KIB)) for number in range(20)}
    for number in range(4):
        for name in chance.sample(sorted(files), chance.randrange(1, 15)):
            start = chance.randrange(len(files[name]) + 1)
            files[name] = files[name][:start] + chance.randbytes(chance.randrange(50 * KIB)) + files[name][start:]
        since = [f"shop@1.{number - 1}.0"] if number else []
        isolated.admit(connected.bundle(f"1.{number}.0", files, since=since))
        gc(isolated, keep=chance.randrange(1, 3))
        check_whole(isolated)
    isolated.apply("1.3.0")
    assert {name: (isolated.srv / "current" / name).read_bytes() for name in files} == files


def test_a_damaged_listing_keeps_no_garbage(site: Isolated) -> None:
    """93: what is not needed leaves all the same, since on a full disk nothing could mend it otherwise."""
    orphan = site.folder / "store" / "packs" / f"{'0' * 64}.pack"
    orphan.write_bytes(b"rest")
    artifact = Store(site.site.store).held(site.site.state.admitted[-1].part).artifacts[0]
    tree = Store(site.site.store).tree(artifact.tree)
    tree.write_bytes(tree.read_bytes()[:-1] + b"?")
    with pytest.raises(IntegrityError):
        gc(site)
    assert not orphan.exists()
    assert [each.version for each in site.site.state.admitted] == ["1.2.0"]


def test_a_frame_that_is_compressed_anew_takes_no_more_than_was_said(connected: Connected, isolated: Isolated) -> None:
    """What was compressed hard gets larger when it is compressed quickly, and the disk must have room for that."""
    words = [random.Random(number).randbytes(5).hex() for number in range(4000)]

    def text(number: int) -> bytes:
        return " ".join(random.Random(number).choices(words, k=3000)).encode()

    isolated.admit(connected.bundle("1.0.0", {f"{number}": text(number) for number in range(40)}))
    kept = {f"{number}": text(number) for number in range(0, 40, 3)}
    isolated.admit(connected.bundle("1.1.0", kept, since=["shop@1.0.0"]))
    before = held(isolated)
    done = gc(isolated)
    assert done.packs > 0
    assert held(isolated) <= before - done.bytes - done.saved
    check_whole(isolated)
