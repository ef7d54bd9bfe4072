"""Versions have an order, or none, and ranges choose among those that have."""

from __future__ import annotations

import pytest

from installer.policies.versions import Range, at_least, key, wanted
from sealift.errors import MalformedError


def _holds(text: str, version: str) -> bool:
    found = wanted(text)
    assert isinstance(found, Range)
    return found.holds(version)


def test_versions_are_ordered() -> None:
    """Each of them is older than the next."""
    ordered = [
        "0.9",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0-beta.2",
        "1.0.0-beta.11",
        "1.0~rc1",
        "1.0",
        "1.0+1",
        "1.0+2.1",
        "v1.0.1",
        "1.2",
        "1.10",
        "2026.05.01",
    ]
    keys = [key(version) for version in ordered]
    assert None not in keys
    assert sorted(keys, key=lambda each: each or ()) == keys


def test_some_versions_have_no_order() -> None:
    """They are in no range, and never as new as another."""
    for version in ("latest", "a1b2c3d", "1.x", "1..2", "1-", "stable-1"):
        assert key(version) is None
        assert not _holds("*", version)
        assert not at_least(version, "0")
        assert not at_least("1", version)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("^1.4", ["1.4", "1.4.0", "1.99", "v1.5"], ["1.3.9", "2", "2.0.0-rc1", "1.5-rc1"]),
        ("^0.3.1", ["0.3.1", "0.3.9"], ["0.3", "0.4"]),
        ("^0.0.3", ["0.0.3"], ["0.0.4", "0.0.2"]),
        ("^0", ["0.1", "0.0.0"], ["1"]),
        ("~1.4", ["1.4", "1.4.9"], ["1.5", "1.3"]),
        ("~1.4.2", ["1.4.2", "1.4.9"], ["1.4.1", "1.5"]),
        ("~1", ["1", "1.9"], ["2"]),
        (">=1.4, <2", ["1.4", "1.99+b1"], ["1.3", "2", "2-rc1", "1.5-rc1"]),
        (">1,<=2,!=1.5", ["1.4", "2.0"], ["1", "1.5.0", "2.1"]),
        ("==1.4", ["1.4", "1.4.0", "1.4+b2"], ["1.4.1"]),
        ("*", ["0", "99.1"], ["1-rc1"]),
        (">=1.5-rc1", ["1.5-rc1", "1.5-rc2", "1.5", "2"], ["1.5-alpha", "1.6-rc1"]),
    ],
)
def test_a_range_holds_what_it_says(text: str, inside: list[str], outside: list[str]) -> None:
    """A pre-release only where the range names one of the same numbers."""
    assert [version for version in (*inside, *outside) if _holds(text, version)] == inside


def test_a_version_is_no_range() -> None:
    """Whatever begins with a letter or a digit stands for itself alone."""
    assert wanted("1.4") == "1.4"
    assert wanted("latest") == "latest"


@pytest.mark.parametrize("text", ["", "^", "^latest", ">=1 <2", "1.4,2", "=1", "^1,,", "^1" + " " * 300, "=>1"])
def test_what_is_neither_is_refused(text: str) -> None:
    """With what may be written."""
    with pytest.raises(MalformedError):
        wanted(text)
