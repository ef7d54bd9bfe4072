"""Trees: the rules that entries obey, alone and together."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealift.errors import IntegrityError, MalformedError
from sealift.listing import ListingBlob, Writer
from sealift.tree import Entry, Gate, Order, checked, entries, position, side_by_side

CHUNK = "ab" * 32
OTHER = "cd" * 32


def tree(folder: Path, lines: list[bytes]) -> tuple[bytes, ListingBlob, str]:
    """A tree of these lines, as a file."""
    writer = Writer(folder, "tree")
    for line in lines:
        writer.add_encoded(line + b"\n")
    blob, digest = writer.finish()
    return (folder / f"{blob.sha256}.zst").read_bytes(), blob, digest


def read(folder: Path, *lines: dict[str, object] | bytes) -> list[Entry]:
    """What a reader makes of these lines."""
    encoded = [
        line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode()
        for line in lines
    ]
    return list(checked(*tree(folder, encoded)))


def file(path: str, **more: object) -> dict[str, object]:
    """An empty file, or what `more` makes of it."""
    return {"path": path, "type": "file", "mode": "0644", **more}


def folder(path: str) -> dict[str, object]:
    """A folder."""
    return {"path": path, "type": "dir", "mode": "0755"}


def link(path: str, target: str) -> dict[str, object]:
    """A symbolic link."""
    return {"path": path, "type": "link", "target": target}


def test_a_tree_of_everything_passes(tmp_path: Path) -> None:
    """Files of no, one and several chunks, folders and links come out as they went in."""
    found = read(
        tmp_path,
        folder("a"),
        file("a/empty"),
        file("a/large", size=5, chunks=[CHUNK, OTHER, CHUNK], sizes=[2, 1, 2]),
        link("a/link", "../b"),
        {**file("b", size=7, chunks=[CHUNK]), "mode": "0755"},
    )
    assert [entry.path for entry in found] == ["a", "a/empty", "a/large", "a/link", "b"]
    assert list(found[2].pieces()) == [(CHUNK, 2), (OTHER, 1), (CHUNK, 2)]
    assert list(found[1].pieces()) == []
    assert list(found[4].pieces()) == [(CHUNK, 7)]


@pytest.mark.parametrize(
    "entry",
    [
        file("a", size=1),
        file("a", chunks=[CHUNK]),
        file("a", size=-1, chunks=[CHUNK]),
        file("a", size=(8 << 20) + 1, chunks=[CHUNK]),
        file("a", size=2, chunks=[CHUNK], sizes=[2]),
        file("a", size=2, chunks=[CHUNK, OTHER]),
        file("a", size=2, chunks=[CHUNK, OTHER], sizes=[2]),
        file("a", size=2, chunks=[CHUNK, OTHER], sizes=[1, 2]),
        file("a", size=2, chunks=[CHUNK, OTHER], sizes=[3, -1]),
        file("a", size=2, chunks=[CHUNK, OTHER], sizes=[2, 0]),
        file("a", size=2, chunks=["AB" * 32]),
        file("a", size=2, chunks=["ab" * 31]),
        file("a", target="b"),
        file("a", unknown=1),
        file("a", size=1.0, chunks=[CHUNK]),
        file("a", size=True, chunks=[CHUNK]),
        {**file("a"), "mode": "0600"},
        {**file("a"), "mode": "4755"},
        {"path": "a", "type": "file"},
        {**folder("a"), "mode": "0644"},
        {"path": "a", "type": "dir"},
        {**folder("a"), "target": "b"},
        {**folder("a"), "size": 1},
        {**link("a", "b"), "mode": "0644"},
        {"path": "a", "type": "link"},
        {**link("a", "b"), "chunks": [CHUNK]},
        {"path": "a", "type": "device", "mode": "0644"},
        {"path": "a", "type": "hardlink", "target": "b"},
        {"type": "file", "mode": "0644"},
    ],
    ids=lambda entry: json.dumps(entry)[:80],
)
def test_an_entry_that_breaks_a_rule_is_refused(tmp_path: Path, entry: dict[str, object]) -> None:
    """Attack 54 to 56 and 63: no other types or modes, no sizes that do not add up, no unknown fields."""
    with pytest.raises(MalformedError):
        read(tmp_path, entry)


@pytest.mark.parametrize(
    "line",
    [
        b'{"path":"a","type":"file","mode":"0644","path":"b"}',
        b'{"type":"file","path":"a","mode":"0644"}',
        b'{"path":"a", "type":"file","mode":"0644"}',
        b'{"path":"\\u0061","type":"file","mode":"0644"}',
        b'{"path":"a","type":"file","mode":"0644","size":0}',
        b'{"path":"a","type":"file","mode":"0644"}\r',
        b"",
        b"[]",
        b"null",
        b'{"path":"\xff","type":"file","mode":"0644"}',
        b'{"path":"\\ud800","type":"file","mode":"0644"}',
        b"\xef\xbb\xbf" + b'{"path":"a","type":"file","mode":"0644"}',
        b'{"path":"a","type":"file","mode":"0644","chunks":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
    ids=lambda line: repr(line[:40]),
)
def test_a_line_has_one_form(tmp_path: Path, line: bytes) -> None:
    """Attack 36 and 42: a line that another reader could take for something else is refused."""
    with pytest.raises(MalformedError):
        read(tmp_path, line)


@pytest.mark.parametrize("path", ["..", "../a", "/a", "a/../b", "a\\b", "a\0", "", "a/", "a\u202eb", "a\x1b[2J"])
def test_a_path_that_escapes_is_refused(tmp_path: Path, path: str) -> None:
    """Attack 51 and 52: a path of a tree stays below its root and hides nothing."""
    with pytest.raises(MalformedError):
        read(tmp_path, folder("a"), file(path))


@pytest.mark.parametrize("target", ["..", "/etc", "a/../..", "../x"])
def test_a_link_that_escapes_is_refused(tmp_path: Path, target: str) -> None:
    """Attack 53: a link of a tree stays below its root."""
    with pytest.raises(MalformedError):
        read(tmp_path, link("l", target))


@pytest.mark.parametrize(
    "lines",
    [
        [file("a"), file("a")],
        [folder("a"), file("a")],
        [file("b"), file("a")],
        [folder("a"), file("b"), file("a/c")],
        [file("a.b"), folder("a")],
    ],
    ids=["twice", "file and folder", "descending", "late child", "not depth first"],
)
def test_entries_out_of_order_are_refused(tmp_path: Path, lines: list[dict[str, object]]) -> None:
    """Attack 61 and 62: each path comes once, in canonical order."""
    with pytest.raises(MalformedError, match=r"out of order|in no folder"):
        read(tmp_path, *lines)


@pytest.mark.parametrize(
    "lines",
    [
        [file("a"), file("a/b")],
        [link("a", "c"), file("a/b")],
        [file("a/b")],
        [folder("a"), file("a/b/c")],
        [folder("a"), folder("a/b"), file("a/c/d")],
    ],
    ids=["in a file", "through a link", "no folder", "no inner folder", "another folder"],
)
def test_an_entry_in_no_folder_is_refused(tmp_path: Path, lines: list[dict[str, object]]) -> None:
    """Attack 53 and 61: nothing lies in a file, behind a link, or in a folder that the tree lacks."""
    with pytest.raises(MalformedError, match="no folder"):
        read(tmp_path, *lines)


@pytest.mark.parametrize(
    ("one", "other"), [("README", "readme"), ("e\u0301", "é"), ("STRASSE", "straße"), ("K", "\u212a")]
)
@pytest.mark.parametrize("kind", ["file", "dir"])
def test_siblings_that_collide_are_refused(tmp_path: Path, one: str, other: str, kind: str) -> None:
    """Attack 57 and 58: siblings differ in more than case and Unicode form; cousins need not."""
    make = file if kind == "file" else folder
    first, second = sorted([one, other])
    with pytest.raises(MalformedError, match="sibling"):
        read(tmp_path, make(first), make(second))
    assert len(read(tmp_path, folder("x"), make(f"x/{one}"), folder("y"), make(f"y/{other}"))) == 4


def test_a_tree_with_another_digest_is_refused(tmp_path: Path) -> None:
    """The file's digest, its content's digest and its size must all be the signed ones."""
    compressed, blob, digest = tree(tmp_path, [b'{"path":"a","type":"file","mode":"0644"}'])
    assert list(entries(compressed, blob, digest))
    with pytest.raises(IntegrityError):
        list(checked(compressed, blob, OTHER))
    with pytest.raises(IntegrityError):
        list(checked(compressed + b"\0", blob, digest))
    for size in (blob.size - 1, blob.size + 1):
        lying = ListingBlob(sha256=blob.sha256, length=blob.length, size=size)
        with pytest.raises((IntegrityError, MalformedError)):
            list(checked(compressed, lying, digest))


def test_bytes_that_are_not_utf8_are_refused_in_an_admitted_tree_too(tmp_path: Path) -> None:
    """A digest that fits does not excuse bytes that no writer makes."""
    made = tree(tmp_path, [b'{"path":"\xff","type":"file","mode":"0644"}'])
    with pytest.raises(MalformedError):
        list(entries(*made))


SIBLINGS = st.lists(st.sampled_from(["a", "a.b", "a b", "a-", "ab", "b", "é", "z", "𝒳", "\ue000"]), unique=True)
PLANS = st.recursive(
    st.none(),
    lambda below: SIBLINGS.flatmap(
        lambda names: st.tuples(*[st.tuples(st.just(name), below) for name in names]).map(dict)
    ),
    max_leaves=12,
)


def walk(plan: dict[str, object] | None, prefix: str = "") -> list[tuple[str, bool]]:
    """The entries of a plan: depth first, siblings by the bytes of their names."""
    found = []
    for name in sorted(plan or {}, key=str.encode):
        below = (plan or {})[name]
        found.append((prefix + name, below is not None))
        if isinstance(below, dict):
            found += walk(below, f"{prefix}{name}/")
    return found


@settings(max_examples=80, deadline=None)
@given(PLANS)
def test_depth_first_order_is_canonical(plan: dict[str, object] | None) -> None:
    """Any tree, walked depth first with siblings by their bytes, is in order; no other order is."""
    walked = walk(plan)
    order = Order()
    for path, is_folder in walked:
        order.check(path, folder=is_folder)
    assert [path for path, _ in walked] == sorted((path for path, _ in walked), key=position)
    for path, is_folder in walked:
        with pytest.raises(MalformedError):
            order.check(path, folder=is_folder)


@settings(max_examples=80, deadline=None)
@given(PLANS, PLANS)
def test_two_trees_walk_side_by_side(old: dict[str, object] | None, new: dict[str, object] | None) -> None:
    """Each path of either tree comes once, with its entry of both where both have it."""
    olds = {path: Entry(path, "dir" if is_folder else "file") for path, is_folder in walk(old)}
    news = {path: Entry(path, "dir" if is_folder else "file") for path, is_folder in walk(new)}
    met = list(side_by_side(iter(olds.items()), iter(news.items())))
    paths = [(left or right or ("", None))[0] for left, right in met]
    assert paths == sorted(olds.keys() | news.keys(), key=position)
    for path, (left, right) in zip(paths, met, strict=True):
        assert (left[1] if left else None) is olds.get(path)
        assert (right[1] if right else None) is news.get(path)


def seconds(count: int, folders: int) -> float:
    """How long it takes to check so many entries below so many folders, one inside the other."""
    order = Order()
    begun = time.process_time()
    for depth in range(1, folders + 1):
        order.check("/".join(["d"] * depth), folder=True)
    inside = "d/" * folders
    for number in range(count):
        order.check(f"{inside}{number:07}", folder=False)
    return time.process_time() - begun


@pytest.mark.parametrize("folders", [0, 40])
def test_many_entries_take_linear_time(folders: int) -> None:
    """Attack 64: twenty times the entries take about twenty times as long, and not four hundred times."""
    small = min(seconds(2_000, folders) for _ in range(3))
    assert seconds(40_000, folders) < 100 * max(small, 0.002)


def test_an_artifact_is_named_by_its_content_alone(tmp_path: Path) -> None:
    """The digest is that of the lines, however they are compressed."""
    line = b'{"path":"a","type":"file","mode":"0644"}'
    _, _, digest = tree(tmp_path, [line])
    assert digest == hashlib.sha256(b'{"format":1,"type":"tree"}\n' + line + b"\n").hexdigest()


@pytest.mark.parametrize(
    ("first", "second", "match"),
    [
        ("b", "a", "out of order"),
        ("a", "a", "twice"),
        ("A", "a", "other letter case"),
        ("a", "b/c", "no folder"),
    ],
)
def test_a_line_that_was_admitted_before_must_stand_where_it_may(first: str, second: str, match: str) -> None:
    """Of a line of a tree that was admitted, only its own rules are not checked again."""
    gate = Gate()
    gate.new(msgspec.json.encode(Entry(first, "file", "0644")))
    with pytest.raises(MalformedError, match=match):
        gate.known(msgspec.json.encode(Entry(second, "file", "0644")))
