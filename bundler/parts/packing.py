"""Packing: artifacts' entries become trees, an index and packs, the same bytes for the same entries.

Workers read, hash and compress group by group, in whatever order they get to it. Which chunk is new is
decided strictly in the order of the groups, and frames are written in that order, so that the result
does not depend on how many workers there are or how fast each is. Memory holds a few groups.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sealift.crew import Channel, Crew
from sealift.listing import Blob, ListingBlob
from sealift.manifest import Artifact, Values
from sealift.progress import Progress

from ..aside import Aside
from ..source import Found
from .cutting import AHEAD, SLOT, Cut, Sealed, cutter, task
from .grouping import Group, Grouper
from .packs import Packs
from .trees import Trees


@dataclass(frozen=True, kw_only=True)
class Packed:
    """What packing made."""

    artifacts: tuple[Artifact, ...]
    index: ListingBlob
    packs: tuple[Blob, ...]
    chunks: int
    """Distinct chunks."""
    values: Values | None = None
    """The templates among the entries, where the spec asks for some."""


@dataclass(slots=True)
class _Job:
    group: Group
    channel: Channel
    cut: Cut | None = None
    numbers: list[int] = field(default_factory=list)
    """The number of each chunk, where it is new."""
    frames: list[Sealed] | None = None
    content: bytes | memoryview | None = None
    """The frames: in the worker's slot, or a copy where others must be written before them."""


def pack(
    artifacts: list[tuple[str, Iterator[Found]]],
    folder: Path,
    *,
    level: int,
    workers: int,
    progress: Progress,
    keep: bool = True,
    meanwhile: Callable[[], object] | None = None,
) -> Packed:
    """Read every entry and write `trees/`, `index/` and `packs/` below `folder`.

    Args:
        artifacts: names and entries, in the order of the release manifest.
        folder: a depot, or a scratch folder with the same sub-folders.
        level: zstd's, 1 to 22.
        workers: processes that read and compress.
        progress: told the bytes read.
        keep: whether to compress and write content; without, only digests are found.
        meanwhile: other work, done on the side once the workers are there; when it fails, packing ends.

    Raises:
        SourceError: an entry cannot be read or changed meanwhile.
        StoreError: the disk refuses.
    """
    with contextlib.ExitStack() as stack:
        crew = stack.enter_context(Crew(workers, cutter(level), slot=AHEAD * SLOT))
        aside = Aside(meanwhile or (lambda: None))
        stack.callback(aside.join)
        packer = _Packer(artifacts, folder, progress, aside, keep=keep)
        stack.callback(packer.abandon)
        packer.run(crew)
        return packer.finish()


class _Packer:
    def __init__(
        self,
        artifacts: list[tuple[str, Iterator[Found]]],
        folder: Path,
        progress: Progress,
        aside: Aside,
        *,
        keep: bool,
    ) -> None:
        self._aside = aside
        self._grouper = Grouper([entries for _, entries in artifacts])
        self._progress = progress
        self._keep = keep
        self._seen: set[int] = set()
        """The digests of all chunks so far, as numbers: a fifth less memory than bytes take."""
        self._trees = Trees(folder / "trees", [name for name, _ in artifacts])
        self._packs = Packs(folder)
        self._turns: dict[Channel, int] = {}
        """Which of its slots each worker fills next."""
        self._undecided: deque[_Job] = deque()
        self._unwritten: deque[_Job] = deque()

    def run(self, crew: Crew) -> None:
        queues: dict[Channel, deque[_Job]] = {channel: deque() for channel in crew.channels}
        while True:
            self._aside.check()
            self._hand_out(queues)
            if not any(queues.values()):
                return
            for channel in crew.ready():
                job = next(job for job in queues[channel] if job.frames is None)
                message = channel.receive()
                if isinstance(message, int):
                    if job.group.window and not job.group.window.last:
                        self._grouper.cut(message)
                elif job.cut is None:
                    self._learn(job, Cut(*message))
                else:
                    self._take_frames(job, [Sealed(*frame) for frame in message])
                self._write()
            for queue in queues.values():
                while queue and queue[0].frames is not None:
                    queue.popleft()

    def _hand_out(self, queues: dict[Channel, deque[_Job]]) -> None:
        """Give groups to the workers that have least to do."""
        while not self._grouper.waiting:
            channel = min(queues, key=lambda channel: len(queues[channel]))
            queue = queues[channel]
            if len(queue) >= AHEAD or not (group := self._grouper.take()):
                return
            job = _Job(group, channel)
            queue.append(job)
            channel.send(task(group))
            self._undecided.append(job)
            self._unwritten.append(job)

    def _learn(self, job: _Job, cut: Cut) -> None:
        job.cut = cut
        while self._undecided and self._undecided[0].cut is not None:
            job = self._undecided.popleft()
            self._decide(job, job.cut or cut)

    def _decide(self, job: _Job, cut: Cut) -> None:
        """Say which chunks of a group are new; the groups before it have been decided."""
        seen = self._seen
        flags = bytearray()
        for digest in map(int.from_bytes, cut.digests):
            new = digest not in seen
            job.numbers.append(len(seen) if new else -1)
            seen.add(digest)
            flags.append(new and self._keep)
        job.channel.send(bytes(flags))
        if not any(flags):
            job.frames = []
        self._trees.add(job.group, cut)
        self._progress.advance(sum(cut.sizes))

    def _take_frames(self, job: _Job, frames: list[Sealed]) -> None:
        assert job.channel.slot is not None
        turn = self._turns.get(job.channel, 0)
        self._turns[job.channel] = 1 - turn
        content = memoryview(job.channel.slot)[turn * SLOT : turn * SLOT + sum(frame.length for frame in frames)]
        job.content = content if job is self._unwritten[0] else bytes(content)
        job.frames = frames

    def _write(self) -> None:
        while self._unwritten and self._unwritten[0].frames is not None:
            job = self._unwritten.popleft()
            start = 0
            for frame in job.frames or ():
                assert job.content is not None
                runs = _runs(job.numbers[position] for position in frame.chunks)
                self._packs.add(frame, runs, memoryview(job.content)[start : start + frame.length])
                start += frame.length
            job.content = None

    def finish(self) -> Packed:
        artifacts = self._trees.finish()
        index, packs = self._packs.finish()
        return Packed(artifacts=artifacts, index=index, packs=packs, chunks=len(self._seen))

    def abandon(self) -> None:
        self._trees.abandon()
        self._packs.abandon()


def _runs(numbers: Iterator[int]) -> tuple[tuple[int, int], ...]:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][0] + runs[-1][1]:
            runs[-1][1] += 1
        else:
            runs.append([number, 1])
    return tuple((first, count) for first, count in runs)
