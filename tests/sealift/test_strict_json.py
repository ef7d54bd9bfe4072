"""JSON has one reading here, or none: attacks 36 and 38 to 42."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealift.errors import MalformedError
from sealift.strict_json import DEPTH_MAX, INTEGER_MAX, canonical, parse

NUMBERS = st.integers(min_value=0, max_value=INTEGER_MAX)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
TREES = st.dictionaries(
    TEXT,
    st.recursive(
        st.none() | st.booleans() | NUMBERS | TEXT,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
        max_leaves=12,
    ),
    max_size=5,
)


def _parsed(text: str | bytes, *, cap: int = 10_000) -> dict[str, Any]:
    return parse(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"), "it", cap=cap)


@given(TREES)
def test_what_is_written_is_read(tree: dict[str, Any]) -> None:
    """Every tree without floats comes back, from the canonical and from any other spelling."""
    assert _parsed(canonical(tree), cap=1 << 20) == tree
    assert _parsed(json.dumps(tree, indent=1), cap=1 << 20) == tree


@given(TREES)
def test_the_canonical_form_is_one(tree: dict[str, Any]) -> None:
    """The order of keys makes no difference to it."""
    assert canonical(dict(reversed(tree.items()))) == canonical(tree)


def test_the_canonical_form_is_sorted_without_spaces_or_needless_escapes() -> None:
    """As TUF's canonical JSON for printable text."""
    assert canonical({"b": [1, True, None], "a": 'é"\\'}) == '{"a":"é\\"\\\\","b":[1,true,null]}'.encode()


def test_the_canonical_form_has_no_floats_that_are_none() -> None:
    """What is not JSON is not written."""
    with pytest.raises(ValueError, match="Out of range"):
        canonical({"a": float("nan")})


@pytest.mark.parametrize("length", [30, 31])
def test_the_cap_is_the_last_length_that_is_allowed(length: int) -> None:
    """A text of exactly the cap is read, one byte more is not, and the message has both numbers."""
    text = '{"a":"' + "x" * (length - 8) + '"}'
    if length == 30:
        assert _parsed(text, cap=30)
    else:
        with pytest.raises(MalformedError, match=r"^it has 31 bytes, more than the 30 that are allowed$"):
            _parsed(text, cap=30)


@pytest.mark.parametrize("number", ["0", "1", str(INTEGER_MAX)])
def test_integers_up_to_the_bound_are_read(number: str) -> None:
    """Both bounds are inside."""
    assert _parsed(f'{{"a":{number}}}') == {"a": int(number)}


@pytest.mark.parametrize("number", [str(INTEGER_MAX + 1), "-0", "-1", "1" + "0" * 16, "9" * 4000])
def test_other_integers_are_refused(number: str) -> None:
    """40: what another reader could take for another number is none, and the message is short."""
    with pytest.raises(MalformedError, match=r"the number -?\d{1,20} is not between 0 and 2\^53"):
        _parsed(f'{{"a":{number}}}')


@pytest.mark.parametrize("number", ["1.0", "1e2", "1E400", "0.1", "NaN", "Infinity", "-Infinity"])
def test_floats_are_refused(number: str) -> None:
    """38, 41: there are integers, and nothing else."""
    with pytest.raises(MalformedError, match="is not an integer"):
        _parsed(f'{{"a":{number}}}')


def _deep(depth: int, opening: str = "[", closing: str = "]") -> str:
    return '{"a":' + opening * (depth - 1) + closing * (depth - 1) + "}"


def test_the_depth_is_bounded() -> None:
    """39: as deep as allowed is read; one level more is refused, in lists, objects and both."""
    assert _parsed(_deep(DEPTH_MAX))
    with pytest.raises(MalformedError, match="nested more than 32 levels deep"):
        _parsed(_deep(DEPTH_MAX + 1))
    with pytest.raises(MalformedError, match="nested more than 32 levels deep"):
        _parsed('{"a":' * (DEPTH_MAX + 1) + "1" + "}" * (DEPTH_MAX + 1))


def test_levels_that_were_left_do_not_count() -> None:
    """Breadth is no depth."""
    assert len(_parsed('{"a":[' + ",".join(["[[]]"] * 100) + "]}")["a"]) == 100


def test_breadth_makes_no_room_for_depth() -> None:
    """39: a level that was left takes back what it added, and no more."""
    with pytest.raises(MalformedError, match="nested more than 32 levels deep"):
        _parsed('{"a":[' + "[]," * 100 + "1]," + f'"b":{_deep(DEPTH_MAX)}}}')


@pytest.mark.parametrize("text", ['"[{"', r'"\"[[["', r'"\\"', '"' + "[" * 99 + '"'])
def test_brackets_in_strings_do_not_count(text: str) -> None:
    """A string's content is no structure, whatever is escaped in it."""
    assert _parsed(f'{{"a":{text}}}') == {"a": json.loads(text)}


def test_an_open_string_hides_no_depth() -> None:
    """39: a string without its end is refused before anything recurses."""
    with pytest.raises(MalformedError, match=r"not valid json|levels deep"):
        _parsed('{"a":"' + "[" * 100_000, cap=1 << 20)


@pytest.mark.parametrize(
    "text", ['{"a":1,"a":1}', '{"a":1,"\\u0061":2}', '{"b":{"a":1,"c":2,"a":3}}', '{"b":[{"a":1,"a":1}]}']
)
def test_a_key_twice_is_refused(text: str) -> None:
    """36: at any level, in any spelling, also with the same value."""
    with pytest.raises(MalformedError, match="the key 'a' stands twice in one object"):
        _parsed(text)


def test_a_doubled_key_is_shown_safely() -> None:
    """51: a hostile key's escapes do not reach the terminal, and it is cut."""
    key = "\x1b[2J" + "x" * 300
    with pytest.raises(MalformedError) as caught:
        _parsed(json.dumps({key: 1})[:-1] + "," + json.dumps({key: 2})[1:])
    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"\xef\xbb\xbf{}", "it starts with a byte-order mark"),
        (b'{"a":"\xff"}', "it is not valid utf-8"),
        (b'{"a":"\xc0\xaf"}', "it is not valid utf-8"),
        (b'{"a":"\xed\xa0\x80"}', "it is not valid utf-8"),
        (rb'{"a":"\ud800"}', "it is not valid utf-8"),
        (rb'{"\udfff":1}', "it is not valid utf-8"),
        (b"[]", "it is not a json object"),
        (b"1", "it is not a json object"),
        (b'{"a":1} x', "it is not valid json: extra data at character 8"),
        (b"", "it is not valid json: expecting value at character 0"),
        (b'{"a":"\n"}', "it is not valid json: invalid control character"),
    ],
)
def test_what_is_not_one_object_in_utf8_is_refused(content: bytes, match: str) -> None:
    """42: the message says what is wrong, and where."""
    with pytest.raises(MalformedError, match=f"^{match}"):
        _parsed(content)


def test_a_pair_of_surrogates_is_one_character() -> None:
    """An escaped pair is as good as the character itself."""
    assert _parsed(rb'{"a":"\ud83d\ude80"}') == {"a": "\U0001f680"}
