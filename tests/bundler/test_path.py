"""The source `path`: what it takes, what it refuses, and how it says so."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.source import Found, Workshop
from bundler.sources import path
from sealift.errors import SealiftError, SourceError, UsageError
from sealift.progress import Silent

TREE = ["a.txt", "b.tmp", "docs/", "docs/a.txt", "docs/deep/", "docs/deep/a.txt", "docs/deep/x.tmp", "empty/", "src/",
        "src/a.py", "src/b.pyc", "src/docs/", "src/docs/a.txt", "src/tmp/", "src/tmp/k"]  # fmt: skip

LEADING = ["docs/", "docs/deep/", "src/", "src/docs/"]


def _make(root: Path, entries: Sequence[str]) -> Path:
    for entry in entries:
        if entry.endswith("/"):
            (root / entry).mkdir(parents=True, exist_ok=True)
        else:
            (root / entry).parent.mkdir(parents=True, exist_ok=True)
            (root / entry).write_text(entry)
    return root


def _collect(base: Path, **want: Any) -> list[Found]:
    return list(path.collect({"path": "tree"} | want, Workshop(base=base, cache=base / "cache", progress=Silent())))


def _paths(base: Path, **want: Any) -> list[str]:
    return [found.path + ("/" if found.kind == "dir" else "") for found in _collect(base, **want)]


def _refusal(base: Path, **want: Any) -> SourceError:
    """The error, after a check that nothing was yielded that it names."""
    yielded: list[Found] = []
    workshop = Workshop(base=base, cache=base / "cache", progress=Silent())
    with pytest.raises(SourceError) as raised:
        yielded.extend(path.collect({"path": "tree"} | want, workshop))
    assert not [found for found in yielded if f"{found.path!r} is" in raised.value.message]
    return raised.value


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample tree in `tree`."""
    folder = tmp_path_factory.mktemp("base")
    _make(folder / "tree", TREE)
    return folder


def test_everything_is_taken_without_patterns(base: Path) -> None:
    """Files and folders, empty ones too, come depth first and sorted."""
    assert _paths(base) == TREE


def test_siblings_are_sorted_by_the_bytes_of_their_names(tmp_path: Path) -> None:
    """A folder's content stands behind it even where another name sorts between."""
    names = ["Z", "a", "a.b", "é", "\uffe6", "\U0001f600"]
    _make(tmp_path / "tree", [*names, "d/x", "d.x"])
    assert _paths(tmp_path) == ["Z", "a", "a.b", "d/", "d/x", "d.x", "é", "\uffe6", "\U0001f600"]


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        ("*.txt", [entry for entry in TREE if entry.endswith(".txt") or entry in LEADING]),
        ("/*.txt", ["a.txt"]),
        ("docs/*.txt", ["docs/", "docs/a.txt"]),
        ("docs/**", ["docs/", "docs/a.txt", "docs/deep/", "docs/deep/a.txt", "docs/deep/x.tmp"]),
        ("docs/**/*.txt", ["docs/", "docs/a.txt", "docs/deep/", "docs/deep/a.txt"]),
        ("/docs", ["docs/", "docs/a.txt", "docs/deep/", "docs/deep/a.txt", "docs/deep/x.tmp"]),
        ("**/tmp", ["src/", "src/tmp/", "src/tmp/k"]),
        ("tmp/", ["src/", "src/tmp/", "src/tmp/k"]),
        ("empty", ["empty/"]),
        ("src/?.py", ["src/", "src/a.py"]),
        ("src/[a-z].py[!x]", ["src/", "src/b.pyc"]),
        ("src**k", ["src/", "src/tmp/", "src/tmp/k"]),
        ("**", TREE),
        ("b\\.tmp", ["b.tmp"]),
        ("/src/*/a.txt", ["src/", "src/docs/", "src/docs/a.txt"]),
    ],
)  # fmt: skip
def test_include_takes_what_a_pattern_meets(base: Path, include: str, expected: list[str]) -> None:
    """Only what is met is taken, what is below it, and the folders that lead there."""
    assert _paths(base, include=[include]) == expected


@pytest.mark.parametrize(
    ("exclude", "left_out"),
    [
        ("*.tmp", {"b.tmp", "docs/deep/x.tmp"}),
        ("/*.tmp", {"b.tmp"}),
        ("a.txt/", set()),
        ("docs", {entry for entry in TREE if "docs/" in entry}),
        ("src/**", {"src/a.py", "src/b.pyc", "src/docs/", "src/docs/a.txt", "src/tmp/", "src/tmp/k"}),
        ("src/*/", {"src/docs/", "src/docs/a.txt", "src/tmp/", "src/tmp/k"}),
        ("?*", set(TREE)),
    ],
)  # fmt: skip
def test_exclude_leaves_out_what_a_pattern_meets(base: Path, exclude: str, left_out: set[str]) -> None:
    """What is met is left out with everything below; a folder whose content is met stays, empty."""
    expected = [entry for entry in TREE if entry not in left_out]
    if expected:
        assert _paths(base, exclude=[exclude]) == expected
    else:
        assert "nothing is in it that the patterns take" in _refusal(base, exclude=[exclude]).message


def test_exclude_wins_over_include(base: Path) -> None:
    """An entry that both meet is left out."""
    assert _paths(base, include=["docs/**"], exclude=["deep/", "*.py"]) == ["docs/", "docs/a.txt"]


def _components_meet(names: Sequence[str], parts: Sequence[str]) -> bool:
    """The oracle: whether a path meets an anchored pattern whose components are `**`, `*` and plain names."""
    if not parts:
        return not names
    if parts[0] == "**":
        if len(parts) == 1:
            return bool(names)
        return any(_components_meet(names[skipped:], parts[1:]) for skipped in range(len(names) + 1))
    return bool(names) and parts[0] in ("*", names[0]) and _components_meet(names[1:], parts[1:])


def _meets(entry: str, pattern: str) -> bool:
    """The oracle: whether `entry` or a folder that it is in meets `pattern`."""
    parts = pattern.strip("/").split("/")
    if "/" not in pattern.rstrip("/"):
        parts = ["**", *parts]
    names = entry.rstrip("/").split("/")
    return any(
        _components_meet(names[:depth], parts)
        for depth in range(1, len(names) + 1)
        if not pattern.endswith("/") or depth < len(names) or entry.endswith("/")
    )


PATTERNS = st.builds(
    lambda lead, parts, end: lead + "/".join(parts) + end,
    st.sampled_from(["", "/"]),
    st.lists(st.sampled_from(["**", "*", "docs", "deep", "src", "a.txt", "tmp", "empty"]), min_size=1, max_size=4),
    st.sampled_from(["", "/"]),
)


@settings(max_examples=150, deadline=None)
@given(include=st.none() | st.lists(PATTERNS, min_size=1, max_size=3), exclude=st.lists(PATTERNS, max_size=2))
def test_patterns_agree_with_a_naive_reading(base: Path, include: list[str] | None, exclude: list[str]) -> None:
    """Whatever the patterns, what is taken is what a reading component by component takes."""
    kept = [entry for entry in TREE if not any(_meets(entry, pattern) for pattern in exclude)]
    if include is not None:
        met = [entry for entry in kept if any(_meets(entry, pattern) for pattern in include)]
        kept = [
            entry
            for entry in kept
            if entry in met or (entry.endswith("/") and any(other.startswith(entry) for other in met))
        ]
    want = {"exclude": exclude} if include is None else {"include": include, "exclude": exclude}
    if kept:
        assert _paths(base, **want) == kept
    else:
        assert "nothing is in it" in _refusal(base, **want).message


@pytest.mark.parametrize("pattern", ["", "!a", "a//b", "../a", "./a", "a/..", "[a", "[z-a]", "a\\", "/", "x" * 1025])
def test_a_pattern_without_meaning_is_refused(base: Path, pattern: str) -> None:
    """What no pattern can be is a usage error, for collect and for pin."""
    with pytest.raises(UsageError):
        _collect(base, exclude=[pattern])
    with pytest.raises(UsageError):
        path.pin({"path": "tree", "include": [pattern]}, Workshop(base=base, cache=base, progress=Silent()))


@pytest.mark.parametrize("want", [{}, {"path": 3}, {"path": ""}, {"path": "a\0b"}, {"path": "tree", "include": []}])
def test_keys_of_the_wrong_form_are_refused(base: Path, want: dict[str, Any]) -> None:
    """A value that the schema would refuse is a usage error here too."""
    with pytest.raises(UsageError):
        list(path.collect(want, Workshop(base=base, cache=base, progress=Silent())))


def test_files_bear_what_a_reader_needs(tmp_path: Path) -> None:
    """Size, origin, stamp and the executable bit are those of the file."""
    _make(tmp_path / "tree", ["plain", "run"])
    (tmp_path / "tree/run").chmod(0o645)
    status = os.stat(tmp_path / "tree/run")
    plain, run = _collect(tmp_path)
    assert run == Found("run", "file", True, 3, str(tmp_path / "tree/run"), (status.st_ino, status.st_mtime_ns))
    assert not plain.executable


def test_links_stay_links(tmp_path: Path) -> None:
    """A link inside is not followed, whether it points to a file, a folder or nothing."""
    _make(tmp_path / "tree", ["d/f"])
    for name, target in [("dangling", "nowhere"), ("d/up", "../d"), ("folder", "d")]:
        (tmp_path / "tree" / name).symlink_to(target)
    links = {found.path: found.target for found in _collect(tmp_path) if found.kind == "link"}
    assert links == {"dangling": "nowhere", "d/up": "../d", "folder": "d"}


def test_a_pattern_for_folders_does_not_meet_a_link_to_one(tmp_path: Path) -> None:
    """With a `/` at its end a pattern leaves links alone."""
    _make(tmp_path / "tree", ["d/f"])
    (tmp_path / "tree/link").symlink_to("d")
    assert _paths(tmp_path, exclude=["link/"]) == ["d/", "d/f", "link"]


def test_the_root_is_followed_where_it_is_a_link(base: Path, tmp_path: Path) -> None:
    """A link as the root stands for the folder that it points to."""
    (tmp_path / "tree").symlink_to(base / "tree")
    assert _paths(tmp_path) == TREE


def test_an_absolute_path_is_taken_as_it_is(base: Path, tmp_path: Path) -> None:
    """An absolute path does not start from the spec's folder."""
    assert _paths(tmp_path, path=str(base / "tree")) == TREE


def test_a_file_is_a_tree_of_one(tmp_path: Path) -> None:
    """A path to a file gives that file under its name."""
    _make(tmp_path, ["bin/tool"])
    (found,) = _collect(tmp_path, path="bin/tool")
    assert (found.path, found.kind, found.size, found.origin) == ("tool", "file", 8, str(tmp_path / "bin/tool"))


def test_a_file_under_a_link_bears_the_name_in_the_spec(tmp_path: Path) -> None:
    """The link's name is the file's name, not that of what it points to."""
    _make(tmp_path, ["tool-1.2"])
    (tmp_path / "tool").symlink_to("tool-1.2")
    assert _paths(tmp_path, path="tool") == ["tool"]


def test_the_mode_of_a_folder_does_not_matter(tmp_path: Path) -> None:
    """Sticky and setgid folders are taken like any other."""
    _make(tmp_path / "tree", ["d/f"])
    (tmp_path / "tree/d").chmod(0o3777)
    assert _paths(tmp_path) == ["d/", "d/f"]


@pytest.mark.parametrize("missing", ["absent", "tree/a.txt/x"])
def test_a_missing_folder_is_named(base: Path, missing: str) -> None:
    """The message says which path, and the hint where it starts."""
    error = _refusal(base, path=missing)
    assert missing in error.message
    assert "folder of the spec" in (error.hint or "")


def test_an_empty_folder_is_no_artifact(tmp_path: Path) -> None:
    """A root without entries is refused."""
    (tmp_path / "tree").mkdir()
    assert "nothing is in it" in _refusal(tmp_path).message


def _fifo(place: Path) -> None:
    os.mkfifo(place)


def _socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(place.parent)
        try:
            server.bind(place.name)
        finally:
            os.chdir(here)


def _setuid(place: Path) -> None:
    place.touch()
    place.chmod(0o4755)


def _setgid(place: Path) -> None:
    place.touch()
    place.chmod(0o2755)


def _sticky(place: Path) -> None:
    place.touch()
    place.chmod(0o1644)


def _escaping(place: Path) -> None:
    place.symlink_to("../../outside")


def _absolute(place: Path) -> None:
    place.symlink_to("/etc/passwd")


def _hidden_escape(place: Path) -> None:
    place.symlink_to("x/../../..")


BAD = {
    "a FIFO": _fifo,
    "a socket": _socket,
    "setuid, setgid or sticky (mode 4755)": _setuid,
    "(mode 2755)": _setgid,
    "(mode 1644)": _sticky,
    "leaves the tree": _escaping,
    "not inside the tree": _absolute,
    "climbs after a name": _hidden_escape,
}


@pytest.mark.parametrize("why", BAD)
def test_what_cannot_be_carried_is_refused(tmp_path: Path, why: str) -> None:
    """The message names the entry and why, the hint names `exclude`; with `exclude` the rest is taken."""
    _make(tmp_path / "tree", ["d/f"])
    BAD[why](tmp_path / "tree/d/odd")
    error = _refusal(tmp_path)
    assert "'d/odd'" in error.message
    assert why in error.message
    assert "`exclude`" in (error.hint or "")
    assert _paths(tmp_path, exclude=["odd"]) == ["d/", "d/f"]


@pytest.mark.parametrize("name", [b"new\nline", b"back\\slash", b"bell\x07", "bidi\u202e".encode(), b"latin\xe9"])
def test_names_that_deceive_are_refused(tmp_path: Path, name: bytes) -> None:
    """A name with a character that no tree may hold, or that is not UTF-8, is refused and shown escaped."""
    _make(tmp_path / "tree", ["d/f"])
    os.close(os.open(os.fsencode(tmp_path / "tree/d") + b"/" + name, os.O_CREAT))
    error = _refusal(tmp_path)
    assert "'d/" in error.message
    assert error.message.isprintable()
    assert _paths(tmp_path, include=["f"]) == ["d/", "d/f"]


def test_a_folder_with_a_bad_name_is_refused_once(tmp_path: Path) -> None:
    """What is below a folder that is refused is not named too."""
    _make(tmp_path / "tree", ["new\nline/one", "new\nline/two"])
    assert "\n" not in _refusal(tmp_path).message


def test_a_folder_that_leads_to_something_is_checked(tmp_path: Path) -> None:
    """A bad name is refused where only something below it is included, and ignored where nothing is."""
    _make(tmp_path / "tree", ["new\nline/one", "two"])
    assert "new" in _refusal(tmp_path, include=["one"]).message
    assert _paths(tmp_path, include=["two"]) == ["two"]


@pytest.mark.parametrize(("one", "other"), [("Read", "read"), ("caf\u00e9", "cafe\u0301"), ("stra\u00dfe", "STRASSE")])
def test_siblings_that_collide_are_refused(tmp_path: Path, one: str, other: str) -> None:
    """Two names that a disk may take for one are refused; excluding one of them helps."""
    _make(tmp_path / "tree", [f"d/{one}", f"d/{other}"])
    assert "are one name" in _refusal(tmp_path).message
    assert _paths(tmp_path, exclude=[one]) == ["d/", f"d/{other}"]


def test_folders_collide_only_where_both_are_taken(tmp_path: Path) -> None:
    """A folder that leads nowhere does not collide with one that does."""
    _make(tmp_path / "tree", ["Lib/a.c", "lib/a.h"])
    assert _paths(tmp_path, include=["*.h"]) == ["lib/", "lib/a.h"]
    assert "are one name" in _refusal(tmp_path, include=["*.h", "*.c"]).message


def test_all_bad_entries_are_named(tmp_path: Path) -> None:
    """Up to twenty are named in one error, and the rest is counted."""
    _make(tmp_path / "tree", ["f"])
    for number in range(23):
        os.mkfifo(tmp_path / f"tree/p{number:02}")
    lines = _refusal(tmp_path).message.splitlines()
    assert "23 entries" in lines[0]
    assert "'p00'" in lines[1]
    assert "'p19'" in lines[20]
    assert "and 3 more" in lines[21]


def test_nothing_is_yielded_after_the_first_bad_entry(tmp_path: Path) -> None:
    """A reader of contents does not work on for an artifact that fails."""
    _make(tmp_path / "tree", ["a", "c"])
    os.mkfifo(tmp_path / "tree/b")
    entries = path.collect({"path": "tree"}, Workshop(base=tmp_path, cache=tmp_path, progress=Silent()))
    assert next(entries).path == "a"
    with pytest.raises(SourceError):
        next(entries)


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be listed is refused with the system's reason, and `exclude` helps."""
    _make(tmp_path / "tree", ["d/f", "g"])
    listed = os.scandir

    def scandir(folder: str) -> Any:
        if folder.endswith("/d"):
            raise PermissionError(13, "Permission denied", folder)
        return listed(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    assert "'d': permission denied" in _refusal(tmp_path).message
    assert _paths(tmp_path, exclude=["d/"]) == ["g"]
    assert _paths(tmp_path, include=["/g"]) == ["g"]


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that this user may not read is refused before anything reads it."""
    _make(tmp_path / "tree", ["secret"])
    (tmp_path / "tree/secret").chmod(0o600)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert "may not be read by this user (mode 0600)" in _refusal(tmp_path).message


def test_a_file_that_vanishes_is_an_error_of_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure that is no other error's is still of the one root."""
    _make(tmp_path / "tree", ["link"])
    (tmp_path / "tree/l").symlink_to("link")

    def readlink(place: str) -> str:
        raise FileNotFoundError(2, "No such file or directory", place)

    monkeypatch.setattr(os, "readlink", readlink)
    assert isinstance(_refusal(tmp_path), SealiftError)


def test_a_deep_tree_is_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The depth of a tree is not bounded by Python's stack."""
    (tmp_path / "tree").mkdir()
    monkeypatch.chdir(tmp_path / "tree")
    for _ in range(1200):
        os.mkdir("d")
        os.chdir("d")
    try:
        assert len(_collect(tmp_path)) == 1200
    finally:
        for _ in range(1200):
            os.chdir("..")
            os.rmdir("d")
