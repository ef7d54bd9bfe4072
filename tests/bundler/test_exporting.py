"""The export: the same inputs give the same bytes, a release never changes, and a failure leaves nothing half-way."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from killer import Side, killed
from told import Told
from worlds import NOW, Connected, sample, write_tree

from bundler.depots.holding import Anchor, in_bundle, open_bundle
from bundler.depots.published import Reference
from bundler.exporting import Times, export
from bundler.sealing import Effort
from bundler.spec import load
from keys.repository import online_signer, verify
from sealift.errors import IntegrityError, SealiftError, SourceError, StoreError, UsageError
from sealift.progress import Progress, Silent

CONTENT = ("trees", "index", "packs", "manifests")
SMALL = {"a": b"a" * 100, "d/b": b"b" * 200}
ASKED = Silent()


def contents(connected: Connected, *kinds: str) -> dict[str, str]:
    """The digest of every content file of a depot, by its name."""
    return {
        f"{kind}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for kind in kinds or CONTENT
        for path in (connected.depot.folder / kind).iterdir()
    }


def everything(folder: Path) -> dict[str, bytes]:
    """All files below `folder` but the lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def again(connected: Connected, name: str, version: str, out: Path, progress: Progress = ASKED) -> None:
    """Export `name@version` of the depot."""
    export(
        [Reference(name=name, version=version)],
        connected.depot,
        out,
        effort=Effort(level=3, threads=2),
        signer_for=online_signer(connected.depot.folder, Told(), unsafe_unencrypted=True),
        times=Times(now=NOW, published=NOW, epoch=0),
        progress=progress,
    )


def test_the_same_content_again_is_a_no_op(connected: Connected) -> None:
    """The second export makes and signs nothing, and gives the same bundle byte for byte."""
    spec = connected.spec("1.0.0", sample())
    first = connected.export(spec)
    before = everything(connected.depot.folder)
    second = connected.export(spec, connected.root / "again.sealift")
    assert second.read_bytes() == first.read_bytes()
    assert everything(connected.depot.folder) == before
    made = connected.made["again.sealift"]
    assert (made.signed, made.sealed[0].new) == (False, False)


@pytest.mark.parametrize("change", ["content", "added", "removed", "executable", "link", "hook"])
def test_other_content_under_a_published_version_is_refused(connected: Connected, change: str) -> None:
    """Exit 2 with what differs; the depot stays as it was, and no bundle is written."""
    spec = connected.spec("1.0.0", {**SMALL, "bin/check": b"#!/bin/sh\n"})
    connected.export(spec)
    folder = connected.root / "shop-1.0.0"
    before = everything(connected.depot.folder)
    if change == "content":
        (folder / "a").write_bytes(b"A" * 100)
    elif change == "added":
        (folder / "new").touch()
    elif change == "removed":
        (folder / "a").unlink()
    elif change == "executable":
        (folder / "bin/check").chmod(0o644)
    elif change == "link":
        (folder / "link").symlink_to("a")
    else:
        connected.spec("1.0.0", more="hooks:\n  after-switch: [{run: [web/bin/check]}]\n")
    with pytest.raises(UsageError, match="already published with other content") as raised:
        connected.export(spec, connected.root / "other.sealift")
    assert ("hooks" if change == "hook" else "web") in raised.value.message
    assert "new version" in (raised.value.hint or "")
    assert everything(connected.depot.folder) == before
    assert not (connected.root / "other.sealift").exists()


def test_another_depot_at_another_time_gives_the_same_content(
    connected: Connected, another: Callable[..., Connected]
) -> None:
    """Packs, trees, index and release manifest depend on the content alone; signatures and times are elsewhere."""
    other = another("other", NOW + timedelta(days=30))
    for each in (connected, other):
        each.bundle("1.0.0")
    assert contents(connected) == contents(other)
    assert connected.fingerprint != other.fingerprint


def test_times_and_umask_do_not_matter(connected: Connected, another: Callable[..., Connected]) -> None:
    """Files of other ages and other modes are the same content, as long as the executable bit is."""
    connected.bundle("1.0.0", SMALL)
    other = another("other")
    former = os.umask(0o077)
    try:
        spec = other.spec("1.0.0", SMALL)
    finally:
        os.umask(former)
    for path in (other.root / "shop-1.0.0").rglob("*"):
        os.utime(path, (1, 1))
    other.export(spec)
    assert contents(connected) == contents(other)
    for path in (other.root / "shop-1.0.0").rglob("*"):
        os.utime(path, (2, 2))
        path.chmod(0o755 if path.is_dir() else 0o664)
    other.export(spec, other.root / "again.sealift")
    assert not other.made["again.sealift"].sealed[0].new


def test_the_number_of_workers_does_not_matter(connected: Connected, another: Callable[..., Connected]) -> None:
    """One worker and three give the same bytes."""
    other = another("other")
    connected.export(connected.spec("1.0.0", sample()), threads=1)
    other.export(other.spec("1.0.0", sample()), threads=3)
    assert contents(connected) == contents(other)


def test_the_level_changes_packs_and_not_what_is_published(
    connected: Connected, another: Callable[..., Connected]
) -> None:
    """Another level packs otherwise, under the same trees and the same release manifest."""
    other = another("other")
    connected.export(connected.spec("1.0.0", sample()), level=1)
    other.export(other.spec("1.0.0", sample()), level=12)
    assert contents(connected, "trees") == contents(other, "trees")
    assert contents(connected, "packs") != contents(other, "packs")
    one, two = (each.made["shop-1.0.0.sealift"].sealed[0].part.release for each in (connected, other))
    assert one == two


def test_another_level_does_not_repack_what_is_published(connected: Connected) -> None:
    """A published release is exported as it is, whatever level is asked for."""
    spec = connected.spec("1.0.0", sample())
    first = connected.export(spec, level=1)
    second = connected.export(spec, connected.root / "again.sealift", level=12)
    assert second.read_bytes() == first.read_bytes()


def test_the_order_of_the_files_on_disk_does_not_matter(
    connected: Connected, another: Callable[..., Connected]
) -> None:
    """Files that were made in another order are the same tree."""
    files = {f"d{number % 3}/f{number}": b"%d" % number for number in range(30)}
    other = another("other")
    connected.bundle("1.0.0", files)
    other.bundle("1.0.0", dict(reversed(files.items())))
    assert contents(connected) == contents(other)


def test_several_releases_travel_in_one_bundle(connected: Connected) -> None:
    """Each spec is a release of its own, with its provenance, and what they share crosses once."""
    shop, api = connected.spec("1.0.0", SMALL), connected.spec("2.0.0", SMALL, release="api")
    path = connected.export([shop, api])
    with open_bundle(path, Anchor(root=connected.first_root), NOW) as (bundle, opened):
        assert [each.release.label for each in in_bundle(bundle, opened)] == ["shop@1.0.0", "api@2.0.0"]
        assert len(bundle.of("manifest")) == 1 + 2 + 2
        assert len(bundle.of("tree")) == 1
        assert len(bundle.of("pack")) == 1


def test_a_published_release_is_exported_by_its_name(connected: Connected) -> None:
    """`NAME@VERSION` needs no sources, and gives the same bundle as the spec did."""
    first = connected.bundle("1.0.0", SMALL)
    shutil.rmtree(connected.root / "shop-1.0.0")
    again(connected, "shop", "1.0.0", connected.root / "again.sealift")
    assert (connected.root / "again.sealift").read_bytes() == first.read_bytes()


def test_a_release_that_is_not_published_cannot_be_named(connected: Connected) -> None:
    """The hint says how to see what there is."""
    with pytest.raises(UsageError, match="no release shop@9") as raised:
        again(connected, "shop", "9", connected.root / "again.sealift")
    assert "sealift-bundle list" in (raised.value.hint or "")


@pytest.mark.parametrize("kind", ["packs", "index", "trees"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
def test_what_was_damaged_in_the_depot_is_noticed(connected: Connected, kind: str, damage: str) -> None:
    """A re-export checks what it carries: exit 5, the file is named, and no bundle is written."""
    connected.bundle("1.0.0", SMALL)
    (path,) = (connected.depot.folder / kind).iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content if damage == "flipped" else content[:-1])
    with pytest.raises(IntegrityError, match="missing or damaged") as raised:
        again(connected, "shop", "1.0.0", connected.root / "again.sealift")
    assert path.name in raised.value.message
    assert not (connected.root / "again.sealift").exists()


@pytest.mark.parametrize("kind", ["manifests", "records/shop"])
def test_a_depot_that_forgot_a_release_is_noticed(connected: Connected, kind: str) -> None:
    """Without its manifest or its record a published release cannot be exported: exit 5."""
    connected.bundle("1.0.0", SMALL)
    for path in (connected.depot.folder / kind).iterdir():
        path.unlink()
    with pytest.raises(IntegrityError, match="missing"):
        again(connected, "shop", "1.0.0", connected.root / "again.sealift")


@pytest.mark.parametrize("change", ["grows", "vanishes", "replaced"])
def test_a_file_that_changes_meanwhile_is_refused(connected: Connected, change: str) -> None:
    """What was found is not what is read: exit 3, and nothing is published."""
    spec = connected.spec("1.0.0", {"a": bytes(16 << 20), "b": b"late"})
    late = connected.root / "shop-1.0.0" / "a"

    class Changing(Silent):
        def advance(self, amount: int) -> None:
            if change == "grows":
                with late.open("ab") as file:
                    file.write(b"more")
            elif change == "vanishes":
                late.unlink(missing_ok=True)
            else:
                late.with_name("new").write_bytes(bytes(16 << 20))
                os.replace(late.with_name("new"), late)

    with pytest.raises(SourceError, match=r"changed while it was exported|cannot read"):
        export(
            [load(spec)],
            connected.depot,
            connected.root / "x.sealift",
            effort=Effort(level=1, threads=1),
            signer_for=online_signer(connected.depot.folder, Told(), unsafe_unencrypted=True),
            times=Times(now=NOW, published=NOW, epoch=0),
            progress=Changing(),
        )
    assert not verify(connected.depot.folder).entries
    assert not (connected.root / "x.sealift").exists()


@pytest.mark.parametrize("place", ["nowhere/x.sealift", "folder"])
def test_a_bundle_needs_a_place(connected: Connected, place: str) -> None:
    """A folder that is missing, or has the bundle's name, is told before anything is sealed."""
    (connected.root / "folder").mkdir()
    spec = connected.spec("1.0.0", SMALL)
    with pytest.raises(UsageError, match="folder"):
        connected.export(spec, connected.root / place)
    assert not verify(connected.depot.folder).entries


class Full:
    """Lets the n-th fsync or rename of this process find the disk full."""

    def __init__(self, nth: int) -> None:
        self.left, self.failed = nth, False
        self._own = os.getpid()

    def wrapped(self, real: Callable[..., object]) -> Callable[..., object]:
        """`real`, counted."""

        def call(*args: object, **options: object) -> object:
            if os.getpid() == self._own:
                self.left -= 1
                if self.left == 0:
                    self.failed = True
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args, **options)

        return call


def _failed_exports(
    connected: Connected, run: Callable[[int, Connected, Path], bool]
) -> Iterator[tuple[int, Connected, Path]]:
    """A copy of the depot after an export that `run` lets fail at its n-th step, for every n."""
    connected.bundle("0.9.0", SMALL)
    spec = connected.spec("1.0.0", {**SMALL, "new": b"new" * 1000})
    for nth in range(1, 200):
        root = connected.root / f"attempt-{nth}"
        shutil.copytree(connected.depot.folder, root / "depot")
        copy = Connected(root=root, depot=type(connected.depot)(root / "depot"), fingerprint=connected.fingerprint)
        if not run(nth, copy, spec):
            return
        yield nth, copy, spec
        shutil.rmtree(root)
    raise AssertionError("an export has no two hundred steps")


def _check_left(nth: int, copy: Connected, spec: Path) -> None:
    """The depot verifies, nothing is published by half, no bundle is there by half, and a next run does it all."""
    out = copy.root / "out.sealift"
    left = out.read_bytes() if out.exists() else None
    labels = {f"{entry.name}@{entry.version}" for entry in verify(copy.depot.folder).entries if entry.name}
    assert labels in ({"shop@0.9.0"}, {"shop@0.9.0", "shop@1.0.0"}), nth
    again(copy, "shop", "0.9.0", copy.root / "former.sealift")
    copy.export(spec, out)
    assert left in (None, out.read_bytes()), nth
    copy.export(spec, copy.root / "again.sealift")
    assert (copy.root / "again.sealift").read_bytes() == out.read_bytes()
    assert not [path for path in copy.depot.folder.rglob("*") if path.name.startswith(".tmp-")], nth
    with open_bundle(out, Anchor(root=copy.first_root), NOW) as (bundle, opened):
        assert [each.release.label for each in in_bundle(bundle, opened)] == ["shop@1.0.0"]


@pytest.mark.slow
@pytest.mark.parametrize("side", ["before", "after"])
def test_a_killed_export_publishes_nothing_by_half(connected: Connected, side: Side) -> None:
    """Whichever change of the disk a run ends at, the depot works, and the next run is as if it had not been."""
    reached = 0

    def run(nth: int, copy: Connected, spec: Path) -> bool:
        return killed(lambda: copy.export(spec, copy.root / "out.sealift", threads=1), nth, side)

    for nth, copy, spec in _failed_exports(connected, run):
        _check_left(nth, copy, spec)
        reached = nth
    assert reached > 15


@pytest.mark.slow
def test_a_full_disk_publishes_nothing_by_half(connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever fsync or rename fails, it is exit 8 with what helps, and no temporary file stays in the way."""
    reached = 0
    raised: list[SealiftError] = []

    def run(nth: int, copy: Connected, spec: Path) -> bool:
        full = Full(nth)
        with monkeypatch.context() as patch:
            for name in ("fsync", "replace"):
                patch.setattr(os, name, full.wrapped(getattr(os, name)))
            try:
                copy.export(spec, copy.root / "out.sealift", threads=1)
            except SealiftError as error:
                raised.append(error)
        assert full.failed is (len(raised) == nth), nth
        return full.failed

    for nth, copy, spec in _failed_exports(connected, run):
        assert not list(copy.root.rglob(".tmp-*")), nth
        _check_left(nth, copy, spec)
        reached = nth
    assert reached > 15
    assert {type(error) for error in raised} == {StoreError}
    assert all("free some space" in (error.hint or "") for error in raised)


def test_what_a_source_cannot_carry_publishes_nothing(connected: Connected) -> None:
    """A FIFO among the files is named with exit 3, and the depot stays as it was."""
    spec = connected.spec("1.0.0", SMALL)
    os.mkfifo(connected.root / "shop-1.0.0" / "pipe")
    before = everything(connected.depot.folder)
    with pytest.raises(SourceError, match="a FIFO"):
        connected.export(spec)
    assert everything(connected.depot.folder) == before


def test_the_depot_inside_a_source_is_refused(connected: Connected) -> None:
    """Neither keys nor packs become part of a release; the hint says how to leave them out."""
    write_tree(connected.root / "src", SMALL)
    path = connected.root / "all.yaml"
    text = "release: all\nversion: '1'\nartifacts:\n  web:\n    source: path\n    path: .\n"
    path.write_text(text)
    with pytest.raises(UsageError, match="artifact web would take in the depot") as raised:
        connected.export(path, connected.root.parent / "out.sealift")
    assert "exclude: [depot]" in (raised.value.hint or "")
    path.write_text(text + "    exclude: [depot, '*.sealift']\n")
    connected.export(path, connected.root / "out.sealift")
    connected.export(path, connected.root / "again.sealift")
    assert not connected.made["again.sealift"].sealed[0].new


def test_the_bundle_inside_a_source_is_refused(connected: Connected) -> None:
    """A bundle that would be part of the next export's content is refused, even before it is there."""
    spec = connected.spec("1.0.0", SMALL)
    with pytest.raises(UsageError, match="artifact web would take in the bundle"):
        connected.export(spec, connected.root / "shop-1.0.0" / "x.sealift")


def test_the_inside_of_a_depot_is_no_source(connected: Connected) -> None:
    """A path into the depot, such as to its keys, is refused."""
    path = connected.root / "keys.yaml"
    path.write_text("release: k\nversion: '1'\nartifacts: {k: {source: path, path: depot/keys}}\n")
    with pytest.raises(UsageError, match="would take in the depot"):
        connected.export(path, connected.root.parent / "out.sealift")


@pytest.mark.parametrize("name", ["depot.json", "keys/online.pem", "metadata/timestamp.json", "new.sealift"])
def test_a_bundle_is_never_written_into_the_depot(connected: Connected, name: str) -> None:
    """Where it could replace a key or the depot's own state."""
    before = everything(connected.depot.folder)
    with pytest.raises(UsageError, match="lies in the depot"):
        connected.export(connected.spec("1.0.0", SMALL), connected.depot.folder / name)
    assert everything(connected.depot.folder) == before


def test_a_bundle_never_takes_the_place_of_a_device_or_a_pipe(connected: Connected, tmp_path: Path) -> None:
    """`--out /dev/null` as root would replace the machine's own."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="is no regular file"):
        connected.export(connected.spec("1.0.0", SMALL), pipe)
    assert pipe.is_fifo()


def test_a_release_that_is_named_twice_is_refused(connected: Connected) -> None:
    """No site would read such a bundle."""
    spec = connected.spec("1.0.0", SMALL)
    with pytest.raises(UsageError, match="named twice"):
        connected.export([spec, spec])
    assert not list(connected.root.glob("*.sealift"))
