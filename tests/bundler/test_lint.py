"""What is told about a spec before work starts: the schema's, the sources' and the lock's problems, all at once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from complaints import complaints
from worlds import write_tree

from bundler import lock as locks
from bundler.lock import Lock, Locked
from bundler.spec import load
from sealift.errors import MalformedError

HEAD = "release: shop\nversion: 1.0.0\nartifacts:\n  web:\n    source: path\n"
TOOL = "  tool:\n    source: url\n    url: https://example.org/tool\n"
DIGEST = hashlib.sha256(b"tool").hexdigest()


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """Where a spec is written, beside a folder `dist`."""
    write_tree(tmp_path / "dist", {"a": b"a"})
    return tmp_path / "sealift.yaml"


def refused(spec: Path, text: str, *, pinned: bool = True) -> list[str]:
    """The lines of the message that refuses `text`, from the line number on, each with its hint."""
    spec.write_text(text)
    return complaints(spec, lambda: load(spec, lint=True, pinned=pinned))


def write_lock(spec: Path, *, version: str = "1.0.0", **artifacts: Locked) -> None:
    """A lock beside the spec."""
    locks.write(locks.path_of(spec), Lock(release="shop", version=version, artifacts=artifacts))


def test_what_can_be_collected_is_accepted(spec: Path) -> None:
    """A folder that is there, patterns that mean something, a digest that is known."""
    spec.write_text(f"{HEAD}    path: dist\n    exclude: ['*.map']\n{TOOL}    sha256: {DIGEST}\n    as: x\n")
    assert len(load(spec, lint=True).artifacts) == 2


def test_a_missing_folder_is_told_with_its_place(spec: Path) -> None:
    """File, line, column and path of the key, the folder, and where it starts from."""
    (line,) = refused(spec, HEAD + "    path: dits\n")
    assert line.startswith("6:11: artifacts.web.path: 'dits': no such file or directory (check `path`")


@pytest.mark.parametrize("place", ["dist/a/x", '"a\\0b"'])
def test_a_folder_that_cannot_be_is_told_with_its_place(spec: Path, place: str) -> None:
    """Below a file, or with a NUL, there is nothing."""
    (line,) = refused(spec, f"{HEAD}    path: {place}\n")
    assert line.startswith("6:11: artifacts.web.path: ")


def test_a_malformed_pattern_is_told_with_its_place(spec: Path) -> None:
    """The pattern itself is pointed at, and why it means nothing."""
    text = HEAD + "    path: dist\n    include: ['*.js', '[a']\n    exclude: [a//b]\n"
    first, second = refused(spec, text)
    assert first.startswith("7:23: artifacts.web.include[1]: '[a' is no valid pattern: a '[' is not closed")
    assert second.startswith("8:15: artifacts.web.exclude[0]: 'a//b' is no valid pattern")


def test_credentials_in_an_address_are_told_and_not_repeated(spec: Path) -> None:
    """The password does not reach the terminal."""
    (line,) = refused(
        spec, f"{HEAD}    path: dist\n  t:\n    source: url\n    url: https://u:secret@h/f\n    sha256: {DIGEST}\n"
    )
    assert line.startswith("9:10: artifacts.t.url: url https://h/f bears credentials")
    assert "secret" not in line


@pytest.mark.parametrize("url", ["ftp://example.org/f", "example.org/f", "https://example.org/", "https://e.org/..%2f"])
def test_an_address_that_gives_no_file_is_told(spec: Path, url: str) -> None:
    """Neither another scheme nor an address without a name can be collected."""
    (line,) = refused(spec, f"{HEAD}    path: dist\n  t:\n    source: url\n    url: {url}\n    sha256: {DIGEST}\n")
    assert line.startswith("9:10: artifacts.t.url: ")


@pytest.mark.parametrize("name", ["a/b", "..", '"a\\n"'])
def test_a_bad_name_is_told_with_its_place(spec: Path, name: str) -> None:
    """`as` must be a name that a file may bear."""
    (line,) = refused(spec, f"{HEAD}    path: dist\n{TOOL}    sha256: {DIGEST}\n    as: {name}\n")
    assert line.startswith("11:9: artifacts.tool.as: ")


def test_a_file_without_a_digest_is_told(spec: Path) -> None:
    """Neither the spec nor a lock says what it is; the hint says how to find out."""
    (line,) = refused(spec, f"{HEAD}    path: dist\n{TOOL}")
    assert line.startswith("8:5: artifacts.tool: neither `sha256` nor a lock says")
    assert "sealift-bundle lock" in line


def test_a_file_without_a_digest_may_be_locked(spec: Path) -> None:
    """Who is about to write the lock does not need it."""
    spec.write_text(f"{HEAD}    path: dist\n{TOOL}")
    assert load(spec, lint=True, pinned=False).name == "shop"


def test_a_lock_gives_the_digest(spec: Path) -> None:
    """What the lock pins need not stand in the spec."""
    spec.write_text(f"{HEAD}    path: dist\n{TOOL}")
    write_lock(
        spec,
        web=Locked(source="path", digest=DIGEST),
        tool=Locked(source="url", digest=DIGEST, pins={"url": "https://example.org/tool", "sha256": DIGEST}),
    )
    assert load(spec, lint=True).name == "shop"


def test_what_the_lock_does_not_know_is_told(spec: Path) -> None:
    """An artifact that was added, or whose address was changed, since the spec was locked."""
    pins = {"url": "https://example.org/former", "sha256": DIGEST}
    write_lock(spec, tool=Locked(source="url", digest=DIGEST, pins=pins))
    web, tool = refused(spec, f"{HEAD}    path: dist\n{TOOL}")
    assert web.startswith("5:5: artifacts.web: artifact web is not in the lock (run `sealift-bundle lock`")
    assert tool.startswith("8:5: artifacts.tool: artifact tool has another `url` in the spec than in the lock")


@pytest.mark.parametrize(("key", "place"), [("version", "2:10"), ("release", "1:10")])
def test_a_lock_of_another_release_is_told(spec: Path, key: str, place: str) -> None:
    """A version that was raised asks for a new lock, even where all digests would hold."""
    write_lock(spec, web=Locked(source="path", digest=DIGEST))
    text = (HEAD + "    path: dist\n").replace("1.0.0" if key == "version" else "shop", "2.0.0")
    (line,) = refused(spec, text)
    assert line.startswith(f"{place}: {key}: the lock was made for shop@1.0.0, and the spec says ")
    assert "sealift-bundle lock" in line


def test_a_damaged_lock_is_told(spec: Path) -> None:
    """It is named with what to do."""
    spec.write_text(HEAD + "    path: dist\n")
    locks.path_of(spec).write_text("{")
    with pytest.raises(MalformedError, match=r"sealift\.lock"):
        load(spec, lint=True)


def test_all_problems_are_told_at_once(spec: Path) -> None:
    """The schema's and the sources' problems stand in one list, in the order of the document, none twice."""
    text = (
        "release: Shop\nversion: 1\nartifacts:\n"
        "  a: {source: path, path: nowhere, exclud: [x], include: ['!x', 'a//b', 3]}\n"
        "  b: {source: url, url: 'http://u:p@h/f', as: a/b, sha256: 0}\n  c: {source: pth}\n  d:\n"
    )
    assert [line.partition(" (")[0].partition(": ")[2].partition(":")[0] for line in refused(spec, text)] == [
        "release",
        "version",
        "artifacts.a.path",
        "artifacts.a.exclud",
        "artifacts.a.include[0]",
        "artifacts.a.include[1]",
        "artifacts.a.include[2]",
        "artifacts.b.url",
        "artifacts.b.as",
        "artifacts.b.sha256",
        "artifacts.c.source",
        "artifacts.d",
    ]


@pytest.mark.parametrize("text", ["[]", "a: b", "artifacts: []", "artifacts: {a: [], b: {source: [x]}}", "x"])
def test_what_is_no_spec_at_all_is_still_told(spec: Path, text: str) -> None:
    """Sources are asked only about what has the form of an artifact."""
    assert refused(spec, text)
