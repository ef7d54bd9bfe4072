"""The golden files: made by `tests/golden/make.py`, kept in the repository, and read by both readers."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import stranger
import zstandard

from installer.admitting import admit
from installer.records.site import Site
from sealift import index as indexes
from sealift import tree as trees
from sealift.container import Reader, header
from sealift.errors import MalformedError
from sealift.opening import authenticate, check_packs, listings, member_of
from sealift.progress import Silent
from sealift.trust import anchor

GOLDEN = Path(__file__).parents[1] / "golden"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
VERSIONS = ("1.0.0", "1.1.0")
DIFFERENCE = "shop-1.1.0-since-1.0.0.sealift"
SAID: dict[str, Any] = json.loads((GOLDEN / "golden.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def remade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden files, made anew."""
    spec = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out = tmp_path_factory.mktemp("golden")
    make: Callable[[Path], None] = module.make
    make(out)
    return out


def names() -> list[str]:
    """The golden files that the repository holds."""
    return sorted(path.name for path in GOLDEN.iterdir() if path.suffix in (".json", ".sealift"))


def described(folder: Path) -> dict[str, str]:
    """What a folder holds, in the words of `golden.json`."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"link {os.readlink(path)}"
        elif path.is_dir():
            found[name] = "dir"
        else:
            found[name] = f"{path.stat().st_mode & 0o777:04o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return found


def test_the_generator_makes_all_of_them(remade: Path) -> None:
    """What the repository holds is what the generator makes, no file more and none less."""
    assert names() == sorted(path.name for path in remade.iterdir())


@pytest.mark.parametrize("name", names())
def test_the_generator_reproduces_the_file(remade: Path, name: str) -> None:
    """The same inputs give the same bytes as on the day when the file was committed."""
    assert (remade / name).read_bytes() == (GOLDEN / name).read_bytes(), (
        f"{name} came out differently. If the format was to change, write it into docs/reference/format.md and run "
        "tests/golden/make.py. If not: the output depends on the libraries that requirements.lock pins, above all "
        f"zstandard (here {zstandard.__version__}, zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))}) and fastcdc; "
        "see whether others are installed here."
    )


def test_they_are_small() -> None:
    """All golden files together stay below 300 KB."""
    assert sum((GOLDEN / name).stat().st_size for name in names()) < 300_000


@pytest.mark.parametrize("version", VERSIONS)
def test_the_bundle_verifies(version: str) -> None:
    """A golden bundle passes every check that Sealift has, and is the bundle that it was."""
    trust = anchor((GOLDEN / "root.json").read_bytes(), SAID["fingerprint"], reference=NOW)
    with Reader(GOLDEN / f"shop-{version}.sealift") as bundle:
        opened = authenticate(bundle, trust, reference=NOW)
        for content in opened.contents:
            assert list(listings(bundle, content))
            check_packs(bundle, content.part.packs, workers=1, progress=Silent())
        (content,) = opened.contents
        assert opened.identity == SAID[version]["bundle"]
        assert content.part.release.sha256 == SAID[version]["manifest"]
        assert {each.name: each.digest for each in content.release.artifacts} == SAID[version]["artifacts"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_stranger_opens_it(version: str, tmp_path: Path) -> None:
    """The reader that was written from the specification alone finds what `golden.json` says."""
    labels = stranger.extract(GOLDEN / f"shop-{version}.sealift", SAID["fingerprint"], NOW, tmp_path)
    assert labels == [f"shop@{version}"]
    for artifact, entries in SAID[version]["entries"].items():
        assert described(tmp_path / labels[0] / artifact) == entries


def test_the_stranger_opens_the_difference(tmp_path: Path) -> None:
    """The reader that was written from the specification alone makes 1.1.0 of 1.0.0 and the difference."""
    known: dict[str, stranger.Base] = {}
    stranger.extract(GOLDEN / "shop-1.0.0.sealift", SAID["fingerprint"], NOW, tmp_path / "base", known)
    labels = stranger.extract(GOLDEN / DIFFERENCE, SAID["fingerprint"], NOW, tmp_path, known)
    assert labels == ["shop@1.1.0"]
    for artifact, entries in SAID["1.1.0"]["entries"].items():
        assert described(tmp_path / labels[0] / artifact) == entries


def test_the_stranger_needs_the_base(tmp_path: Path) -> None:
    """78: without the base, the difference is refused."""
    with pytest.raises(stranger.RefusedError, match="is not held here"):
        stranger.extract(GOLDEN / DIFFERENCE, SAID["fingerprint"], NOW, tmp_path)


def test_a_site_admits_the_difference(tmp_path: Path) -> None:
    """A site that holds 1.0.0 takes the golden difference, whose id is the one that it was."""
    Site.create(tmp_path / "site", (GOLDEN / "root.json").read_bytes(), SAID["fingerprint"], NOW)
    for name in ("shop-1.0.0.sealift", DIFFERENCE):
        imported = admit(Site.open(tmp_path / "site"), GOLDEN / name, now=NOW, workers=1, progress=Silent())
    assert imported.identity == SAID["difference"]
    assert imported.new == ("shop@1.1.0",)


def test_a_site_admits_one_after_the_other(tmp_path: Path) -> None:
    """A site that is enrolled with the golden root takes both releases."""
    Site.create(tmp_path / "site", (GOLDEN / "root.json").read_bytes(), SAID["fingerprint"], NOW)
    for version in VERSIONS:
        site = Site.open(tmp_path / "site")
        imported = admit(site, GOLDEN / f"shop-{version}.sealift", now=NOW, workers=1, progress=Silent())
        assert imported.new == (f"shop@{version}",)


def test_they_hold_what_a_second_reader_stumbles_over() -> None:
    """The golden bundles have a chunked file, a duplicate, raw blocks, links, empty things and hooks."""
    trust = anchor((GOLDEN / "root.json").read_bytes(), SAID["fingerprint"], reference=NOW)
    with Reader(GOLDEN / "shop-1.1.0.sealift") as bundle:
        (content,) = authenticate(bundle, trust, reference=NOW).contents
        tools, web = (
            list(trees.checked(bundle.read(member_of(bundle, "trees", each.tree)), each.tree, each.digest))
            for each in content.release.artifacts
        )
        frames = list(indexes.frames(bundle.read(member_of(bundle, "index", content.part.index)), content.part.index))
    assert {entry.type for entry in web} == {"file", "dir", "link"}
    assert any(len(entry.chunks) > 1 for entry in web)
    assert any(not entry.size for entry in web if entry.type == "file")
    assert {chunk for entry in tools for chunk in entry.chunks} < {chunk for entry in web for chunk in entry.chunks}
    assert any(frame.length > frame.size for frame in frames)
    assert any(frame.length < frame.size for frame in frames)
    assert content.release.hooks.after_switch


def test_metadata_is_not_read_without_end(tmp_path: Path) -> None:
    """Attack 64: members that are allowed one by one, and together would fill the memory, are not read."""
    trust = anchor((GOLDEN / "root.json").read_bytes(), SAID["fingerprint"], reference=NOW)
    size = 8 << 20
    with (tmp_path / "b").open("wb") as file:
        file.write(header("SEALIFT.json", 2, 0) + b"{}".ljust(512, b"\0"))
        for number in range(1, 10):
            file.write(header(f"metadata/{number}.root.json", size, 0))
            file.seek(size, os.SEEK_CUR)
        file.write(bytes(1024))
    with Reader(tmp_path / "b") as bundle, pytest.raises(MalformedError, match="bytes of metadata"):
        authenticate(bundle, trust, reference=NOW)
