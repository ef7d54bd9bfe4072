"""Archives for tests: zips and gzip files of every kind, and those of a kind that nobody should have made."""

from __future__ import annotations

import gzip
import io
import random
import zipfile
import zlib
from dataclasses import dataclass

WHEN = (2026, 1, 2, 3, 4, 6)


@dataclass(frozen=True, kw_only=True)
class Packed:
    """A member, and how it lies in a zip."""

    name: str
    content: bytes
    level: int = 6
    memory: int = 8
    strategy: int = 0
    deflated: bool = True


def prose(seed: int, size: int) -> bytes:
    """Text that deflates to a third or so, other for each seed."""
    chance = random.Random(seed)
    words = [chance.randbytes(3).hex().encode() for _ in range(400)]
    return b" ".join(chance.choices(words, k=size // 7 + 1))[:size]


def edited(content: bytes, times: int = 3) -> bytes:
    """The same with a few places changed, of which one moves all that follows."""
    made = bytearray(content)
    for number in range(times):
        place = len(made) * (number + 1) // (times + 1)
        made[place : place + 1] = b"CHANGED"[: 1 + number * 3]
    return bytes(made)


def zipped(members: list[Packed], *, streamed: bool = False, comment: bytes = b"", zip64: bool = False) -> bytes:
    """A zip of these members, each deflated by zlib in its own way.

    Args:
        members: in order.
        streamed: sizes and checksums follow the members in data descriptors, as where a zip is written to a pipe.
        comment: at the end.
        zip64: with zip64 fields for each member, though none needs them.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(_Pipe(out) if streamed else out, "w") as archive:
        archive.comment = comment
        for each in members:
            said = zipfile.ZipInfo(each.name, WHEN)
            said.compress_type = zipfile.ZIP_DEFLATED if each.deflated else zipfile.ZIP_STORED
            with archive.open(said, "w", force_zip64=zip64) as member:
                if each.deflated:
                    member._compressor = zlib.compressobj(  # type: ignore[attr-defined]
                        each.level, zlib.DEFLATED, -15, each.memory, each.strategy
                    )
                member.write(each.content)
    return out.getvalue()


def gzipped(content: bytes, *, level: int = 6, name: str = "") -> bytes:
    """A gzip file."""
    out = io.BytesIO()
    with gzip.GzipFile(name, "wb", level, out, mtime=0) as file:
        file.write(content)
    return out.getvalue()


class _Pipe(io.RawIOBase):
    """Takes bytes and cannot go back."""

    def __init__(self, out: io.BytesIO) -> None:
        self._out = out

    def writable(self) -> bool:
        return True

    def write(self, content: object) -> int:
        return self._out.write(content)  # type: ignore[arg-type]
