"""The paths in a Debian package's `data.tar`, read entry by entry as dpkg reads them, without unpacking anything."""

from __future__ import annotations

import gzip
import io
import lzma
import re
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import zstandard

from .debian import head_of
from .errors import MalformedError
from .names import visible

MEMBERS_MAX = 1_000_000
"""Entries of a `data.tar`."""
LONG_MAX = 16 << 10
"""Bytes of a name in it."""
UNPACKED_MIN, RATIO_MAX = 1 << 30, 100
"""Bytes that any `data.tar` may have, and how many times its packed size a larger one may have."""
MEMORY_MAX = 128 << 20
"""Bytes that a decompressor may ask for."""
_BLOCK = 512
_KINDS = (b"0", b"\0", b"1", b"2", b"3", b"4", b"5", b"6")
"""Entries of a tar that dpkg knows: files, hard links, links, devices, folders and FIFOs."""
_ERRORS = (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError)


def check_paths(file: BinaryIO, what: str) -> None:
    """Refuse a package that holds a path, or a hard link, that leads out of the folder that it is unpacked in.

    Where its symbolic links lead is not looked at: those of good packages lead anywhere on the machine.

    Args:
        file: where `control` has left it.
        what: what it is called, for messages.

    Raises:
        MalformedError: it does, or its `data.tar` is none.
    """
    shown = f"{visible(what)[:120]} is no Debian package"
    name, size = head_of(file, shown)
    try:
        stream = _stream(name, io.BufferedReader(_Slice(file, size)))
        if stream is None:
            raise MalformedError(f"{shown}: {visible(name)!r} stands in the place of data.tar")
        for path in _paths(stream, shown, max(UNPACKED_MIN, RATIO_MAX * size)):
            if path.startswith("/") or ".." in path.split("/"):
                raise MalformedError(f"{shown}: it holds {visible(path)[:120]!r}, which leads out of its folder")
    except _ERRORS as error:
        raise MalformedError(f"{shown}: its data.tar cannot be read") from error


def _paths(stream: BinaryIO, shown: str, left: int) -> Iterator[str]:
    """The names in a tar, and what its hard links name; of the forms that dpkg reads, ustar and GNU (tar(5)).

    It may have `left` bytes.
    """
    long: dict[bytes, str] = {}
    for _ in range(MEMBERS_MAX):
        head = stream.read(_BLOCK)
        if not head.strip(b"\0"):
            return
        kind, digits = head[156:157], head[124:136].strip(b" \0")
        if len(head) != _BLOCK or not re.fullmatch(rb"[0-7]{1,11}", digits or b"0"):
            raise MalformedError(f"{shown}: a header in its data.tar is wrong")
        size = int(digits or b"0", 8)
        left -= _BLOCK + (size if kind in b"0\0KL" else 0)
        if left < 0:
            raise MalformedError(f"{shown}: its data.tar unpacks into far too much")
        if kind in (b"L", b"K"):
            if size > LONG_MAX:
                raise MalformedError(f"{shown}: a name in its data.tar is longer than {LONG_MAX} bytes")
            content = _skip(stream, size, keep=True)
            long[kind] = content.rstrip(b"\0").decode("utf-8", "surrogateescape")
            continue
        if kind not in _KINDS:
            raise MalformedError(f"{shown}: its data.tar holds an entry of the kind {visible(repr(kind))}")
        prefix = head[345:500] if head[257:263] == b"ustar\0" else b""
        yield long.pop(b"L", "") or "/".join(filter(None, map(_text, (prefix, head[:100]))))
        linked = long.pop(b"K", "") or _text(head[157:257])
        if kind == b"1":
            yield linked
        _skip(stream, size if kind in b"0\0" else 0)
    raise MalformedError(f"{shown}: its data.tar holds more than {MEMBERS_MAX} entries")


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _skip(stream: BinaryIO, size: int, *, keep: bool = False) -> bytes:
    """Read the content of an entry and what fills its last block; return it where it is wanted."""
    left = -(-size // _BLOCK) * _BLOCK
    kept = b""
    while left:
        piece = stream.read(min(left, 1 << 20))
        if not piece:
            raise EOFError
        left -= len(piece)
        kept = kept + piece if keep else b""
    return kept[:size]


class _Slice(io.RawIOBase):
    """The next bytes of a file, and no more."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is left, as much as goes in."""
        content = self._file.read(min(self._left, len(buffer)))
        self._left -= len(content)
        buffer[: len(content)] = content
        return len(content)


class _Xz(io.RawIOBase):
    """What an xz decompresses to, with a bound for the memory that it asks for."""

    def __init__(self, packed: io.BufferedReader) -> None:
        self._packed = packed
        self._decompressor = lzma.LZMADecompressor(memlimit=MEMORY_MAX)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Decompress as much as goes in."""
        while not self._decompressor.eof:
            piece = self._packed.read(1 << 16) if self._decompressor.needs_input else b""
            if self._decompressor.needs_input and not piece:
                raise EOFError
            if content := self._decompressor.decompress(piece, len(buffer)):
                buffer[: len(content)] = content
                return len(content)
        return 0


def _stream(name: str, packed: io.BufferedReader) -> BinaryIO | None:
    """What a `data.tar` decompresses to; None where it is none."""
    opened: Any = None
    if name == "data.tar":
        opened = packed
    elif name == "data.tar.gz":
        opened = gzip.GzipFile(fileobj=packed)
    elif name == "data.tar.xz":
        opened = io.BufferedReader(_Xz(packed))
    elif name == "data.tar.zst":
        decompressor = zstandard.ZstdDecompressor(max_window_size=MEMORY_MAX)
        opened = io.BufferedReader(cast(io.RawIOBase, decompressor.stream_reader(packed)))
    return cast("BinaryIO | None", opened)
