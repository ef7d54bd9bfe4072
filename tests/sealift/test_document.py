"""A document is read strictly, and remembers where everything stands."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sealift import document
from sealift.document import Problem, load, parse, shown
from sealift.errors import UsageError


@pytest.fixture(params=["CSafeLoader", "SafeLoader"], autouse=True)
def _loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    base = getattr(yaml, request.param)
    resolvers = {"yaml_implicit_resolvers": document._LOADER.yaml_implicit_resolvers}
    monkeypatch.setattr(document, "_LOADER", type("Loader", (base,), resolvers))


def written(folder: Path, text: str | bytes) -> Path:
    """A file with `text`."""
    path = folder / "doc.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refused(folder: Path, text: str | bytes) -> str:
    """The message that refuses `text`, with the folder cut off, and the hint."""
    with pytest.raises(UsageError) as caught:
        load(written(folder, text))
    assert caught.value.exit_code == 2
    return f"{caught.value.message} | {caught.value.hint}".replace(f"{folder}/", "")


def test_values_and_keys_know_their_places(tmp_path: Path) -> None:
    """Lines and columns count from 1, of keys and of values, in blocks and in flows."""
    found = load(written(tmp_path, "release: shop\nartifacts:\n  web: {source: path,\n    path: [a, b]}\n"))
    assert found.value == {"release": "shop", "artifacts": {"web": {"source": "path", "path": ["a", "b"]}}}
    assert found.place(("release",)) == (1, 10)
    assert found.place(("release",), key=True) == (1, 1)
    assert found.place(("artifacts", "web", "path", 1)) == (4, 15)
    assert found.place(("artifacts", "web", "path"), key=True) == (4, 5)


def test_a_missing_value_stands_where_its_parent_does(tmp_path: Path) -> None:
    """The place of steps that lead nowhere is that of the last value on the way."""
    found = load(written(tmp_path, "a:\n  b: 1\n"))
    assert found.place(("a", "x", 3)) == (2, 3)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("2026-01-01", "2026-01-01"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("1.0.0", "1.0.0"),
        ("'1.0'", "1.0"),
        ("!!str 1.0", "1.0"),
        ("012", 12),
        ("-7", -7),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.5e3", 1500.0),
        ("TRUE", True),
        ("~", None),
        ("", None),
        ("<<", "<<"),
    ],
)
def test_scalars_are_read_as_yaml_1_2_reads_them(tmp_path: Path, text: str, value: Any) -> None:
    """Neither dates nor `no` nor base-60 numbers surprise anybody."""
    found = load(written(tmp_path, f"k: {text}\n")).value["k"]
    assert (found, type(found)) == (value, type(value))


def test_what_was_written_for_a_number_is_kept(tmp_path: Path) -> None:
    """`1.10` is remembered as such, and not as 1.1."""
    assert load(written(tmp_path, "version: 1.10")).written[("version",)] == "1.10"


def test_a_few_anchors_are_fine(tmp_path: Path) -> None:
    """An alias stands for its value."""
    assert load(written(tmp_path, "a: &x [1, {b: 2}]\nc: *x\n")).value["c"] == [1, {"b": 2}]


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    """Editors that write one do not shift the first key."""
    assert load(written(tmp_path, "\ufeffa: 1")).value == {"a": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "doc.yaml:3:1: a: duplicate key, first at 1:1"),
        ("x:\n  - {a: 1, a: 2}\n", "doc.yaml:2:12: x[0].a: duplicate key, first at 2:6"),
        ("1: a\n", "doc.yaml:1:1: 1: a key must be a string"),
        ("~: a\n", "doc.yaml:1:1: ['~']: a key must be a string"),
        ("? [a]\n: b\n", "doc.yaml:1:3: ['?']: a key must be a string"),
        (
            "a: !!python/object/apply:os.system [id]",
            "doc.yaml:1:4: a: the tag '!!python/object/apply:os.system' is not",
        ),
        ("a: !local 1", "doc.yaml:1:4: a: the tag '!local' is not"),
        ("a: !!set {b}", "doc.yaml:1:4: a: the tag '!!set' is not"),
        ("a: !!binary aGk=", "doc.yaml:1:4: a: the tag '!!binary' is not"),
        ("a: !!int x", "doc.yaml:1:4: a: the tag '!!int' is not"),
        ("a: !!str {b: c}", "doc.yaml:1:4: a: the tag '!!str' is not"),
        ("a: .nan", "doc.yaml:1:4: a: a number must be finite"),
        ("a: -.inf", "doc.yaml:1:4: a: a number must be finite"),
        ("a: 1e400", "doc.yaml:1:4: a: a number must be finite"),
        ("a: 1234567890123456789", "doc.yaml:1:4: a: a number has at most 18 digits"),
        (f"a: {'9' * 5000}", "doc.yaml:1:4: a: a number has at most 18 digits"),
        ("", "doc.yaml:1:1: the document is empty"),
        ("# only a comment\n", "doc.yaml:1:1: the document is empty"),
        ("---\n", "doc.yaml:1:1: the document is empty"),
        ("a: 1\n---\nb: 2\n", "doc.yaml:2:1: a second document begins here"),
        ("a: *x", "doc.yaml:1:4: no valid yaml: found undefined alias"),
        ("a: 1\n\x00", "doc.yaml:2:1: the character '\\x00' is not allowed"),
        ("a: \x1b[31m", "doc.yaml:1:4: the character '\\x1b' is not allowed"),
        (b"a: 1\nb: \xff", "doc.yaml:2:4: is not utf-8"),
        ("a: 1\nb: &x [*x]", "doc.yaml:2:4: aliases nest deeper than 32 levels, or without end"),
        ("[" * 100_000, "doc.yaml:1:33: is nested deeper than 32 levels"),
        ("- a\n" * 20_001, "the document holds more than 20000 values"),
    ],
)
def test_what_is_no_plain_document_is_refused_with_its_place(tmp_path: Path, text: str | bytes, message: str) -> None:
    """File, line and column lead the message."""
    assert message in refused(tmp_path, text)


def test_a_syntax_error_names_its_line(tmp_path: Path) -> None:
    """What the parser says is passed on, at its place."""
    assert refused(tmp_path, "a: [1, 2\nb: 3").startswith("doc.yaml:2:2: no valid yaml: while parsing a flow sequence")


def test_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    """Attack 46: nine levels of nine aliases are 387 million values, and are never built."""
    bomb = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    bomb += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    assert "aliases make the document hold more than 20000 values" in refused(tmp_path, "\n".join(bomb))


def test_half_a_surrogate_pair_is_refused(tmp_path: Path) -> None:
    """Attack 42: an escape cannot smuggle in what no file name can be encoded from."""
    assert refused(tmp_path, 'a: "\\ud800"').startswith("doc.yaml:1:")


def test_every_fault_of_a_document_is_listed(tmp_path: Path) -> None:
    """The first fault does not hide the second."""
    with pytest.raises(UsageError) as caught:
        load(written(tmp_path, "a: .nan\na: 2\n3: x\n"))
    assert [line.split(":")[1] for line in caught.value.message.splitlines()] == ["1", "2", "3"]
    assert caught.value.hint is None


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    """No more than a mebibyte is read."""
    assert "is larger than 1048576 bytes" in refused(tmp_path, "#" * (document.SIZE_MAX + 1))


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "nul"])
def test_only_a_regular_file_is_read(tmp_path: Path, kind: str) -> None:
    """A FIFO does not make the program wait for ever."""
    path = tmp_path / "it"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "nul":
        path = tmp_path / "a\0b"
    with pytest.raises(UsageError):
        load(path)


def test_a_single_problem_has_its_hint_apart(tmp_path: Path) -> None:
    """One problem makes a message and a hint."""
    found = parse(written(tmp_path, "artifacts:\n  web:\n    paht: dist\n"))
    steps = ("artifacts", "web", "paht")
    error = found.refusal([Problem(steps=steps, message="unknown key", hint="did you mean 'path'?", at_key=True)])
    assert error.message == f"{tmp_path}/doc.yaml:3:5: artifacts.web.paht: unknown key"
    assert error.hint == "did you mean 'path'?"


def test_steps_are_shown_as_a_path() -> None:
    """Unusual keys are quoted and made safe to print."""
    assert shown(("targets", 0, "path")) == "targets[0].path"
    assert shown(("a b", "\u202e")) == "['a b']['\\u202e']"
    assert len(shown(("x" * 5000,))) < 100


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab:#'-\n é", max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(json.filter(lambda value: value is not None))
def test_what_yaml_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    """JSON values pass through a document unchanged, whatever their keys."""
    path = written(tmp_path_factory.getbasetemp(), yaml.safe_dump(value, allow_unicode=True))
    found = load(path).value
    assert found == value or (isinstance(value, float) and math.isclose(found, value))
