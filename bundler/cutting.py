"""What a worker does with a group: read, cut into chunks, hash, and compress what is new.

It answers twice: first with the digests, then, when told which chunks are new, with the frames that
hold them: one for what compresses and one for what does not. The frames lie in the shared slot.
"""

from __future__ import annotations

import hashlib
import os
from typing import NamedTuple

import zstandard

from sealift.crew import Body, Channel
from sealift.errors import SourceError
from sealift.frame import compressible, seal, store
from sealift.names import visible

from .grouping import WINDOW, Reading

WHOLE_MAX = 1 << 20
"""Bytes up to which a file is one chunk."""
CHUNK_MIN, CHUNK_AVERAGE, CHUNK_MAX = 64 << 10, 256 << 10, 1 << 20
"""Bytes of the content-defined chunks of larger files (FastCDC)."""
SLOT = WINDOW + (WINDOW >> 6) + 4096
"""Bytes that the frames of a group need at most."""


class Sealed(NamedTuple):
    """One frame that a worker made."""

    chunks: list[int]
    """Positions of its chunks among all chunks of the group."""
    size: int
    length: int
    digest: str


def cutter(level: int) -> Body:
    """The body of a worker that compresses at `level`."""

    def body(channel: Channel) -> None:
        probe = zstandard.ZstdCompressor(level=1)
        while True:
            readings: list[Reading] = channel.receive()
            chunks: list[memoryview] = []
            digests: list[list[tuple[bytes, int]]] = []
            for reading in readings:
                pieces = _cut(_read(reading), reading)
                digests.append([(hashlib.sha256(piece).digest(), len(piece)) for piece in pieces])
                chunks += pieces
            channel.send(digests)
            new: bytes = channel.receive()
            channel.send(_frames(channel, chunks, new, level, probe))

    return body


def _frames(
    channel: Channel, chunks: list[memoryview], new: bytes, level: int, probe: zstandard.ZstdCompressor
) -> list[Sealed]:
    slot = channel.slot
    dense: list[int] = []
    loose: list[int] = []
    for position, chunk in enumerate(chunks):
        if new[position]:
            (loose if compressible(chunk, probe) else dense).append(position)
    frames = []
    end = 0
    for positions, stored in ((loose, False), (dense, True)):
        if positions:
            content = [chunks[position] for position in positions]
            frame = store(content) if stored else seal(b"".join(content), level)
            if slot is None or end + len(frame) > len(slot):
                raise RuntimeError("a frame is larger than its slot")
            slot[end : end + len(frame)] = frame
            end += len(frame)
            size = sum(len(piece) for piece in content)
            frames.append(Sealed(positions, size, len(frame), hashlib.sha256(frame).hexdigest()))
    return frames


def _read(reading: Reading) -> memoryview:
    """The content of a window, refused if the file is not the one that was found, or changes meanwhile."""
    want = min(reading.size - reading.offset, WINDOW)
    try:
        descriptor = os.open(reading.origin, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _check(os.fstat(descriptor), reading)
            if reading.offset:
                os.lseek(descriptor, reading.offset, os.SEEK_SET)
            content = os.read(descriptor, want)
            while len(content) < want:
                more = os.read(descriptor, want - len(content))
                if not more:
                    raise _changed(reading)
                content += more
            _check(os.fstat(descriptor), reading)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SourceError(f"cannot read {visible(reading.origin)}: {(error.strerror or '').lower()}") from error
    return memoryview(content)


def _check(status: os.stat_result, reading: Reading) -> None:
    if (status.st_ino, status.st_mtime_ns) != reading.stamp or status.st_size != reading.size:
        raise _changed(reading)


def _changed(reading: Reading) -> SourceError:
    return SourceError(
        f"{visible(reading.origin)} changed while it was exported",
        hint="export from a finished build that nobody writes to",
    )


def _cut(content: memoryview, reading: Reading) -> list[memoryview]:
    if reading.size <= WHOLE_MAX:
        return [content]
    from fastcdc.fastcdc_cy import fastcdc_cy

    pieces = [
        content[chunk.offset : chunk.offset + chunk.length]
        for chunk in fastcdc_cy(content, CHUNK_MIN, CHUNK_AVERAGE, CHUNK_MAX)
    ]
    if reading.offset + len(content) < reading.size:
        pieces.pop()
    return pieces
