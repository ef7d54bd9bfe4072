"""Patterns: what they reach, asked about one entry. What they take of a tree, `test_path` shows."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bundler.patterns import Taken
from sealift.errors import UsageError


@pytest.mark.parametrize(
    ("include", "exclude", "path", "reached"),
    [
        (None, [], "depot/", True),
        (None, ["depot"], "depot/", False),
        (None, ["/depot/"], "depot/", False),
        (None, ["/depot/"], "a/depot/", True),
        (None, ["depot/"], "a/depot/", False),
        (None, ["depot/"], "depot", True),
        (None, ["depot/**"], "depot/", True),
        (None, ["a"], "a/b/depot/", False),
        (["*.js"], [], "depot/", True),
        (["/src"], [], "depot/", False),
        (["/src"], [], "src/depot/", True),
        (["/src/*.js"], [], "src/", True),
        (["/src/*.js"], [], "src/x.sealift", False),
        (["*.sealift"], ["x*"], "x.sealift", False),
        (["*.sealift"], [], "a/x.sealift", True),
    ],
)
def test_an_entry_is_reached_unless_the_patterns_leave_it_out(
    include: Sequence[str] | None, exclude: Sequence[str], path: str, reached: bool
) -> None:
    """Itself, or what may lie below it."""
    taken = Taken.of(include, exclude)
    assert taken.reaches(path.rstrip("/").split("/"), folder=path.endswith("/")) is reached


def test_a_pattern_without_meaning_is_named() -> None:
    """The message shows it, and the hint how to write one."""
    with pytest.raises(UsageError, match=r"'\[a' is no valid pattern") as raised:
        Taken.of(None, ["[a"])
    assert ".gitignore" in (raised.value.hint or "")
