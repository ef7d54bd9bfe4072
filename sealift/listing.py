"""Listings: JSON Lines (one JSON value a line) in one zstd frame, named by the digest of the file.

Trees and indexes are listings. The first line says what it is; the lines after it are read one by
one, so that a listing of a million lines needs no more memory than a short one.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import zstandard

from . import FORMAT
from .digest import check, sha256
from .durable import TEMPORARY, Draft, storing
from .errors import IntegrityError, MalformedError
from .frame import pour
from .names import visible

LISTING_MAX = 256 << 20
"""Bytes of a listing's file at most."""
CONTENT_MAX = 4 << 30
"""Bytes of a listing's content at most."""
LINE_MAX = 16 << 20
"""Bytes of one line at most: a file of one terabyte has about four million pieces."""
_LEVEL, _QUICK = 3, 1
"""zstd's level for what crosses, and for what is made in memory."""
_TOGETHER = 64
"""Lines that are compressed at a time, where they come one by one."""
T = TypeVar("T")


class Blob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that is named by its digest."""

    sha256: str
    length: int
    """Bytes of the file."""


class ListingBlob(Blob, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A listing's file, and how much comes out of it."""

    size: int
    """Bytes of its content."""


class Heading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line of a listing."""

    format: int
    type: str


class Writer:
    """Writes one listing into `folder`, under a temporary name until `finish` names it by its digest."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder = folder
        self._content = hashlib.sha256()
        self._file = hashlib.sha256()
        self._size = self._length = 0
        self._pending: list[bytes] = []
        self._waiting = 0
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=False).compressobj()
        with storing(folder):
            self._draft = Draft(folder / f"{TEMPORARY}{kind}.{os.getpid()}.{id(self):x}")
        self.add(Heading(format=FORMAT, type=kind))

    def add(self, line: msgspec.Struct) -> None:
        """Append one line."""
        self.add_encoded(msgspec.json.encode(line) + b"\n")

    def add_encoded(self, lines: bytes) -> None:
        """Append whole lines, each with its newline."""
        self._pending.append(lines)
        self._waiting += len(lines)
        if self._waiting > 1 << 18:
            self._drain()

    def _drain(self) -> None:
        content = b"".join(self._pending)
        self._pending.clear()
        self._waiting = 0
        self._size += len(content)
        self._content.update(content)
        self._write(self._compressor.compress(content))

    def _write(self, compressed: bytes) -> None:
        self._file.update(compressed)
        self._length += len(compressed)
        with storing(self._folder):
            self._draft.write(compressed)

    def finish(self) -> tuple[ListingBlob, str]:
        """Make the listing durable under its name; return it and the digest of its content.

        Raises:
            StoreError: the disk refuses.
        """
        self._drain()
        self._write(self._compressor.flush())
        blob = ListingBlob(sha256=self._file.hexdigest(), length=self._length, size=self._size)
        with storing(self._folder):
            self._draft.keep(self._folder / file_name(blob))
        return blob, self._content.hexdigest()

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._draft.abandon()


class Packing:
    """Makes one listing in memory."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._compressor = zstandard.ZstdCompressor(level=_QUICK, write_checksum=False).compressobj()
        self._running = hashlib.sha256()
        self._parts: list[bytes] = []
        self._size = self._length = 0
        self.add([msgspec.json.encode(Heading(format=FORMAT, type=kind))])

    def add(self, lines: Sequence[bytes]) -> None:
        """Append lines, given without their newlines.

        Raises:
            MalformedError: it becomes larger than a listing may be.
        """
        content = b"\n".join((*lines, b""))
        self._running.update(content)
        self._size += len(content)
        self._parts.append(self._compressor.compress(content))
        self._length += len(self._parts[-1])
        if self._length > LISTING_MAX or self._size > CONTENT_MAX:
            raise MalformedError(f"a {self._kind} is larger than a listing may be")

    def finish(self) -> tuple[bytes, ListingBlob, str]:
        """Its file, what a manifest says of it, and its content's digest."""
        self._parts.append(self._compressor.flush())
        file = b"".join(self._parts)
        return file, ListingBlob(sha256=sha256(file), length=len(file), size=self._size), self._running.hexdigest()


def packed(kind: str, content: Iterable[bytes]) -> tuple[bytes, ListingBlob, str]:
    """A listing in memory, of lines without their newlines: what `Packing.finish` returns.

    Raises:
        MalformedError: it is larger than a listing may be.
    """
    packing = Packing(kind)
    lines = iter(content)
    while some := list(itertools.islice(lines, _TOGETHER)):
        packing.add(some)
    return packing.finish()


def file_name(blob: Blob) -> str:
    """The name of a listing's or a pack's file."""
    return f"{blob.sha256}.zst"


def sound(path: Path, blob: Blob) -> bool:
    """Whether the file at `path` is there and has its size and digest; what cannot be read has not."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if os.fstat(descriptor).st_size != blob.length:
            return False
        running = hashlib.sha256()
        buffer = bytearray(1 << 20)
        view = memoryview(buffer)
        while got := os.readv(descriptor, [buffer]):
            running.update(view[:got])
        return running.hexdigest() == blob.sha256
    except OSError:
        return False
    finally:
        os.close(descriptor)


def lines(compressed: bytes, blob: ListingBlob, kind: str, content_digest: str | None = None) -> Iterator[bytes]:
    """Yield the lines after the heading, once the file's digest was found to be the signed one.

    Args:
        compressed: the file's bytes.
        blob: what the signed manifest says of it.
        kind: what the heading must say.
        content_digest: what the content's digest must be, where the manifest says that as well.

    Raises:
        IntegrityError: a digest or a size does not match.
        MalformedError: it is not a listing of that kind.
    """
    check(compressed, blob.sha256, f"the {kind} {blob.sha256[:16]}…")
    running = hashlib.sha256() if content_digest else None
    rest = b""
    first = True
    for content in pour(compressed, blob.size):
        if running:
            running.update(content)
        pieces = (rest + content).split(b"\n")
        rest = pieces.pop()
        if len(rest) > LINE_MAX:
            raise MalformedError(f"a line of the {kind} is longer than {LINE_MAX} bytes")
        if first and pieces:
            _check_heading(pieces.pop(0), kind)
            first = False
        yield from pieces
    if rest or first:
        raise MalformedError(f"the {kind} does not end with a whole line")
    if running and running.hexdigest() != content_digest:
        raise IntegrityError(f"the content of a {kind} does not match its digest")


def _check_heading(line: bytes, kind: str) -> None:
    heading = decode_line(line, Heading, f"the heading of a {kind}")
    if heading.format != FORMAT:
        raise MalformedError(
            f"this {kind} has format {heading.format}, and this program reads format {FORMAT}",
            hint="install a newer sealift here",
        )
    if heading.type != kind:
        raise MalformedError(f"a listing that should be a {kind} says that it is a {heading.type[:40]!r}")


def decode(content: bytes, kind: type[T], what: str) -> T:
    """`content` as a `kind`, strictly.

    Raises:
        MalformedError: it is none.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        said = visible(str(error)[:200])
        raise MalformedError(f"{what} is malformed: {said[:1].lower()}{said[1:]}") from error


def decode_line(line: bytes, kind: type[T], what: str) -> T:
    """A line from outside as a `kind`, which must stand in the one form that a writer gives it.

    Raises:
        MalformedError: it is none, or is written otherwise.
    """
    value = decode(line, kind, what)
    if msgspec.json.encode(value) != line:
        raise MalformedError(f"{what} is not in canonical form")
    return value
