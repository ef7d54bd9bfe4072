"""A zip file, read for the names that it holds and one small file (APPNOTE.TXT, with zip64).

It is read more strictly than most readers do, so that none of them can see another file in it: the directory ends where
the end record begins, which ends where the file does; no name stands twice; each is a path that stays in its folder.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

from sealift.durable import storing
from sealift.errors import MalformedError
from sealift.names import check_path, visible

DIRECTORY_MAX = 16 << 20
"""Bytes of a directory, which is held in memory."""
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_COMMENT_MAX = 0xFFFF
_FULL = 0xFFFFFFFF
_UTF8 = 0x800
_ENCRYPTED = 0x1
_STORED, _DEFLATED = 0, 8
_HINT = "ask who exported it: the package is damaged, or was made to do harm"


class _Entry(NamedTuple):
    name: str
    flags: int
    method: int
    checksum: int
    packed: int
    size: int
    offset: int


def small_file(path: Path, what: str, wanted: Callable[[str], bool], limit: int) -> tuple[str, bytes] | None:
    """The path and the content of the one file that is wanted; None where it is not one.

    Args:
        path: the zip file.
        what: its name, for messages.
        wanted: whether a path is wanted.
        limit: bytes that it may have.

    Raises:
        MalformedError: it is no such zip file, exceeds a bound, or holds a name twice or one that leaves its folder.
    """
    with storing(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = [entry for entry in _entries(_directory(descriptor, what), what) if wanted(entry.name)]
            if len(found) != 1:
                return None
            return found[0].name, _content(descriptor, found[0], what, limit)
        finally:
            os.close(descriptor)


def _directory(descriptor: int, what: str) -> bytes:
    length = os.fstat(descriptor).st_size
    start = max(0, length - _END.size - _COMMENT_MAX)
    tail = os.pread(descriptor, length - start, start)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        _broken(what)
    _, disk, first, _, _, size, offset, comment = _END.unpack_from(tail, at)
    end = start + at
    if disk or first or at + _END.size + comment != len(tail):
        _broken(what)
    place = end - _LOCATOR.size
    locator = os.pread(descriptor, _LOCATOR.size, place) if place >= 0 else b""
    if locator[:4] == b"PK\6\7":
        end = _LOCATOR.unpack(locator)[2]
        record = os.pread(descriptor, _END64.size, end) if end + _END64.size <= place else b""
        if len(record) < _END64.size or record[:4] != b"PK\6\6":
            _broken(what)
        size, offset = _END64.unpack(record)[8:]
    if size > DIRECTORY_MAX:
        raise MalformedError(f"{what} has a directory of more than {DIRECTORY_MAX} bytes", hint=_HINT)
    if offset + size != end:
        _broken(what)
    directory = os.pread(descriptor, size, offset)
    if len(directory) != size:
        _broken(what)
    return directory


def _entries(directory: bytes, what: str) -> Iterator[_Entry]:
    at, seen = 0, set()
    while at < len(directory):
        if len(directory) - at < _ENTRY.size or directory[at : at + 4] != b"PK\1\2":
            _broken(what)
        values = _ENTRY.unpack_from(directory, at)
        flags, method, checksum, packed, size = values[3], values[4], values[7], values[8], values[9]
        named, extra, comment, offset = values[10], values[11], values[12], values[16]
        at += _ENTRY.size
        raw, more = directory[at : at + named], directory[at + named : at + named + extra]
        at += named + extra + comment
        if at > len(directory):
            _broken(what)
        name = _name(raw, flags, what)
        if name in seen:
            raise MalformedError(f"{what} holds {visible(name)[:120]} twice", hint=_HINT)
        seen.add(name)
        if _FULL in (packed, size, offset):
            packed, size, offset = _large(more, (packed, size, offset), what)
        yield _Entry(name, flags, method, checksum, packed, size, offset)


def _name(raw: bytes, flags: int, what: str) -> str:
    try:
        name = raw.decode("utf-8" if flags & _UTF8 else "cp437")
        check_path(name.removesuffix("/"))
    except UnicodeDecodeError:
        _broken(what)
    except MalformedError as error:
        raise MalformedError(f"{what} would not stay in its folder: {error.message}", hint=_HINT) from error
    return name


def _large(extra: bytes, values: tuple[int, int, int], what: str) -> tuple[int, int, int]:
    """Sizes and offset of a zip64 entry: those that do not fit stand in an extra field, the size first."""
    packed, size, offset = values
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == 1:
            numbers = iter(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
            size = next(numbers, size) if size == _FULL else size
            packed = next(numbers, packed) if packed == _FULL else packed
            offset = next(numbers, offset) if offset == _FULL else offset
            return packed, size, offset
    _broken(what)


def _content(descriptor: int, entry: _Entry, what: str, limit: int) -> bytes:
    if entry.size > limit or entry.packed > limit:
        raise MalformedError(f"{what}: {entry.name} has more than {limit} bytes", hint=_HINT)
    if entry.flags & _ENCRYPTED or entry.method not in (_STORED, _DEFLATED):
        raise MalformedError(f"{what}: {entry.name} is compressed in a strange way", hint=_HINT)
    if entry.offset >= 1 << 62:
        _broken(what)
    header = os.pread(descriptor, _LOCAL.size, entry.offset)
    if len(header) < _LOCAL.size or header[:4] != b"PK\3\4":
        _broken(what)
    named, extra = _LOCAL.unpack(header)[9:]
    start = entry.offset + _LOCAL.size
    if _name(os.pread(descriptor, named, start), entry.flags, what) != entry.name:
        _broken(what)
    content = os.pread(descriptor, entry.packed, start + named + extra)
    if entry.method == _DEFLATED:
        inflate = zlib.decompressobj(wbits=-15)
        try:
            content = inflate.decompress(content, entry.size + 1)
        except zlib.error:
            _broken(what)
    if len(content) != entry.size or zlib.crc32(content) != entry.checksum:
        _broken(what)
    return content


def _broken(what: str) -> NoReturn:
    raise MalformedError(f"{what} is no zip file, or is damaged", hint=_HINT)
