"""Rebuilders: what the real programs give, and what a program that misbehaves costs."""

from __future__ import annotations

import errno
import random
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import prose
from layers import compressed, tarred
from registries import need

from sealift import rebuilder
from sealift.errors import StoreError
from sealift.rebuilder import Rebuilder, RebuilderError, all_here

LAYER = tarred({f"{number}.txt": prose(number, 700_000) for number in range(4)} | {"noise": bytes(1000)})
Fake = Callable[[str], Rebuilder]


@pytest.mark.parametrize("name", ["skopeo", "umoci"])
def test_a_real_program_gives_its_layer_again(name: str, tmp_path: Path) -> None:
    """The deflate stream is that of the layer that it wrote before, over several blocks, and nothing is left behind."""
    made = compressed(name, LAYER, tmp_path / "before")
    pieces = [LAYER[place : place + 100_000] for place in range(0, len(LAYER), 100_000)]
    again = b"".join(Rebuilder(name).deflate(pieces, len(made), tmp_path / "room"))
    assert again == made[10:-8]
    assert zlib.decompress(again, -15) == LAYER
    assert [path.name for path in tmp_path.iterdir()] == ["before"]


def test_the_real_programs_are_told_apart_by_their_probes() -> None:
    """Both write blocks of other sizes, and each gives the same every time."""
    for name in ("skopeo", "umoci"):
        need(name)
    first = [each.probe() for each in all_here()]
    rebuilder._probe.cache_clear()
    assert [each.name for each in all_here()] == ["skopeo", "umoci"]
    assert len({*first, *(each.probe() for each in all_here())}) == 2


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """A rebuilder whose program is a script of ours."""

    def make(text: str) -> Rebuilder:
        script = tmp_path / "bin" / "skopeo"
        script.parent.mkdir()
        script.write_text(f"#!{sys.executable} -I\nimport os, sys, time\n{text}\n")
        script.chmod(0o755)
        monkeypatch.setattr(rebuilder, "PATH", str(script.parent))
        return Rebuilder("skopeo")

    return make


BLOB = "os.makedirs('out/blobs/sha256')\nopen('out/blobs/sha256/a', 'wb').write({})\n"


def deflated(by: Rebuilder, room: Path, size: int = 1000) -> bytes:
    """What it makes of some content."""
    return b"".join(by.deflate([b"content"], size, room))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "gave no gzip file"),
        (BLOB.format("b'garbage'"), "gave no gzip file"),
        (BLOB.format("b'\\x1f\\x8b\\x08\\x08name'"), "gave no gzip file"),
        (BLOB.format("b'\\x1f\\x8b\\x08\\0'") + BLOB.format("b'\\x1f\\x8b\\x08\\0'").replace("/a", "/b")
         .replace("os.makedirs('out/blobs/sha256')", ""), "gave no gzip file"),
        ("os.makedirs('out/blobs/sha256')\nos.symlink('/dev/zero', 'out/blobs/sha256/a')", "gave no gzip file"),
        ("print('it\\nfailed \\x1b[31m', file=sys.stderr); sys.exit(3)", r"cannot compress: failed \\x1b\[31m"),
        ("os.kill(os.getpid(), 9)", "cannot compress: exit code -9"),
        ("sys.stdout.write('x' * 10_000_000); sys.exit(1)", "cannot compress: exit code 1"),
        (BLOB.format("bytes(1 << 30)"), "cannot compress: .*File too large"),
        ("x = bytearray(3 << 30)", "cannot compress: MemoryError"),
    ],
    ids=["nothing", "garbage", "a name in the header", "two files", "a link", "words of its own", "killed",
         "much to say", "a disk full", "memory"],
)  # fmt: skip
def test_a_program_that_misbehaves(fake: Fake, tmp_path: Path, text: str, match: str) -> None:
    """67: what a program does instead of compressing is bounded, is an error, and leaves nothing behind."""
    with pytest.raises(RebuilderError, match=match):
        deflated(fake(text), tmp_path / "room")
    assert not (tmp_path / "room").exists()


def test_a_program_that_hangs_is_killed_with_its_children(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """97: it has its time, and then neither it nor what it started goes on."""
    monkeypatch.setattr(rebuilder, "SECONDS", 1)
    program = fake(f"os.fork()\nopen({str(tmp_path / 'pid')!r} + str(os.getpid()), 'w')\ntime.sleep(100)")
    with pytest.raises(RebuilderError, match="did not end within 1 seconds"):
        deflated(program, tmp_path / "room")
    pids = [path.name.removeprefix("pid") for path in tmp_path.glob("pid*")]
    assert pids
    until = time.monotonic() + 5
    while time.monotonic() < until and any(Path(f"/proc/{pid}/cmdline").exists() and _runs(pid) for pid in pids):
        time.sleep(0.01)
    assert not any(_runs(pid) for pid in pids)


def _runs(pid: str) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_program_gets_nothing_of_our_environment(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No password in a variable reaches it, and it works in its own folder, which nobody else may enter."""
    monkeypatch.setenv("SECRET", "hush")
    said = tmp_path / "said"
    program = fake(f"open({str(said)!r}, 'w').write(repr([dict(os.environ), os.getcwd(), os.stat('.').st_mode]))")
    with pytest.raises(RebuilderError):
        deflated(program, tmp_path / "room")
    assert "hush" not in said.read_text()
    assert str(tmp_path / "room") in said.read_text()
    assert said.read_text().endswith(f"{0o40700}]")


def test_a_program_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is run in its place, and it has no probe."""
    monkeypatch.setattr(rebuilder, "PATH", str(tmp_path))
    assert all_here() == ()
    with pytest.raises(RebuilderError, match="is not on this machine"):
        deflated(Rebuilder("umoci"), tmp_path / "room")
    with pytest.raises(RebuilderError, match="is not on this machine"):
        Rebuilder("umoci").probe()


def test_a_room_that_cannot_be_made(tmp_path: Path) -> None:
    """Where the disk refuses, that is said, and no program is run."""
    with pytest.raises(StoreError):
        deflated(Rebuilder("umoci"), tmp_path / "nowhere" / "room")


def test_noise_is_compressed_too(tmp_path: Path) -> None:
    """What does not compress comes out a little larger, which the bound for its file allows."""
    need("umoci")
    noise = random.Random(1).randbytes(300_000)
    assert zlib.decompress(b"".join(Rebuilder("umoci").deflate([noise], 300_000, tmp_path / "room")), -15) == noise


def test_no_folder_for_temporary_files(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a probe finds none, the disk is named and nothing is raised that nobody expects."""
    program = fake("exit 1")

    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with pytest.raises(StoreError, match="the folder for temporary files"):
        program.probe()
