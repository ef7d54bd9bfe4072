"""A gzip-compressed tar (POSIX ustar and pax, GNU long names), read for the names that it holds and a few small files.

Nothing is ever extracted. What the tar may say is bounded: the bytes that it decompresses to, the number of its
members, and the size of each record that is kept in memory. A path that would leave the folder is refused.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from sealift.durable import storing
from sealift.errors import MalformedError
from sealift.names import visible

BYTES_MAX = 4 << 30
"""Bytes that it may decompress to."""
MEMBERS_MAX = 1 << 18
RECORD_MAX = 1 << 20
"""Bytes of a pax record or of a long name."""
_BLOCK = 512
_STEP = 1 << 16
_FILES = (b"0", b"\0", b"7")
_HINT = "ask who exported it: the package is damaged, or was made to do harm"


def small_files(path: Path, what: str, wanted: Callable[[str], bool], limit: int) -> tuple[dict[str, bytes], set[str]]:
    """The content of the files that are wanted, by their paths, and the paths of all members.

    Args:
        path: the tarball.
        what: its name, for messages.
        wanted: whether a path is wanted.
        limit: bytes that a wanted file may have.

    Raises:
        MalformedError: it is no such tarball, exceeds a bound, holds a wanted file twice, or a path that leaves it.
    """
    found: dict[str, bytes] = {}
    names: set[str] = set()
    with storing(path), open(path, "rb") as file:
        for name, size, read in _members(_Stream(file, what), what):
            _check(name, what)
            names.add(name)
            if not wanted(name):
                continue
            if name in found:
                raise MalformedError(f"{what} holds {visible(name)[:120]} twice", hint=_HINT)
            if size > limit:
                raise MalformedError(f"{what}: {visible(name)[:120]} has more than {limit} bytes", hint=_HINT)
            found[name] = read()
    return found, names


def _check(name: str, what: str) -> None:
    parts = name.rstrip("/").split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        raise MalformedError(f"{what} holds {visible(name)[:120]!r}, which leaves its folder", hint=_HINT)


class _Stream:
    """What a gzip file decompresses to, read forwards."""

    def __init__(self, file: BinaryIO, what: str) -> None:
        self._file = file
        self._what = what
        self._inflate = zlib.decompressobj(wbits=31)
        self._held = b""
        self._left = BYTES_MAX

    def read(self, count: int) -> bytes:
        """The next `count` bytes; fewer at the end."""
        pieces = []
        while count:
            if not self._held:
                self._held = self._more()
                if not self._held:
                    break
            piece, self._held = self._held[:count], self._held[count:]
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def skip(self, count: int) -> None:
        """Pass over the next `count` bytes."""
        while count:
            passed = len(self.read(min(count, _STEP)))
            if not passed:
                raise self.broken("ends too early")
            count -= passed

    def end(self) -> None:
        """Nothing but zeros follows: other readers might go on behind a block of them."""
        while more := self.read(_STEP):
            if more.strip(b"\0"):
                raise self.broken("holds something behind its end")

    def _more(self) -> bytes:
        while not self._inflate.eof:
            source = self._inflate.unconsumed_tail or self._file.read(_STEP)
            if not source:
                raise self.broken("ends too early")
            try:
                content = self._inflate.decompress(source, _STEP)
            except zlib.error as error:
                raise self.broken("is no gzip file, or is damaged") from error
            if content:
                self._left -= len(content)
                if self._left < 0:
                    raise self.broken(f"decompresses to more than {BYTES_MAX >> 30} GiB")
                return content
        rest = self._inflate.unused_data or self._file.read(_STEP)
        if rest.strip(b"\0"):
            raise self.broken("holds something behind its end")
        return b""

    def broken(self, how: str) -> MalformedError:
        """What is raised, and why."""
        return MalformedError(f"{self._what} {how}", hint=_HINT)


def _members(stream: _Stream, what: str) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """The path and the bytes of each member that is no header of another, and what reads it."""
    long: str | None = None
    size_of: int | None = None
    for _ in range(MEMBERS_MAX):
        header = stream.read(_BLOCK)
        if header == bytes(_BLOCK):
            stream.end()
            return
        if len(header) < _BLOCK:
            raise stream.broken("ends too early")
        if _octal(header[148:156], stream) != sum(header[:148]) + 8 * 32 + sum(header[156:]):
            raise stream.broken("has a member whose header is damaged")
        kind, size = header[156:157], _size(header[124:136], stream)
        if kind in (b"x", b"L", b"K", b"g"):
            record = _record(stream, size)
            if kind == b"x":
                values = _pax(record, stream)
                long, size_of = values.get("path", long), int(values["size"]) if "size" in values else size_of
            elif kind == b"L":
                long = _text(record.rstrip(b"\0"), stream)
            continue
        name = long if long is not None else _name(header, stream)
        size = size if size_of is None else size_of
        size = size if kind in _FILES else 0
        long = size_of = None
        done = False

        def read(size: int = size) -> bytes:
            nonlocal done
            done = True
            content = stream.read(size)
            if len(content) < size:
                raise stream.broken("ends too early")
            return content

        yield name, size, read
        if not done:
            stream.skip(size)
        stream.skip(-size % _BLOCK)
    raise stream.broken(f"has more than {MEMBERS_MAX} members")


def _record(stream: _Stream, size: int) -> bytes:
    if size > RECORD_MAX:
        raise stream.broken(f"has a header of more than {RECORD_MAX} bytes")
    content = stream.read(size)
    stream.skip(-size % _BLOCK)
    return content


def _pax(record: bytes, stream: _Stream) -> dict[str, str]:
    values: dict[str, str] = {}
    while record:
        length, space, _ = record.partition(b" ")
        count = int(length) if space and length.isdigit() and len(length) < 8 else 0
        line = record[len(length) + 1 : count]
        key, equals, value = line.partition(b"=")
        if not equals or not value.endswith(b"\n") or len(line) != count - len(length) - 1:
            raise stream.broken("has a damaged pax header")
        if key in (b"path", b"size"):
            values[key.decode()] = _text(value[:-1], stream)
        record = record[count:]
    if "size" in values and not (values["size"].isdigit() and len(values["size"]) < 20):
        raise stream.broken("has a damaged pax header")
    return values


def _name(header: bytes, stream: _Stream) -> str:
    name = _text(header[:100].partition(b"\0")[0], stream)
    if header[257:263] == b"ustar\0":
        prefix = _text(header[345:500].partition(b"\0")[0], stream)
        return f"{prefix}/{name}" if prefix else name
    return name


def _size(field: bytes, stream: _Stream) -> int:
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    return _octal(field, stream)


def _octal(field: bytes, stream: _Stream) -> int:
    text = field.strip(b"\0 ")
    try:
        return int(text, 8) if text else 0
    except ValueError as error:
        raise stream.broken("has a member whose header is damaged") from error


def _text(value: bytes, stream: _Stream) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise stream.broken("has a name that is no utf-8") from error
