"""Bringing a release's content to a bucket: what lacks is sent, what is there under our tag stays, the rest is read.

Files are sent in the order in which they lie in the packs, in batches, so that a frame is decompressed about once.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sealift.at_once import at_once
from sealift.bucket.failure import Missing
from sealift.bucket.objects import Objects
from sealift.errors import DeployError, IntegrityError
from sealift.progress import Progress

from ..storage.content import Contents, Reader
from ..storage.deployable import Deployable
from ..storage.store import Store
from .memory import Memory
from .published import OBJECTS, File, encode, object_key

SENDERS = 4
"""Objects that are sent at once."""
READERS = 16
"""Objects that are read or removed at once."""
_BATCH = 4 << 20
"""Bytes of files that one thread sends before it takes the next ones."""
_BATCH_FILES = 64


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A content that is to be in the bucket."""

    digest: str
    size: int
    """Bytes."""
    artifact: str
    path: str

    @property
    def key(self) -> str:
        """Its key, below the prefix."""
        return object_key(self.digest)


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What a release is in a bucket."""

    content: bytes
    """Its list."""
    wanted: Sequence[Wanted]
    """Every content once, in the order of the packs."""
    contents: Contents


def inventory(deployable: Deployable, store: Store) -> Inventory:
    """What a release is in a bucket; files of several chunks are read for it.

    Raises:
        IntegrityError: the store is damaged.
        UsageError: the release has too many files.
    """
    names = [artifact.name for artifact in deployable.artifacts]
    contents = Contents(deployable, store, names)
    files: dict[str, File] = {}
    links: dict[str, str] = {}
    wanted: dict[str, Wanted] = {}
    digests: dict[tuple[str, str], str] = {}
    unknown = [(name, path) for name, held in contents.files.items() for path, file in held.items() if not file.sha256]

    def hashed(each: tuple[str, str]) -> None:
        digests[each] = _digest(contents.pieces(*each))

    at_once(hashed, unknown, workers=2)
    for name in names:
        prefix = deployable.folder_of(name)
        for path, held in contents.files[name].items():
            digest = held.sha256 or digests[name, path]
            files[prefix + path] = File(sha256=digest, size=held.size, executable=held.executable)
            wanted.setdefault(digest, Wanted(digest=digest, size=held.size, artifact=name, path=path))
        links |= {prefix + path: target for path, target in contents.links[name].items()}
    ordered = sorted(wanted.values(), key=lambda each: contents.position(each.artifact, each.path))
    return Inventory(content=encode(deployable, files, links), wanted=ordered, contents=contents)


def _digest(pieces: Iterator[bytes]) -> str:
    running = hashlib.sha256()
    for piece in pieces:
        running.update(piece)
    return running.hexdigest()


class Bringing:
    """Brings contents to a bucket, below a prefix that ends in a slash or is empty."""

    def __init__(self, objects: Objects, prefix: str, memory: Memory, progress: Progress) -> None:
        self._objects = objects
        self._prefix = prefix
        self._memory = memory
        self._progress = progress
        self._lock = threading.Lock()
        self.sent = 0
        """Bytes that went over the line."""
        self.there = 0
        """Bytes that the bucket had."""
        self._left = threading.Event()

    def run(self, inventory: Inventory) -> None:
        """Bring everything there.

        Raises:
            DeployError: the bucket refuses or cannot be reached.
            IntegrityError: the store is damaged.
            StoreError: the disk refuses.
        """
        known = self._memory.tags()
        standing = {
            seen.key.removeprefix(self._prefix): seen for seen in self._objects.listed(f"{self._prefix}{OBJECTS}")
        }
        lacking = []
        doubted = []
        for each in inventory.wanted:
            seen = standing.get(each.key)
            if seen is None or seen.size != each.size:
                lacking.append(each)
            elif seen.tag and known.get(each.key) == seen.tag:
                self._reuse(each)
            else:
                doubted.append(each)
        self._memory.note_only({key: tag for key, tag in known.items() if key in standing})
        again: list[Wanted] = []

        def doubt(each: Wanted) -> None:
            key = f"{self._prefix}{each.key}"
            if whole(self._objects, key, each.digest, each.size, left=self._left):
                self._memory.note(each.key, standing[each.key].tag)
                self._reuse(each)
            else:
                again.append(each)

        at_once(doubt, doubted, workers=READERS, leave=self._left.set)
        at_once(
            lambda batch: self._send(batch, inventory.contents.reader()),
            _batches(lacking + again),
            workers=SENDERS,
            leave=self._left.set,
        )

    def _reuse(self, each: Wanted) -> None:
        with self._lock:
            self.there += each.size
            self._progress.advance(each.size)

    def _send(self, batch: Sequence[Wanted], reader: Reader) -> None:
        for each in batch:
            key = f"{self._prefix}{each.key}"
            tag = self._objects.upload(key, self._checked(each, reader), each.size)
            if not tag:
                seen = self._objects.look(key)
                if seen is None or seen.size != each.size:
                    raise DeployError(
                        f"{self._objects.place} does not have what was just put there: {key}",
                        hint="find out who removes objects there, then apply again",
                    )
                tag = seen.tag
            self._memory.note(each.key, tag)
            with self._lock:
                self.sent += each.size

    def _checked(self, each: Wanted, reader: Reader) -> Iterator[bytes]:
        running = hashlib.sha256()
        for piece in reader.pieces(each.artifact, each.path):
            if self._left.is_set():
                raise _interrupted()
            running.update(piece)
            yield piece
            with self._lock:
                self._progress.advance(len(piece))
        if running.hexdigest() != each.digest:
            raise IntegrityError(
                f"{each.path} changed while it was sent", hint="run 'sealift-install verify': the disk may be faulty"
            )


def whole(objects: Objects, key: str, digest: str, size: int, *, left: threading.Event | None = None) -> bool:
    """Whether an object has the content that it should, read from the bucket itself.

    Args:
        objects: the bucket's.
        key: the object.
        digest: its SHA-256.
        size: its bytes.
        left: set where nobody waits for the answer any more.

    Raises:
        DeployError: the bucket cannot be read, or `left` was set.
    """
    running, length = hashlib.sha256(), 0
    try:
        for piece in objects.pieces(key):
            if left is not None and left.is_set():
                raise _interrupted()
            running.update(piece)
            length += len(piece)
            if length > size:
                return False
    except Missing:
        return False
    return length == size and running.hexdigest() == digest


def _interrupted() -> DeployError:
    return DeployError("it was interrupted", hint="run the same command again: what was sent stays")


def _batches(wanted: Sequence[Wanted]) -> list[list[Wanted]]:
    """Runs of contents that one thread sends."""
    batches: list[list[Wanted]] = []
    size = 0
    for each in wanted:
        if not batches or size + each.size > _BATCH or len(batches[-1]) >= _BATCH_FILES:
            batches.append([])
            size = 0
        batches[-1].append(each)
        size += each.size
    return batches
