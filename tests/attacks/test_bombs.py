"""What is small in a bundle and large or slow when it is opened meets a bound, in memory and in time."""

from __future__ import annotations

import os
import random
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from forge import Forge, Spoils, compress, link
from worlds import Isolated

from sealift.container import Reader, header
from sealift.errors import SealiftError
from sealift.frame import unseal
from sealift.opening import authenticate, listings
from sealift.trust import Trust
from tests.tufmaker import NOW

MEMORY = 192 << 20
"""Bytes that a refusal may take beyond what the process has already."""
SECONDS = 20
LARGE = 768 << 20
"""Bytes that come out of each bomb."""


def confined(work: Callable[[], object]) -> int:
    """Run `work` in a process of bounded memory and time; the exit code of the error that it ends with, or 0."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with open("/proc/self/statm", "rb") as file:
                now = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            work()
            code = 0
        except SealiftError as error:
            code = error.exit_code
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def opened(path: Path, trust: Trust) -> None:
    """Everything that looks into a bundle's content."""
    with Reader(path) as bundle:
        for content in authenticate(bundle, trust, reference=NOW).contents:
            for _ in listings(bundle, content):
                pass


def poured(pieces: Iterator[bytes], size: int = -1) -> bytes:
    """One frame of much content, made in little memory."""
    compressor = zstandard.ZstdCompressor(level=1, write_checksum=False).compressobj(size=size)
    return b"".join([*map(compressor.compress, pieces), compressor.flush()])


def large(unit: bytes, heading: bytes = b'{"format":1,"type":"tree"}\n') -> bytes:
    """A frame of `LARGE` bytes, a listing's heading and then the same over and over."""

    def pieces() -> Iterator[bytes]:
        yield heading
        piece = unit * ((1 << 20) // len(unit))
        left = LARGE - len(heading)
        while left:
            yield piece[:left]
            left -= min(left, len(piece))

    return poured(pieces(), LARGE)


def honest(made: bytes) -> Spoils:
    """A tree that says how large it is."""
    return {"tree_file": lambda _: made, "tree": lambda blob: {**blob, "size": LARGE}}


BOMBS: dict[str, tuple[Callable[[], Spoils], int]] = {
    "67 one endless line": (lambda: honest(large(b"x")), 4),
    "67 nothing but line ends": (lambda: honest(large(b"\n")), 4),
    "39 67 nothing but brackets": (lambda: honest(large(b"[")), 4),
    "67 one entry over and over": (lambda: honest(large(b'{"path":"a","type":"dir","mode":"0755"}\n')), 4),
    "67 69 far more than it says": (lambda: {"tree_file": lambda _: large(b"x")}, 5),
    "67 69 far less than it says": (lambda: {"tree": lambda blob: {**blob, "size": 4 << 30}}, 5),
    "67 an index without end": (
        lambda: {
            "index_file": lambda _: large(b"x", b'{"format":1,"type":"index"}\n'),
            "index": lambda blob: {**blob, "size": LARGE},
        },
        4,
    ),
    "68 a window of 2 GiB": (
        lambda: {"tree_file": lambda frame: b"\x28\xb5\x2f\xfd\x00" + bytes([21 << 3]) + frame[-64:]},
        5,
    ),
    "77 a run of 2^53 chunks": (lambda: {"lines": lambda lines: [{**lines[0], "chunks": [[0, 2**53]]}]}, 4),
    "77 ten million runs": (lambda: {"lines": lambda lines: [{**lines[0], "chunks": [[0, 1]] * 100_000}]}, 4),
    "39 a manifest of brackets": (lambda: {"release_file": lambda _: b'{"format":1,"x":' + b"[" * (15 << 20)}, 4),
    "40 a manifest of digits": (lambda: {"release_file": lambda _: b'{"format":' + b"9" * (15 << 20) + b"}"}, 4),
    "39 a timestamp of brackets": (
        lambda: {"metadata": lambda files: {**files, "timestamp.json": b"[" * (8 << 20)}},
        4,
    ),
    "40 targets of digits": (
        lambda: {"metadata": lambda files: {**files, "2.targets.json": b'{"signed":' + b"9" * (5 << 20)}},
        4,
    ),
}


@pytest.mark.parametrize(("spoils", "exit_code"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_meets_its_bound(spoils: Callable[[], Spoils], exit_code: int, forge: Forge, tmp_path: Path) -> None:
    """39, 40, 67 to 69, 77: refused in bounded memory and time, though a valid key signed it."""
    path = forge.bundle(tmp_path / "bomb.sealift", spoils(), version=2)
    trust = Trust(roots=(forge.root,))
    began = time.monotonic()
    assert confined(lambda: opened(path, trust)) == exit_code
    assert time.monotonic() - began < SECONDS


def test_a_frame_gives_no_more_than_its_signed_size() -> None:
    """67: a frame of a pack is decompressed into as many bytes as the index says, whatever it holds."""
    bomb = poured(bytes(1 << 20) for _ in range(LARGE >> 20))
    liar = compress(bytes(700))[:4] + b"\x60" + (700 - 256).to_bytes(2, "little") + b"\x02\0\x80x" * 90_000
    for frame in (bomb, liar + b"\x03\0\x80x"):
        assert confined(lambda frame=frame: unseal(frame, 700)) == 5  # type: ignore[misc]


def test_metadata_is_bounded_in_all(tmp_path: Path) -> None:
    """64: many roots, each as large as a member may be, are refused before one is read."""
    path = tmp_path / "large.sealift"
    with path.open("wb") as file:
        file.write(header("SEALIFT.json", 2, 0) + b"{}".ljust(512, b"\0"))
        for number in range(1, 200):
            file.write(header(f"metadata/{number}.root.json", 8 << 20, 0))
            file.seek(8 << 20, os.SEEK_CUR)
        file.write(bytes(1024))
    assert confined(lambda: opened(path, Trust(roots=(b"",)))) == 4


def test_one_tree_of_many_artifacts_is_held_once(forge: Forge, isolated: Isolated, tmp_path: Path) -> None:
    """67: a small bundle that names the same large tree over and over does not take its size each time."""
    noise = random.Random(3).randbytes(3 << 20).hex()
    links = [link(f"{number:04}", noise[number * 2048 : (number + 1) * 2048]) for number in range(3072)]
    path = forge.bundle(
        tmp_path / "many.sealift",
        {
            "entries": lambda lines: [*links, *lines],
            "release": lambda said: {
                **said,
                "artifacts": [{**said["artifacts"][0], "name": f"a{number:03}"} for number in range(80)],
            },
        },
        version=2,
    )
    assert confined(lambda: isolated.admit(path)) == 0
