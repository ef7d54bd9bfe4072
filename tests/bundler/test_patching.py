"""Making differences: what is left out, what is compressed against what, and that it comes out the same."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from archives import Packed, gzipped, prose, zipped
from worlds import Connected, Isolated, program, sample

from bundler.coding.coding import against
from bundler.depots.depot import Depot
from bundler.depots.holding import in_depot
from bundler.differences.patching import Difference, difference
from sealift import allowance
from sealift.errors import UsageError
from sealift.progress import Silent


def made(
    connected: Connected, old: dict[str, bytes], new: dict[str, bytes], *, workers: int = 2, level: int = 3
) -> Difference:
    """The difference between two releases of these files."""
    connected.bundle("1", old)
    connected.bundle("2", new)
    folder = connected.root / "scratch"
    return difference(
        in_depot(connected.depot, "shop", "2"),
        [in_depot(connected.depot, "shop", "1")],
        folder,
        level=level,
        workers=workers,
        progress=Silent(),
    )


def noise(seed: int, size: int) -> bytes:
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(size)


def edited(content: bytes) -> bytes:
    """The same with a few bytes changed in the middle."""
    middle = len(content) // 2
    return content[:middle] + b"changed" + content[middle + 3 :]


@pytest.mark.parametrize(
    ("old", "new"),
    [("lib/a.bin", "lib/a.bin"), ("lib-1.4.1/a.bin", "lib-1.5/a.bin"), ("x/libz.so.1.2", "y/libz.so.1.3")],
    ids=["the same path", "digits in the path", "digits in the name"],
)
def test_a_file_is_compressed_against_its_old_version(connected: Connected, old: str, new: str) -> None:
    """What does not compress by itself costs a few bytes where an old version is found."""
    content = noise(1, 300_000)
    found = made(connected, {old: content, "b": noise(2, 300_000)}, {new: edited(content)})
    assert found.size < 4000
    assert found.referring == len(edited(content))


def test_a_file_of_another_name_is_found_by_its_content(connected: Connected) -> None:
    """A renamed and changed text is compressed against the one that has most lines in common."""
    lines = [noise(number, 24).hex().encode() for number in range(1000)]
    others = [noise(number, 24).hex().encode() for number in range(5000, 6000)]
    old = {"one": b"\n".join(lines), "two": b"\n".join(others)}
    found = made(connected, old, {"three": b"\n".join([*lines[:900], b"new"])})
    assert found.size < 4000


def test_a_program_is_subtracted_from_its_old_version(connected: Connected) -> None:
    """Addresses that changed all over it cost half of what a prefix needs, and what comes out is the same."""
    old, new = program(1, functions=12_000), program(1, functions=12_000, moved=200)
    found = made(connected, {"bin/shop": old}, {"bin/shop": new})
    assert found.referring > 1 << 20
    assert found.size < len(against(new, old, 3)) / 2


def test_a_shift_in_a_large_file_costs_what_it_adds(connected: Connected) -> None:
    """A few bytes near the start of a large file change its chunks there, and these refer to the old ones."""
    content = noise(3, 9 << 20)
    found = made(connected, {"large": content}, {"large": content[:100_000] + b"more" + content[100_000:]})
    assert found.left_out > 7 << 20
    assert found.size < 5000


def test_every_chunk_of_a_large_file_may_change(connected: Connected) -> None:
    """A byte in every 64 KiB changes each chunk, and each region is compressed against its own old place."""
    content = bytearray(noise(4, 9 << 20))
    old = bytes(content)
    for place in range(1000, len(content), 64 << 10):
        content[place] ^= 1
    found = made(connected, {"large": old}, {"large": bytes(content)})
    assert found.carried > len(content) - 50_000
    assert found.size < 20_000


def test_what_moved_in_an_archive_is_found(connected: Connected) -> None:
    """Members that do not compress and come in another order, far from where they were, cost next to nothing."""
    members = [noise(number, 90_000) for number in range(100, 260)]
    moved = list(members)
    random.Random(1).shuffle(moved)
    found = made(connected, {"pack-1.zip": b"".join(members)}, {"pack-2.zip": b"".join(moved)})
    assert found.carried > 8 << 20
    assert found.size < found.carried / 5


def test_what_is_alike_by_name_alone_costs_no_more_than_by_itself(connected: Connected) -> None:
    """A reference that does not help is not taken."""
    found = made(connected, {"a": noise(5, 100_000)}, {"a": noise(6, 100_000)})
    assert found.referring == 0
    assert found.size < 102_000


def files_of(folder: Path) -> dict[str, bytes]:
    """What a difference consists of."""
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in folder.rglob("*.zst")}


def test_the_same_releases_give_the_same_difference(connected: Connected, tmp_path: Path) -> None:
    """For any number of workers, byte for byte."""
    new = {path: edited(content) for path, content in sample(1).items()}
    one = made(connected, sample(1), new, workers=1)
    first = files_of(connected.root / "scratch")
    again = difference(
        in_depot(Depot(connected.depot.folder), "shop", "2"),
        [in_depot(connected.depot, "shop", "1")],
        tmp_path / "again",
        level=3,
        workers=3,
        progress=Silent(),
    )
    assert again == one
    assert files_of(tmp_path / "again") == first


def test_a_release_is_no_difference_to_itself(connected: Connected, tmp_path: Path) -> None:
    """It would be empty, and no site could be without it."""
    connected.bundle("1")
    held = in_depot(connected.depot, "shop", "1")
    with pytest.raises(UsageError, match="no difference to itself"):
        difference(held, [held], tmp_path, level=3, workers=1, progress=Silent())


def test_a_gzip_file_of_another_name_is_found_by_what_it_holds(connected: Connected) -> None:
    """A layer of an image is named by its digest, which its old version does not share."""
    lines = [noise(number, 24).hex().encode() for number in range(4000)]
    old, new = gzipped(b"\n".join(lines)), gzipped(b"\n".join([*lines[:2000], b"a new line", *lines[2000:]]))
    other = gzipped(noise(1, 50_000).hex().encode())
    found = made(connected, {"blobs/0abc": old, "blobs/1abc": other}, {"blobs/f9de": new, "blobs/1abc": other}, level=9)
    assert found.inside.archives == 1
    assert found.size < 2000


def test_what_no_reader_would_grant_travels_as_it_is(
    connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the allowance of a difference is used up, its frames and archives refer to nothing, and it is taken."""
    old = {"a.whl": zipped([Packed(name="a.py", content=prose(1, 90_000))]), "text": prose(2, 50_000)}
    new = {"a.whl": zipped([Packed(name="a.py", content=edited(prose(1, 90_000)))]), "text": edited(old["text"])}
    isolated.admit(connected.bundle("1", old))
    for name in ("RATIO", "SLACK"):
        monkeypatch.setattr(allowance, name, 0)
    bundle = connected.bundle("2", new, since=["shop@1"])
    found = connected.made[bundle.name].carried[0].difference
    assert found is not None
    assert (found.referring, found.inside.archives) == (0, 0)
    isolated.admit(bundle)
    isolated.apply("2")
    assert {name: (isolated.srv / "current" / name).read_bytes() for name in new} == new


def test_the_former_release_counts_before_others_that_the_site_holds(connected: Connected) -> None:
    """Where both have a path, a file is compressed against what it was, in whatever order they are named."""
    connected.bundle("1.0", {"a.bin": noise(1, 300_000)})
    connected.bundle("1.0", {"a.bin": noise(2, 300_000)}, release="other")
    for version, since in (("1.1", ["shop@1.0", "other@1.0"]), ("1.2", ["other@1.0", "shop@1.0"])):
        bundle = connected.bundle(version, {"a.bin": edited(noise(1, 300_000))}, since=since)
        found = connected.made[bundle.name].carried[0].difference
        assert found is not None
        assert found.size < 4000
