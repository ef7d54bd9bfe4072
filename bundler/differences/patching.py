"""Patching: two or more releases of a depot become a difference, the same bytes for the same releases.

What the bases hold is left out. The rest is grouped in the order of the trees: many small files to a frame, each
with the file that it is a version of as reference; a large file region by region, with the region of the old file
around it. Workers read, compress and hash; frames are written in order. Memory holds the chunks' digests and a
few groups, whatever the size of the content.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeVar

from sealift import tree_difference
from sealift.allowance import Allowance, of_reference
from sealift.content import Chunks, Content
from sealift.crew import Body, Channel, Crew
from sealift.difference import KIND
from sealift.durable import make_folder
from sealift.errors import UsageError
from sealift.listing import Blob, ListingBlob, Writer, file_name
from sealift.manifest import BASES_MAX, Part
from sealift.progress import Progress
from sealift.rebuilder import Rebuilder, all_here
from sealift.tree import Entry

from ..archives.inflations import Inflations
from ..archives.inside import Asked, Missed, Parcel, Settings, parcel
from ..archives.proving import QUICK_WAYS, WAYS, Programs
from ..coding.coding import INSIDE, QUICKEST, Coder
from ..depots.holding import Holding
from ..parts.cutting import Sealed
from ..parts.packs import Packs
from .matching import Matching
from .regions import Inside, Regions, Task

ROOM = 20 << 20
"""Bytes of decompressed frames that a worker keeps: what two regions that follow each other and their references mostly
span."""
_BUNCH = 4 << 20
"""Bytes of content that a worker gets at a time at most, but for a larger archive: two regions, or many groups."""
_BUNCHES = 32
"""Bunches that are under way before the frames of the first of them are written."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A part for sites that hold certain releases, and what it leaves out."""

    part: Part
    left_out: int
    """Bytes of content that the bases hold."""
    carried: int
    """Bytes of content that its frames hold."""
    referring: int
    """Bytes of content that is compressed against the bases."""
    inside: Inflations
    """What of it travels inflated."""

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return _size((self.part.release, self.part.index, *self.part.trees, *self.part.packs))


def size_of(held: Holding) -> int:
    """Bytes of the files of a whole release."""
    trees = (artifact.tree for artifact in held.release.artifacts)
    return _size((held.part.release, held.part.index, *trees, *held.part.packs))


def _size(blobs: Iterable[Blob]) -> int:
    return sum(blob.length for blob in {blob.sha256: blob for blob in blobs}.values())


class _Made(NamedTuple):
    size: int
    digest: str
    frame: bytes
    referring: bool
    subtraction: tuple[int, ...]


_TaskT = TypeVar("_TaskT", bound=Task | Inside)


def difference(
    new: Holding,
    bases: Sequence[Holding],
    folder: Path,
    *,
    level: int,
    workers: int,
    progress: Progress,
    inflate: bool = True,
    zlib: bool = True,
    rebuilders: Mapping[str, str] | None = None,
    small: bool = False,
) -> Difference:
    """Write what a site needs that holds `bases` to have `new` into `trees/`, `index/` and `packs/` below `folder`.

    Args:
        new: the release that is wanted.
        bases: the releases that the site holds; where several have a file, the first one counts.
        folder: a scratch folder.
        level: zstd's, 1 to 22.
        workers: processes that read and compress.
        progress: told the bytes of content that are new.
        inflate: whether archives may travel inflated.
        zlib: whether zlib deflates at the sites as it does here.
        rebuilders: the programs that all the sites compress layers with as this machine does, each with its probe.
        small: whether members of archives that nothing rebuilds travel as tokens, which takes long.

    Raises:
        UsageError: there are too many bases, or `new` is one of them.
        IntegrityError: the depot is damaged.
        StoreError: the disk refuses.
    """
    if len(bases) > BASES_MAX or any(base.part.release == new.part.release for base in bases):
        raise UsageError(
            f"{new.release.label} can be no difference to itself, nor to more than {BASES_MAX} releases",
            hint="name releases that the site holds, with --since",
        )
    for name in ("trees", "index", "packs"):
        make_folder(folder / name)
    olds = [_content(each) for each in bases]
    renewed: set[str] = set()
    fresh = _content(new, lambda path, entry: renewed.add(path) if _lacked(entry, olds) else None)
    contents = [fresh, *olds]
    trees = tuple(_tree(new, bases, position, folder) for position in range(len(new.release.artifacts)))
    held = bytearray(len(fresh.sizes))
    for digest, number in fresh.numbers.items():
        held[number] = any(digest in old.numbers for old in olds)
    carried = sum(size for number, size in enumerate(fresh.sizes) if not held[number])
    progress.start(f"comparing {new.release.label} with {', '.join(base.release.label for base in bases)}", carried)
    reader = Chunks(contents)
    matching = Matching(
        fresh,
        renewed,
        [(old, _paths(base)) for old, base in zip(olds, bases, strict=True)],
        lambda base, number: reader.read(base + 1, number),
    )
    packs = Packs(folder, KIND)
    probes = rebuilders or {}
    relied = tuple(map(Rebuilder, probes))
    ways = () if not zlib else QUICK_WAYS if level <= QUICKEST else WAYS
    programs = Programs(relied, tuple(each for each in all_here() if each not in relied), folder, ways)
    try:
        with Crew(workers, patcher(contents, level, folder, programs, small)) as crew:
            tasks = Regions(fresh, olds, held, matching, reader, inflate=inflate).tasks(_paths(new))
            settings = Settings(packs, probes)
            referring, inside = _carry_out(
                crew, tasks, _Means(carried, fresh, olds), packs, settings, progress, fresh.sizes
            )
        index, blobs = packs.finish()
    finally:
        packs.abandon()
    progress.finish()
    part = Part(
        release=new.part.release, index=index, packs=blobs, base=tuple(base.part.release for base in bases), trees=trees
    )
    return Difference(
        part=part, left_out=sum(fresh.sizes) - carried, carried=carried, referring=referring, inside=inside
    )


class _Means:
    """What the difference may ask of a reader: frames as they are begun, archives once they are made.

    Both have an allowance of their own, so that the number of workers changes nothing.
    """

    def __init__(self, new: int, fresh: Content, olds: Sequence[Content]) -> None:
        self._fresh, self._olds = fresh, olds
        self._outside, self._inside = Allowance(new), Allowance(new)

    def frame(self, task: Task) -> Task:
        """The same task, but without a reference where it is too much."""
        numbers, reference = task
        size = sum(self._fresh.sizes[number] for number in numbers)
        amount = sum(self._olds[base].sizes[number] for base, number in reference)
        granted = self._outside.grants(of_reference(size, amount, sum(1 for _ in _runs(reference))))
        return task if granted else (numbers, [])

    def archive(self, made: Parcel) -> bool:
        """Whether an archive may travel inflated."""
        return self._inside.grants(made.cost)


def _carry_out(
    crew: Crew,
    tasks: Iterator[Task | Inside],
    means: _Means,
    packs: Packs,
    settings: Settings,
    progress: Progress,
    sizes: Sequence[int],
) -> tuple[int, Inflations]:
    """Write what workers make of the tasks; return what refers to the bases, and what is inflated.

    They are written in their order, but for archives that travel as they are, whose tasks come last.
    """
    referring = 0
    inside = Inflations()
    refused: list[Inside] = []
    begun = (task if isinstance(task, Inside) else means.frame(task) for task in tasks)
    plain = (means.frame(task) for each in refused for task in each.otherwise())
    for task, made in chain(_in_order(crew, begun, sizes), _in_order(crew, plain, sizes)):
        if isinstance(task, Inside):
            if isinstance(made, Parcel) and not means.archive(made):
                made.drop()
                made = None
            if isinstance(made, Missed):
                inside = inside.missing(made.size, (made.rebuilder.name,) if made.rebuilder else (), made.left)
            if not isinstance(made, Parcel):
                refused.append(task)
                continue
            settings.write(made)
            inside = inside.plus(
                made.size,
                made.inflated,
                sum(frame.length for frame in made.frames),
                made.rebuilders,
                made.spelled,
                made.left,
            )
            referring += made.size if made.old else 0
        else:
            assert isinstance(made, _Made)
            numbers, reference = task
            referring += made.size if made.referring else 0
            packs.add(
                Sealed(numbers, made.size, len(made.frame), made.digest),
                tuple((first, count) for _, first, count in _runs((0, number) for number in numbers)),
                memoryview(made.frame),
                tuple(_runs(reference)) if made.referring else (),
                made.subtraction,
            )
        progress.advance(made.size)
    return referring, inside


def _in_order(
    crew: Crew, tasks: Iterator[_TaskT], sizes: Sequence[int]
) -> Iterator[tuple[_TaskT, _Made | Parcel | Missed | None]]:
    """Yield what becomes of each task, in their order; nothing of an archive that is to travel as it is.

    The next ones are found while the crew is at work. What follows each other goes to one worker, since it mostly lies
    in the same frames.
    """
    begun: deque[list[_TaskT]] = deque()

    def asked(bunch: list[_TaskT]) -> list[Task | Asked]:
        begun.append(bunch)
        return [each.asked if isinstance(each, Inside) else each for each in bunch]

    for answers in crew.in_order(map(asked, _bunches(tasks, sizes)), most=_BUNCHES):
        yield from zip(begun.popleft(), answers, strict=True)


def _bunches(tasks: Iterator[_TaskT], sizes: Sequence[int]) -> Iterator[list[_TaskT]]:
    bunch: list[_TaskT] = []
    held = 0
    for task in tasks:
        size = sum(sizes[number] for number in (task.asked.numbers if isinstance(task, Inside) else task[0]))
        if bunch and held + size > _BUNCH:
            yield bunch
            bunch, held = [], 0
        bunch.append(task)
        held += size
    if bunch:
        yield bunch


def _content(held: Holding, seen: Callable[[str, Entry], None] = lambda _, __: None) -> Content:
    """The chunks of a release; `seen` is told the files, each path with the artifact's name before it."""
    assert held.packs is not None
    folder = held.packs
    content = Content()
    for path, entry in _paths(held):
        content.add(entry)
        seen(path, entry)
    content.place(held.frames(), [folder / file_name(pack) for pack in held.part.packs])
    return content


def _lacked(entry: Entry, olds: Sequence[Content]) -> bool:
    """Whether a chunk of a file is in none of the bases."""
    return any(all(bytes.fromhex(digest) not in old.numbers for old in olds) for digest in entry.chunks)


def _paths(held: Holding) -> Iterator[tuple[str, Entry]]:
    """The files of a release, each path with the artifact's name before it."""
    for artifact in held.release.artifacts:
        for entry in held.entries(artifact):
            if entry.type == "file":
                yield f"{artifact.name}/{entry.path}", entry


def _tree(new: Holding, bases: Sequence[Holding], position: int, folder: Path) -> ListingBlob:
    """Write the tree difference of an artifact against the first base that has one of its name."""
    artifact = new.release.artifacts[position]
    olds: Iterator[Entry] = iter(())
    writer = Writer(folder / "trees", tree_difference.KIND)
    try:
        for number, base in enumerate(bases):
            former = next((each for each in base.release.artifacts if each.name == artifact.name), None)
            if former:
                writer.add(tree_difference.From(number, former.name))
                olds = base.entries(former)
                break
        for line in tree_difference.edits(olds, new.entries(artifact)):
            writer.add(line)
        return writer.finish()[0]
    finally:
        writer.abandon()


def patcher(contents: Sequence[Content], level: int, folder: Path, programs: Programs, small: bool) -> Body:
    """The body of a worker that makes frames: `contents` are the new release's and the bases', `folder` is scratch."""

    def body(channel: Channel) -> None:
        own = programs._replace(room=folder / f"room.{os.getpid()}")
        chunks = Chunks(contents, room=ROOM)
        coder = Coder(level)
        inner = Coder(max(level, INSIDE)) if level > QUICKEST else coder

        def made(task: Task | Asked) -> _Made | Parcel | Missed | None:
            if isinstance(task, Asked):
                return parcel(task, contents, chunks, folder, inner.code, own, small)
            reference = b"".join(chunks.read(base + 1, number) for base, number in task[1])
            content = b"".join(chunks.read(0, number) for number in task[0])
            coded = coder.code(content, reference)
            return _Made(len(content), hashlib.sha256(coded.frame).hexdigest(), *coded)

        while True:
            channel.send([made(task) for task in channel.receive()])

    return body


def _runs(numbers: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield bases and chunk numbers as runs (base, first, count)."""
    last = (-1, 0, 0)
    for base, number in numbers:
        if base == last[0] and number == last[1] + last[2]:
            last = (base, last[1], last[2] + 1)
            continue
        if last[2]:
            yield last
        last = (base, number, 1)
    if last[2]:
        yield last
