"""The format of subtractions: what the four streams give, and what is refused of them."""

from __future__ import annotations

import contextlib
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealift.addition import WORTH, Addition, one_by_one, quickest, with_numpy
from sealift.errors import IntegrityError, MalformedError
from sealift.subtraction import check_sizes, restore

OLD = b"0123456789"
WAYS = [add for add in (one_by_one, with_numpy()) if add]


def numbers(*values: int) -> bytes:
    """Instructions of small numbers."""
    return bytes(values)


@given(
    taken=st.lists(st.tuples(st.binary(max_size=4), st.integers(0, 9), st.integers(1, 5)), min_size=1, max_size=6),
    rest=st.binary(max_size=4),
    changes=st.dictionaries(st.integers(0, 70), st.integers(1, 255)),
)
def test_the_streams_give_what_they_say(
    taken: list[tuple[bytes, int, int]], rest: bytes, changes: dict[int, int]
) -> None:
    """Ranges of the old content and literals, one behind the other, and then the values where the gaps lead."""
    old = bytes(range(100, 115))
    content = bytearray()
    instructions = bytearray()
    literals = b""
    shift = 0
    for literal, start, count in taken:
        content += literal
        move = start - len(content) - shift
        shift += move
        moved = -2 * move - 1 if move < 0 else 2 * move
        instructions += bytes([len(literal), count]) + (
            bytes([moved & 127 | 128, moved >> 7]) if moved > 127 else bytes([moved])
        )
        content += old[start : start + count]
        literals += literal
    content += rest
    wanted = {place: value for place, value in sorted(changes.items()) if place < len(content)}
    gaps = bytes(place - before - 1 for before, place in zip([-1, *wanted], wanted, strict=False))
    for place, value in wanted.items():
        content[place] = (content[place] + value) % 256
    streams = (bytes(instructions), gaps, bytes(wanted.values()), literals + rest)
    check_sizes([len(stream) for stream in streams], len(content))
    for add in WAYS:
        assert restore(streams, old, len(content), add) == content


@pytest.mark.parametrize("add", WAYS)
def test_a_long_gap_has_no_value(add: Addition) -> None:
    """255 bytes go by, and then the next gap counts."""
    old = bytes(600)
    found = restore((numbers(0, 0xD8, 0x04, 0), bytes([255, 255, 4]), b"\x07", b""), old, 600, add)
    assert found == bytes(514) + b"\x07" + bytes(85)


@pytest.mark.parametrize(
    ("instructions", "literals", "match"),
    [
        (numbers(0, 11, 0), b"", "takes what is not there"),
        (numbers(0, 1, 20), b"", "takes what is not there"),
        (numbers(0, 1, 1), b"", "takes what is not there"),
        (numbers(0, 0, 0), b"", "takes what is not there"),
        (numbers(3, 5, 0), b"ab", "takes what is not there"),
        (numbers(0, 10, 0, 0, 10, 19), b"", "takes what is not there"),
        (numbers(0, 9, 0), b"", "more or less"),
        (numbers(0, 10, 0), b"a", "more or less"),
        (numbers(0, 10), b"", "inside of an instruction"),
        (numbers(0), b"", "inside of an instruction"),
        (numbers(0, 10, 0x80), b"", "inside of a number"),
        (numbers(0, 0x80, 0x80, 0x80, 0x80, 1, 0), b"", "too long"),
    ],
    ids=[
        "beyond the end",
        "behind the end",
        "before the start",
        "nothing",
        "too few literals",
        "more than the size",
        "less than the size",
        "a literal too many",
        "two numbers",
        "one number",
        "no last byte",
        "five bytes",
    ],
)
def test_instructions_that_do_not_fit(instructions: bytes, literals: bytes, match: str) -> None:
    """77: a range outside of the old content, more output than was signed, and what is cut off are refused."""
    with pytest.raises(IntegrityError, match=match):
        restore((instructions, b"", b"", literals), OLD, 10)


@pytest.mark.parametrize("add", WAYS)
@pytest.mark.parametrize(
    ("gaps", "values", "match"),
    [
        (b"\x0a", b"\1", "changes bytes that it does not have"),
        (b"\xff", b"", "changes bytes that it does not have"),
        (b"\0" * 11, b"\1" * 11, "changes bytes that it does not have"),
        (b"\1\1", b"\1", "a value for each gap"),
        (b"\1", b"\1\1", "a value for each gap"),
    ],
    ids=["behind the end", "a long gap", "too many", "a value too few", "a value too many"],
)
def test_changes_that_do_not_fit(gaps: bytes, values: bytes, match: str, add: Addition) -> None:
    """77: a change outside of the content is refused, before anything is changed."""
    with pytest.raises(IntegrityError, match=match):
        restore((numbers(0, 10, 0), gaps, values, b""), OLD, 10, add)


@pytest.mark.parametrize("add", WAYS)
def test_the_last_byte_may_change(add: Addition) -> None:
    """The bound of the places is the size itself."""
    assert restore((numbers(0, 10, 0), b"\x09", b"\1", b""), OLD, 10, add) == b"012345678:"


@given(
    content=st.binary(min_size=1, max_size=400), gaps=st.lists(st.sampled_from((0, 1, 60, 254, 255))), seed=st.binary()
)
def test_both_ways_to_add_are_one(content: bytes, gaps: list[int], seed: bytes) -> None:
    """67: whatever the gaps are, numpy gives what one by one gives, and refuses what it refuses."""
    values = (seed * len(gaps) + bytes(len(gaps)))[: len(gaps) - gaps.count(255)]
    found: list[bytes | str] = []
    for add in WAYS:
        changed = bytearray(content)
        try:
            add(changed, bytes(gaps), values)
        except IntegrityError as error:
            assert changed == content
            found.append(error.message)
        else:
            found.append(bytes(changed))
    assert found[0] == found[1]


def test_more_gaps_than_numpy_is_given_at_once() -> None:
    """What one slice of the gaps leads to is where the next begins."""
    gaps = bytes(place % 256 for place in range(200_000))
    values = bytes(1 + place % 255 for place in range(len(gaps) - gaps.count(255)))
    found = [bytearray(26_000_000) for _ in range(2)]
    for add, content in zip(WAYS, found, strict=True):
        add(content, gaps, values)
    assert found[0] == found[1]


def test_numpy_is_used_where_it_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few values are added one by one; many as well where there is no numpy, which no import needs."""
    assert quickest(WORTH - 1) is one_by_one
    assert quickest(WORTH) is not one_by_one
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert quickest(WORTH) is one_by_one


@pytest.mark.parametrize(
    "sizes",
    [
        (),
        (1, 0, 0),
        (1, 0, 0, 0, 0),
        (0, 0, 0, 9),
        ((1 << 20) + 1, 0, 0, 0),
        (1, 11, 0, 0),
        (1, 2, 3, 0),
        (1, 0, 0, 11),
        (-1, 0, 0, 0),
        (1, 1, -1, 0),
        (1, 0, 0, -1),
    ],
)
def test_streams_without_bound(sizes: tuple[int, ...]) -> None:
    """67: streams that are longer than what they give are refused before anything is decompressed."""
    with pytest.raises(MalformedError, match="subtraction"):
        check_sizes(sizes, 10)


@given(instructions=st.binary(max_size=12), gaps=st.binary(max_size=12), literals=st.binary(max_size=4))
def test_any_streams_end_well(instructions: bytes, gaps: bytes, literals: bytes) -> None:
    """67: whatever the streams are, what comes out has the signed size, or is refused."""
    values = bytes(len(gaps) - gaps.count(255))
    for add in WAYS:
        with contextlib.suppress(IntegrityError):
            assert len(restore((instructions, gaps, values, literals), OLD, 12, add)) == 12
