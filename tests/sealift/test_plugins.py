"""One file, or one entry point, adds one kind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealift.errors import UsageError
from sealift.plugins import kinds

PACKAGE = "harbour_of_tests"
GROUP = "sealift.tests"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with the kinds `crane` and `dry-dock`, one module that is none, and one that cannot be imported."""
    folder = tmp_path / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").write_text("NOT_KINDS = frozenset({'rope'})\n")
    (folder / "crane.py").write_text("SCHEMA = {'type': 'object'}\n")
    (folder / "dry_dock.py").write_text("raise RuntimeError('imported too early')\n")
    (folder / "rope.py").write_text("")
    (folder / "_private.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    kinds.cache_clear()
    yield tmp_path
    kinds.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] in (PACKAGE, "stranger_of_tests")]:
        del sys.modules[name]


def install(home: Path, distribution: str, *entries: str) -> None:
    """Make `distribution` look installed, with entry points in the group."""
    kinds.cache_clear()
    (home / "stranger_of_tests.py").write_text("SCHEMA = {'type': 'object', 'title': 'strange'}\n")
    folder = home / f"{distribution}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[{GROUP}]\n" + "\n".join(entries) + "\n")


def test_the_files_of_a_package_are_its_kinds(home: Path) -> None:
    """Names are listed without an import, `-` for `_`; private modules and those named as none are left out."""
    found = kinds(PACKAGE, GROUP)
    assert list(found) == ["crane", "dry-dock"]
    assert len(found) == 2
    assert "dry-dock" in found
    assert "rope" not in found


def test_a_kind_is_imported_when_it_is_asked_for(home: Path) -> None:
    """Its module is the value."""
    assert kinds(PACKAGE, GROUP)["crane"].SCHEMA == {"type": "object"}


def test_an_entry_point_adds_a_kind(home: Path) -> None:
    """Another distribution needs no change in Sealift."""
    install(home, "stranger", "wharf = stranger_of_tests")
    found = kinds(PACKAGE, GROUP)
    assert list(found) == ["crane", "dry-dock", "wharf"]
    assert found["wharf"].SCHEMA["title"] == "strange"


def test_an_entry_point_cannot_replace_a_built_in_kind(home: Path) -> None:
    """What ships with Sealift stays what it is."""
    install(home, "stranger", "crane = stranger_of_tests")
    with pytest.raises(UsageError, match="the kind 'crane' of 'stranger' is taken by sealift itself") as caught:
        kinds(PACKAGE, GROUP)
    assert caught.value.hint == "uninstall 'stranger', or ask its maker to name it otherwise"


def test_two_entry_points_cannot_share_a_kind(home: Path) -> None:
    """Which one would serve is not left to chance."""
    install(home, "stranger", "wharf = stranger_of_tests")
    install(home, "other", "wharf = stranger_of_tests:SCHEMA")
    with pytest.raises(UsageError, match="'wharf' of 'other' is taken by 'stranger'"):
        kinds(PACKAGE, GROUP)


def test_an_entry_point_needs_a_valid_name(home: Path) -> None:
    """A kind is a word of lower-case letters, digits and hyphens."""
    install(home, "stranger", "My Wharf = stranger_of_tests")
    with pytest.raises(UsageError, match="is no valid kind"):
        kinds(PACKAGE, GROUP)


def test_an_entry_point_that_cannot_be_imported_is_named(home: Path) -> None:
    """The failure names the distribution, and only when its kind is asked for."""
    install(home, "stranger", "wharf = nowhere_of_tests")
    found = kinds(PACKAGE, GROUP)
    with pytest.raises(UsageError, match="the kind 'wharf' of 'stranger' cannot be imported"):
        found["wharf"]


def test_a_file_of_entry_points_that_cannot_be_read_is_left_to_importlib(home: Path) -> None:
    """A package that somebody else installed so does not keep any command from its work."""
    (home / "odd-1.0.dist-info" / "entry_points.txt").mkdir(parents=True)
    kinds.cache_clear()
    assert list(kinds(PACKAGE, GROUP)) == ["crane", "dry-dock"]
