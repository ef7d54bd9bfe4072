"""Regions: what goes into one frame of a difference, and which content of the bases it is compressed against.

Small files that follow each other share a frame as long as they and their old versions are few bytes. A large
file goes region by region, with what lies around the same place of the old file: the place is found by the
last chunk before it that both files have, and else by proportion. Where the content is compressed already, as in an
archive, what comes again lies anywhere, and is looked for (see `echoes`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from sealift.content import Chunks, Content
from sealift.tree import Entry

from ..archives.inside import Asked, likely
from ..parts.cutting import WHOLE_MAX
from .echoes import REFERENCE, Echoes
from .matching import Candidate, Matching

GROUP = 512 << 10
"""Bytes of small files in a frame at most."""
GROUP_REFERENCE = 2 << 20
"""Bytes of their old versions in its reference at most."""
REGION = 2 << 20
"""Bytes of a large file in a frame at most."""
AROUND = 2 << 20
"""Bytes of the old file before and behind a region that its reference holds."""
CHUNKS_MAX = 1000
"""Chunks in a reference at most: fewer than the runs that a reader takes."""
_SKETCHABLE = 1 << 10
"""Bytes from which on a file without a namesake is compared by its content."""

Task = tuple[list[int], list[tuple[int, int]]]
"""Chunks of the new release, and base and number of the chunks that they are compressed against."""


@dataclass(frozen=True)
class Inside:
    """An archive that may travel inflated."""

    asked: Asked
    otherwise: Callable[[], Iterator[Task]]
    """The tasks that it is where it travels as it is."""


@dataclass(slots=True)
class _Group:
    numbers: list[int] = field(default_factory=list)
    reference: dict[tuple[int, int], None] = field(default_factory=dict)
    size: int = 0
    reference_size: int = 0


class Regions:
    """Makes the tasks of a difference, in the order of the trees."""

    def __init__(
        self,
        new: Content,
        bases: Sequence[Content],
        held: bytearray,
        matching: Matching,
        reader: Chunks,
        *,
        inflate: bool,
    ) -> None:
        """Take what the tasks are made of.

        Args:
            new: the chunks of the release.
            bases: those of the bases.
            held: which chunks of the release they hold.
            matching: finds old versions.
            reader: reads chunks.
            inflate: whether to look inside of archives.
        """
        self._inflate = inflate
        self._new = new
        self._bases = bases
        self._held = held
        self._matching = matching
        self._reader = reader
        self._done = bytearray(held)

    def tasks(self, files: Iterable[tuple[str, Entry]]) -> Iterator[Task | Inside]:
        """Yield what each frame holds and refers to.

        Args:
            files: the release's files, each path with the artifact's name before it.
        """
        group = _Group()
        for path, entry in files:
            numbers = [self._new.numbers[bytes.fromhex(digest)] for digest in entry.chunks]
            if all(self._done[number] for number in numbers):
                continue
            candidate = self._candidate(path, entry, numbers)
            if self._inflate and likely(path, entry.size):
                yield self._inside(numbers, candidate)
                continue
            if len(numbers) > 1:
                yield from self._large(numbers, self._take(numbers), candidate)
                continue
            reference = self._whole(candidate) if candidate else []
            size = sum(self._bases[base].sizes[number] for base, number in reference)
            full = group.size + entry.size > GROUP or group.reference_size + size > GROUP_REFERENCE
            if group.numbers and (full or len(group.reference) + len(reference) > CHUNKS_MAX):
                yield group.numbers, list(group.reference)
                group = _Group()
            self._done[numbers[0]] = 1
            group.numbers.append(numbers[0])
            group.size += entry.size
            for each in reference:
                if each not in group.reference:
                    group.reference[each] = None
                    group.reference_size += self._bases[each[0]].sizes[each[1]]
        if group.numbers:
            yield group.numbers, list(group.reference)

    def _take(self, numbers: list[int]) -> list[bool]:
        """Which chunks of a file come here first; they come nowhere else."""
        wanted = []
        for number in numbers:
            wanted.append(not self._done[number])
            self._done[number] = 1
        return wanted

    def _inside(self, numbers: list[int], candidate: Candidate | None) -> Inside:
        wanted = self._take(numbers)

        def otherwise() -> Iterator[Task]:
            if len(numbers) > 1:
                yield from self._large(numbers, wanted, candidate)
            else:
                yield numbers, self._whole(candidate) if candidate else []

        base, old = (candidate.base, list(candidate.numbers)) if candidate else (-1, [])
        return Inside(Asked(numbers, wanted, base, old), otherwise)

    def _candidate(self, path: str, entry: Entry, numbers: list[int]) -> Candidate | None:
        found = self._matching.find(path, entry.size)
        if found is None and entry.size >= _SKETCHABLE:
            return self._matching.similar(self._reader.read(0, numbers[0]))
        return found

    def _whole(self, candidate: Candidate) -> list[tuple[int, int]]:
        """The chunks of an old version of a small file, which may have been a large one: then its beginning."""
        sizes = accumulate(self._bases[candidate.base].sizes[number] for number in candidate.numbers)
        count = sum(1 for size in sizes if size <= 2 * WHOLE_MAX) or 1
        return [(candidate.base, number) for number in candidate.numbers[:count]]

    def _large(self, numbers: list[int], wanted: list[bool], candidate: Candidate | None) -> Iterator[Task]:
        """The regions of a large file: chunks that are wanted and lie near each other."""
        starts = [0, *accumulate(self._new.sizes[number] for number in numbers)]
        size = starts.pop()
        place = None
        if candidate:
            place = _Place(numbers, starts, size, self._bases[candidate.base].sizes, candidate)
        echoes = Echoes(self._reader, candidate, self._bases[candidate.base].sizes) if candidate else None

        def reference() -> list[tuple[int, int]]:
            if place is None or echoes is None:
                return []
            around = place.around(begin, end)
            return echoes.reference(part, around) if self._new.stored(part[0]) else around

        part: list[int] = []
        begin = end = 0
        for number, start, want in zip(numbers, starts, wanted, strict=True):
            if not want:
                continue
            if part and start + self._new.sizes[number] - begin > REGION:
                yield part, reference()
                part = []
            if not part:
                begin = start
            end = start + self._new.sizes[number]
            part.append(number)
        if part:
            yield part, reference()


class _Place:
    """Where in an old file the places of a new one are."""

    def __init__(
        self, new: Sequence[int], starts: Sequence[int], size: int, old: Sequence[int], candidate: Candidate
    ) -> None:
        """Compare two files.

        Args:
            new: the chunks of the new file, by number.
            starts: where each of them starts.
            size: bytes of the new file.
            old: bytes of each chunk of the base.
            candidate: the old file.
        """
        self._base = candidate.base
        self._numbers = candidate.numbers
        self._ends = list(accumulate(old[number] for number in candidate.numbers))
        self._ratio = self._ends[-1] / size
        begins = [0, *self._ends]
        places = {number: begins[position] for position, number in enumerate(candidate.shared) if number >= 0}
        self._anchors = [(start, places[number]) for number, start in zip(new, starts, strict=True) if number in places]

    def around(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Base and number of the old chunks around what is from `begin` to `end` in the new file."""
        start = self._old(begin)
        first = min(bisect_right(self._ends, max(0, start - AROUND)), len(self._ends) - 1)
        limit = min(start + (end - begin) + AROUND, (self._ends[first - 1] if first else 0) + REFERENCE)
        last = max(bisect_right(self._ends, limit), first + 1)
        return [(self._base, number) for number in self._numbers[first : min(last, first + CHUNKS_MAX)]]

    def _old(self, place: int) -> int:
        after = bisect_right(self._anchors, (place, 1 << 62))
        if after:
            start, old = self._anchors[after - 1]
        elif self._anchors:
            start, old = self._anchors[0]
        else:
            return int(place * self._ratio)
        return old + place - start
