"""Rebuilders: programs that compress a layer of an image again as they did once, where zlib does not.

What the encoders of Go give, no library gives that Python has. So the site's own `skopeo` or `umoci` does it, where
a receipt has said beforehand that it is there and what it makes of a fixed content. Which programs there are, and
how each is called, stands here and nowhere else: a bundle says a name of this list, and no more.

A program runs in a private folder, without a shell and with nothing of our environment, bounded in time, memory and
the size of what it writes. What it gives counts for nothing before its digest was found to be the signed one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from . import interrupt
from .deflating import PIECE, digests, probed
from .durable import TEMPORARY, storing
from .errors import IntegrityError
from .names import visible

PATH = "/usr/local/bin:/usr/bin:/bin"
"""Where the programs are looked for."""
STEPS = {
    "skopeo": (("skopeo", "--insecure-policy", "copy", "--quiet", "tarball:layer", "oci:out:made"),),
    "umoci": (
        ("umoci", "init", "--layout", "out"),
        ("umoci", "new", "--image", "out:made"),
        ("umoci", "raw", "add-layer", "--image", "out:made", "layer"),
    ),
}
"""What each rebuilder runs, one after the other: the file `layer` becomes a gzip file among the blobs of `out`."""
SECONDS, RATE = 60, 1 << 20
"""Seconds for a run, and a second more for each so many bytes of content."""
MEMORY = 2 << 30
"""Bytes of addresses that a program may map: those of Go map far more than they use."""
_SLACK = 1 << 20
"""Bytes that it may write into one file beyond what its gzip file should have."""
_PROBE_TIMES = 12
"""How often the content of the probe comes: three blocks of the encoder with the largest ones."""
_HEADER, _TRAILER = 10, 8
"""Bytes of a gzip file around its deflate stream, where the header has nothing optional (RFC 1952)."""
_SAID = "said"
_LAUNCH = """
import ctypes, os, resource, sys
ctypes.CDLL(None).prctl(1, 9)
for limit, value in zip((resource.RLIMIT_FSIZE, resource.RLIMIT_AS, resource.RLIMIT_CPU), sys.argv[1:4]):
    resource.setrlimit(limit, (int(value), int(value)))
os.execv(sys.argv[4], sys.argv[5:])
"""
"""Run by a Python of its own: the program has its limits before it begins, and ends with whoever waits for it."""


class RebuilderError(IntegrityError):
    """A program is not there, failed, or gave no gzip file."""


class Rebuilder(NamedTuple):
    """A program that compresses, by its name."""

    name: str

    @property
    def known(self) -> bool:
        """Whether there is one of that name."""
        return self.name in STEPS

    @property
    def here(self) -> bool:
        """Whether its program is on this machine."""
        return shutil.which(STEPS[self.name][0][0], path=PATH) is not None

    def deflate(self, content: Iterable[bytes | memoryview], size: int, room: Path) -> Iterator[bytes]:
        """Yield the raw deflate stream that it makes of a content, in pieces.

        Args:
            content: what is compressed; it lies in `room` meanwhile.
            size: bytes that should come out; it cannot write much more.
            room: a folder that does not exist yet, and is gone afterwards.

        Raises:
            RebuilderError: the program is not there, failed, or gave no gzip file.
            StoreError: the disk refuses.
        """
        with storing(room):
            room.mkdir(mode=0o700)
        try:
            layer = room / "layer"
            with storing(layer), layer.open("xb") as file:
                file.writelines(content)
                length = file.tell()
            self._run(room, length, size)
            with storing(layer):
                layer.unlink()
            yield from self._stream(room)
        finally:
            shutil.rmtree(room, ignore_errors=True)

    def probe(self) -> str:
        """The digest of what it makes of a fixed content, as format 1 defines it (docs/reference/format.md).

        It is run once for each process, as long as its program stays the same file.

        Raises:
            RebuilderError: as `deflate`.
            StoreError: as `deflate`.
        """
        program = self._program(STEPS[self.name][0][0])
        with storing(program):
            said = os.stat(program)
        return _probe(self, program, (said.st_dev, said.st_ino, said.st_ctime_ns, said.st_size))

    def _program(self, name: str) -> str:
        program = shutil.which(name, path=PATH)
        if program is None:
            raise RebuilderError(f"{name}, which is to compress as it did once, is not on this machine")
        return program

    def _run(self, room: Path, length: int, size: int) -> None:
        seconds = SECONDS + length // RATE
        deadline = time.monotonic() + seconds
        limits = (size + _SLACK, MEMORY, 2 * seconds)
        for step in STEPS[self.name]:
            program = self._program(step[0])
            launch = (sys.executable, "-I", "-S", "-c", _LAUNCH, *map(str, limits), program, *step)
            status = _ended(launch, room, deadline)
            if status is None:
                raise RebuilderError(f"{step[0]} did not end within {seconds} seconds")
            if status:
                raise RebuilderError(f"{step[0]} cannot compress: {_last(room) or f'exit code {status}'}")

    def _stream(self, room: Path) -> Iterator[bytes]:
        """The deflate stream of the one gzip file among the blobs."""
        with storing(room):
            blobs = room / "out" / "blobs" / "sha256"
            found = [path for path in sorted(blobs.glob("*")) if _head(path)[:4] == b"\x1f\x8b\x08\0"]
            if len(found) != 1:
                raise RebuilderError(f"{self.name} gave no gzip file")
            with found[0].open("rb") as file:
                left = os.fstat(file.fileno()).st_size - _HEADER - _TRAILER
                file.seek(_HEADER)
                while left > 0:
                    piece = file.read(min(PIECE, left))
                    if not piece:
                        raise RebuilderError(f"{self.name} gave no gzip file")
                    left -= len(piece)
                    yield piece


@cache
def _probe(rebuilder: Rebuilder, program: str, identity: tuple[int, ...]) -> str:
    """What the program of a path makes of the content of the probe; `identity` says which file that is."""
    content = probed() + digests()
    with storing("the folder for temporary files"):
        place = Path(tempfile.gettempdir())
        folder = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=place))
    try:
        running = hashlib.sha256()
        for piece in rebuilder.deflate([content] * _PROBE_TIMES, _PROBE_TIMES * len(content), folder / "room"):
            running.update(piece)
        return running.hexdigest()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def all_here() -> tuple[Rebuilder, ...]:
    """The rebuilders whose programs are on this machine, by name."""
    return tuple(each for each in map(Rebuilder, sorted(STEPS)) if each.here)


def _head(path: Path) -> bytes:
    if path.is_symlink() or not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(_HEADER)


def _ended(command: tuple[str, ...], room: Path, deadline: float) -> int | None:
    """Run one program to its end, and end its children; its exit code, or None where its time was over."""
    environment = {
        "PATH": PATH, "LANG": "C.UTF-8", "HOME": str(room), "TMPDIR": str(room), "XDG_RUNTIME_DIR": str(room),
    }  # fmt: skip
    process: subprocess.Popen[bytes] | None = None
    try:
        with storing(room), (room / _SAID).open("wb") as said, interrupt.held_back():
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                cwd=room,
                env=environment,
                start_new_session=True,
            )
        return process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _last(room: Path) -> str:
    """The last line that a program wrote to its standard error."""
    with storing(room), (room / _SAID).open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 500))
        return visible(file.read().decode("utf-8", "replace").strip().rpartition("\n")[2])[:300]
