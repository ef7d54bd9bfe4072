"""A template is filled with values, or the place and the reason are told; it can do nothing else."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from sealift.errors import UsageError
from sealift.template import FILLED_MAX, UnfitError, check_syntax, fill


@pytest.mark.parametrize(
    ("text", "values", "filled"),
    [
        ("port: ${{ port }}\n", {"port": 8080}, "port: 8080\n"),
        ("a\n${% if on %}\nb\n${% endif %}\nc\n", {"on": True}, "a\nb\nc\n"),
        ("a ${{# a remark #}}b", {}, "a b"),
        ("${% for host in hosts %}\n- ${{ host }}\n${% endfor %}\n", {"hosts": ["a", "b"]}, "- a\n- b\n"),
        ("${{ tree | tojson }}", {"tree": {"b": "ä<&'", "a": [1, None]}}, '{"b": "ä<&\'", "a": [1, null]}'),
        ("${{ word | b64encode }}", {"word": "pass word"}, "cGFzcyB3b3Jk"),
        ("${{ maybe | default('none') }}", {}, "none"),
        ("<${{ html }}>", {"html": "<b>"}, "<<b>>"),
        ("{{ .Values.x }} {% liquid %} ${shell} ${#array[@]} {# a #}", {}, None),
    ],
)
def test_values_are_filled_in(text: str, values: dict[str, Any], filled: str | None) -> None:
    """What other languages write in braces stays as it is."""
    assert fill(text, values).decode() == (text if filled is None else filled)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a\n\n${{ missing }}", 3, "'missing' is undefined"),
        ("a\n${{ tree.b.c }}", 2, "'dict object' has no attribute 'b'"),
        ("${{ missing | tojson }}", 1, "'missing' is undefined"),
        ("\n${% if %}", 2, "expected an expression"),
        ("\n\n${{ 1 / 0 }}", 3, "division by zero"),
        ("${% include '/etc/passwd' %}", 1, "no loader"),
        ("${{ tree | nothing }}", 1, "no filter named 'nothing'"),
        ("${{ [1, 2] | random }}", 1, "no filter named 'random'"),
        ("${{ lipsum() }}", 1, "'lipsum' is undefined"),
    ],
)
def test_what_cannot_be_filled_is_told_with_its_line(text: str, line: int, message: str) -> None:
    """An undefined name is an error, and so is what would differ from one time to the next."""
    with pytest.raises(UnfitError, match=message) as caught:
        fill(text, {"tree": {}})
    assert caught.value.line == line


@pytest.mark.parametrize(
    "text",
    [
        "${{ ''.__class__.__mro__ }}",
        "${{ tree.__init__.__globals__ }}",
        "${{ '{0.__class__}'.format(tree) }}",
        "${{ list.append(1) }}",
        "${{ tree.update({1: 2}) }}",
        "${{ self._TemplateReference__context }}",
        "${{ (tree | attr('__class__')) }}",
        "${% for n in range(10 ** 9) %}x${% endfor %}",
    ],
)
def test_a_template_does_not_leave_the_sandbox(text: str) -> None:
    """No attribute that begins with an underscore, no change of what it is given, no huge range."""
    tree: dict[str, Any] = {}
    with pytest.raises(UnfitError):
        fill(text, {"tree": tree, "list": []})
    assert tree == {}


def test_recursion_ends() -> None:
    """A macro that calls itself is refused, and so are expressions that nest without measure."""
    for text in ("${% macro m() %}${{ m() }}${% endmacro %}${{ m() }}", "${{" + "(" * 3000 + ")" * 3000 + "}}"):
        with pytest.raises(UnfitError, match="RecursionError"):
            fill(text, {})


def test_output_is_bounded() -> None:
    """A filled file has a largest size."""
    text = "${% for n in range(90000) %}" + "x" * (FILLED_MAX // 80_000) + "${% endfor %}"
    with pytest.raises(UnfitError, match="makes more than"):
        fill(text, {})


def test_syntax_is_checked_without_values() -> None:
    """An undefined name is no fault of a template."""
    check_syntax("${{ missing }}")
    with pytest.raises(UnfitError) as caught:
        check_syntax("a\n${% endfor %}")
    assert caught.value.line == 2


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where jinja2 is not installed."""
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(UsageError) as caught:
        fill("a", {})
    assert "sealift[values]" in (caught.value.hint or "")
