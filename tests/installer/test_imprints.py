"""Imprints: what nobody wrote to is cloned without being read, and any doubt means that it is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import valued
from mounts import xfs
from shop import shop
from worlds import Connected, Isolated, sample

from installer.environments.environment import load
from installer.folders import imprints, placing
from installer.folders.imprints import Imprint, Imprints

NOISE = "assets/noise.bin"
HARDLINK = "    reuse: hardlink\n"


@pytest.fixture
def cloning(connected: Connected, isolated: Isolated, tmp_path: Path) -> Iterator[Isolated]:
    """A site that runs the first of two releases, on a file system with reflinks."""
    for version in ("1.0.0", "1.1.0"):
        isolated.admit(connected.bundle(version, {**sample(), **shop(version)}))
    with xfs(isolated.srv, tmp_path / "xfs.img"):
        isolated.apply("1.0.0")
        yield isolated


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], set[str]]:
    """Says which files of a former release were read and hashed; workers write them down."""
    log = tmp_path / "hashed"
    log.touch()
    matches = placing._matches

    def noted(path: str, *arguments: int) -> int:
        with log.open("a") as file:
            file.write(f"{path}\n")
        found: int = matches(path, *arguments)  # type: ignore[arg-type]
        return found

    monkeypatch.setattr(placing, "_matches", noted)
    return lambda: set(log.read_text().split())


def folder(site: Isolated, version: str) -> Path:
    """Where a release was deployed."""
    (found,) = (site.srv / "releases").glob(f"{version}-*")
    return found


def upgrade(site: Isolated) -> int:
    """Deploy the second release; return the bytes that were taken from the first."""
    return site.installation.apply(load(site.environment("1.1.0"))).reused


def records(site: Isolated) -> list[Path]:
    """The records of a site."""
    return sorted(site.folder.rglob(f"*{imprints.SUFFIX}"))


def test_nothing_is_read_that_nobody_wrote_to(cloning: Isolated, hashed: Callable[[], set[str]]) -> None:
    """An upgrade clones what is the same, and reads nothing of it."""
    assert upgrade(cloning) > 3 << 20
    assert hashed() == set()
    assert (folder(cloning, "1.1.0") / NOISE).read_bytes() == sample()[NOISE]


def test_each_upgrade_has_the_imprints_of_the_one_before(cloning: Isolated, hashed: Callable[[], set[str]]) -> None:
    """What was cloned has an imprint of its own; a release that is deployed again takes it from there."""
    upgrade(cloning)
    shutil.rmtree(folder(cloning, "1.0.0"))
    assert cloning.installation.apply(load(cloning.environment("1.0.0"))).reused > 3 << 20
    assert hashed() == set()


def write(path: Path) -> None:
    """Write to a file and hide it, as far as its owner can."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"changed")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path) -> None:
    """Put an older file of the same size and times in its place."""
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(bytes(before.st_size))
    other.chmod(0o644)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(other, path)


def swap(path: Path) -> None:
    """Put another folder in place of the one that it lies in, with files that were there before the release."""
    other = path.parent.with_name("other")
    shutil.copytree(path.parent, other)
    (other / path.name).write_bytes(bytes(path.stat().st_size))
    shutil.rmtree(path.parent)
    os.rename(other, path.parent)


@pytest.mark.parametrize("change", [write, replace, swap])
def test_what_was_changed_is_not_taken(
    cloning: Isolated, hashed: Callable[[], set[str]], change: Callable[[Path], None]
) -> None:
    """A file that was written to, or that another one stands for, is hashed, and written anew from the store."""
    change(folder(cloning, "1.0.0") / NOISE)
    upgrade(cloning)
    assert NOISE in hashed()
    assert (folder(cloning, "1.1.0") / NOISE).read_bytes() == sample()[NOISE]


def test_what_values_made_is_not_taken_for_what_was_sealed(
    connected: Connected, isolated: Isolated, tmp_path: Path
) -> None:
    """A template is filled in, to as many bytes; the next release has the same file as it is, and gets that."""
    text = "host: ${{ host }}\n"
    isolated.admit(valued.bundle(connected, "1.0.0", app=text))
    files = {"config/app.yaml": text.encode(), "version.txt": b"1.1.0\n"}
    isolated.admit(connected.bundle("1.1.0", files))
    with xfs(isolated.srv, tmp_path / "xfs.img"):
        valued.deploy(isolated, "1.0.0", "values: {host: eleven-char}\n")
        assert len(valued.app(isolated)) == len(text)
        isolated.apply("1.1.0")
        assert valued.app(isolated) == text


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes() + b"\0"),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\xaa"),
        lambda path: path.write_bytes(b""),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    ],
    ids=["gone", "cut off", "longer", "changed", "empty", "a folder", "a link"],
)
def test_without_a_sound_record_all_is_read(
    cloning: Isolated, hashed: Callable[[], set[str]], spoil: Callable[[Path], object]
) -> None:
    """A record that is missing or damaged counts for nothing, and the upgrade does what it did without."""
    (path,) = records(cloning)
    spoil(path)
    assert upgrade(cloning) > 3 << 20
    assert NOISE in hashed()


def test_a_longer_file_without_a_record_is_not_taken(cloning: Isolated, hashed: Callable[[], set[str]]) -> None:
    """What has another size than its release says has no imprint, which is not the same as none that is asked for."""
    for path in records(cloning):
        path.unlink()
    with (folder(cloning, "1.0.0") / NOISE).open("ab") as file:
        file.write(b"more")
    upgrade(cloning)
    assert NOISE in hashed()
    assert (folder(cloning, "1.1.0") / NOISE).read_bytes() == sample()[NOISE]


def test_no_record_where_the_clock_stands(cloning: Isolated, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system whose clock is coarse gives no imprints: a write in the same tick would not be noticed."""
    monkeypatch.setattr(imprints, "_settled", lambda folder, newest: False)
    upgrade(cloning)
    assert len(records(cloning)) == 1


def test_the_clock_must_move_on(tmp_path: Path) -> None:
    """A time that the file system has not reached yet is waited for, and given up."""
    assert imprints._settled(tmp_path, 0)
    assert not imprints._settled(tmp_path, 1 << 62)
    assert list(tmp_path.iterdir()) == []


def test_records_go_with_their_folders(cloning: Isolated) -> None:
    """What is cleaned up leaves no record behind."""
    upgrade(cloning)
    assert len(records(cloning)) == 2
    releases = cloning.srv / "releases"
    shutil.rmtree(folder(cloning, "1.0.0"))
    Imprints(records(cloning)[0].parent).sweep(releases)
    assert [path.stem for path in records(cloning)] == [folder(cloning, "1.1.0").name]


def test_files_that_are_not_to_be_taken_have_none(tmp_path: Path) -> None:
    """A file that values were filled in has a place in the record, and no imprint that any file has."""
    made = tmp_path / "made"
    made.mkdir()
    (made / "plain").write_bytes(b"plain")
    records = Imprints(tmp_path / "room")
    records.take(made, ["plain", None], "1.0.0", since=0)
    found = records.find("1.0.0", 2)
    assert found
    assert found.of(0) == Imprint.of((made / "plain").stat())
    assert found.of(1) == Imprint(0, 0)
    assert found.of(2) is None
    assert records.find("1.0.0", 1) is None
    assert records.find("1.0.0", 3) is None


def test_no_record_is_kept_where_nothing_can_be_cloned(isolated: Isolated, connected: Connected) -> None:
    """Where every file is written anew, an apply does not look back at them."""
    if placing.clones(isolated.root, isolated.root):
        pytest.skip("the file system of the tests has reflinks")
    isolated.admit(connected.bundle("1.0.0", shop("1.0.0")))
    isolated.apply("1.0.0")
    assert records(isolated) == []


@pytest.fixture
def linking(connected: Connected, isolated: Isolated) -> Isolated:
    """A site that runs the first of three releases, and whose target shares files by hard links."""
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        isolated.admit(connected.bundle(version, {**sample(), "version.txt": version.encode()}))
    isolated.apply("1.0.0", target=HARDLINK)
    return isolated


def linked(site: Isolated, version: str) -> int:
    """Deploy a release; return the bytes that were taken from the one before."""
    return site.installation.apply(load(site.environment(version, target=HARDLINK))).reused


def test_what_is_linked_is_not_read(linking: Isolated, hashed: Callable[[], set[str]]) -> None:
    """Each upgrade by hard links takes what the one before it shared already, and reads nothing of it."""
    assert linked(linking, "1.1.0") > 3 << 20
    assert linked(linking, "1.2.0") > 3 << 20
    assert hashed() == set()
    inodes = {(folder(linking, version) / NOISE).stat().st_ino for version in ("1.0.0", "1.1.0", "1.2.0")}
    assert len(inodes) == 1


@pytest.mark.parametrize("change", [write, replace, swap])
def test_what_was_changed_is_not_linked(
    linking: Isolated, hashed: Callable[[], set[str]], change: Callable[[Path], None]
) -> None:
    """A file that was written to, or that another one stands for, is hashed, and written anew from the store."""
    change(folder(linking, "1.0.0") / NOISE)
    linked(linking, "1.1.0")
    assert NOISE in hashed()
    assert (folder(linking, "1.1.0") / NOISE).read_bytes() == sample()[NOISE]


def test_what_is_written_to_while_it_is_linked_is_not_linked_unread(tmp_path: Path) -> None:
    """A file that is written to between the look at it and the link has no imprint."""
    old, new = tmp_path / "old", tmp_path / "new"
    for each in (old, new):
        each.mkdir()
    (old / "file").write_bytes(b"signed")
    root, source = (os.open(each, os.O_RDONLY) for each in (new, old))
    link = os.link

    def written(*arguments: str, **named: int) -> None:
        (old / "file").write_bytes(b"change")
        link(*arguments, **named)  # type: ignore[arg-type]

    mode = (old / "file").stat().st_mode & 0o777
    os.utime(old / "file", ns=(0, 0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", written)
        assert placing._link("file", mode, root, source, 6) is None
    os.unlink(new / "file")
    assert placing._link("file", mode, root, source, 6) is not None
    for descriptor in (root, source):
        os.close(descriptor)


def test_a_shared_file_that_was_written_to_meanwhile_has_no_imprint(tmp_path: Path) -> None:
    """Who knows another name of a file can write to it before its folder is recorded: then it is read the next time."""
    made = tmp_path / "made"
    made.mkdir()
    since = made.stat().st_mtime_ns
    for name in ("before", "meanwhile", "alone"):
        (made / name).write_bytes(b"content")
    os.link(made / "before", tmp_path / "before")
    os.link(made / "meanwhile", tmp_path / "meanwhile")
    os.utime(made / "before", ns=(since - 1, since - 1))
    records = Imprints(tmp_path / "room")
    records.take(made, ["before", "meanwhile", "alone"], "1.0.0", since=since)
    found = records.find("1.0.0", 3)
    assert found
    assert found.of(0) == Imprint.of((made / "before").stat())
    assert found.of(1) == Imprint(0, 0)
    assert found.of(2) == Imprint.of((made / "alone").stat())
