"""Debian binary packages: what a `.deb` says of itself, read without unpacking it (deb(5), deb-control(5)).

A `.deb` is an `ar` archive: `debian-binary`, then `control.tar`, then `data.tar`, each compressed or not. Here the file
`control` is read, from a tar that is decompressed within a bound; `sealift.debian_paths` reads the names in `data.tar`.
"""

from __future__ import annotations

import io
import lzma
import re
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

import zstandard

from .errors import MalformedError
from .names import visible

PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,127}")
VERSION = re.compile(r"(?:[0-9]{1,9}:)?[0-9A-Za-z][0-9A-Za-z.+~-]{0,199}")
ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
FIELD = re.compile(r"[!-9;-~]{1,128}")
CONTROL_MAX = 1 << 20
"""Bytes of a control file."""
PACKED_MAX = 16 << 20
"""Bytes of a `control.tar`, compressed."""
TAR_MAX = 64 << 20
"""Bytes of a `control.tar`."""
_MAGIC = b"!<arch>\n"
_HEAD = re.compile(rb"([ -~]{16})[ -~]{12}[ -~]{6}[ -~]{6}[ -~]{8}([0-9]{1,10}) *`\n", re.DOTALL)
_ERRORS = (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError, tarfile.TarError, ValueError)


@dataclass(frozen=True, kw_only=True)
class Control:
    """What a package says of itself."""

    package: str
    version: str
    """With its epoch, where it has one."""
    architecture: str
    fields: Mapping[str, str]
    """All of it, in its order; continuation lines as they are."""

    @property
    def file(self) -> str:
        """The name of its file: without the epoch."""
        return f"{self.package}_{self.version.rpartition(':')[2]}_{self.architecture}.deb"


def control(file: BinaryIO, what: str) -> Control:
    """What the `.deb` in `file` says of itself.

    Args:
        file: open for reading, at its start.
        what: what it is called, for messages.

    Raises:
        MalformedError: it is no Debian binary package of format 2.
    """
    shown = f"{visible(what)[:120]} is no Debian package"
    if file.read(len(_MAGIC)) != _MAGIC:
        raise MalformedError(f"{shown}: it is no ar archive")
    if _member(file, shown) != ("debian-binary", b"2.0\n"):
        raise MalformedError(f"{shown}: it is not of format 2.0")
    name, packed = _member(file, shown)
    try:
        content = _unpacked(name, packed)
        if content is None:
            raise MalformedError(f"{shown}: {visible(name)!r} stands in the place of control.tar")
        if len(content) > TAR_MAX:
            raise MalformedError(f"{shown}: its control.tar is longer than {TAR_MAX} bytes")
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            member = next((each for each in tar if each.name in ("control", "./control")), None)
            if member is None or not member.isreg() or member.size > CONTROL_MAX:
                raise MalformedError(f"{shown}: it has no control file")
            found = tar.extractfile(member)
            text = found.read(CONTROL_MAX) if found else b""
    except _ERRORS as error:
        raise MalformedError(f"{shown}: its control.tar cannot be read") from error
    return parse(text, shown)


def parse(text: bytes, shown: str) -> Control:
    """The fields of a control file.

    Raises:
        MalformedError: it has not their form, one stands twice, or one that must be there is missing.
    """
    fields: dict[str, str] = {}
    last = ""
    try:
        lines = text.decode().rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise MalformedError(f"{shown}: its control file is not UTF-8") from error
    for line in lines:
        if line[:1] in (" ", "\t") and last and line.strip():
            fields[last] += f"\n{line}"
            continue
        name, colon, value = line.partition(":")
        if not colon or not FIELD.fullmatch(name) or name.startswith("-") or "\r" in line or "\0" in line:
            raise MalformedError(f"{shown}: its control file has the line {visible(line)[:80]!r}")
        if name.lower() in {each.lower() for each in fields}:
            raise MalformedError(f"{shown}: its control file says {name} twice")
        fields[name] = value.strip()
        last = name
    package, version, architecture = (fields.get(each, "") for each in ("Package", "Version", "Architecture"))
    for form, value in ((PACKAGE, package), (VERSION, version), (ARCHITECTURE, architecture)):
        if not form.fullmatch(value):
            raise MalformedError(f"{shown}: {visible(value)[:80]!r} is no name, version or architecture")
    return Control(package=package, version=version, architecture=architecture, fields=fields)


def head_of(file: BinaryIO, shown: str) -> tuple[str, int]:
    """The name and the bytes of the archive's next member, whose content follows.

    Raises:
        MalformedError: there is none.
    """
    head = _HEAD.fullmatch(file.read(60))
    if head is None:
        raise MalformedError(f"{shown}: a member's header is wrong")
    return head[1].decode().rstrip(" ").removesuffix("/"), int(head[2])


def _member(file: BinaryIO, shown: str) -> tuple[str, bytes]:
    """The name and the content of the archive's next member."""
    name, size = head_of(file, shown)
    if size > PACKED_MAX:
        raise MalformedError(f"{shown}: {visible(name)} is longer than {PACKED_MAX} bytes")
    content = file.read(size)
    if len(content) != size or (size % 2 and not file.read(1)):
        raise MalformedError(f"{shown}: it breaks off")
    return name, content


def _unpacked(name: str, packed: bytes) -> bytes | None:
    """The tar in a member, up to a byte more than is read; None where it is no `control.tar`."""
    if name == "control.tar":
        return packed
    if name == "control.tar.gz":
        return zlib.decompressobj(wbits=31).decompress(packed, TAR_MAX + 1)
    if name == "control.tar.xz":
        return lzma.LZMADecompressor(memlimit=2 * TAR_MAX).decompress(packed, TAR_MAX + 1)
    if name == "control.tar.zst":
        with zstandard.ZstdDecompressor(max_window_size=TAR_MAX).stream_reader(packed) as reader:
            return reader.read(TAR_MAX + 1)
    return None
