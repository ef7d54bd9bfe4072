"""The lock of a spec: its form, and what it adds and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bundler import lock as locking
from bundler.lock import Lock, Locked
from bundler.sources import path, url
from sealift.errors import MalformedError, SourceError, StoreError, UsageError

TREE = "1" * 64
FILE = "2" * 64
URL = "https://example.org/tool?version=1"
LOCK = Lock(
    release="shop",
    version="1.0.0",
    artifacts={
        "web": Locked(source="path", digest=TREE),
        "tool": Locked(source="url", digest=TREE, pins={"url": URL, "sha256": FILE, "length": 9}),
    },
)
TEXT = (
    f'{{"artifacts":{{"tool":{{"digest":"{TREE}","length":9,"sha256":"{FILE}","source":"url","url":"{URL}"}},'
    f'"web":{{"digest":"{TREE}","source":"path"}}}},"format":1,"release":"shop","version":"1.0.0"}}'
)


def test_it_is_canonical_json(tmp_path: Path) -> None:
    """The same lock is the same bytes: keys sorted, no spaces."""
    locking.write(tmp_path / "sealift.lock", LOCK)
    assert (tmp_path / "sealift.lock").read_text() == TEXT


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    """Writing and reading change nothing."""
    locking.write(tmp_path / "sealift.lock", LOCK)
    assert locking.read(tmp_path / "sealift.lock") == LOCK


def test_no_file_is_no_lock(tmp_path: Path) -> None:
    """A spec that was never locked has none, which is no error."""
    assert locking.read(tmp_path / "sealift.lock") is None


def test_it_lies_beside_the_spec() -> None:
    """Only the last suffix of the spec's name is another."""
    assert locking.path_of(Path("a/shop.prod.yaml")) == Path("a/shop.prod.lock")


def test_a_spec_is_not_overwritten_by_its_lock() -> None:
    """A spec that has the lock's own name is refused."""
    with pytest.raises(UsageError):
        locking.path_of(Path("sealift.lock"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "\ufeff" + TEXT,
        TEXT + "x",
        TEXT.replace('"format":1', '"format":2'),
        TEXT.replace('"format":1', '"format":1.0'),
        TEXT.replace('"format":1', '"format":true'),
        TEXT.replace('"format":1', '"format":1,"more":1'),
        TEXT.replace('"format":1', '"format":1,"format":1'),
        TEXT.replace('"length":9', '"length":9,"length":9'),
        TEXT.replace('"length":9', '"length":NaN'),
        TEXT.replace('"length":9', '"length":9.5'),
        TEXT.replace('"length":9', '"length":[]'),
        TEXT.replace('"length":9', f'"length":{"9" * 5000}'),
        TEXT.replace('"release":"shop",', ""),
        TEXT.replace('"shop"', '"../shop"'),
        TEXT.replace('"1.0.0"', '"1/0"'),
        TEXT.replace('"web"', '"We b"'),
        TEXT.replace('"source":"path"', '"other":"path"'),
        TEXT.replace(TREE, TREE[:-1]),
        TEXT.replace(TREE, "A" * 64),
        "[" * 200_000,
    ],
)  # fmt: skip
def test_what_is_no_lock_is_refused(tmp_path: Path, text: str) -> None:
    """Whatever departs from the form is malformed input; the message names the file and the hint the way out."""
    (tmp_path / "sealift.lock").write_text(text)
    with pytest.raises(MalformedError, match=r"sealift\.lock: ") as raised:
        locking.read(tmp_path / "sealift.lock")
    assert "sealift-bundle lock" in (raised.value.hint or "")


def test_bytes_that_are_not_utf_8_are_refused(tmp_path: Path) -> None:
    """An encoding that JSON does not have is malformed input."""
    (tmp_path / "sealift.lock").write_bytes(b'{"format":"\xff"}')
    with pytest.raises(MalformedError):
        locking.read(tmp_path / "sealift.lock")


def test_an_endless_lock_is_not_read(tmp_path: Path) -> None:
    """A file beyond the bound is refused."""
    with (tmp_path / "sealift.lock").open("wb") as file:
        file.truncate(locking.SIZE_MAX + 1)
    with pytest.raises(MalformedError, match="longer than"):
        locking.read(tmp_path / "sealift.lock")


@pytest.mark.parametrize("bound", ["SIZE_MAX", "LIST_MAX"])
def test_a_lock_that_would_not_be_read_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """What pins too much says so at once, and the former lock stays."""
    locking.write(tmp_path / "sealift.lock", LOCK)
    monkeypatch.setattr(locking, bound, 2)
    pins = {"files": ["a", "b", "c"]}
    lock = Lock(release="shop", version="1.0.0", artifacts={"web": Locked(source="npm", digest=TREE, pins=pins)})
    with pytest.raises(SourceError) as raised:
        locking.write(tmp_path / "sealift.lock", lock)
    assert "make several artifacts" in (raised.value.hint or "")
    assert (tmp_path / "sealift.lock").read_text() == TEXT


@pytest.mark.parametrize("kind", ["folder", "loop"])
def test_what_cannot_be_read_is_an_error_of_the_disk(tmp_path: Path, kind: str) -> None:
    """A folder or a loop of links in its place is reported, not taken for no lock."""
    place = tmp_path / "sealift.lock"
    if kind == "folder":
        place.mkdir()
    else:
        place.symlink_to(place)
    with pytest.raises((StoreError, MalformedError)):
        locking.read(place)


def test_the_pins_are_added(tmp_path: Path) -> None:
    """What the spec leaves open, the lock says; the rest of the spec stays."""
    want = {"url": URL, "as": "t"}
    assert locking.apply(LOCK, "tool", "url", want) == {"url": URL, "as": "t", "sha256": FILE, "length": 9}
    assert want == {"url": URL, "as": "t"}


def test_without_a_lock_the_spec_stands_alone() -> None:
    """A spec that was never locked means what it says."""
    assert locking.apply(None, "tool", "url", {"url": URL}) == {"url": URL}


@pytest.mark.parametrize(
    ("name", "source", "want"),
    [
        ("tool", "url", {"url": "https://example.org/other"}),
        ("tool", "url", {"url": URL, "sha256": "3" * 64}),
        ("tool", "url", {"url": URL, "length": True}),
        ("tool", "path", {"path": "tool"}),
        ("new", "path", {"path": "new"}),
    ],
)
def test_a_spec_that_contradicts_its_lock_is_refused(name: str, source: str, want: dict[str, Any]) -> None:
    """The message names the artifact but no value, which may be secret; the hint says how to lock anew."""
    with pytest.raises(UsageError, match=f"artifact {name} ") as raised:
        locking.apply(LOCK, name, source, want)
    assert "sealift-bundle lock" in (raised.value.hint or "")
    assert "example.org" not in raised.value.message


def test_the_locked_tree_is_accepted() -> None:
    """The same tree passes, and any without a lock."""
    locking.check(LOCK, "web", TREE)
    locking.check(None, "web", FILE)


@pytest.mark.parametrize("name", ["web", "new"])
def test_another_tree_is_refused(name: str) -> None:
    """A tree that the lock does not hold is an error of the source."""
    with pytest.raises(SourceError, match=f"artifact {name} differs from sealift.lock: ") as raised:
        locking.check(LOCK, name, FILE)
    assert "sealift-bundle lock" in (raised.value.hint or "")


def test_an_entry_holds_what_was_pinned_and_for_what() -> None:
    """Beside the pins stand the keys that the source cannot lack, and no others."""
    want = {"source": "url", "url": URL, "as": "t", "executable": True}
    entry = locking.locked("url", want, {"sha256": FILE, "length": 9}, TREE, schema=url.SCHEMA)
    assert entry == LOCK.artifacts["tool"]


def test_an_entry_without_pins_holds_the_digest_alone() -> None:
    """A source that pins nothing leaves the spec free to name its folder as it likes."""
    assert locking.locked("path", {"path": "dist"}, {}, TREE, schema=path.SCHEMA) == LOCK.artifacts["web"]


@pytest.mark.parametrize("pins", [{"digest": "x"}, {"source": "x"}, {"sha256": FILE}])
def test_a_pin_that_means_something_else_is_refused(pins: dict[str, Any]) -> None:
    """A source may not take the lock's own keys, nor change what the spec says."""
    with pytest.raises(ValueError, match="pinned the key"):
        locking.locked("url", {"url": URL, "sha256": "3" * 64}, pins, TREE, schema=url.SCHEMA)


def test_its_example_is_one(tmp_path: Path) -> None:
    """The form that the documentation shows, in any order of keys, is read."""
    document = json.loads(TEXT)
    (tmp_path / "sealift.lock").write_text(json.dumps(dict(reversed(document.items())), indent=2))
    assert locking.read(tmp_path / "sealift.lock") == LOCK
