"""Matching: which file of the bases a new file is compressed against.

The file of the same path, else one of a path that differs in digits or letter case alone (versions are in paths),
else one of such a name anywhere, else the one whose content has most in common. Only files that changed or went
come into question: what stays has no new version. By their content only those that went are compared.
"""

from __future__ import annotations

import contextlib
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sealift.content import Content
from sealift.tree import Entry

SKETCH = 12
"""Features of a content that are compared."""
SKETCH_MAX = 64 << 10
"""Bytes of a file that its features are taken from."""
SKETCHED_MAX = 64 << 20
"""Bytes that are read for sketches of the bases' files at most; what lies beyond is not compared."""
_ALIKE = 3
"""Features that two contents must share."""
_COMMON = 16
"""Files with one feature, from which on it tells nothing."""
_DIGITS = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_GZIP = b"\x1f\x8b"
_WORDS = re.compile(rb"[^\n\0]{8,}")


@dataclass(slots=True)
class Candidate:
    """A file of a base."""

    base: int
    """The base's position."""
    path: str
    size: int
    numbers: array[int]
    """Its chunks, by their numbers in the base."""
    shared: array[int]
    """The same chunks, by their numbers in the new release; -1 for one that it does not have."""


Reader = Callable[[int, int], memoryview]
"""Reads a chunk of a base by the base's position and the chunk's number."""


class Matching:
    """Finds the file that a new one is likely to be a version of."""

    def __init__(
        self,
        new: Content,
        renewed: Container[str],
        bases: Sequence[tuple[Content, Iterable[tuple[str, Entry]]]],
        read: Reader,
    ) -> None:
        """Take what changed or went.

        Args:
            new: the chunks of the new release.
            renewed: the paths of its files that no base holds as they are.
            bases: the chunks of each base, and its entries with paths that begin with the artifact's name.
            read: reads a chunk of a base.
        """
        self._read = read
        self._renewed = renewed
        self._paths: dict[str, Candidate] = {}
        for position, (content, entries) in enumerate(bases):
            for path, entry in entries:
                if path not in self._paths and any(bytes.fromhex(digest) not in new.numbers for digest in entry.chunks):
                    keys = [bytes.fromhex(digest) for digest in entry.chunks]
                    numbers = array("I", (content.numbers[key] for key in keys))
                    shared = array("q", (new.numbers.get(key, -1) for key in keys))
                    self._paths[path] = Candidate(position, path, entry.size, numbers, shared)
        self._alike: dict[str, list[Candidate]] = {}
        for candidate in self._paths.values():
            for key in _keys(candidate.path):
                self._alike.setdefault(key, []).append(candidate)
        self._features: dict[int, list[Candidate]] | None = None

    def find(self, path: str, size: int) -> Candidate | None:
        """The file that bears the path or one like it; `path` begins with the artifact's name."""
        if found := self._paths.get(path):
            return found
        for key in _keys(path):
            if alike := self._alike.get(key):
                return min(alike, key=lambda each: (abs(each.size - size), each.path))
        return None

    def similar(self, content: bytes | memoryview) -> Candidate | None:
        """The file that has most features of a content, if enough."""
        if self._features is None:
            self._features = self._sketched()
        votes: Counter[str] = Counter()
        for word in sketch(content):
            for candidate in self._features.get(word, ()):
                votes[candidate.path] += 1
        best = max(votes.items(), key=lambda vote: (vote[1], vote[0]), default=("", 0))
        return self._paths[best[0]] if best[1] >= _ALIKE else None

    def _sketched(self) -> dict[int, list[Candidate]]:
        features: dict[int, list[Candidate]] = {}
        left = SKETCHED_MAX
        for candidate in self._paths.values():
            if candidate.path in self._renewed:
                continue
            content = b"".join(self._first(candidate))
            left -= len(content)
            if left < 0:
                break
            for word in sketch(content):
                features.setdefault(word, []).append(candidate)
        return {word: found for word, found in features.items() if len(found) <= _COMMON}

    def _first(self, candidate: Candidate) -> Iterator[memoryview]:
        """The beginning of a file of a base, of `SKETCH_MAX` bytes and the rest of a chunk."""
        size = 0
        for number in candidate.numbers:
            if size >= SKETCH_MAX:
                return
            chunk = self._read(candidate.base, number)
            size += len(chunk)
            yield chunk


def sketch(content: bytes | memoryview) -> list[int]:
    """The features of a content: the least checksums of its lines and strings, which similar contents share.

    Those of a gzip file are of what it holds.
    """
    if content[:2] == _GZIP:
        with contextlib.suppress(zlib.error):
            content = zlib.decompressobj(31).decompress(content, SKETCH_MAX)
    return sorted(set(map(zlib.crc32, _WORDS.findall(content[:SKETCH_MAX]))))[:SKETCH]


def _keys(path: str) -> tuple[str, str]:
    plain = _DIGITS.sub("#", path.lower())
    return plain, "\0" + plain.rpartition("/")[2]
