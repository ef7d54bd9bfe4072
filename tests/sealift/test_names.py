"""Names, paths and links that may cross the gap, and those that may not."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealift.errors import MalformedError
from sealift.names import (
    NAME_MAX,
    PATH_MAX,
    check_link,
    check_path,
    check_release,
    check_version,
    folded,
    visible,
)


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../a",
        "a/..",
        "a/../b",
        ".",
        "./a",
        "a/.",
        "",
        "/",
        "/etc/passwd",
        "//server/share",
        "a//b",
        "a/",
        "\\\\server\\share",
        "C:\\windows",
        "a\\b",
    ],
)
def test_a_path_that_could_leave_the_tree_is_refused(path: str) -> None:
    """Attack 52: nothing climbs, is absolute, or names a drive or a share with backslashes."""
    with pytest.raises(MalformedError):
        check_path(path)


@pytest.mark.parametrize(
    "character",
    [
        "\0",
        "\n",
        "\r",
        "\t",
        "\x1b",
        "\x7f",
        "\x9b",
        "\u200b",
        "\u200f",
        "\u202e",
        "\u2028",
        "\u2066",
        "\ufeff",
        "\udc80",
    ],
)
def test_a_deceptive_character_is_refused_and_never_printed(character: str) -> None:
    """Attack 51: control, bidirectional and invisible characters enter no tree, and no terminal."""
    with pytest.raises(MalformedError) as caught:
        check_path(f"a{character}b/c")
    assert character not in str(caught.value)
    with pytest.raises(MalformedError) as caught:
        check_link("a", f"b{character}c")
    assert character not in str(caught.value)
    assert character not in visible(f"a{character}b")


@pytest.mark.parametrize("check", [check_release, check_version])
@pytest.mark.parametrize(
    "name", ["", ".", "..", "a..b", "-a", "a-", "a/b", "a\nb", "a\n", "ä", "a b", "x" * 65, "a\u202e"]
)
def test_a_bad_name_is_refused(check: object, name: str) -> None:
    """Attack 51 and 52: names of releases and versions are letters, digits and few signs."""
    assert callable(check)
    with pytest.raises(MalformedError) as caught:
        check(name)
    assert "\n" not in str(caught.value)
    assert "\u202e" not in str(caught.value)


@pytest.mark.parametrize("name", ["a", "0", "shop", "a.b-c_d", "x" * 64])
def test_a_good_name_passes(name: str) -> None:
    """What a release may be called."""
    assert check_release(name) == name


def test_a_release_is_written_in_lower_case() -> None:
    """No two releases differ by case alone; versions may."""
    with pytest.raises(MalformedError):
        check_release("Shop")
    assert check_version("1.0.0-RC1+build~2") == "1.0.0-RC1+build~2"


def test_a_component_is_at_most_what_linux_takes() -> None:
    """Attack 60: 255 bytes pass and 256 do not, counted in UTF-8."""
    assert check_path("ä" * 127 + "b")
    for long in ("a" * (NAME_MAX + 1), "ä" * 128, f"a/{'b' * 256}/c"):
        with pytest.raises(MalformedError):
            check_path(long)


def test_a_path_leaves_room_for_where_it_is_deployed() -> None:
    """Attack 60: 3,072 bytes pass and one more does not, however it is made up."""
    path = "/".join(["a" * 63] * 48)
    assert len(path) == PATH_MAX - 1
    assert check_path(path + "b")
    for long in (path + "bc", "/".join("ä" * 1025), "/".join(["é" * 100] * 16)):
        with pytest.raises(MalformedError):
            check_path(long)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("a", "b"),
        ("a/b", "../c"),
        ("a/b/c", "../../d/e"),
        ("a", "./b//c/"),
        ("a/b", ".."),
        ("a/b", "./../c"),
        ("a", "missing"),
    ],
)
def test_a_link_inside_the_tree_passes(path: str, target: str) -> None:
    """Links may point anywhere below the root, to what is missing too."""
    assert check_link(path, target) == target


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("a", ".."),
        ("a", "../a"),
        ("a/b", "../../c"),
        ("a/b", "c/../../d"),
        ("a", "b/.."),
        ("a", "./b/./.."),
        ("a", "/etc/passwd"),
        ("a", ""),
        ("a", "x" * (PATH_MAX + 1)),
        ("a", "b\\..\\c"),
        ("a", "b\0"),
    ],
)
def test_a_link_that_leaves_the_tree_is_refused(path: str, target: str) -> None:
    """Attack 53: a link is relative, does not climb above the root, and does not climb after a name."""
    with pytest.raises(MalformedError):
        check_link(path, target)


COMPONENTS = st.sampled_from(["a", "b", "c", "..", ".", ""])


@given(st.integers(0, 3), st.lists(COMPONENTS, min_size=1, max_size=6).map("/".join))
def test_an_accepted_link_stays_inside(depth: int, target: str) -> None:
    """Attack 53: wherever the link lies, what is accepted ends at or below the root."""
    path = "/".join([*["d"] * depth, "link"])
    try:
        check_link(path, target)
    except MalformedError:
        return
    end = posixpath.normpath(posixpath.join("/root", posixpath.dirname(path), target))
    assert end == "/root" or end.startswith("/root/")


def test_accepted_links_do_not_escape_together(tmp_path: Path) -> None:
    """Attack 53: links through links resolve inside the tree on a real disk, wherever they are combined."""
    root = tmp_path / "outside" / "root"
    (root / "d" / "e").mkdir(parents=True)
    links = {"d/up": "..", "d/e/up": "../..", "x": "d/e", "d/y": "../x/up", "d/e/z": "../../d/up/x"}
    for path, target in links.items():
        check_link(path, target)
        (root / path).symlink_to(target)
    for path in links:
        assert Path(os.path.realpath(root / path)).is_relative_to(root)


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


@given(TEXT)
def test_an_accepted_path_is_what_it_seems(path: str) -> None:
    """Whatever is accepted is already in the form that POSIX would reduce it to."""
    try:
        check_path(path)
    except MalformedError:
        return
    assert posixpath.normpath(path) == path
    assert not path.startswith("/")
    assert visible(path) == path


@given(TEXT)
def test_names_of_one_form_fold_together(name: str) -> None:
    """Attack 57: a name, its composed and its decomposed form are one name."""
    assert folded(unicodedata.normalize("NFC", name)) == folded(unicodedata.normalize("NFD", name)) == folded(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [("README", "readme"), ("Straße", "STRASSE"), ("É", "e\u0301"), ("Ω", "\u2126"), ("K", "\u212a"), ("ﬁ", "FI")],
)
def test_names_that_differ_by_case_fold_together(one: str, other: str) -> None:
    """Attack 57 and 58: case, composition and compatibility by case folding make no two names."""
    assert folded(one) == folded(other)


@given(st.text("abcAZ0._- ", max_size=20))
def test_plain_names_fold_like_all_others(name: str) -> None:
    """The short way for ASCII gives what the long way gives."""
    assert folded(name) == unicodedata.normalize("NFC", name.casefold())


@given(st.text(max_size=40))
def test_visible_text_moves_no_cursor(text: str) -> None:
    """Attack 51: whatever the text, what is shown has no control character, and is UTF-8."""
    shown = visible(text)
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in shown)
    shown.encode()
