"""What a build leaves in a folder and must not cross: the export says which, and the depot stays as it was."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from worlds import Connected, write_tree

from sealift.errors import SealiftError, SourceError

FILES = {"index.html": b"<h1>shop</h1>\n", "d/file": b"x"}


def fifo(path: Path) -> None:
    """Make a FIFO."""
    os.mkfifo(path)


def listening(path: Path) -> None:
    """Make a socket; its name may be longer than the system lets one bind."""
    there = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(there)


def device(path: Path) -> None:
    """Make a character device."""
    try:
        os.mknod(path, 0o020666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("making a device needs root")


def setuid(path: Path) -> None:
    """Make a program that runs as its owner."""
    path.write_bytes(b"#!/bin/sh\n")
    path.chmod(0o4755)


def link(target: str) -> Callable[[Path], None]:
    """Make a symbolic link."""
    return lambda path: path.symlink_to(target)


def plain(path: Path) -> None:
    """Make a file."""
    path.write_bytes(b"x")


HOSTILE: dict[str, tuple[bytes, Callable[[Path], None], str]] = {
    "53 a link out of the tree": (b"out", link("../../secret"), "leaves the tree"),
    "53 an absolute link": (b"out", link("/etc/passwd"), "not inside the tree"),
    "53 a link that climbs after a name": (b"out", link("d/../../secret"), "climbs after a name"),
    "55 a FIFO": (b"pipe", fifo, "is a FIFO"),
    "55 a socket": (b"socket", listening, "is a socket"),
    "55 a device": (b"zero", device, "is a character device"),
    "56 setuid": (b"su", setuid, "setuid"),
    "51 a newline": (b"a\nb", plain, "not allowed in a name"),
    "51 a terminal escape": (b"a\x1b[2J", plain, "not allowed in a name"),
    "51 bidirectional text": ("gpj.\u202eexe".encode(), plain, "not allowed in a name"),
    "52 a backslash": (b"..\\b", plain, "not allowed in a name"),
    "42 a name that is not UTF-8": (b"caf\xe9", plain, "is not UTF-8"),
    "58 letter case": (b"INDEX.html", plain, "one name where case or Unicode form is folded"),
}


def contents(depot: Path) -> dict[str, bytes]:
    """Every file of a depot but its lock."""
    return {
        str(path.relative_to(depot)): path.read_bytes()
        for path in depot.rglob("*")
        if path.is_file() and path.name != "lock"
    }


@pytest.mark.parametrize(("name", "make", "said"), HOSTILE.values(), ids=HOSTILE)
def test_what_cannot_cross_is_named(name: bytes, make: Callable[[Path], None], said: str, connected: Connected) -> None:
    """42, 51 to 58: exit 3; nothing is published, no bundle is written, and the mended folder is exported."""
    spec = connected.spec("1.0.0", FILES)
    path = connected.root / "shop-1.0.0" / os.fsdecode(name)
    make(path)
    before = contents(connected.depot.folder)
    with pytest.raises(SourceError) as caught:
        connected.export(spec)
    assert caught.value.exit_code == 3
    assert said in caught.value.message
    assert "\x1b" not in caught.value.message
    assert "\u202e" not in caught.value.message
    assert "exclude" in (caught.value.hint or "")
    assert contents(connected.depot.folder) == before
    assert not list(connected.root.glob("*.sealift*"))
    path.unlink()
    assert connected.export(spec).is_file()


def test_a_unicode_collision_is_named(connected: Connected) -> None:
    """57: two files that would be one on a disk that normalises."""
    spec = connected.spec("1.0.0", {"e\u0301": b"one", "\u00e9": b"two"})
    with pytest.raises(SourceError, match="one name where case or Unicode form is folded"):
        connected.export(spec)


def grows(path: Path) -> None:
    """Append."""
    with path.open("ab") as file:
        file.write(b"more")


def shrinks(path: Path) -> None:
    """Cut."""
    os.truncate(path, 1)


def is_replaced(path: Path) -> None:
    """Put another file of the same size in its place."""
    other = path.with_name("other")
    other.write_bytes(bytes(path.stat().st_size))
    other.replace(path)


def vanishes(path: Path) -> None:
    """Remove."""
    path.unlink()


def folder_vanishes(path: Path) -> None:
    """Remove the folder with all that is in it."""
    shutil.rmtree(path.parent)


def becomes_a_link(path: Path) -> None:
    """Put a link in its place (53)."""
    path.unlink()
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize("change", [grows, shrinks, is_replaced, vanishes, folder_vanishes, becomes_a_link])
def test_a_source_that_changes_after_it_was_found_is_refused(
    change: Callable[[Path], None], connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """53, 88: between the walk and the read; exit 3, nothing is published, and a further run succeeds."""
    from bundler.sources import path as source

    spec = connected.spec("1.0.0", FILES)
    before = contents(connected.depot.folder)
    real = source.collect

    def collect(*args: object, **options: object) -> object:
        found = list(real(*args, **options))  # type: ignore[arg-type]
        change(connected.root / "shop-1.0.0" / "d" / "file")
        return iter(found)

    with monkeypatch.context() as patch:
        patch.setattr(source, "collect", collect)
        with pytest.raises(SourceError) as caught:
            connected.export(spec)
    assert caught.value.exit_code == 3
    assert contents(connected.depot.folder) == before
    shutil.rmtree(connected.root / "shop-1.0.0")
    write_tree(connected.root / "shop-1.0.0", FILES)
    assert connected.export(spec).is_file()


def test_a_folder_that_is_missing_is_named(connected: Connected) -> None:
    """Exit 3; the hint says where a relative path starts."""
    with pytest.raises(SealiftError, match="no such file or directory") as caught:
        connected.export(connected.spec("1.0.0"))
    assert caught.value.exit_code == 3
    assert "folder of the spec" in (caught.value.hint or "")
