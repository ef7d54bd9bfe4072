"""Frames: pieces of content compressed together as one zstd frame (RFC 8878), and back.

A frame declares its content size, has no checksum (its digest stands in the signed index) and never
a dictionary. Content that does not compress goes into raw blocks, so that any zstd reader opens it and
nobody recompresses it. A reader knows the exact size of what comes out before it starts, and refuses
a larger window, a second frame, and bytes after the end.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import zstandard

from .errors import IntegrityError, MalformedError

FRAME_MAX = 8 << 20
"""Bytes of content in one frame at most; also the largest window that a reader grants."""
_MAGIC = 0xFD2FB528
_BLOCK = 128 << 10
_SAMPLE = 4096
_PIECE = 1 << 18


def seal(pieces: list[memoryview], compressor: zstandard.ZstdCompressor) -> bytes:
    """Compress `pieces` into one frame: the same bytes for the same input, level and library.

    Args:
        pieces: the content, in order.
        compressor: of any level, without checksum and threads, with content size.
    """
    return compressor.compress(pieces[0] if len(pieces) == 1 else b"".join(pieces))


def store(pieces: list[memoryview]) -> bytes:
    """Put `pieces` into one frame of raw blocks (RFC 8878, 3.1.1.2)."""
    size = sum(len(piece) for piece in pieces)
    parts: list[bytes | memoryview] = [struct.pack("<IBQ", _MAGIC, 0xE0, size)]
    content = pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))
    for start in range(0, size, _BLOCK) or (0,):
        block = content[start : start + _BLOCK]
        last = start + _BLOCK >= size
        parts += (struct.pack("<I", len(block) << 3 | last)[:3], block)
    return b"".join(parts)


def compressible(content: memoryview, probe: zstandard.ZstdCompressor) -> bool:
    """Whether compressing `content` would gain anything, judged by samples of it.

    Args:
        content: the whole piece.
        probe: a fast compressor.
    """
    size = len(content)
    if size < 8 * _SAMPLE:
        return True
    for start in (size // 8, size // 2, size - _SAMPLE - size // 8):
        if len(probe.compress(content[start : start + _SAMPLE])) < _SAMPLE * 0.97:
            return True
    return False


def unseal(frame: bytes | memoryview, size: int) -> bytes:
    """The content of `frame`, whose digest the caller has checked.

    Args:
        frame: exactly one frame.
        size: bytes that must come out, from the signed index.

    Raises:
        IntegrityError: it holds more, less or something else.
    """
    try:
        said = zstandard.get_frame_parameters(frame)
        if said.content_size != size or span(frame) != len(frame):
            raise IntegrityError("a frame does not hold what the signed index says")
        if said.window_size > FRAME_MAX:
            raise IntegrityError("a frame asks for a larger window than a reader grants")
        return zstandard.ZstdDecompressor(max_window_size=FRAME_MAX).decompress(frame, max_output_size=size)
    except (zstandard.ZstdError, MalformedError) as error:
        raise IntegrityError(f"a frame cannot be decompressed: {error}") from error


def pour(frame: bytes, size: int) -> Iterator[bytes]:
    """Yield the content of a larger frame in pieces, in memory that does not grow with it.

    Args:
        frame: exactly one frame, whose digest the caller has checked.
        size: bytes that must come out in all.

    Raises:
        IntegrityError: it holds more, less or something else.
    """
    try:
        if span(frame) != len(frame):
            raise IntegrityError("bytes follow the end of a compressed listing")
        left = size
        with zstandard.ZstdDecompressor(max_window_size=FRAME_MAX).stream_reader(frame) as reader:
            while content := reader.read(min(_PIECE, left + 1)):
                left -= len(content)
                if left < 0:
                    break
                yield content
        if left:
            raise IntegrityError("a compressed listing does not hold as much as its manifest says")
    except (zstandard.ZstdError, MalformedError) as error:
        raise IntegrityError(f"a listing cannot be decompressed: {error}") from error


def span(frame: bytes | memoryview) -> int:
    """Bytes of the first frame in `frame`, found from its headers alone (RFC 8878, 3.1.1).

    Raises:
        MalformedError: no zstd frame starts there, it needs a dictionary or has a checksum, or it is cut off.
    """
    if len(frame) < 6 or int.from_bytes(frame[:4], "little") != _MAGIC:
        raise MalformedError("no zstd frame starts here")
    descriptor = frame[4]
    if descriptor & 0x0F:
        raise MalformedError("a zstd frame asks for a dictionary, a checksum or a reserved feature")
    single = descriptor >> 5 & 1
    position = 5 + (not single) + ((single, 2, 4, 8)[descriptor >> 6])
    while True:
        header = int.from_bytes(frame[position : position + 3], "little")
        position += 3 + (1 if header >> 1 & 3 == 1 else header >> 3)
        if position > len(frame):
            raise MalformedError("a zstd frame is cut off")
        if header & 1:
            return position
