"""Packing: artifacts' entries become trees, an index and packs, the same bytes for the same entries.

Workers read, hash and compress group by group, in whatever order they get to it. Which chunk is new is
decided strictly in the order of the groups, and frames are written in that order, so that the result
does not depend on how many workers there are or how fast each is. Memory holds a few groups.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sealift.crew import Channel, Crew
from sealift.durable import TEMPORARY, storing, sync_folder, write_all
from sealift.errors import SourceError
from sealift.index import KIND as INDEX
from sealift.index import Frame
from sealift.listing import Blob, ListingBlob, Writer, file_name
from sealift.manifest import Artifact
from sealift.progress import Progress
from sealift.tree import KIND as TREE

from .cutting import AHEAD, SLOT, Cut, Sealed, cutter, file_entry, task
from .grouping import Group, Grouper
from .sources import Found

PACK_TARGET = 32 << 20
"""Bytes after which a pack is closed: small enough to resume cheaply, large enough to be few."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """What packing made."""

    artifacts: tuple[Artifact, ...]
    index: ListingBlob
    packs: tuple[Blob, ...]
    chunks: int
    """Distinct chunks."""


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
) -> Packed:
    """Read every entry and write `trees/`, `index/` and `packs/` below `folder`.

    Args:
        artifacts: names and entries, in the order of the release manifest.
        folder: a depot, or a scratch folder with the same sub-folders.
        level: zstd's, 1 to 22.
        workers: processes that read and compress.
        progress: told the bytes read.
        keep: whether to compress and write content; without, only digests are found.

    Raises:
        SourceError: an entry cannot be read or changed meanwhile.
        StoreError: the disk refuses.
    """
    with contextlib.ExitStack() as stack:
        crew = stack.enter_context(Crew(workers, cutter(level), slot=AHEAD * SLOT))
        packer = _Packer(artifacts, folder, progress, keep=keep)
        stack.callback(packer.abandon)
        packer.run(crew)
        return packer.finish()


class _Packer:
    def __init__(
        self, artifacts: list[tuple[str, Iterator[Found]]], folder: Path, progress: Progress, *, keep: bool
    ) -> None:
        self._names = [name for name, _ in artifacts]
        self._grouper = Grouper([entries for _, entries in artifacts])
        self._progress = progress
        self._keep = keep
        self._seen: set[bytes] = set()
        self._trees = _Trees(folder / "trees", self._names)
        self._packs = _Packs(folder)
        self._turns: dict[Channel, int] = {}
        """Which of its slots each worker fills next."""
        self._undecided: deque[_Job] = deque()
        self._unwritten: deque[_Job] = deque()

    def run(self, crew: Crew) -> None:
        queues: dict[Channel, deque[_Job]] = {channel: deque() for channel in crew.channels}
        while True:
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
        for digest in cut.digests:
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


class _Trees:
    """Writes one tree after the other."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self._folder = folder
        self._names = names
        self._writer: Writer | None = None
        self._files = self._bytes = 0
        self._digests: list[str] = []
        self._sizes: list[int] = []
        """The chunks of the large file that is under way."""
        self._done: list[Artifact] = []

    def add(self, group: Group, cut: Cut) -> None:
        while len(self._done) < group.artifact:
            self._close()
        if self._writer is None:
            self._writer = Writer(self._folder, TREE)
        self._files += group.files
        self._bytes += group.size
        if not group.window:
            self._writer.add_encoded(cut.lines)
            return
        self._digests += [digest.hex() for digest in cut.digests]
        self._sizes += cut.sizes
        if group.window.last:
            file = group.window.file
            self._writer.add(file_entry(file.path, file.executable, file.size, self._digests, self._sizes))
            self._digests, self._sizes = [], []

    def _close(self) -> None:
        name = self._names[len(self._done)]
        if self._writer is None:
            raise SourceError(f"artifact {name} holds nothing", hint="check its path and its patterns")
        tree, digest = self._writer.finish()
        self._writer = None
        self._done.append(
            Artifact(name=name, kind="files", digest=digest, tree=tree, files=self._files, bytes=self._bytes)
        )
        self._files = self._bytes = 0

    def finish(self) -> tuple[Artifact, ...]:
        while len(self._done) < len(self._names):
            self._close()
        return tuple(self._done)

    def abandon(self) -> None:
        if self._writer:
            self._writer.abandon()


class _Packs:
    """Writes frames into packs, and their index."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "packs"
        self._index = Writer(folder / "index", INDEX)
        self._descriptor = -1
        self._temporary = self._folder / f"{TEMPORARY}pack.{os.getpid()}"
        self._digest = hashlib.sha256()
        self._length = 0
        self._done: list[Blob] = []

    def add(self, frame: Sealed, runs: tuple[tuple[int, int], ...], content: memoryview) -> None:
        if self._length and self._length + frame.length > PACK_TARGET:
            self._close()
        with storing(self._folder):
            if self._descriptor < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
                self._descriptor = os.open(self._temporary, flags, 0o644)
            write_all(self._descriptor, content)
        self._digest.update(content)
        self._index.add(
            Frame(
                pack=len(self._done),
                offset=self._length,
                length=frame.length,
                size=frame.size,
                sha256=frame.digest,
                chunks=runs,
            )
        )
        self._length += frame.length

    def _close(self) -> None:
        blob = Blob(sha256=self._digest.hexdigest(), length=self._length)
        with storing(self._folder):
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
            os.replace(self._temporary, self._folder / file_name(blob))
            sync_folder(self._folder)
        self._done.append(blob)
        self._digest, self._length = hashlib.sha256(), 0

    def finish(self) -> tuple[ListingBlob, tuple[Blob, ...]]:
        if self._length:
            self._close()
        index, _ = self._index.finish()
        return index, tuple(self._done)

    def abandon(self) -> None:
        self._index.abandon()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._temporary.unlink(missing_ok=True)
