"""Coding: the content of one frame of a difference becomes the frame, the smallest of those that are worth trying.

It may be compressed with its reference as prefix, be a subtraction from it (`sealift.subtraction`), or stand alone.
Programs, which are known by their zero bytes, are subtracted, and compressed with a prefix only where little of them
comes again; all else is compressed. What both gain less than a tenth is compared with the content by itself. At the
quickest level nothing is subtracted.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import zstandard

from sealift.difference import REFERENCE_MIN
from sealift.frame import compressible, seal, store

WINDOW_LOG = 23
"""The window reaches over a reference and its content."""
_TABLE_LOG_MIN = 18
"""Tables have a place for each byte of both: with fewer, the later ones drive out the earlier, and matches are lost."""
QUICK, QUICKEST = 3, 1
"""The levels up to which speed counts for more than size, and for more than all else."""
_QUICK_SHARE, _QUICKEST_SHARE = 2, 3
"""Tables then have a place for each four bytes, or each eight: half the time, for a few bytes in a thousand."""
_QUICKEST_TABLE_LOG_MIN = 15
INSIDE = 6
"""The level of what is inside of archives at least, but for the quickest: to inflate them and deflate them again takes
longer than that."""
_ZEROS = 50
"""One in so many bytes is zero in what is subtracted. Programs have one in three to one in six; texts have none, and
what is compressed or encrypted one in 256."""
_NEW = 8
"""Where more than one in so many bytes is new, a prefix may do better than a subtraction."""
_MORE = 6
"""Levels that the streams of a subtraction are compressed harder than content: they are short."""
_LITERALS_LEVEL, _LITERALS_TABLE_LOG = 3, 20
"""What a few literals are compressed with: to read the whole reference into large tables costs more than it gains."""


class Coded(NamedTuple):
    """A frame, and how it is to be read."""

    frame: bytes
    referring: bool
    """Whether it needs the reference."""
    subtraction: tuple[int, ...] = ()
    """Bytes of the streams, where it is a subtraction."""


class Coder:
    """Makes frames at a level of zstd; one for each process."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._probe = zstandard.ZstdCompressor(level=1)
        self._plain = _alone(level)
        self._streams = _alone(min(level + _MORE, zstandard.MAX_COMPRESSION_LEVEL))

    def code(self, content: bytes, reference: bytes) -> Coded:
        """The frame of a content.

        Args:
            content: up to 8 MiB.
            reference: up to 8 MiB; less than 8 bytes are none.
        """
        found = None
        if len(reference) >= REFERENCE_MIN:
            program = self._level > QUICKEST and content.count(0) * _ZEROS >= len(content)
            found = self._subtracted(content, reference) if program else None
            if found is None or found.subtraction[-1] * _NEW > len(content):
                prefixed = Coded(against(content, reference, self._level), True)
                found = min(found or prefixed, prefixed, key=lambda each: len(each.frame))
        if found is None or len(found.frame) > len(content) * 0.9:
            loose = compressible(memoryview(content), self._probe)
            alone = seal([memoryview(content)], self._plain) if loose else store([memoryview(content)])
            if found is None or len(alone) <= len(found.frame) * 1.01:
                return Coded(alone, False)
        return found

    def _subtracted(self, content: bytes, reference: bytes) -> Coded | None:
        from .subtracting import subtract

        streams = subtract(content, reference)
        if streams is None:
            return None
        frames = [self._streams.compress(stream) for stream in streams[:-1] if stream]
        literals = streams.literals
        if len(literals) * _NEW > len(content):
            frames.append(against(literals, reference, self._level))
        elif literals:
            level = min(self._level, _LITERALS_LEVEL)
            frames.append(against(literals, reference, level, table_log=_LITERALS_TABLE_LOG))
        return Coded(b"".join(frames), True, tuple(map(len, streams)))


def _alone(level: int) -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=level, write_checksum=False, write_content_size=True, threads=0)


def against(content: bytes, reference: bytes, level: int, *, table_log: int = 0) -> bytes:
    """Compress `content` into one frame with `reference` as prefix.

    Args:
        content: not empty.
        reference: the prefix.
        level: zstd's.
        table_log: the logarithm of the places in zstd's tables, where they are not to fit to the contents.
    """
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    parameter = zstd.CompressionParameter
    table = table_log or _table_log(len(content) + len(reference), level)
    compressor = zstd.ZstdCompressor(
        options={
            parameter.compression_level: level,
            parameter.window_log: WINDOW_LOG,
            parameter.hash_log: table,
            parameter.chain_log: table,
            parameter.content_size_flag: 1,
            parameter.checksum_flag: 0,
            parameter.dict_id_flag: 0,
        },
        zstd_dict=zstd.ZstdDict(reference, is_raw=True).as_prefix,
    )
    compressor.set_pledged_input_size(len(content))
    return compressor.compress(content, mode=zstd.ZstdCompressor.FLUSH_FRAME)


def _table_log(size: int, level: int) -> int:
    if level <= QUICKEST:
        return max(size.bit_length() - _QUICKEST_SHARE, _QUICKEST_TABLE_LOG_MIN)
    return max(size.bit_length() - (_QUICK_SHARE if level <= QUICK else 0), _TABLE_LOG_MIN)
