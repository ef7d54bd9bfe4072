"""The audit: re-check everything that a site holds, name what is damaged, and repair it from a bundle."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from sealift.at_once import at_once
from sealift.container import Reader
from sealift.crew import Channel, Crew
from sealift.durable import TEMPORARY, Draft, storing
from sealift.errors import IntegrityError, SealiftError
from sealift.frame import unseal
from sealift.index import HOLE, Frame
from sealift.listing import Blob, sound
from sealift.manifest import Part
from sealift.progress import Progress

from .records.ledger import Ledger
from .records.site import Site
from .records.state import read_marks
from .storage.store import Store


@dataclass(frozen=True, kw_only=True)
class Damage:
    """A file of the store that is missing or does not match its digest."""

    path: Path
    releases: tuple[str, ...]
    """The releases that need it."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit found."""

    files: int
    bytes: int
    """Checked in all."""
    damaged: tuple[Damage, ...]
    ledger_entries: int
    ledger_problem: str | None

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.damaged and self.ledger_problem is None


def audit(site: Site, *, deep: bool, workers: int, progress: Progress) -> Audit:
    """Check the digest of every file that an admitted release needs, and the ledger's chain.

    Args:
        site: the site.
        deep: also decompress every frame and check the digest of every chunk in it.
        workers: how many threads or processes work.
        progress: told the bytes checked.

    Raises:
        StoreError: the store cannot be read.
    """
    store = Store(site.store)
    needed: dict[Path, tuple[Blob, list[str]]] = {}
    bad: dict[Path, list[str]] = {}
    for admitted in site.state.admitted:
        try:
            for path, blob in store.files_of(admitted.part):
                needed.setdefault(path, (blob, []))[1].append(admitted.label)
        except SealiftError:
            path = store.manifest(admitted.part.release)
            bad.setdefault(path, []).append(admitted.label)
    total = sum(blob.length for blob, _ in needed.values())
    progress.start("verifying the store", total)

    def one(item: tuple[Path, tuple[Blob, list[str]]]) -> None:
        path, (blob, labels) = item
        if not sound(path, blob):
            bad.setdefault(path, []).extend(labels)
        progress.advance(blob.length)

    at_once(one, needed.items(), workers=workers)
    progress.finish()
    if deep and not bad:
        for admitted in site.state.admitted:
            for path in _wrong_packs(store, admitted.part, workers, progress):
                bad.setdefault(path, []).append(admitted.label)
    verdict = site.ledger.verify(site.marks.ledger if site.marks else None)
    return Audit(
        files=len(needed),
        bytes=total,
        damaged=tuple(Damage(path=path, releases=tuple(sorted(set(bad[path])))) for path in sorted(bad)),
        ledger_entries=verdict.head.seq,
        ledger_problem=verdict.problem,
    )


def broken_ledger(folder: Path) -> str | None:
    """What is wrong with the ledger of a site that cannot be opened, in one sentence; None where nothing is.

    Raises:
        TrustError: the marks, which remember the ledger's head, cannot be read either.
    """
    marks = read_marks(folder / "marks.json")
    return Ledger(folder / "ledger.jsonl").verify(marks.ledger if marks else None).problem


def repair(
    site: Site, path: Path, damaged: tuple[Damage, ...], *, now: datetime, progress: Progress
) -> tuple[Path, ...]:
    """Replace damaged packs by those of any bundle that holds them, whatever its age; return which.

    No signature is needed: the site's own state names the digest of each file that it lacks.

    Raises:
        MalformedError: it is no bundle.
        StoreError: the medium or the disk fails.
    """
    wanted = {f"{damage.path.parent.name}/{damage.path.name}": damage.path for damage in damaged}
    mended = []
    with site.lock(), Reader(path) as bundle:
        members = [member for member in bundle.members if member.name in wanted]
        progress.start("repairing", sum(member.size for member in members))
        for member in members:
            target = wanted[member.name]
            temporary = target.with_name(f"{TEMPORARY}{target.name}")
            running = hashlib.sha256()
            with storing(target), Draft(temporary, mode=0o600) as draft:
                for piece in bundle.pieces(member):
                    running.update(piece)
                    draft.write(piece)
                    progress.advance(len(piece))
                if running.hexdigest() == member.digest:
                    draft.keep(target)
                    mended.append(target)
        progress.finish()
        if mended:
            site.record("repaired", {"files": [each.name for each in mended], "from": str(path)}, now)
    return tuple(mended)


class _Task(NamedTuple):
    pack: str
    frame: Frame
    digests: list[tuple[bytes, int]]


def _wrong_packs(store: Store, part: Part, workers: int, progress: Progress) -> set[Path]:
    """The packs that hold a frame whose content is not what the trees say."""
    chunks: dict[bytes, int] = {}
    for artifact in store.held(part).artifacts:
        for entry in store.entries(artifact):
            chunks.update((bytes.fromhex(digest), size) for digest, size in entry.pieces())
    ordered = list(chunks.items())

    def tasks() -> Iterator[_Task]:
        for frame in store.frames(part.index):
            pack = str(store.pack(part.packs[frame.pack]))
            yield _Task(pack, frame, list(_pieces(frame, ordered)))

    wrong = set()
    progress.start("verifying the content", sum(chunks.values()))
    with Crew(workers, _check_frames) as crew:
        for pack, good, size in crew.run(tasks()):
            progress.advance(size)
            if not good:
                wrong.add(Path(pack))
    progress.finish()
    return wrong


def _pieces(frame: Frame, chunks: Sequence[tuple[bytes, int]]) -> Iterator[tuple[bytes, int]]:
    """The digest and size of what a frame holds; no digest for what is of no chunk of the release."""
    for first, count in frame.chunks:
        if first == HOLE:
            yield b"", count
        else:
            yield from chunks[first : first + count]


def _check_frames(channel: Channel) -> None:
    while True:
        task: Any = channel.receive()
        channel.send((task.pack, _holds(task), task.frame.size))


def _holds(task: _Task) -> bool:
    try:
        with open(task.pack, "rb") as file:
            frame = os.pread(file.fileno(), task.frame.length, task.frame.offset)
        if hashlib.sha256(frame).hexdigest() != task.frame.sha256:
            return False
        content = memoryview(unseal(frame, task.frame.size))
    except (OSError, IntegrityError):
        return False
    start = 0
    for digest, size in task.digests:
        if digest and hashlib.sha256(content[start : start + size]).digest() != digest:
            return False
        start += size
    return start == len(content)
