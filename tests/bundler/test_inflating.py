"""Archives that travel inflated come out as they were, to the last bit, or travel as they are."""

from __future__ import annotations

import random
import struct
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest
from archives import Packed, edited, gzipped, prose, zipped
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import program

from bundler.archives.archives import units
from bundler.archives.forms import TOKENS, Forms
from bundler.archives.framing import frames
from bundler.archives.inflating import plan
from bundler.archives.inside import Asked, parcel
from bundler.archives.plan import Plan
from bundler.archives.proving import MISSES, WAYS, Programs, Proof, Prover
from bundler.coding.coding import Coded, Coder
from sealift.content import Chunks, Content
from sealift.deflating import Way
from sealift.difference import REFERENCE_MAX, REFERENCE_MIN, Patch, content_of
from sealift.errors import IntegrityError
from sealift.making import OldMaterial, make
from sealift.recipe import Recipe
from sealift.stretch import Stretch


class Shelf:
    """Chunks in memory."""

    def __init__(self, *contents: Sequence[bytes]) -> None:
        self.contents = contents

    def read(self, which: int, number: int, /) -> memoryview:
        return memoryview(self.contents[which][number])


def cut(content: bytes, size: int) -> list[bytes]:
    """Chunks of a size."""
    return [content[place : place + size] for place in range(0, len(content), size)]


def stretch(content: bytes, size: int = 1 << 16) -> Stretch:
    """The same as a stretch."""
    chunks = cut(content, size)
    return Stretch(Shelf(chunks), [(0, number) for number in range(len(chunks))], [len(each) for each in chunks])


def planned(
    new: bytes,
    old: bytes | None = None,
    *,
    size: int = 1 << 16,
    wanted: list[bool] | None = None,
    programs: Programs | None = None,
    forms: Forms | None = None,
) -> Plan | None:
    """The plan of an archive that is cut into chunks of a size."""
    sizes = [len(each) for each in cut(new, size)]
    return plan(
        stretch(new, size),
        range(len(sizes)),
        sizes,
        wanted or [True] * len(sizes),
        None if old is None else stretch(old),
        programs or Programs(),
        forms,
    )


def crossed(
    new: bytes, old: bytes | None, *, size: int, wanted: list[bool], small: bool = False
) -> tuple[int, int] | None:
    """Let an archive cross inflated, with every check of a site; how much crossed, and of how much.

    None where it travels as it is. Where it is to be `small`, members that zlib does not rebuild cross as tokens.
    """
    with tempfile.TemporaryDirectory() as folder, Forms(Path(folder)) as forms:
        return _crossed(new, old, size, wanted, forms if small else None)


def _crossed(
    new: bytes, old: bytes | None, size: int, wanted: list[bool], forms: Forms | None
) -> tuple[int, int] | None:
    chunks = cut(new, size)
    sizes = [len(each) for each in chunks]
    found = planned(new, old, size=size, wanted=wanted, forms=forms)
    if found is None or not found.inflated:
        return None
    before = None if old is None else stretch(old)
    taken: list[bytes] = []

    def code(content: bytes, reference: bytes) -> Coded:
        taken.append(reference)
        return coder.code(content, reference)

    coder = Coder(3)
    try:
        made = list(frames(found, stretch(new, size), before, code))
    except IntegrityError:  # the old archive says what is not so of a member; the new one then travels as it is
        return None
    recipe = Recipe(
        makes=tuple(found.makes),
        frames=len(made),
        pieces=tuple(found.pieces),
        source=((0, 0, len(cut(old, 1 << 16))),) if old and found.old else (),
        old=tuple(found.old),
    )
    recipe.check_form(len(found.ways), tokens={number for number, way in enumerate(found.ways) if way == TOKENS})
    seen = bytearray(not want for want in wanted)
    recipe.check(sizes, seen, [[len(each) for each in cut(old or b"", 1 << 16)]])
    assert all(seen)
    recipe.check_windows((frame.window for frame in made), REFERENCE_MAX, REFERENCE_MIN)
    assert sum(frame.size for frame in made) == recipe.material
    again = OldMaterial(before, recipe.old) if before else None
    material = []
    for frame, reference in zip(made, taken, strict=True):
        window = again.window(*frame.window) if again and frame.window else b""
        assert window == (reference if frame.window else b"")
        patch = Patch(
            pack=0,
            offset=0,
            length=len(frame.content),
            size=frame.size,
            sha256="",
            chunks=(),
            subtraction=frame.subtraction,
            window=frame.window,
        )
        material.append(content_of(patch, frame.content, window))
    out = list(make(recipe, found.ways, material, [sizes[number] for number in recipe.numbers()], Path()))
    assert [number for number, _ in out] == [number for number, want in enumerate(wanted) if want]
    assert all(content == chunks[number] for number, content in out)
    return sum(len(frame.content) for frame in made), recipe.size


CONTENTS = st.one_of(
    st.binary(max_size=60),
    st.builds(prose, st.integers(0, 3), st.integers(1, 60_000)),
    st.builds(lambda seed, size: edited(prose(seed, size)), st.integers(0, 3), st.integers(10, 60_000)),
    st.builds(lambda seed, size: random.Random(seed).randbytes(size), st.integers(0, 3), st.integers(1, 30_000)),
    st.builds(bytes, st.integers(1, 300_000)),
)
MEMBERS = st.lists(
    st.builds(
        Packed,
        name=st.sampled_from(["a", "lib/b.so", "pkg-1.2/c.py", "pkg-1.3/c.py", "é", "z"]),
        content=CONTENTS,
        level=st.integers(1, 9),
        memory=st.integers(1, 9),
        strategy=st.integers(0, 4),
        deflated=st.booleans(),
    ),
    max_size=5,
    unique_by=lambda each: each.name,
)
ARCHIVES = st.one_of(
    st.builds(zipped, MEMBERS, streamed=st.booleans(), comment=st.binary(max_size=9), zip64=st.booleans()),
    st.builds(gzipped, CONTENTS, level=st.integers(0, 9), name=st.sampled_from(["", "layer.tar"])),
)


def damaged(content: bytes, place: int, what: bytes) -> bytes:
    """An archive with something else at a place: bytes before it, behind it, or inside."""
    place = min(place, len(content))
    return content[:place] + what + content[place + len(what) // 2 :]


STRANGE = st.one_of(ARCHIVES, st.builds(damaged, ARCHIVES, st.integers(0, 400_000), st.binary(max_size=40)))


@settings(max_examples=60, deadline=None)
@given(
    new=STRANGE,
    old=st.one_of(st.none(), STRANGE),
    size=st.integers(50, 70_000),
    chance=st.randoms(),
    small=st.booleans(),
)
def test_any_archive_comes_out_as_it_was(
    new: bytes, old: bytes | None, size: int, chance: random.Random, small: bool
) -> None:
    """Zips and gzip files of any making, sound or not, of which any chunks are wanted: bit for bit, or as they are."""
    wanted = [chance.random() < 0.7 for _ in cut(new, size)]
    if any(wanted):
        crossed(new, old, size=size, wanted=wanted, small=small)


WHEEL = [Packed(name=f"pkg/{number}.py", content=prose(number, 40_000)) for number in range(8)]
NEWER = [
    Packed(name=each.name, content=edited(each.content) if number % 2 else each.content)
    for number, each in enumerate(WHEEL)
]


@pytest.mark.parametrize("level", [1, 6, 9])
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "data descriptors"])
def test_a_changed_wheel_costs_what_changed_in_it(level: int, streamed: bool) -> None:
    """Members are compressed against their old versions, though their deflated forms have nothing in common."""
    old, new = (
        zipped([Packed(name=each.name, content=each.content, level=level) for each in members], streamed=streamed)
        for members in (WHEEL, NEWER)
    )
    found = crossed(new, old, size=50_000, wanted=[True] * len(cut(new, 50_000)))
    assert found is not None
    assert found[0] < found[1] / 50


def test_a_changed_gzip_file_costs_what_changed_in_it() -> None:
    """Its one member is compressed against that of the old file, at the place that it moved to."""
    content = b"".join(prose(number, 300_000) for number in range(10))
    old, new = gzipped(content), gzipped(edited(content, 9), name="other")
    found = crossed(new, old, size=50_000, wanted=[True] * len(cut(new, 50_000)))
    assert found is not None
    assert found[0] < found[1] / 100


def test_members_that_zlib_does_not_give_cross_as_tokens() -> None:
    """They are compressed against the tokens of their old versions; without that, the archive travels as it is."""
    old, new = (
        zipped([Packed(name=each.name, content=each.content, strategy=zlib.Z_FILTERED, memory=1) for each in members])
        for members in (WHEEL[:3], NEWER[:3])
    )
    wanted = [True] * len(cut(new, 50_000))
    assert crossed(new, old, size=50_000, wanted=wanted) is None
    found = crossed(new, old, size=50_000, wanted=wanted, small=True)
    assert found is not None
    assert found[0] < found[1] / 10


def test_an_old_member_that_is_no_stream_is_no_reference(tmp_path: Path) -> None:
    """What cannot be parsed of the old archive is left out: the new member crosses as tokens all the same."""
    make = [Packed(name="a", content=prose(seed, 30_000), strategy=zlib.Z_FIXED) for seed in (1, 2)]
    old, new = (zipped([each]) for each in make)
    with Forms(tmp_path) as forms:
        found = planned(new, old[:60] + bytes(500) + old[560:], forms=forms)
        assert found is not None
        assert (found.spelled > 0, found.old[0][2:]) == (True, ())
    assert not [*tmp_path.iterdir()]


def test_a_large_member_is_compressed_at_its_place() -> None:
    """What is larger than a window is compressed against old material that moves along with it."""
    content = b"".join(prose(number, 1 << 20) for number in range(10))
    old = zipped([Packed(name="large", content=content, level=1)])
    new = zipped([Packed(name="large", content=edited(content, 20), level=1)])
    found = crossed(new, old, size=1 << 20, wanted=[True] * len(cut(new, 1 << 20)))
    assert found is not None
    assert found[0] < found[1] / 100


def test_a_program_in_a_wheel_is_subtracted() -> None:
    """Addresses that shifted in a member cost as little as in a file that is not compressed inside."""
    old, new = (zipped([Packed(name="lib.so", content=program(1, functions=7000, moved=moved))]) for moved in (0, 400))
    found = planned(new, old)
    assert found is not None
    made = list(frames(found, stretch(new), stretch(old), Coder(9).code))
    assert any(frame.subtraction for frame in made)
    crossing = crossed(new, old, size=50_000, wanted=[True] * len(cut(new, 50_000)))
    assert crossing is not None
    assert crossing[0] < crossing[1] / 5


def test_a_member_that_was_renamed_is_found_by_a_name_that_differs_in_digits() -> None:
    """Versions are written into the names of folders in wheels."""
    content = prose(1, 90_000)
    old = zipped([Packed(name="pkg-1.2.3.dist-info/RECORD", content=content)])
    new = zipped([Packed(name="pkg-1.2.10.dist-info/RECORD", content=edited(content))])
    found = crossed(new, old, size=50_000, wanted=[True] * len(cut(new, 50_000)))
    assert found is not None
    assert found[0] < found[1] / 20


def test_what_did_not_change_is_not_deflated_again() -> None:
    """An unchanged member travels as it is, against the old one: it costs next to nothing, and no time at the site."""
    old, new = zipped(WHEEL), zipped(NEWER)
    found = planned(new, old)
    assert found is not None
    assert sum(len(piece) == 3 for piece in found.pieces) == 4


def altered(content: bytes, at: bytes, offset: int, what: bytes, *, which: int = 0) -> bytes:
    """An archive with other bytes at an offset from the n-th place that a mark is at."""
    place = -1
    for _ in range(which + 1):
        place = content.index(at, place + 1)
    place += offset
    return content[:place] + what + content[place + len(what) :]


LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
PLAIN = zipped(WHEEL[:2])


@pytest.mark.parametrize(
    "content",
    [
        zipped(WHEEL[:2])[:-1],
        zipped(WHEEL[:2]) + b"x",
        b"x" + zipped(WHEEL[:2]),
        altered(PLAIN, CENTRAL, 20, b"\xff\xff\xff\xff"),
        altered(PLAIN, CENTRAL, 42, b"\xff\xff\xff\xff"),
        altered(PLAIN, CENTRAL, 42, b"\0\0\0\0", which=1),
        altered(PLAIN, CENTRAL, 20, struct.pack("<L", 1 << 20)),
        altered(PLAIN, LOCAL, 0, b"PK\3\5"),
        altered(PLAIN, END, 10, b"\3\0"),
        altered(PLAIN, END, 16, struct.pack("<L", 5)),
        altered(PLAIN, END, 4, b"\1\0"),
        PLAIN[:4],
        b"PK",
        b"\x1f\x8b",
        b"\x1f\x8b\x08\x1f" + b"x" * 9,
        gzipped(b"a") [:-9],
    ],
    ids=[
        "cut off", "trailing byte", "moved", "zip64 size", "zip64 place", "one member twice", "beyond the end",
        "no header", "a member more", "directory elsewhere", "several disks", "start alone", "two bytes", "gzip mark",
        "gzip without end", "gzip cut off",
    ],
)  # fmt: skip
def test_a_strange_archive_is_none(content: bytes) -> None:
    """77: what overlaps, reaches beyond the end or needs zip64 travels as it is."""
    found = units(stretch(content))
    assert not found or planned(content) is None


def test_an_encrypted_member_travels_as_it_is() -> None:
    """Its bytes are no deflate stream that anybody could rebuild without the key."""
    assert planned(PLAIN) is not None
    flagged = altered(altered(PLAIN, CENTRAL, 8, b"\1\0"), CENTRAL, 8, b"\1\0", which=1)
    assert planned(flagged) is None


def test_what_another_library_deflated_travels_as_it_is() -> None:
    """A deflate stream that zlib does not give is not believed to be one."""
    stored = b"\0\5\0\xfa\xffhello\1\0\0\xff\xff"
    assert zlib.decompress(stored, -15) == b"hello"
    content = gzipped(b"x" * 70)
    strange = content[:10] + stored + struct.pack("<2L", zlib.crc32(b"hello"), 5)
    assert units(stretch(strange))
    assert planned(strange) is None


def test_bytes_behind_the_deflate_stream_are_not_lost() -> None:
    """A second gzip member, or anything else behind the first, makes a file travel as it is."""
    assert planned(gzipped(prose(1, 9000)) + gzipped(prose(2, 9000))) is None


def test_an_old_archive_that_lies_is_found_out() -> None:
    """78: an old member that is not what its archive says is noticed when the export inflates it."""
    old = altered(gzipped(b"a" * 5000), b"", 12, b"\xff\xff")
    found = planned(gzipped(prose(1, 9000)), old)
    assert found is not None
    with pytest.raises(IntegrityError, match="a compressed member that a base does not have"):
        list(frames(found, stretch(gzipped(prose(1, 9000))), stretch(old), Coder(3).code))


def test_a_bomb_travels_as_it_is() -> None:
    """67: what would inflate to more than a reader grants is not made into a recipe."""
    assert planned(gzipped(bytes(60 << 20), level=9)) is None


def test_a_lie_about_sizes_is_found() -> None:
    """A member that is larger or smaller than its archive says travels as it is."""
    for size in (39_999, 40_001):
        lying = altered(zipped(WHEEL[:1]), CENTRAL, 24, struct.pack("<L", size))
        found = planned(lying)
        assert found is None or not found.inflated


def test_proving_gives_up_on_an_archive_of_another_library() -> None:
    """Where no way fitted for the first members, the rest is not tried in all ways."""
    members = [Packed(name=f"{number}", content=prose(number, 3000), strategy=2) for number in range(MISSES + 3)]
    content = zipped(members)
    prover = Prover(stretch(content), Programs())
    parts = [unit for unit in units(stretch(content)) or () if unit.deflated]
    assert [prover.way(unit) for unit in parts] == [None] * len(parts)
    fine = zipped([Packed(name="a", content=prose(1, 3000))])
    proof = Prover(stretch(fine), Programs()).way((units(stretch(fine)) or ())[0])
    assert proof == Proof(WAYS[0], 3000)


@pytest.mark.parametrize(
    ("level", "said", "system", "proved"),
    [(6, 0, 3, True), (9, 2, 3, True), (1, 4, 3, True), (1, 0, 3, False), (1, 0, 255, True), (1, 7, 3, True)],
)
def test_what_a_gzip_file_says_of_its_level_is_believed(level: int, said: int, system: int, proved: bool) -> None:
    """Where zlib or GNU gzip wrote the header, other levels are not tried; what others say is not asked."""
    content = bytearray(gzipped(prose(1, 200_000), level=level))
    content[8:10] = said, system
    unit = (units(stretch(bytes(content))) or ())[0]
    found = Prover(stretch(bytes(content)), Programs()).way(unit)
    assert found == (Proof(Way(level, 8, 0, 15), 200_000) if proved else None)


@pytest.mark.parametrize(("step", "travels"), [(1, True), (2, False)], ids=["one run", "many runs"])
def test_an_old_archive_in_more_runs_than_a_reader_takes(tmp_path: Path, step: int, travels: bool) -> None:
    """An archive whose old one's chunks lie in too many places travels as it is: no reader would take its recipe."""
    old, new = (zipped([Packed(name="a.py", content=each)]) for each in (prose(1, 90_000), edited(prose(1, 90_000))))
    olds, news = cut(old, len(old) // 1100), cut(new, 50_000)
    shelf = Shelf(news, [olds[number // step] for number in range(step * len(olds))])
    contents = [Content(), Content()]
    for content, chunks in zip(contents, shelf.contents, strict=True):
        content.sizes.extend(map(len, chunks))
    asked = Asked([*range(len(news))], [True] * len(news), 0, [step * number for number in range(len(olds))])
    made = parcel(asked, contents, cast("Chunks", shelf), tmp_path, Coder(3).code, Programs())
    assert (made is not None) == travels
