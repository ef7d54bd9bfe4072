"""The target `directory`: what stands in a deployed folder, with which modes, and what is shared with what."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from molds import Molded
from mounts import xfs
from shop import events, hold, runs, serving, shop
from worlds import Connected, Isolated, sample

import installer.folders.writing
from installer.environments.environment import load
from sealift.errors import MalformedError, StoreError, UsageError

HARDLINK, REFLINK, NONE = "    reuse: hardlink\n", "    reuse: reflink\n", "    reuse: none\n"


@pytest.fixture
def site(connected: Connected, isolated: Isolated, molded: Molded) -> Isolated:
    """A site that holds two releases and runs the first."""
    hold(molded, connected, isolated, "1.0.0", "1.1.0")
    isolated.apply("1.0.0")
    return isolated


def _folder(site: Isolated, version: str) -> Path:
    (folder,) = (site.srv / "releases").glob(f"{version}-*")
    return folder


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes_are_those_of_the_release_whatever_the_umask(
    connected: Connected, isolated: Isolated, umask: int
) -> None:
    """100: a service of another user can read what was deployed, and nobody but us can write it."""
    isolated.admit(connected.bundle("1.0.0", {**shop("1.0.0"), **sample()}))
    former = os.umask(umask)
    try:
        isolated.apply("1.0.0")
    finally:
        os.umask(former)
    current = isolated.srv / "current"
    assert [_mode(isolated.srv), _mode(isolated.srv / "releases"), _mode(current.resolve())] == [0o755] * 3
    for path in current.resolve().rglob("*"):
        expected = 0o755 if path.is_dir() or path.name == "check" else 0o644
        assert _mode(path) == expected, path


def test_a_staged_release_is_out_of_reach_until_it_is_whole(site: Isolated, monkeypatch: pytest.MonkeyPatch) -> None:
    """100: while it is written, nobody else can enter its folder, whatever the umask."""
    seen: list[tuple[str, int, int]] = []
    monkeypatch.setattr(os, "chmod", _noting(os.chmod, seen))
    former = os.umask(0)
    try:
        site.apply("1.1.0")
    finally:
        os.umask(former)
    assert ("1.1.0", 0o700, 0o755) in seen


def _noting(call: object, seen: list[tuple[str, int, int]]) -> object:
    def chmod(path: str | Path, mode: int, **more: object) -> None:
        name = Path(path).name
        if name.startswith(".tmp-1.1.0-"):
            seen.append(("1.1.0", _mode(Path(path)), mode))
        call(path, mode, **more)  # type: ignore[operator]

    return chmod


def test_links_are_kept_as_they_are(connected: Connected, isolated: Isolated) -> None:
    """To files, to folders, to what lies above inside the tree, and to nothing."""
    spec = connected.spec("1.0.0", shop("1.0.0"))
    folder = connected.root / "shop-1.0.0"
    links = {"to-file": "a/same.txt", "to-folder": "a", "a/up": "../version.txt", "dangling": "nowhere"}
    for name, target in links.items():
        (folder / name).symlink_to(target)
    isolated.admit(connected.export(spec))
    isolated.apply("1.0.0")
    current = isolated.srv / "current"
    assert {name: os.readlink(current / name) for name in links} == links


@pytest.mark.parametrize("target", ["../outside", "/etc/passwd", "a/../../outside"])
def test_a_link_that_leaves_the_tree_is_refused_at_the_site(
    connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    """53: even where the connected side signed it; the site is untouched."""
    import bundler.sources.path

    spec = connected.spec("1.0.0", shop("1.0.0"))
    (connected.root / "shop-1.0.0" / "link").symlink_to(target)
    with monkeypatch.context() as patch:
        patch.setattr(bundler.sources.path, "check_link", lambda _, target: target)
        bundle = connected.export(spec)
    before = isolated.fingerprint_of_everything()
    with pytest.raises(MalformedError, match="symbolic link 'link'"):
        isolated.admit(bundle)
    assert isolated.fingerprint_of_everything() == before


def test_current_that_is_a_folder_is_refused(site: Isolated) -> None:
    """What somebody made there is not replaced."""
    (site.srv / "current").unlink()
    (site.srv / "current").mkdir()
    (site.srv / "current" / "mine").write_text("mine")
    with pytest.raises(UsageError, match="not a link that sealift made") as caught:
        site.apply("1.1.0")
    assert "move it away" in (caught.value.hint or "")
    assert (site.srv / "current" / "mine").read_text() == "mine"


@pytest.mark.parametrize("target", ["/etc", "elsewhere", "releases/../elsewhere", "releases/.hidden", "releases/"])
def test_current_that_links_elsewhere_is_refused(site: Isolated, target: str) -> None:
    """A link that is not ours is not replaced."""
    (site.srv / "current").unlink()
    (site.srv / "current").symlink_to(target)
    with pytest.raises(UsageError, match="did not deploy"):
        site.apply("1.1.0")
    assert os.readlink(site.srv / "current") == target


def test_a_target_that_is_missing_is_made(connected: Connected, isolated: Isolated) -> None:
    """With the folders above it."""
    isolated.admit(connected.bundle("1.0.0", shop("1.0.0")))
    deep = Isolated(root=isolated.root, folder=isolated.folder, srv=isolated.root / "a" / "b" / "srv")
    deep.apply("1.0.0")
    assert serving(deep) == "1.0.0"


def test_other_files_of_a_target_are_left_alone(site: Isolated) -> None:
    """Beside the releases and in them: what an application writes."""
    (site.srv / "notes.txt").write_text("mine")
    (_folder(site, "1.0.0") / "log.txt").write_text("log")
    site.apply("1.1.0")
    site.installation.rollback("plant-7")
    assert (site.srv / "notes.txt").read_text() == "mine"
    assert (site.srv / "current" / "log.txt").read_text() == "log"


def test_what_a_killed_apply_left_is_swept(site: Isolated) -> None:
    """Half-written folders and links have a name of their own."""
    (site.srv / "releases" / ".tmp-1.1.0-000").mkdir()
    (site.srv / "releases" / ".tmp-1.1.0-000" / "file").write_text("half")
    (site.srv / "releases" / ".tmp-link").symlink_to("/etc")
    site.apply("1.1.0")
    assert sorted(path.name[:5] for path in (site.srv / "releases").iterdir()) == ["1.0.0", "1.1.0"]
    assert Path("/etc").is_dir()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda folder: (folder / "version.txt").write_text("x"), id="content"),
        pytest.param(lambda folder: (folder / "version.txt").chmod(0o600), id="mode"),
        pytest.param(lambda folder: (folder / "version.txt").unlink(), id="missing"),
        pytest.param(lambda folder: (folder / "a").rename(folder / "b"), id="folder"),
        pytest.param(lambda folder: _link_over(folder / "version.txt"), id="link"),
    ],
)
def test_a_folder_that_was_changed_is_written_anew_before_it_serves(site: Isolated, damage: object) -> None:
    """Whatever was changed in it while another release served."""
    site.apply("1.1.0")
    damage(_folder(site, "1.0.0"))  # type: ignore[operator]
    site.apply("1.0.0")
    assert serving(site) == "1.0.0"
    assert _mode(site.srv / "current" / "version.txt") == 0o644


def _fifo_over(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link_over(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def test_nothing_is_shared_unless_it_is_asked_for(site: Isolated) -> None:
    """What writes to one release does not write to another: by default no hard link is made."""
    site.apply("1.1.0")
    for path in site.srv.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert path.stat().st_nlink == 1, path


def test_no_reuse_writes_everything(site: Isolated) -> None:
    """With `reuse: none`."""
    outcome = site.installation.apply(load(site.environment("1.1.0", target=NONE)))
    assert (outcome.written, outcome.reused) == (sum(map(len, shop("1.1.0").values())), 0)
    assert serving(site) == "1.1.0"


def test_hard_links_share_what_is_the_same(site: Isolated) -> None:
    """With `reuse: hardlink`: the same inode for what did not change, another for what did."""
    outcome = site.installation.apply(load(site.environment("1.1.0", target=HARDLINK)))
    old, new = _folder(site, "1.0.0"), _folder(site, "1.1.0")
    assert (old / "a/same.txt").stat().st_ino == (new / "a/same.txt").stat().st_ino
    assert (old / "version.txt").stat().st_ino != (new / "version.txt").stat().st_ino
    assert outcome.reused == len(shop("1.1.0")["a/same.txt"]) + len(shop("1.1.0")["bin/check"])
    assert serving(site) == "1.1.0"


@pytest.mark.parametrize("reuse", [HARDLINK, REFLINK])
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-1] + b"X"), id="content"),
        pytest.param(lambda path: path.write_bytes(b"shorter"), id="size"),
        pytest.param(lambda path: path.chmod(0o666), id="mode"),
        pytest.param(lambda path: path.unlink(), id="missing"),
        pytest.param(lambda path: _link_over(path), id="link"),
        pytest.param(lambda path: _fifo_over(path), id="fifo"),
    ],
)
def test_a_file_that_an_application_changed_is_not_reused(site: Isolated, reuse: str, damage: object) -> None:
    """The new release has what was signed."""
    damage(_folder(site, "1.0.0") / "a" / "same.txt")  # type: ignore[operator]
    site.apply("1.1.0", target=reuse)
    assert serving(site) == "1.1.0"
    assert _mode(site.srv / "current" / "a" / "same.txt") == 0o644
    assert not (site.srv / "current" / "a" / "same.txt").is_symlink()


def test_a_folder_that_became_a_link_is_not_reused(site: Isolated, tmp_path: Path) -> None:
    """53: what lies behind it is not shared with it."""
    folder = _folder(site, "1.0.0") / "a"
    shutil.move(folder, tmp_path / "outside")
    folder.symlink_to(tmp_path / "outside")
    site.apply("1.1.0")
    assert serving(site) == "1.1.0"
    inode = (tmp_path / "outside" / "same.txt").stat().st_ino
    (tmp_path / "outside" / "same.txt").write_text("changed later")
    assert (site.srv / "current" / "a" / "same.txt").stat().st_ino != inode


@pytest.fixture
def clonable(connected: Connected, isolated: Isolated, tmp_path: Path) -> Iterator[Isolated]:
    """A site whose target lies on a file system with reflinks."""
    for version in ("1.0.0", "1.1.0"):
        isolated.admit(connected.bundle(version, {**sample(), **shop(version)}))
    with xfs(isolated.srv, tmp_path / "xfs.img"):
        yield isolated


def test_reflinks_share_what_is_the_same(clonable: Isolated) -> None:
    """By default, where the file system can: the extents of an unchanged file are shared, the inodes are not."""
    clonable.apply("1.0.0")
    used = _used(clonable.srv)
    outcome = clonable.installation.apply(load(clonable.environment("1.1.0")))
    old, new = (_folder(clonable, version) / "assets" / "noise.bin" for version in ("1.0.0", "1.1.0"))
    assert outcome.reused > 3 << 20
    assert _blocks(old) == _blocks(new)
    assert old.stat().st_ino != new.stat().st_ino
    assert _used(clonable.srv) - used < 2 << 20
    assert (clonable.srv / "current" / "version.txt").read_text() == "1.1.0\n"


def test_a_reflink_is_a_copy_to_who_writes(clonable: Isolated) -> None:
    """What an application writes to the new release does not reach the former one."""
    clonable.apply("1.0.0")
    clonable.apply("1.1.0")
    old, new = (_folder(clonable, version) / "assets" / "noise.bin" for version in ("1.0.0", "1.1.0"))
    before = old.read_bytes()
    with new.open("r+b") as file:
        file.write(b"written by the application")
    assert old.read_bytes() == before


def test_no_reflink_is_made_where_none_is_wanted(clonable: Isolated) -> None:
    """With `reuse: none`, the two releases share nothing."""
    clonable.apply("1.0.0")
    clonable.apply("1.1.0", target=NONE)
    old, new = (_folder(clonable, version) / "assets" / "noise.bin" for version in ("1.0.0", "1.1.0"))
    assert not _blocks(old) & _blocks(new)


def test_a_changed_file_is_not_cloned(clonable: Isolated) -> None:
    """With reflinks, too: the new release has what was signed."""
    clonable.apply("1.0.0")
    path = _folder(clonable, "1.0.0") / "assets" / "noise.bin"
    with path.open("r+b") as file:
        file.write(b"written by the application")
    clonable.apply("1.1.0")
    assert (clonable.srv / "current" / "assets" / "noise.bin").read_bytes() == sample()["assets/noise.bin"]
    assert events(clonable, "deployed") == 2
    assert runs(clonable) == ("1.1.0", "1.0.0")


def _blocks(path: Path) -> set[int]:
    """The blocks of the disk that a file's content lies in (FIEMAP)."""
    os.sync()
    found = subprocess.run(
        ["filefrag", "-v", str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "LANG": "C.UTF-8"},
    ).stdout
    extents = re.findall(r"^ +\d+: +\d+\.\. +\d+: +(\d+)\.\. +\d+: +(\d+):", found, flags=re.MULTILINE)
    size = path.stat().st_size // 4096
    blocks = [block for start, count in extents for block in range(int(start), int(start) + int(count))]
    assert len(blocks) >= size > 0, found
    return set(blocks[:size])


def _used(folder: Path) -> int:
    os.sync()
    status = os.statvfs(folder)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def test_a_path_that_the_system_cannot_take_is_the_disks_refusal(site: Isolated) -> None:
    """A component longer than a name may be, though the whole path is short enough."""
    path = site.environment("1.1.0")
    path.write_text(path.read_text().replace(str(site.srv), f"/srv/{'a' * 300}"))
    with pytest.raises(StoreError, match="name too long"):
        site.installation.apply(load(path))
    assert serving(site) == "1.0.0"


@pytest.mark.parametrize("many", [1, 1_000_000], ids=["as a large release", "as a small one"])
def test_chunks_that_come_again_are_written_wherever_they_belong(
    connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """Of a large release, only the chunks that recur are remembered; what is written is the same."""
    monkeypatch.setattr(installer.folders.writing, "_MANY", many)
    files = {**sample(), **{f"again/{name}": content for name, content in sample().items()}, "other": b"o" * 3000}
    isolated.admit(connected.bundle("1.0.0", files))
    isolated.apply("1.0.0")
    current = isolated.srv / "current"
    assert {str(path.relative_to(current)): path.read_bytes() for path in current.rglob("*") if path.is_file()} == files
