"""Making subtractions: what comes again at other places is found, and what comes out is the content."""

from __future__ import annotations

import random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from worlds import program

from bundler.coding.alignment import align
from bundler.coding.coding import QUICKEST, Coded, Coder, against
from bundler.coding.subtracting import Subtraction, subtract
from sealift.difference import Patch, content_of
from sealift.errors import IntegrityError
from sealift.subtraction import check_sizes, restore

LEVEL = 9


def patch(coded: Coded, size: int) -> Patch:
    """What a listing would say of a frame."""
    return Patch(
        pack=0, offset=0, length=len(coded.frame), size=size, sha256="", chunks=(), subtraction=coded.subtraction
    )


def check(found: Subtraction, new: bytes, old: bytes) -> None:
    """See that the streams give the content, and that a reader takes them."""
    check_sizes([len(stream) for stream in found], len(new))
    assert restore(found, old, len(new)) == new


def test_code_that_moved_costs_a_part_of_what_compression_needs() -> None:
    """All addresses change where something was put in, and half of what a prefix alone would need is enough."""
    old, new = program(1), program(1, moved=400)
    coded = Coder(LEVEL).code(new, old)
    assert coded.subtraction
    assert len(coded.frame) < len(against(new, old, LEVEL)) / 2
    assert content_of(patch(coded, len(new)), coded.frame, old) == new


def test_the_quickest_level_subtracts_nothing() -> None:
    """It compresses programs against their old versions, as everything else, and what comes out is the same."""
    old, new = program(1), program(1, moved=400)
    coded = Coder(QUICKEST).code(new, old)
    assert coded.referring
    assert not coded.subtraction
    assert len(Coder(QUICKEST + 1).code(new, old).frame) < len(coded.frame) < len(new) / 2
    assert content_of(patch(coded, len(new)), coded.frame, old) == new


@given(place=st.integers(0, 20_000))
def test_what_stays_is_found_wherever_it_stood(place: int) -> None:
    """Some of the windows that are looked up are among those that are sampled, however both places lie."""
    chance = random.Random(7)
    piece = chance.randbytes(120)
    found = align(chance.randbytes(place // 3) + piece, chance.randbytes(place) + piece)
    assert found
    assert place - place // 3 in found.shifts


def test_the_literals_are_what_was_put_in() -> None:
    """Nothing that the old content has is a literal."""
    found = subtract(program(2, moved=4000), program(2))
    assert found
    assert 3000 < len(found.literals) <= 4000


@given(data=st.data())
def test_any_edits_come_out_again(data: st.DataObject) -> None:
    """Ranges that are left out, put in, moved and changed byte by byte are rebuilt."""
    chance = random.Random(data.draw(st.integers(0, 99)))
    old = chance.randbytes(data.draw(st.integers(0, 3000))) + bytes(data.draw(st.integers(0, 500)))
    new = bytearray(old)
    for _ in range(data.draw(st.integers(0, 8))):
        start, size = data.draw(st.integers(0, 3000)), data.draw(st.integers(1, 400))
        piece = data.draw(st.sampled_from([b"", chance.randbytes(size), bytes(size), old[start // 2 :][:size]]))
        new[start : start + data.draw(st.integers(0, 300))] = piece
    for place in data.draw(st.lists(st.integers(0, 3000), max_size=20)):
        if place < len(new):
            new[place] ^= 0x55
    if found := subtract(bytes(new), old):
        check(found, bytes(new), old)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 63, 64, 65, 1000])
def test_small_contents(size: int) -> None:
    """Contents of any size are rebuilt, or not subtracted."""
    old = random.Random(1).randbytes(size)
    for new in (old, old + b"!", old[1:], b"!" + old):
        if found := subtract(new, old):
            check(found, new, old)


def test_what_comes_again_in_another_order() -> None:
    """Old content is taken from before and from behind."""
    pieces = [random.Random(number).randbytes(5000) for number in range(9)]
    new, old = b"".join(pieces[::-1]), b"".join(pieces)
    found = subtract(new, old)
    assert found
    assert not found.literals
    check(found, new, old)


def test_contents_with_nothing_in_common() -> None:
    """They are not aligned."""
    assert align(random.Random(1).randbytes(50_000), random.Random(2).randbytes(50_000)) is None
    assert subtract(bytes(50_000), b"\1" * 50_000) is None


def test_a_wide_gap_is_shared() -> None:
    """Where one diagonal ends and another begins without a match for long, each has what it matches better."""
    chance = random.Random(3)
    first, second = chance.randbytes(4000), chance.randbytes(4000)
    spoilt = bytearray(first[2000:] + second[:2000])
    for place in range(0, 4000, 7):
        spoilt[place] ^= 1
    old = first + b"between" * 100 + second
    found = subtract(first[:2000] + bytes(spoilt) + second[2000:], old)
    assert found
    assert len(found.values) == len(range(0, 4000, 7))
    assert not found.literals


@pytest.mark.parametrize("text", [True, False], ids=["text", "noise"])
def test_what_is_no_program_is_compressed(text: bool) -> None:
    """Content without zero bytes has its reference as prefix."""
    chance = random.Random(4)
    old = chance.randbytes(100_000).hex().encode() if text else chance.randbytes(200_000)
    coded = Coder(LEVEL).code(old[:50_000] + b"changed" + old[50_000:], old)
    assert coded.referring
    assert not coded.subtraction


def test_the_smaller_is_kept() -> None:
    """A program that has little of the old one is compressed by itself where that is smaller."""
    coded = Coder(LEVEL).code(program(5), program(6))
    assert not coded.subtraction


def test_what_follows_the_streams_is_refused() -> None:
    """70: a frame holds its streams and nothing else."""
    old, new = program(1), program(1, moved=4000)
    coded = Coder(LEVEL).code(new, old)
    for frame in (coded.frame + coded.frame, coded.frame[:-1], coded.frame[:100], b"", coded.frame + b"\0"):
        with pytest.raises(IntegrityError):
            content_of(patch(coded, len(new)), frame, old)


def test_streams_of_other_sizes_are_refused() -> None:
    """69: a stream gives exactly the bytes that the signed listing says."""
    old, new = program(1), program(1, moved=4000)
    coded = Coder(LEVEL).code(new, old)
    for number in range(4):
        for more in (-1, 1):
            sizes = tuple(size + more * (place == number) for place, size in enumerate(coded.subtraction))
            with pytest.raises(IntegrityError):
                content_of(patch(coded._replace(subtraction=sizes), len(new)), coded.frame, old)


def test_a_bomb_for_a_stream_is_refused() -> None:
    """67: no more is decompressed than was signed."""
    bomb = zstandard.ZstdCompressor(level=3, write_checksum=False).compress(bytes(64 << 20))
    coded = Coded(bomb, True, (9, 0, 0, 0))
    with pytest.raises(IntegrityError, match="does not hold what the signed"):
        content_of(patch(coded, 1000), coded.frame, bytes(1000))
