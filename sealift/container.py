"""The bundle's container: a POSIX ustar archive of plain members in a fixed order.

The reader accepts exactly what the writer would have written: each header must equal, byte for byte,
the one that its name, size and time give. So there is one way to read a bundle, whatever reads it.
Reading is by offset (`pread`) from one open descriptor: the file that was checked is the file that is used.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from .at_once import at_once
from .durable import Draft, storing
from .errors import IntegrityError, MalformedError
from .names import visible
from .progress import Progress

BLOCK = 512
HINT = "SEALIFT.json"
_KINDS: Mapping[str, tuple[re.Pattern[str], int, int]] = {
    "hint": (re.compile(r"SEALIFT\.json"), 256 << 10, 1),
    "metadata": (re.compile(r"metadata/(?:[1-9][0-9]{0,15}\.)?[a-z0-9][a-z0-9_-]{0,63}\.json"), 8 << 20, 2048),
    "manifest": (re.compile(r"manifests/[0-9a-f]{64}\.json"), 16 << 20, 4096),
    "tree": (re.compile(r"trees/[0-9a-f]{64}\.zst"), 256 << 20, 65536),
    "index": (re.compile(r"index/[0-9a-f]{64}\.zst"), 256 << 20, 1024),
    "pack": (re.compile(r"packs/[0-9a-f]{64}\.zst"), 1 << 30, 1 << 18),
}
"""Kinds of members in their order: grammar of the name, most bytes of one, most of them."""
_ORDER = list(_KINDS)
_NOT_OFFERED = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}
"""What the kernel says where it cannot copy between two files by itself."""
_CUT = "the copy was cut off: copy the whole file again and compare its size"


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One member of a bundle."""

    name: str
    kind: str
    offset: int
    """Where its content starts in the file."""
    size: int
    """Bytes of its content."""

    @property
    def digest(self) -> str:
        """The digest that its name claims."""
        return self.name.rpartition("/")[2].partition(".")[0]


def header(name: str, size: int, time: int) -> bytes:
    """The ustar header (POSIX.1-1988) of a regular file of mode 0644 that belongs to root.

    Args:
        name: at most 100 ASCII bytes.
        size: bytes, below 8 GiB.
        time: seconds since 1970.
    """
    fields = (
        name.encode("ascii").ljust(100, b"\0"),
        b"0000644\0" + b"0000000\0" * 2,
        b"%011o\0%011o\0" % (size, time),
        b" " * 8,
        b"0".ljust(101, b"\0"),
        b"ustar\x0000".ljust(72, b"\0"),
        b"0000000\0" * 2,
    )
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padding(size: int) -> bytes:
    """The zeros that fill the last block of a member."""
    return b"\0" * (-size % BLOCK)


class Reader:
    """An open bundle whose members are known and whose content nobody has trusted yet."""

    def __init__(self, path: Path) -> None:
        """Open `path` and read its headers.

        Raises:
            MalformedError: it is no bundle, or is cut off.
            StoreError: it cannot be read.
        """
        self.path = path
        with storing(path):
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(self._descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise MalformedError(f"{path} is not a regular file", hint="name the bundle's file itself")
            self.size = status.st_size
            self.members = tuple(self._scan())
        except BaseException:
            os.close(self._descriptor)
            raise
        self._by_name = {member.name: member for member in self.members}

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def of(self, kind: str) -> tuple[Member, ...]:
        """The members of one kind, in order."""
        return tuple(member for member in self.members if member.kind == kind)

    def find(self, name: str) -> Member:
        """The member `name`.

        Raises:
            MalformedError: the bundle lacks it.
        """
        try:
            return self._by_name[name]
        except KeyError:
            raise MalformedError(
                f"the bundle lacks its member {name}", hint="it was made or copied incompletely: fetch it again"
            ) from None

    def read(self, member: Member) -> bytes:
        """The whole content of a member; only for kinds whose size is small and bounded.

        Raises:
            MalformedError: the file ends before the member does.
            StoreError: the medium cannot be read.
        """
        return b"".join(bytes(piece) for piece in self.pieces(member))

    def pieces(self, member: Member, size: int = 1 << 20) -> Iterator[memoryview]:
        """Yield a member's content in pieces, each valid until the next.

        Raises:
            MalformedError: the file ends before the member does.
            StoreError: the medium cannot be read.
        """
        buffer = memoryview(bytearray(min(size, max(member.size, 1))))
        done = 0
        while done < member.size:
            with storing(self.path):
                got = os.preadv(self._descriptor, [buffer[: member.size - done]], member.offset + done)
            if not got:
                raise MalformedError(f"{self.path} ends in the middle of {member.name}", hint=_CUT)
            yield buffer[:got]
            done += got

    def part(self, member: Member, offset: int, size: int) -> bytes:
        """`size` bytes of a member from `offset` on, or fewer where it or the file ends.

        Raises:
            StoreError: the medium cannot be read.
        """
        return self._pread(max(0, min(size, member.size - offset)), member.offset + offset)

    def _pread(self, size: int, offset: int) -> bytes:
        with storing(self.path):
            return os.pread(self._descriptor, size, offset)

    def _scan(self) -> Iterator[Member]:
        offset, rank, count, last = 0, 0, 0, ""
        seen: set[str] = set()
        while True:
            block = self._pread(BLOCK, offset)
            if len(block) < BLOCK:
                raise MalformedError(
                    f"{self.path} is no sealift bundle, or is cut off at byte {offset}",
                    hint=_CUT if offset else "check that this is the file you mean; if it is, copy it again",
                )
            if not any(block):
                break
            member = self._member(block, offset)
            if member.kind != _ORDER[rank]:
                count = 0
            if _ORDER.index(member.kind) < rank or (not seen and member.kind != "hint"):
                raise MalformedError(f"member {member.name} stands out of order in {self.path}")
            rank, count = _ORDER.index(member.kind), count + 1
            if member.name in seen or count > _KINDS[member.kind][2]:
                raise MalformedError(f"member {member.name} comes twice in {self.path}, or is one too many")
            seen.add(member.name)
            last = member.name
            yield member
            offset = member.offset + member.size + len(padding(member.size))
            if offset + 2 * BLOCK > self.size:
                raise MalformedError(f"{self.path} is cut off in member {last}", hint=_CUT)
            if any(self._pread(len(padding(member.size)), member.offset + member.size)):
                raise MalformedError(f"bytes stand behind the content of {last} in {self.path}")
        if not seen or self._pread(3 * BLOCK, offset) != b"\0" * (2 * BLOCK):
            raise MalformedError(f"{self.path} does not end where a bundle ends", hint=_CUT)

    def _member(self, block: bytes, offset: int) -> Member:
        try:
            name = block[:100].rstrip(b"\0").decode("ascii")
            size, time = int(block[124:135], 8), int(block[136:147], 8)
        except ValueError:
            raise MalformedError(
                f"{self.path} is no sealift bundle, or is damaged at byte {offset}", hint=_CUT
            ) from None
        kind = next((kind for kind, (grammar, *_) in _KINDS.items() if grammar.fullmatch(name)), None)
        if kind is None:
            raise MalformedError(f"{self.path} holds a member that no bundle has: {visible(name)[:80]!r}")
        if size < 0 or time < 0 or block != header(name, size, time):
            raise MalformedError(f"the header of {name} in {self.path} is damaged or not in canonical form")
        limit = _KINDS[kind][1]
        if not 0 < size <= limit:
            raise MalformedError(f"member {name} of {self.path} has {size} bytes; the limit is {limit}")
        return Member(name=name, kind=kind, offset=offset + BLOCK, size=size)


class Writer:
    """Writes a bundle beside its final name; `finish` makes it durable and gives it that name."""

    def __init__(self, path: Path, *, time: int) -> None:
        """Begin the bundle `path`; `time` is what each member's header bears, in seconds since 1970."""
        self._path = path
        self._time = time
        self._end = 0
        with storing(path):
            self._draft = Draft(path.with_name(f".{path.name}.part"))

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._draft.abandon()

    def add(self, name: str, content: bytes) -> None:
        """Append a small member.

        Raises:
            StoreError: the disk refuses.
        """
        with storing(self._path):
            self._append(header(name, len(content), self._time) + content + padding(len(content)))

    def copy(self, files: Sequence[tuple[str, Path, int]], *, workers: int, progress: Progress) -> None:
        """Append members whose contents are files, copied inside the kernel, several at a time.

        Args:
            files: the member's name, the file, and its size in bytes.
            workers: how many are copied at a time.
            progress: told the bytes.

        Raises:
            IntegrityError: a file has another size.
            StoreError: the disk refuses.
        """
        places = []
        with storing(self._path):
            for name, source, size in files:
                self._append(header(name, size, self._time))
                places.append((source, size, self._end))
                self._end += size
                self._append(padding(size))

        def one(place: tuple[Path, int, int]) -> None:
            self._fill(*place)
            progress.advance(place[1])

        at_once(one, places, workers=workers)

    def _append(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            done = os.pwrite(self._draft.descriptor, view, self._end)
            self._end += done
            view = view[done:]

    def _fill(self, source: Path, size: int, offset: int) -> None:
        with storing(self._path):
            descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if os.fstat(descriptor).st_size != size:
                    raise IntegrityError(f"{source} does not have the {size} bytes that its manifest says")
                done = 0
                while done < size:
                    copied = self._copy_range(descriptor, size - done, done, offset + done)
                    if not copied:
                        raise IntegrityError(f"{source} became shorter while it was read")
                    done += copied
            finally:
                os.close(descriptor)

    def _copy_range(self, source: int, size: int, start: int, offset: int) -> int:
        try:
            return os.copy_file_range(source, self._draft.descriptor, size, start, offset)
        except OSError as error:
            if error.errno not in _NOT_OFFERED:
                raise
            return os.pwrite(self._draft.descriptor, os.pread(source, min(size, 1 << 20), start), offset)

    def finish(self) -> int:
        """End the archive, make it durable and give it its name; return its size in bytes.

        Raises:
            StoreError: the disk refuses.
        """
        with storing(self._path):
            self._append(b"\0" * (2 * BLOCK))
            size = os.fstat(self._draft.descriptor).st_size
            self._draft.keep(self._path)
        return size
