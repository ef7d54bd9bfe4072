"""Archives: where the members of a zip (a wheel, a jar) lie, or the one of a gzip file.

Zip is read by its central directory (PKWARE's application note 6.3, 4.3), gzip by its header (RFC 1952, 2.3). What is
in any way strange (zip64, encryption, members that overlap, bytes behind the end) is no archive here: it travels as
it is. Nothing that is said of a member is believed further than for a first look.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from sealift.stretch import Stretch

_END = struct.Struct("<4s4H2LH")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_END_MAX = _END.size + 0xFFFF
_DIRECTORY_MAX = 32 << 20
"""Bytes of a central directory that is read at most."""
_GZIP_HEADER_MAX = 4 << 10
_DEFLATED = 8
_ENCRYPTED = 1


@dataclass(frozen=True, slots=True)
class Unit:
    """A part of an archive: a member with its header and what follows it, or what is of no member."""

    name: bytes
    """The member's; empty for what is of none."""
    start: int
    body: int
    """Where the deflated content starts."""
    deflated: int
    """Bytes of it; 0 where nothing is deflated."""
    end: int
    size: int
    """Bytes of the member, as the archive says."""
    check: int
    """The checksum of the member, as the archive says."""


def units(file: Stretch) -> Sequence[Unit] | None:
    """The parts of an archive, one behind the other from its first byte to its last; None for what is none."""
    first = file.read(0, 4)
    try:
        if first[:2] == b"\x1f\x8b":
            return _gzip(file)
        if first[:2] == b"PK":
            return _zip(file)
    except (struct.error, IndexError, _StrangeError):
        pass
    return None


class _StrangeError(Exception):
    """It is no archive of the plain kind."""


def _gzip(file: Stretch) -> Sequence[Unit]:
    header = file.read(0, _GZIP_HEADER_MAX)
    method, flags = header[2], header[3]
    place = 10
    if method != _DEFLATED or flags & 0xE0:
        raise _StrangeError
    if flags & 4:
        place += 2 + struct.unpack_from("<H", header, place)[0]
    for flag in (8, 16):
        if flags & flag:
            end = header.find(b"\0", place)
            if end < 0:
                raise _StrangeError
            place = end + 1
    if flags & 2:
        place += 2
    deflated = file.size - place - 8
    if place > len(header) or deflated < 1:
        raise _StrangeError
    check, size = struct.unpack("<2L", file.read(file.size - 8, 8))
    return [Unit(b"gzip", 0, place, deflated, file.size, size, check)]


def _zip(file: Stretch) -> Sequence[Unit]:
    tail = file.read(max(0, file.size - _END_MAX), _END_MAX)
    at = tail.rfind(b"PK\5\6")
    if at < 0:
        raise _StrangeError
    _, disk, first_disk, here, count, length, directory, comment = _END.unpack_from(tail, at)
    end = file.size - len(tail) + at
    if disk or first_disk or here != count or count == 0xFFFF or comment != len(tail) - at - _END.size:
        raise _StrangeError
    if directory + length != end or length > _DIRECTORY_MAX:
        raise _StrangeError
    members = sorted(_members(file.read(directory, length), count))
    found: list[Unit] = []
    place = 0
    for start, name, method, flags, check, deflated, size in members:
        if start > place:
            if found:
                found[-1] = _until(found[-1], start)
            else:
                found.append(Unit(b"", 0, 0, 0, start, 0, 0))
        header = _LOCAL.unpack(file.read(start, _LOCAL.size))
        body = start + _LOCAL.size + header[9] + header[10]
        place = body + deflated
        if header[0] != b"PK\3\4" or start < (found[-1].end if found else 0) or place > directory:
            raise _StrangeError
        plain = method == _DEFLATED and not flags & _ENCRYPTED
        found.append(Unit(name, start, body, deflated if plain else 0, place, size, check))
    if found:
        found[-1] = _until(found[-1], directory)
    elif directory:
        raise _StrangeError
    return [*found, Unit(b"\0directory", directory, directory, 0, file.size, 0, 0)]


def _until(unit: Unit, end: int) -> Unit:
    return Unit(unit.name, unit.start, unit.body, unit.deflated, end, unit.size, unit.check)


def _members(directory: bytes, count: int) -> list[tuple[int, bytes, int, int, int, int, int]]:
    """Start, name, method, flags, checksum, deflated size and size of each member."""
    found = []
    place = 0
    for _ in range(count):
        said = _CENTRAL.unpack_from(directory, place)
        mark, flags, method, check, deflated, size = said[0], said[3], said[4], *said[7:10]
        name_size, extra, comment, disk, start = said[10], said[11], said[12], said[13], said[16]
        if mark != b"PK\1\2" or disk or 0xFFFFFFFF in (deflated, size, start):
            raise _StrangeError
        place += _CENTRAL.size
        name = directory[place : place + name_size]
        place += name_size + extra + comment
        found.append((start, name, method, flags, check, deflated, size))
    if place != len(directory):
        raise _StrangeError
    return found
