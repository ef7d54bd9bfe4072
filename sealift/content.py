"""The content of a release that lies in packs here: its chunks by number, and how to read them again.

A chunk is read by way of the frame that holds it, whose digest is checked first. The last frames stay
decompressed, since chunks that are wanted together mostly lie together.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path

from .durable import storing
from .errors import IntegrityError
from .frame import unseal
from .index import HOLE, Frame
from .tree import Entry

ROOM = 32 << 20
"""Bytes of decompressed frames that one reader keeps."""
_NOWHERE = 0xFFFFFFFF


class Content:
    """The distinct chunks of a release by their numbers, and where each lies."""

    def __init__(self) -> None:
        self.numbers: dict[bytes, int] = {}
        """The number of each chunk, by its digest; in the order of the numbers."""
        self.sizes = array("I")
        """Bytes of each."""
        self.frames: list[tuple[Path, Frame]] = []
        self._frame = array("I")
        self._start = array("I")

    def add(self, entry: Entry) -> None:
        """Give numbers to the chunks of the next entry that were not seen before."""
        numbers = self.numbers
        for digest, size in entry.pieces():
            key = bytes.fromhex(digest)
            if key not in numbers:
                numbers[key] = len(numbers)
                self.sizes.append(size)

    def place(self, frames: Iterable[Frame], packs: Sequence[Path]) -> None:
        """Learn from the index where the chunks lie, once all entries were added.

        Args:
            frames: the lines of the index.
            packs: the files of the packs that they name.

        Raises:
            IntegrityError: a chunk lies nowhere, or the index names others.
        """
        self._frame = array("I", [_NOWHERE]) * len(self.sizes)
        self._start = array("I", bytes(4 * len(self.sizes)))
        for frame in frames:
            start = 0
            for first, count in frame.chunks:
                if first == HOLE:
                    start += count
                    continue
                if not 0 <= first <= first + count <= len(self.sizes):
                    raise _unfit()
                for number in range(first, first + count):
                    self._frame[number] = len(self.frames)
                    self._start[number] = start
                    start += self.sizes[number]
            self.frames.append((packs[frame.pack], frame))
        if _NOWHERE in self._frame:
            raise _unfit()

    def place_of(self, number: int) -> tuple[int, int]:
        """Which of `frames` holds a chunk, and where in its content the chunk starts."""
        return self._frame[number], self._start[number]

    def stored(self, number: int) -> bool:
        """Whether a chunk did not compress, so that its frame is larger than its content."""
        frame = self.frames[self._frame[number]][1]
        return frame.length > frame.size


class Chunks:
    """Reads chunks of several releases."""

    def __init__(self, contents: Sequence[Content], *, room: int = ROOM) -> None:
        """Take the releases' contents, and the bytes of decompressed frames that may be kept."""
        self._contents = contents
        self._room = room
        self._held: OrderedDict[tuple[Path, int], bytes] = OrderedDict()
        self._used = 0

    def read(self, which: int, number: int) -> memoryview:
        """A chunk of one of the releases, by its number.

        Raises:
            IntegrityError: its pack is missing or damaged.
        """
        content = self._contents[which]
        position, start = content.place_of(number)
        path, frame = content.frames[position]
        return memoryview(self._content(path, frame))[start : start + content.sizes[number]]

    def _content(self, path: Path, frame: Frame) -> bytes:
        key = (path, frame.offset)
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
            return found
        while self._held and self._used + frame.size > self._room:
            self._used -= len(self._held.popitem(last=False)[1])
        found = self._held[key] = content_of(path, frame, why=", and a difference refers to it")
        self._used += len(found)
        return found


def content_of(path: Path, frame: Frame, *, why: str = "") -> bytes:
    """The content of a frame of the pack `path`, once its digest was checked: see `sealed_of`."""
    return unseal(sealed_of(path, frame, why=why), frame.size)


def sealed_of(path: Path, frame: Frame, *, why: str = "") -> bytes:
    """A frame of the pack `path` as it lies there, once its digest was checked.

    Args:
        path: the pack.
        frame: what the index says of the frame.
        why: what to say in the error besides.

    Raises:
        IntegrityError: the pack is missing or damaged.
        StoreError: it cannot be read.
    """
    sealed = b""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            with storing(path):
                sealed = os.pread(descriptor, frame.length, frame.offset)
        finally:
            os.close(descriptor)
    if len(sealed) != frame.length or hashlib.sha256(sealed).hexdigest() != frame.sha256:
        raise IntegrityError(
            f"{path} is missing or damaged{why}",
            hint="'sealift-install verify' gives the whole list at a site: import a bundle that holds it; "
            "a depot is restored from its backup",
        )
    return sealed


def _unfit() -> IntegrityError:
    return IntegrityError("the index of a release does not fit to its trees")
