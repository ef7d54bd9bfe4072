"""Git repositories that want to get out of their folder, run something, or never end: each is refused."""

from __future__ import annotations

import hashlib
import os
import socket
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from gitserver import Repository, repository

from bundler import programs
from bundler.git import walking
from bundler.source import Workshop
from bundler.sources import git as source
from sealift.errors import MalformedError, SealiftError, SourceError
from sealift.progress import Silent


@pytest.fixture(autouse=True)
def _home(quiet_home: Path) -> Path:
    return quiet_home


@pytest.fixture
def hostile(tmp_path: Path) -> Repository:
    """A repository that holds whatever a test puts there."""
    return repository(tmp_path / "hostile.git")


@pytest.fixture
def refused(hostile: Repository, tmp_path: Path) -> Callable[..., SealiftError]:
    """Commits some entries and returns the error that collecting them is."""

    def attempt(entries: Mapping[str, Any], kind: type[SealiftError] = SourceError, **more: Any) -> SealiftError:
        commit = hostile.commit(entries)
        workshop = Workshop(base=tmp_path, cache=tmp_path / "cache", progress=Silent())
        with pytest.raises(kind) as raised:
            list(source.collect({"repository": "hostile.git", "ref": commit, **more}, workshop))
        assert not raised.value.message.endswith(".")
        return raised.value

    return attempt


@pytest.mark.parametrize("name", [".git", ".GIT", "git~1", ".gi\u200ct", "..", ".", "a\\b", "line\nbreak", "x" * 256])
def test_a_name_that_means_something_else_is_refused(
    refused: Callable[..., SealiftError], hostile: Repository, name: str
) -> None:
    """Attacks 52 and 60: climbing, git's own folder in any spelling, and names that no disk should hold."""
    refused({"deep": {name: {"config": b"[core]\n\tfsmonitor = touch /tmp/x\n"}}})


def test_a_name_that_is_not_utf8_is_refused(refused: Callable[..., SealiftError]) -> None:
    """Attack 42: git takes any bytes."""
    assert "not UTF-8" in refused({os.fsdecode(b"\xff"): b"x"}).message


def test_names_that_collide_are_refused(refused: Callable[..., SealiftError]) -> None:
    """Attacks 57 and 58: two names that are one on another disk."""
    assert "one name" in refused({"README": b"a", "readme": b"b"}).message
    assert "one name" in refused({"\u00e9": b"a", "e\u0301": b"b"}).message


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "d/../../x", ""])
def test_a_link_that_leads_out_is_refused(
    refused: Callable[..., SealiftError], hostile: Repository, target: str
) -> None:
    """Attack 53: absolute, climbing, climbing after a name."""
    link = hostile.blob(target.encode())
    refused({"d": {"link": ("120000", link)}})


def test_a_link_as_long_as_a_disk_is_refused(refused: Callable[..., SealiftError], hostile: Repository) -> None:
    """Attack 60: the target of a link is a blob of any size."""
    assert "more than" in refused({"link": ("120000", hostile.blob(b"a/" * 500_000))}).message


def test_a_tree_that_repeats_itself_is_bounded(
    refused: Callable[..., SealiftError], hostile: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attacks 64 and 67: a few hundred bytes that stand for ten thousand million files."""
    monkeypatch.setattr(walking, "ENTRIES_MAX", 2_000)
    tree = hostile.tree({"f": b"x"})
    for _ in range(10):
        tree = hostile.tree({str(number): ("040000", tree) for number in range(10)})
    assert "more than 2000 entries" in refused({"d": ("040000", tree)}).message


def test_a_tree_of_many_bytes_is_bounded(refused: Callable[..., SealiftError], monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 67: one file a thousand times."""
    monkeypatch.setattr(walking, "BYTES_MAX", 1 << 20)
    assert "more than 1048576 bytes" in refused(dict.fromkeys("abcdefghij", b"\0" * 200_000)).message


def test_folders_do_not_lie_inside_each_other_for_ever(
    refused: Callable[..., SealiftError], hostile: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 39: nesting."""
    monkeypatch.setattr(walking, "DEEP_MAX", 8)
    tree = hostile.tree({"f": b"x"})
    for _ in range(12):
        tree = hostile.tree({"d": ("040000", tree)})
    assert "inside each other" in refused({"d": ("040000", tree)}).message


def test_a_file_that_a_delta_blows_up_is_refused(
    hostile: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 67: a pack of kilobytes says a file of any size, and git would hold it in memory."""
    base, copies = bytes(1 << 20), 80
    blob = hashlib.sha1(b"blob %d\0" % (len(base) * copies), usedforsecurity=False)
    for _ in range(copies):
        blob.update(base)
    delta = _varint(len(base)) + _varint(len(base) * copies) + b"\xc0\x10" * copies
    of = bytes.fromhex(hostile.blob(base))
    pack = b"PACK" + (2).to_bytes(4, "big") + (2).to_bytes(4, "big")
    for kind, content, before in ((3, base, b""), (7, delta, of)):
        size = len(content)
        head = bytes([0x80 | kind << 4 | size & 15]) + _varint(size >> 4)
        pack += head + before + zlib.compress(content)
    pack += hashlib.sha1(pack, usedforsecurity=False).digest()
    hostile.git("index-pack", "--stdin", content=pack)
    commit = hostile.commit({"base": base, "big": ("100644", blob.hexdigest())})
    monkeypatch.setattr("bundler.git.program.ALLOC_MAX", "64m")
    workshop = Workshop(base=tmp_path, cache=tmp_path / "cache", progress=Silent())
    with pytest.raises(SourceError):
        list(source.collect({"repository": "hostile.git", "ref": commit}, workshop))


def _varint(number: int) -> bytes:
    """A number as git's packs have it."""
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])


@pytest.mark.parametrize(
    "url",
    ["ext::sh -c 'touch {0}/ran'", "file://{0}/private.git", "{0}/private.git", "--upload-pack=touch {0}/ran", ""],
)
def test_a_submodule_that_runs_or_reads_something_here_is_refused(
    refused: Callable[..., SealiftError], tmp_path: Path, url: str
) -> None:
    """Attacks 52 and 54: what a repository says of its submodules starts no program and reads no folder."""
    private = repository(tmp_path / "private.git").commit({"secret": b"x"})
    modules = f'[submodule "m"]\n\tpath = m\n\turl = "{url.format(tmp_path)}"\n'
    refused({"m": ("160000", private), ".gitmodules": modules.encode()}, submodules=True)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "modules",
    [
        b"",
        b'[submodule "m"]\npath = m\nurl = ../a\npath = n\n',
        b'[submodule "m"]\npath = m\nurl = ../a\n[submodule "n"]\npath = m\nurl = ../b\n',
        b"[include]\npath = /etc/passwd\n",
        b"[",
    ],
)
def test_a_submodule_whose_place_is_not_clear_is_refused(refused: Callable[..., SealiftError], modules: bytes) -> None:
    """Attack 62: missing, doubled, included or unreadable."""
    refused({"m": ("160000", "1" * 40), ".gitmodules": modules}, submodules=True)


def test_a_link_in_the_place_of_gitmodules_is_refused(
    refused: Callable[..., SealiftError], hostile: Repository
) -> None:
    """Attack 53: it would be read from somewhere else."""
    link = ("120000", hostile.blob(b"other"))
    refused({"m": ("160000", "1" * 40), ".gitmodules": link, "other": b""}, submodules=True)


def test_what_is_no_commit_is_refused(hostile: Repository, tmp_path: Path) -> None:
    """An id that is a tree's, and no commit's."""
    workshop = Workshop(base=tmp_path, cache=tmp_path / "cache", progress=Silent())
    commit = hostile.commit({"a": b"x"})
    tree = hostile.git("rev-parse", f"{commit}^{{tree}}")
    with pytest.raises(MalformedError, match="is a tree, and no commit"):
        list(source.collect({"repository": "hostile.git", "ref": tree}, workshop))


def test_another_commit_than_was_asked_for_is_refused(hostile: Repository, tmp_path: Path) -> None:
    """A repository whose object of that name holds something else."""
    commit = hostile.commit({"a": b"good"})
    other = hostile.commit({"a": b"evil"})
    objects = hostile.folder / "objects"
    places = [objects / each[:2] / each[2:] for each in (commit, other)]
    places[0].chmod(0o644)
    places[0].write_bytes(places[1].read_bytes())
    workshop = Workshop(base=tmp_path, cache=tmp_path / "cache", progress=Silent())
    with pytest.raises(SourceError):
        list(source.collect({"repository": "hostile.git", "ref": commit}, workshop))


def test_a_server_that_says_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 83: a connection that is taken and never answered."""
    monkeypatch.setattr(programs, "STALLED", 0.5)
    workshop = Workshop(base=tmp_path, cache=tmp_path / "cache", progress=Silent())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        want = {"repository": f"http://127.0.0.1:{silent.getsockname()[1]}/a.git", "ref": "main", "unsafe_http": True}
        with pytest.raises(SourceError, match="nothing came"):
            source.pin(want, workshop)
