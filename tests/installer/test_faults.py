"""A disk or a medium that fails leaves the site and its targets as they were, and says what helps."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from faults import Faults
from mounts import read_only, tmpfs
from shop import SAME, serving, shop
from worlds import Connected, Isolated, sample

from installer.admitting import admit
from installer.auditing import audit
from installer.environments.environment import load
from sealift.container import Reader
from sealift.errors import IntegrityError, MalformedError, SealiftError, StoreError
from sealift.progress import Silent

FAULTS = [
    pytest.param(errno.ENOSPC, False, id="no space once"),
    pytest.param(errno.ENOSPC, True, id="no space from then on"),
    pytest.param(errno.EIO, False, id="a fault of the disk"),
]


def _admit(site: Isolated, bundle: Path) -> None:
    admit(site.site, bundle, now=site.now, workers=1, progress=Silent())


def _leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".tmp-") or path.name.endswith(".part")]


class _Stage:
    """Folders that are set back before each fault."""

    def __init__(self, root: Path, kept: Path) -> None:
        self._root = root
        self._kept = kept
        shutil.copytree(root, kept, symlinks=True)

    def reset(self) -> None:
        shutil.rmtree(self._root)
        shutil.copytree(self._kept, self._root, symlinks=True)


def _every_fault(
    faults: Faults,
    stage: _Stage,
    code: int,
    lasting: bool,
    work: Callable[[], object],
    check: Callable[[StoreError | None], None],
) -> None:
    """Let `work` meet the fault at its first, second, … call, and `check` what is left, until it meets none."""
    for number in itertools.count(1):
        stage.reset()
        raised: StoreError | None = None
        faults.begin(number, code, lasting=lasting)
        try:
            work()
        except StoreError as error:
            raised = error
        finally:
            reached = faults.end()
        if not reached:
            assert raised is None
            assert number > 5
            return
        if raised is not None:
            assert os.strerror(code).lower() in f"{raised.message} {raised.hint}", number
            assert raised.hint, number
        check(raised)


@pytest.mark.parametrize(("code", "lasting"), FAULTS)
def test_a_failing_disk_leaves_the_site_as_it_was_before_an_import(
    connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, lasting: bool
) -> None:
    """81, 82: at every write, fsync, open and rename of an import; the same import succeeds afterwards."""
    first, second = connected.bundle("1.0.0", shop("1.0.0")), connected.bundle("1.1.0", shop("1.1.0"))
    isolated.admit(first)
    before = (isolated.folder / "state.json").read_bytes()

    def check(raised: StoreError | None) -> None:
        assert not _leftovers(isolated.folder)
        after = (isolated.folder / "state.json").read_bytes()
        assert (after == before) == (raised is not None and "the change is made" not in raised.message)
        assert audit(isolated.site, deep=False, workers=1, progress=Silent()).sound
        _admit(isolated, second)
        assert [each.version for each in isolated.site.state.admitted] == ["1.0.0", "1.1.0"]
        assert [entry.event for entry in isolated.site.ledger.read()].count("admitted") == 2
        assert audit(isolated.site, deep=True, workers=1, progress=Silent()).sound

    stage = _Stage(isolated.root, tmp_path / "kept")
    _every_fault(Faults(monkeypatch), stage, code, lasting, lambda: _admit(isolated, second), check)


@pytest.mark.parametrize(("code", "lasting"), FAULTS)
def test_a_failing_disk_leaves_the_former_releaseserving(
    connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, lasting: bool
) -> None:
    """81, 82: at every write, fsync, open and rename of an apply; the same apply succeeds afterwards."""
    for version in ("1.0.0", "1.1.0"):
        isolated.admit(connected.bundle(version, shop(version)))
    isolated.apply("1.0.0")
    wanted = load(isolated.environment("1.1.0"))

    def check(raised: StoreError | None) -> None:
        made = raised is None or "1.1.0 serves" in raised.message
        assert serving(isolated) == ("1.1.0" if made else "1.0.0")
        assert not _leftovers(isolated.srv)
        assert audit(isolated.site, deep=False, workers=1, progress=Silent()).sound
        isolated.installation.apply(wanted)
        assert serving(isolated) == "1.1.0"
        state = isolated.installation.deployments.state("plant-7")
        assert (state.current and state.current.version) == "1.1.0"
        assert (state.previous and state.previous.version) == "1.0.0"
        assert [entry.event for entry in isolated.site.ledger.read()].count("deployed") == 2

    stage = _Stage(isolated.root, tmp_path / "kept")
    _every_fault(Faults(monkeypatch), stage, code, lasting, lambda: isolated.installation.apply(wanted), check)


@pytest.mark.parametrize(("code", "lasting"), FAULTS)
def test_a_failing_disk_leaves_no_half_bundle(
    connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, lasting: bool
) -> None:
    """81, 82: at every write, fsync, open and rename of an export; the same export succeeds afterwards."""
    spec = connected.spec("1.0.0", SAME)
    out = connected.root / "out.sealift"

    def check(raised: StoreError | None) -> None:
        assert not [path for path in connected.root.iterdir() if path.name.endswith(".part")]
        if raised is not None and out.exists():
            isolated.admit(out)
        connected.export(spec, out, threads=1)
        isolated.admit(out)

    stage = _Stage(connected.root, tmp_path / "kept")
    fresh = _Stage(isolated.root, tmp_path / "kept site")

    class Both(_Stage):
        def __init__(self) -> None:
            pass

        def reset(self) -> None:
            stage.reset()
            fresh.reset()

    _every_fault(Faults(monkeypatch), Both(), code, lasting, lambda: connected.export(spec, out, threads=1), check)


def test_an_import_onto_a_full_disk_is_refused_before_it_writes(connected: Connected, tmp_path: Path) -> None:
    """81: a real disk, too small for the bundle, holds nothing of it afterwards."""
    bundle = connected.bundle("1.0.0", sample())
    with tmpfs(tmp_path / "disk", "size=4m") as disk:
        site = _enrolled(connected, disk)
        before = site.fingerprint_of_everything()
        with pytest.raises(StoreError, match="bytes are needed") as caught:
            site.admit(bundle)
        assert "gc" in (caught.value.hint or "")
        assert site.fingerprint_of_everything() == before


def test_an_apply_onto_a_full_disk_leaves_nothing(connected: Connected, isolated: Isolated) -> None:
    """81: a real disk, too small for the release, holds nothing of it afterwards."""
    isolated.admit(connected.bundle("1.0.0", sample()))
    with tmpfs(isolated.srv, "size=1m"):
        with pytest.raises(StoreError, match="no space") as caught:
            isolated.apply("1.0.0")
        assert "free some space" in (caught.value.hint or "")
        assert os.listdir(isolated.srv / "releases") == []
        assert not (isolated.srv / "current").exists()
    isolated.apply("1.0.0")


def test_an_apply_without_inodes_leaves_nothing(connected: Connected, isolated: Isolated) -> None:
    """84: a disk that has room and no inodes is a full disk."""
    isolated.admit(connected.bundle("1.0.0", SAME))
    with tmpfs(isolated.srv, "size=1m,nr_inodes=6"):
        with pytest.raises(StoreError, match="no space"):
            isolated.apply("1.0.0")
        assert os.listdir(isolated.srv / "releases") == []


def test_an_upgrade_onto_a_full_disk_leaves_the_former_release(connected: Connected, isolated: Isolated) -> None:
    """81: the former release serves on, whole."""
    isolated.admit(connected.bundle("1.0.0", shop("1.0.0")))
    isolated.admit(connected.bundle("1.1.0", {**shop("1.1.0"), **sample()}))
    with tmpfs(isolated.srv, "size=1m"):
        isolated.apply("1.0.0")
        with pytest.raises(StoreError, match="no space"):
            isolated.apply("1.1.0")
        assert serving(isolated) == "1.0.0"
        assert len(os.listdir(isolated.srv / "releases")) == 1


def test_a_read_only_site_refuses_an_import(connected: Connected, isolated: Isolated) -> None:
    """84: nothing can be written, not even the refusal; the hint says so."""
    bundle = connected.bundle("1.0.0", SAME)
    with read_only(isolated.folder), pytest.raises(StoreError, match="read-only") as caught:
        isolated.admit(bundle)
    assert "read-only" in (caught.value.hint or "")


def test_a_read_only_site_can_be_read(connected: Connected, isolated: Isolated) -> None:
    """84: its store can be verified, and what it runs can be seen."""
    isolated.admit(connected.bundle("1.0.0", SAME))
    isolated.apply("1.0.0")
    with read_only(isolated.folder):
        assert audit(isolated.site, deep=True, workers=1, progress=Silent()).sound
        assert isolated.installation.deployments.state("plant-7").current


def test_a_read_only_target_refuses_an_apply(connected: Connected, isolated: Isolated) -> None:
    """84: the former release serves on."""
    for version in ("1.0.0", "1.1.0"):
        isolated.admit(connected.bundle(version, shop(version)))
    isolated.apply("1.0.0")
    with read_only(isolated.srv), pytest.raises(StoreError, match="read-only"):
        isolated.apply("1.1.0")
    assert serving(isolated) == "1.0.0"
    isolated.apply("1.1.0")


def test_a_read_only_folder_refuses_an_export(connected: Connected, tmp_path: Path) -> None:
    """84: nothing is left behind in it, and the message names it."""
    out = tmp_path / "out"
    out.mkdir()
    spec = connected.spec("1.0.0", SAME)
    with read_only(out), pytest.raises(StoreError, match="read-only") as caught:
        connected.export(spec, out / "shop.sealift")
    assert str(out) in caught.value.message


def test_a_store_on_several_disks_works(connected: Connected, isolated: Isolated) -> None:
    """86: nothing is renamed from one file system to another."""
    bundle = connected.bundle("1.0.0", SAME)
    with (
        tmpfs(isolated.folder / "store" / "packs", "size=4m"),
        tmpfs(isolated.folder / "environments", "size=4m"),
        tmpfs(isolated.srv, "size=4m"),
    ):
        admit(isolated.site, bundle, now=isolated.now, workers=2, progress=Silent())
        isolated.apply("1.0.0")
        assert (isolated.srv / "current" / "bin" / "check").read_bytes() == SAME["bin/check"]


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        pytest.param(OSError(errno.EIO, os.strerror(errno.EIO)), StoreError, id="a fault"),
        pytest.param(OSError(errno.ENODEV, os.strerror(errno.ENODEV)), StoreError, id="pulled out"),
        pytest.param(None, MalformedError, id="cut off"),
    ],
)
def test_a_medium_that_fails_while_it_is_read_is_refused(
    connected: Connected,
    isolated: Isolated,
    monkeypatch: pytest.MonkeyPatch,
    fault: OSError | None,
    raised: type[SealiftError],
) -> None:
    """82, 87: at every read of an import; the site is untouched, and the refusal is in the ledger."""
    bundle = connected.bundle("1.0.0", SAME)
    before = (isolated.folder / "state.json").read_bytes()
    call = os.preadv
    left = 0

    def failing(descriptor: int, buffers: Sequence[Any], offset: int) -> int:
        nonlocal left
        left -= 1
        if left == 0:
            if fault:
                raise fault
            return 0
        return call(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", failing)
    for number in itertools.count(1):
        left = number
        error: SealiftError | None = None
        try:
            _admit(isolated, bundle)
        except raised as refusal:
            error = refusal
        if error is None:
            break
        assert str(bundle) in error.message
        assert (isolated.folder / "state.json").read_bytes() == before
        assert not _leftovers(isolated.folder)
    assert number > 5
    assert [entry.event for entry in isolated.site.ledger.read()].count("refused") == number - 1


def test_short_reads_and_writes_do_no_harm(
    connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """83: a system that hands over a few bytes at a time gives the same release."""
    bundle = connected.bundle("1.0.0", shop("1.0.0"))
    read, write = os.preadv, os.write

    def reading(descriptor: int, buffers: Sequence[Any], offset: int) -> int:
        return read(descriptor, [memoryview(buffers[0])[:7]], offset)

    def writing(descriptor: int, content: Any) -> int:
        return write(descriptor, memoryview(content)[:7])

    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", reading)
        patch.setattr(os, "write", writing)
        _admit(isolated, bundle)
        isolated.apply("1.0.0")
    assert audit(isolated.site, deep=True, workers=1, progress=Silent()).sound
    assert serving(isolated) == "1.0.0"


def test_a_medium_that_changes_after_the_check_is_refused(connected: Connected, isolated: Isolated) -> None:
    """88: what is kept is what was hashed, not what stood there before."""
    bundle = connected.bundle("1.0.0", SAME)
    before = (isolated.folder / "state.json").read_bytes()
    with Reader(bundle) as reader:
        place = reader.of("pack")[-1].offset

    class Swapper(Silent):
        def start(self, label: str, total: int | None = None, *, unit: str = "B") -> None:
            content = bytearray(bundle.read_bytes())
            content[place] ^= 1
            bundle.write_bytes(content)

    with pytest.raises(IntegrityError):
        admit(isolated.site, bundle, now=isolated.now, workers=1, progress=Swapper())
    assert (isolated.folder / "state.json").read_bytes() == before
    assert not _leftovers(isolated.folder)
    assert os.listdir(isolated.folder / "store" / "packs") == []


def test_a_fifo_in_place_of_a_bundle_is_refused(isolated: Isolated) -> None:
    """89: and does not hang."""
    fifo = isolated.root / "shop.sealift"
    os.mkfifo(fifo)
    with pytest.raises(MalformedError, match="not a regular file"):
        isolated.admit(fifo)


def test_a_link_to_a_bundle_is_followed_and_checked(connected: Connected, isolated: Isolated) -> None:
    """89: a link is only another name for a file that nobody trusts anyway."""
    link = isolated.root / "link.sealift"
    link.symlink_to(connected.bundle("1.0.0", SAME))
    assert isolated.admit(link).new == ("shop@1.0.0",)


@pytest.mark.parametrize("name", ["packs", "trees", "index", "manifests"])
def test_rot_in_the_store_is_noticed_before_it_is_deployed(connected: Connected, isolated: Isolated, name: str) -> None:
    """94: a bit that flips after the import stops the apply; the former release serves on."""
    for version in ("1.0.0", "1.1.0"):
        isolated.admit(connected.bundle(version, shop(version)))
    isolated.apply("1.0.0")
    store = isolated.folder / "store" / name
    for path in store.iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    with pytest.raises(IntegrityError) as caught:
        isolated.apply("1.1.0", target="    reuse: none\n")
    assert "import a bundle that holds it" in (caught.value.hint or "")
    assert serving(isolated) == "1.0.0"
    assert not _leftovers(isolated.srv)


def _enrolled(connected: Connected, disk: Path) -> Isolated:
    from installer.records.site import Site

    Site.create(disk / "site", connected.first_root.read_bytes(), connected.fingerprint, connected.now)
    return Isolated(root=disk, folder=disk / "site", srv=disk / "srv")
