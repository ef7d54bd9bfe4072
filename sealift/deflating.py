"""Deflating and inflating (RFC 1951) by zlib, with every size bounded, and the probe of how this zlib deflates.

Another zlib gives other bytes for the same content. So whoever relies on one names the digest that it gives for a
fixed content, and whoever is to deflate compares it with that of its own before anything else.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

PIECE = 256 << 10
"""Bytes that are inflated at a time."""
_PROBE = 192 << 10
"""Bytes of the content of the probe: more than a few blocks, and more than the window."""


class Way(NamedTuple):
    """How zlib deflates: what `zlib.compressobj` takes."""

    level: int
    """1 to 9. What level 0 gives depends on how the content is fed."""
    memory: int
    """1 to 9."""
    strategy: int
    """0 to 4."""
    window: int
    """The logarithm of the window's size, 9 to 15."""

    @property
    def name(self) -> str:
        """What deflates."""
        return "zlib"

    @property
    def known(self) -> bool:
        """Whether zlib knows it."""
        return 1 <= self.level <= 9 and 1 <= self.memory <= 9 and 0 <= self.strategy <= 4 and 9 <= self.window <= 15

    def deflater(self) -> zlib._Compress:
        """A raw deflater."""
        return zlib.compressobj(self.level, zlib.DEFLATED, -self.window, self.memory, self.strategy)

    def deflate(self, content: Iterable[bytes | memoryview], size: int, room: Path) -> Iterator[bytes]:
        """Yield the raw deflate stream of a content, in pieces. It needs neither its size nor a room."""
        deflater = self.deflater()
        for piece in content:
            yield deflater.compress(piece)
        yield deflater.flush()


class Inflation:
    """What comes out of a raw deflate stream, in pieces: at most as much as is wanted, and no more is held."""

    def __init__(self, compressed: Iterable[bytes | memoryview], size: int) -> None:
        """Take the stream in pieces, and how many bytes are wanted at most."""
        self._compressed = compressed
        self._left = size
        self.taken = 0
        """Bytes of the stream that were used, once it has ended."""
        self.ended = False
        """Whether the stream has come to its end."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the content.

        Raises:
            zlib.error: it is no such stream.
        """
        engine = zlib.decompressobj(-15)
        for piece in self._compressed:
            self.taken += len(piece)
            data: bytes | memoryview = piece
            while not engine.eof:
                content = engine.decompress(data, min(PIECE, self._left) or 1)
                if len(content) > self._left:
                    return
                data = engine.unconsumed_tail
                self._left -= len(content)
                if content:
                    yield content
                elif not data:
                    break
            if engine.eof:
                self.taken -= len(engine.unused_data)
                self.ended = True
                return


def probe(way: Way) -> str:
    """The digest of what this zlib makes of a fixed content, as format 1 defines it (docs/reference/format.md)."""
    deflater = way.deflater()
    running = hashlib.sha256(deflater.compress(probed()))
    running.update(deflater.flush())
    return running.hexdigest()


@cache
def probed() -> bytes:
    """The content of the probe: words that come again at all distances, some more often than others."""
    noise = digests()
    words = [noise[place : place + 2 + place % 11].hex().encode() for place in range(0, 8192, 16)]
    pairs = (noise[place] * noise[place + 1] for place in range(0, len(noise) - 1, 2))
    return b" ".join(words[(pair >> 7) % len(words)] for pair in pairs)[:_PROBE]


@cache
def digests() -> bytes:
    """What the content of the probe is made of, 64 KiB that do not compress."""
    return b"".join(hashlib.sha256(b"sealift probe %d" % number).digest() for number in range(2048))


def probe_of_all() -> str:
    """One digest for how this zlib deflates at all its levels, for a receipt."""
    return hashlib.sha256("".join(probe(Way(level, 8, 0, 15)) for level in range(1, 10)).encode()).hexdigest()
