"""What a worker does with a group: read, cut into chunks, hash, and compress what is new.

It answers with the digests and the tree's lines, then, when told which chunks are new, with the frames
that hold them: one for what compresses and one for what does not. Frames lie in the shared slot. Where a
window of a large file ends it says before all else, because the next window waits for that.
"""

from __future__ import annotations

import os
from collections import deque
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
import zstandard

from sealift.crew import Body, Channel
from sealift.errors import SourceError
from sealift.frame import compressible, seal, store
from sealift.names import visible
from sealift.tree import Entry

from .grouping import WINDOW, Group

WHOLE_MAX = 1 << 20
"""Bytes up to which a file is one chunk."""
CHUNK_MIN, CHUNK_AVERAGE, CHUNK_MAX = 128 << 10, 256 << 10, 1 << 20
"""Bytes of the content-defined chunks of larger files (FastCDC). What lies before the least size is skipped, which
is what makes it quick: half the average as the least halves the time."""
SLOT = WINDOW + (WINDOW >> 6) + 4096
"""Bytes that the frames of a group need at most; a worker has two such slots and fills them in turn."""
AHEAD = 2
"""Groups that a worker may have at a time: as many as it has slots."""
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Cut(NamedTuple):
    """What a worker found in a group."""

    digests: list[bytes]
    """Of each chunk, in order."""
    sizes: list[int]
    """Bytes of each chunk."""
    lines: bytes
    """The tree's lines of whole files and of all else in the group; none of a window."""


class Sealed(NamedTuple):
    """One frame that a worker made."""

    chunks: list[int]
    """Positions of its chunks among all chunks of the group."""
    size: int
    length: int
    digest: str


def task(group: Group) -> tuple[object, ...]:
    """The message that gives a worker a group: plain values, which are quick to send."""
    if group.window:
        return tuple(group.window.file), group.window.offset
    return ([tuple(entry) for entry in group.entries],)


def cutter(level: int) -> Body:
    """The body of a worker that compresses at `level`."""

    def body(channel: Channel) -> None:
        bench = _Bench(level)
        waiting: deque[tuple[Any, ...]] = deque()
        turn = 0
        while True:
            message = waiting.popleft() if waiting else channel.receive()
            if len(message) == 1:
                cut = bench.whole(message[0])
            else:
                end = bench.read_window(*message)
                channel.send(end)
                cut = bench.window()
            channel.send(tuple(cut))
            while not isinstance(new := channel.receive(), bytes):
                waiting.append(new)
            if any(new):
                assert channel.slot is not None
                channel.send(bench.frames(new, memoryview(channel.slot)[turn * SLOT : (turn + 1) * SLOT]))
                turn = 1 - turn

    return body


class _Bench:
    """What a worker keeps from group to group: its compressors and one buffer."""

    def __init__(self, level: int) -> None:
        self._probe = zstandard.ZstdCompressor(level=1)
        self._compressor = zstandard.ZstdCompressor(
            level=level, write_checksum=False, write_content_size=True, threads=0
        )
        self._buffer = memoryview(bytearray(WINDOW))
        self._bounds: list[tuple[int, int]] = []
        """Where in the buffer each chunk of the group starts and ends."""

    def whole(self, entries: list[tuple[Any, ...]]) -> Cut:
        """Read, cut and hash whole files."""
        encode, buffer, bounds = msgspec.json.encode, self._buffer, self._bounds
        digests: list[bytes] = []
        lines: list[bytes] = []
        bounds.clear()
        start = 0
        for path, kind, executable, size, origin, stamp, target in entries:
            if kind == "file":
                end = start + size
                found: list[str] = []
                lengths: list[int] = []
                if size:
                    content = buffer[start:end]
                    _read(origin, stamp, size, 0, content)
                    for first, last in _cuts(content, size, 0):
                        running = sha256(content[first:last])
                        digests.append(running.digest())
                        found.append(running.hexdigest())
                        lengths.append(last - first)
                        bounds.append((start + first, start + last))
                    start = end
                lines.append(encode(file_entry(path, executable, size, found, lengths)))
            elif kind == "dir":
                lines.append(encode(Entry(path, "dir", "0755")))
            else:
                lines.append(encode(Entry(path, "link", target=target)))
        lines.append(b"")
        return Cut(digests, [last - first for first, last in bounds], b"\n".join(lines))

    def read_window(self, file: tuple[Any, ...], offset: int) -> int:
        """Read and cut one window of a large file; return where its last chunk ends in the file."""
        _, _, _, size, origin, stamp, _ = file
        content = self._buffer[: min(size - offset, WINDOW)]
        _read(origin, stamp, size, offset, content)
        self._bounds = _cuts(content, size, offset)
        return offset + self._bounds[-1][1]

    def window(self) -> Cut:
        """Hash the window that was read."""
        digests = [sha256(self._buffer[first:last]).digest() for first, last in self._bounds]
        return Cut(digests, [last - first for first, last in self._bounds], b"")

    def frames(self, new: bytes, slot: memoryview) -> list[tuple[object, ...]]:
        """Compress the chunks that are new into the slot."""
        loose: list[int] = []
        dense: list[int] = []
        for position, (first, last) in enumerate(self._bounds):
            if new[position]:
                (loose if compressible(self._buffer[first:last], self._probe) else dense).append(position)
        frames: list[tuple[object, ...]] = []
        end = 0
        for positions, stored in ((loose, False), (dense, True)):
            if positions:
                pieces = self._joined(positions)
                frame = store(pieces) if stored else seal(pieces, self._compressor)
                if end + len(frame) > len(slot):
                    raise RuntimeError("a frame is larger than its slot")
                slot[end : end + len(frame)] = frame
                end += len(frame)
                frames.append((positions, sum(map(len, pieces)), len(frame), sha256(frame).hexdigest()))
        return frames

    def _joined(self, positions: list[int]) -> list[memoryview]:
        """The content of some chunks, neighbours in one piece."""
        pieces: list[list[int]] = []
        for position in positions:
            first, last = self._bounds[position]
            if pieces and pieces[-1][1] == first:
                pieces[-1][1] = last
            else:
                pieces.append([first, last])
        return [self._buffer[first:last] for first, last in pieces]


def file_entry(path: str, executable: bool, size: int, digests: list[str], sizes: list[int]) -> Entry:
    """The tree's line of a file."""
    several = tuple(sizes) if len(sizes) > 1 else ()
    return Entry(path, "file", "0755" if executable else "0644", size, tuple(digests), several)


def _read(origin: str, stamp: tuple[int, int], size: int, offset: int, into: memoryview) -> None:
    """Fill `into` with the content of a file at `offset`; refuse a file that is not, or no more, what was found.

    One look at its state after the last read is enough: whatever changed it before that has left its mark.
    """
    try:
        descriptor = os.open(origin, _FLAGS)
        try:
            done = os.preadv(descriptor, [into], offset)
            while done < len(into):
                more = os.preadv(descriptor, [into[done:]], offset + done)
                if not more:
                    raise _changed(origin)
                done += more
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SourceError(f"cannot read {visible(origin)}: {(error.strerror or '').lower()}") from error
    if status.st_mtime_ns != stamp[1] or status.st_ino != stamp[0] or status.st_size != size:
        raise _changed(origin)


def _changed(origin: str) -> SourceError:
    return SourceError(
        f"{visible(origin)} changed while it was exported",
        hint="export from a finished build that nobody writes to",
    )


def _cuts(content: memoryview, size: int, offset: int) -> list[tuple[int, int]]:
    """Where each chunk of a file of `size` bytes, or of its window at `offset`, starts and ends in `content`."""
    if size <= WHOLE_MAX:
        return [(0, size)]
    from fastcdc.fastcdc_cy import fastcdc_cy

    found = [
        (chunk.offset, chunk.offset + chunk.length)
        for chunk in fastcdc_cy(content, CHUNK_MIN, CHUNK_AVERAGE, CHUNK_MAX)
    ]
    if offset + len(content) < size:
        found.pop()
    return found
