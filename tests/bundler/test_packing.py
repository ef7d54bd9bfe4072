"""Packing: from files to trees, an index and packs, the same bytes whoever does it and however many."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from alarms import no_longer_than
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundler.parts import packs
from bundler.parts.grouping import WINDOW, Grouper
from bundler.parts.packing import Packed, pack
from bundler.source import Found
from sealift import index as indexes
from sealift import tree as trees
from sealift.digest import sha256
from sealift.errors import SourceError
from sealift.frame import unseal
from sealift.listing import file_name
from sealift.progress import Silent

NOISE = random.Random(3).randbytes(11 << 20)
FOLDERS = ("trees", "index", "packs")


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """Packing that waits for ever fails its test instead."""
    with no_longer_than(60, "packing"):
        yield


def found(path: Path, name: str | None = None) -> Found:
    """A file as a source finds it."""
    status = path.stat()
    stamp = (status.st_ino, status.st_mtime_ns)
    return Found(name or path.name, "file", bool(status.st_mode & 0o100), status.st_size, str(path), stamp)


def plant(folder: Path, files: dict[str, bytes]) -> list[Found]:
    """Files in one folder, as a source finds them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [found(folder / name) for name in sorted(files, key=str.encode)]


def packed(out: Path, *artifacts: list[Found], workers: int = 2, level: int = 3, keep: bool = True) -> Packed:
    """Pack artifacts into `out`."""
    for name in FOLDERS:
        (out / name).mkdir(parents=True)
    named = [(f"artifact-{number}", iter(entries)) for number, entries in enumerate(artifacts)]
    return pack(named, out, level=level, workers=workers, progress=Silent(), keep=keep)


def unpacked(out: Path, made: Packed) -> list[dict[str, bytes]]:
    """The files of each artifact, after every rule of the format was checked."""
    listed = [
        list(trees.checked((out / "trees" / file_name(each.tree)).read_bytes(), each.tree, each.digest))
        for each in made.artifacts
    ]
    sizes: dict[str, int] = {}
    for entries in listed:
        for entry in entries:
            for digest, size in entry.pieces():
                assert sizes.setdefault(digest, size) == size
    numbered = list(sizes)
    index = (out / "index" / file_name(made.index)).read_bytes()
    content: dict[str, bytes] = {}
    for frame in indexes.checked(index, made.index, made.packs, list(sizes.values())):
        raw = (out / "packs" / file_name(made.packs[frame.pack])).read_bytes()
        raw = raw[frame.offset : frame.offset + frame.length]
        assert sha256(raw) == frame.sha256
        data, start = unseal(raw, frame.size), 0
        for number in frame.numbers():
            digest = numbered[number]
            content[digest] = data[start : start + sizes[digest]]
            assert sha256(content[digest]) == digest
            start += sizes[digest]
    assert made.chunks == len(content)
    return [
        {entry.path: b"".join(content[digest] for digest in entry.chunks) for entry in entries if entry.type == "file"}
        for entries in listed
    ]


def everything(out: Path) -> dict[str, bytes]:
    """Every file that packing wrote."""
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


MIXED = {
    "a.txt": b"some text " * 300,
    "b-empty": b"",
    "c-copy.txt": b"some text " * 300,
    "d-large.txt": b"".join(b"line %d of a large file\n" % number for number in range(400_000)),
    "e-noise.bin": NOISE[: 9 << 20],
    "f-part.bin": NOISE[: 5 << 20],
    "g-small.bin": NOISE[:1000],
    "h.txt": b"the end\n",
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    """Files of every kind that packing tells apart, three of them over several windows."""
    return plant(tmp_path_factory.mktemp("mixed"), MIXED)


def test_any_number_of_workers_makes_the_same_bytes(mixed: list[Found], tmp_path: Path) -> None:
    """Trees, index and packs do not depend on how many workers there are or which is faster."""
    made = [packed(tmp_path / str(workers), mixed, mixed[:3], workers=workers) for workers in (1, 2, 3)]
    assert made[0] == made[1] == made[2]
    one, two, three = (everything(tmp_path / str(workers)) for workers in (1, 2, 3))
    assert one == two == three
    assert unpacked(tmp_path / "2", made[1])[0] == MIXED


def test_the_level_changes_packs_and_not_artifacts(mixed: list[Found], tmp_path: Path) -> None:
    """An artifact's identity does not depend on how well it was compressed."""
    one, other = (packed(tmp_path / str(level), mixed[:4], level=level) for level in (1, 9))
    assert one.artifacts == other.artifacts
    assert one.packs != other.packs


def test_without_keeping_only_digests_are_found(mixed: list[Found], tmp_path: Path) -> None:
    """A rehearsal finds the same artifacts and writes no pack."""
    made = packed(tmp_path / "dry", mixed, keep=False)
    assert made.artifacts == packed(tmp_path / "wet", mixed).artifacts
    assert not made.packs
    assert not list((tmp_path / "dry" / "packs").iterdir())


def test_equal_content_crosses_once(tmp_path: Path) -> None:
    """Equal files, in one artifact or in several, share their chunks; so do large files with equal parts."""
    files = {"a": NOISE[: 2 << 20], "b": NOISE[: 2 << 20], "c": NOISE[: 2 << 20] + b"more"}
    entries = plant(tmp_path / "in", files)
    made = packed(tmp_path / "out", entries, entries)
    assert sum(each.length for each in made.packs) < (2 << 20) + (1 << 20) + 1000
    assert unpacked(tmp_path / "out", made) == [files, files]
    assert len({artifact.digest for artifact in made.artifacts}) == 1


def test_an_insertion_leaves_most_chunks_alone(tmp_path: Path) -> None:
    """A large file that grows at its start shares nearly all of its content with the former one."""
    entries = plant(tmp_path / "in", {"a": NOISE[: 3 << 20], "b": b"inserted" + NOISE[: 3 << 20]})
    made = packed(tmp_path / "out", entries)
    assert sum(each.length for each in made.packs) < (3 << 20) + (1 << 20)


@pytest.mark.parametrize("size", [1, 4095, 8192, 100_000, 1 << 20, (1 << 20) + 1, WINDOW, WINDOW + 1, 9 << 20])
def test_incompressible_content_hardly_grows(tmp_path: Path, size: int) -> None:
    """What does not compress is stored raw: a few bytes more per 128 KiB, at the highest level too."""
    made = packed(tmp_path / "out", plant(tmp_path / "in", {"noise": NOISE[:size]}), level=9)
    assert sum(each.length for each in made.packs) <= size + 32 * (1 + size // (64 << 10))
    assert unpacked(tmp_path / "out", made) == [{"noise": NOISE[:size]}]


def test_compressible_content_is_not_held_back_by_its_neighbours(tmp_path: Path) -> None:
    """Text between noise is compressed, though both are in one group."""
    files = {
        f"{number:02}": NOISE[number * 20_000 :][:20_000] if number % 2 else b"text " * 20_000 for number in range(20)
    }
    made = packed(tmp_path / "out", plant(tmp_path / "in", files))
    assert sum(each.length for each in made.packs) < 205_000
    assert unpacked(tmp_path / "out", made) == [files]


@pytest.mark.parametrize(
    "size", [WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, 2 * WINDOW + 1, 3 * WINDOW - 12345], ids=str
)
@pytest.mark.parametrize("text", [True, False], ids=["repeating", "noise"])
def test_a_file_over_several_windows_comes_back(tmp_path: Path, size: int, text: bool) -> None:
    """Where a large file is read in windows, its chunks join without a seam."""
    content = (b"0123456789abcde\n" * (size // 16 + 1) if text else NOISE)[:size]
    size = len(content)
    made = packed(tmp_path / "out", plant(tmp_path / "in", {"a": b"before", "large": content, "z": b"after"}))
    assert unpacked(tmp_path / "out", made) == [{"a": b"before", "large": content, "z": b"after"}]
    assert (made.artifacts[0].files, made.artifacts[0].bytes) == (3, size + 11)


def test_empty_files_make_no_pack(tmp_path: Path) -> None:
    """Files without content are entries of a tree and nothing else."""
    made = packed(tmp_path / "out", plant(tmp_path / "in", {"a": b"", "b": b""}))
    assert made.packs == ()
    assert made.chunks == 0
    assert unpacked(tmp_path / "out", made) == [{"a": b"", "b": b""}]


def test_folders_and_links_are_entries(tmp_path: Path) -> None:
    """What has no content is packed as well, between files and alone."""
    (file,) = plant(tmp_path / "in", {"x": b"content"})
    entries = [Found("d", "dir"), file._replace(path="d/x", executable=True), Found("l", "link", target="d/x")]
    made = packed(tmp_path / "out", entries, [Found("only", "dir")])
    compressed = (tmp_path / "out" / "trees" / file_name(made.artifacts[0].tree)).read_bytes()
    listed = list(trees.checked(compressed, made.artifacts[0].tree, made.artifacts[0].digest))
    assert [(entry.path, entry.type, entry.mode, entry.target) for entry in listed] == [
        ("d", "dir", "0755", ""),
        ("d/x", "file", "0755", ""),
        ("l", "link", "", "d/x"),
    ]
    assert unpacked(tmp_path / "out", made)[1] == {}


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_many_small_files_pass(tmp_path: Path, workers: int) -> None:
    """Attack 64: groups with thousands of entries, larger than a pipe in both directions, block nobody."""
    entries = plant(tmp_path / "in", {"x": b"the same content"})
    many = [entries[0]._replace(path=f"a-name-of-some-length-as-in-real-life-{number:06}") for number in range(12_000)]
    made = packed(tmp_path / "out", many, workers=workers)
    assert (made.artifacts[0].files, made.chunks) == (12_000, 1)
    assert len(unpacked(tmp_path / "out", made)[0]) == 12_000


def test_packs_are_closed_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pack is larger than its target unless one frame is, and together they hold everything."""
    monkeypatch.setattr(packs, "PACK_TARGET", 6 << 20)
    files = {f"{number}": NOISE[number << 20 :][: 1 << 20] for number in range(10)}
    made = packed(tmp_path / "out", plant(tmp_path / "in", files))
    assert len(made.packs) > 1
    assert all(each.length <= 6 << 20 for each in made.packs)
    assert unpacked(tmp_path / "out", made) == [files]


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry._replace(stamp=(entry.stamp[0] + 1, entry.stamp[1])),
        lambda entry: entry._replace(stamp=(entry.stamp[0], entry.stamp[1] - 1)),
        lambda entry: entry._replace(size=entry.size - 1),
        lambda entry: entry._replace(size=entry.size + 1),
    ],
    ids=["replaced", "written to", "grown", "shrunk"],
)
@pytest.mark.parametrize("size", [100, (1 << 20) + 5, WINDOW + 5])
def test_a_file_that_changes_is_refused(tmp_path: Path, change: object, size: int) -> None:
    """A file that is no longer the one that was found makes the export fail, and nothing is left behind."""
    assert callable(change)
    entries = plant(tmp_path / "in", {"a": b"a", "b": NOISE[:size], "c": b"c"})
    entries[1] = change(entries[1])
    with pytest.raises(SourceError, match="changed while it was exported"):
        packed(tmp_path / "out", entries)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_file_that_changes_late_is_refused(tmp_path: Path) -> None:
    """A refusal is told as one though many groups are under way."""
    entries = plant(tmp_path / "in", {f"{number:02}": NOISE[:3_000_000] for number in range(12)})
    entries[3] = entries[3]._replace(stamp=(0, 0))
    for workers in (1, 2):
        with pytest.raises(SourceError, match="changed while it was exported"):
            packed(tmp_path / f"out-{workers}", entries, workers=workers)


def test_what_is_no_file_any_more_is_refused(tmp_path: Path) -> None:
    """Attack 55 and 89: a link, a FIFO or nothing in place of a file that was found is not followed or waited for."""
    entries = plant(tmp_path / "in", {"a": b"content"})
    path = tmp_path / "in" / "a"
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(SourceError):
        packed(tmp_path / "out-1", entries)
    path.symlink_to("../elsewhere")
    with pytest.raises(SourceError):
        packed(tmp_path / "out-2", entries)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SourceError):
        packed(tmp_path / "out-3", entries)


def test_an_artifact_without_entries_is_refused(tmp_path: Path) -> None:
    """An artifact that holds nothing is a mistake in a spec."""
    with pytest.raises(SourceError, match="artifact-1 holds nothing"):
        packed(tmp_path / "out", plant(tmp_path / "in", {"a": b"a"}), [])


def test_a_source_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    """Where a source stops in the middle, its error comes through and no file is left."""

    def failing() -> Iterator[Found]:
        yield from plant(tmp_path / "in", {"a": NOISE[: 5 << 20]})
        raise SourceError("the source dried up")

    for name in FOLDERS:
        (tmp_path / "out" / name).mkdir(parents=True)
    with pytest.raises(SourceError, match="dried up"):
        pack([("a", failing())], tmp_path / "out", level=3, workers=2, progress=Silent())
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


SIZES = st.one_of(st.just(0), st.integers(1, 9000), st.integers(1, 3 * WINDOW))
KINDS = st.sampled_from(["file", "file", "file", "dir", "link"])


@settings(max_examples=100, deadline=None)
@given(
    artifacts=st.lists(st.lists(st.tuples(KINDS, SIZES), max_size=12), max_size=3),
    cuts=st.lists(st.integers(WINDOW // 8, WINDOW), min_size=1),
)
def test_groups_hold_every_entry_once_and_in_order(artifacts: list[list[tuple[str, int]]], cuts: list[int]) -> None:
    """Groups are consecutive, at most a window large, and windows cover a large file without gap or overlap."""
    entries = [
        [
            Found(f"{number:02}", kind, size=size if kind == "file" else 0)  # type: ignore[arg-type]  # one of the kinds
            for number, (kind, size) in enumerate(artifact)
        ]
        for artifact in artifacts
    ]
    grouper = Grouper([iter(artifact) for artifact in entries])
    seen: list[list[Found]] = [[] for _ in artifacts]
    end, turn = 0, 0
    last = 0
    while group := grouper.take():
        assert group.artifact >= last
        last = group.artifact
        if group.window is None:
            assert 0 < sum(entry.size for entry in group.entries) + 1 <= WINDOW + 1
            assert (group.files, group.size) == (
                sum(entry.kind == "file" for entry in group.entries),
                sum(entry.size for entry in group.entries),
            )
            seen[group.artifact] += group.entries
            continue
        assert group.window.offset == end
        assert group.window.last == (group.window.file.size - end <= WINDOW)
        if group.window.last:
            seen[group.artifact].append(group.window.file)
            end = 0
        else:
            assert grouper.waiting
            assert grouper.take() is None
            end += cuts[turn % len(cuts)]
            turn += 1
            grouper.cut(end)
    assert seen == entries


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.dictionaries(
        st.text("abcdef", min_size=1, max_size=4),
        st.one_of(
            st.binary(max_size=100),
            st.tuples(st.integers(0, 4 << 20), st.integers(0, 6 << 20)).map(lambda cut: NOISE[cut[0] :][: cut[1]]),
            st.integers(0, 6 << 20).map(lambda size: b"\0" * size),
        ),
        min_size=1,
        max_size=8,
    ),
    workers=st.integers(1, 3),
)
def test_whatever_goes_in_comes_out(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], workers: int
) -> None:
    """Any files come back as they were, and obey every rule of the format on their way."""
    base = tmp_path_factory.mktemp("any")
    made = packed(base / "out", plant(base / "in", files), workers=workers)
    assert unpacked(base / "out", made) == [files]
