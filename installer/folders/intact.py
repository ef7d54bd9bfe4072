"""Whether a deployed folder still holds a release, file by file. What it holds besides does not count."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from sealift.crew import Body, Channel, Crew
from sealift.tree import Entry

from ..storage.deployable import Deployable
from ..storage.store import Store

_BATCH = 256
_BYTES = 16 << 20


class _Task(NamedTuple):
    entries: list[tuple[str, Entry]]


def intact(deployable: Deployable, store: Store, folder: Path, workers: int) -> bool:
    """Whether every entry of the release stands below `folder` with its type, mode and content, filled where it is.

    Raises:
        IntegrityError: a tree in the store is damaged.
    """
    with Crew(workers, _body(folder, deployable.filled_paths)) as crew:
        return all(crew.run(_tasks(deployable, store)))


def _tasks(deployable: Deployable, store: Store) -> Iterator[_Task]:
    batch: list[tuple[str, Entry]] = []
    size = 0
    for artifact in deployable.artifacts:
        prefix = deployable.folder_of(artifact.name)
        for entry in store.entries(artifact):
            batch.append((prefix + entry.path, entry))
            size += entry.size
            if len(batch) >= _BATCH or size > _BYTES:
                yield _Task(batch)
                batch, size = [], 0
    if batch:
        yield _Task(batch)


def _body(folder: Path, filled: Mapping[str, bytes]) -> Body:
    def body(channel: Channel) -> None:
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        while True:
            task: _Task = channel.receive()
            channel.send(all(_same(path, entry, filled.get(path), root) for path, entry in task.entries))

    return body


def _same(path: str, entry: Entry, filled: bytes | None, root: int) -> bool:
    with contextlib.suppress(OSError):
        if entry.type == "link":
            return os.readlink(path, dir_fd=root) == entry.target
        if entry.type == "dir":
            return stat.S_ISDIR(os.stat(path, dir_fd=root, follow_symlinks=False).st_mode)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=root)
        try:
            return _same_file(descriptor, entry) if filled is None else _same_content(descriptor, entry, filled)
        finally:
            os.close(descriptor)
    return False


def _same_file(descriptor: int, entry: Entry) -> bool:
    status = os.fstat(descriptor)
    if status.st_size != entry.size or stat.S_IMODE(status.st_mode) != int(entry.mode, 8):
        return False
    return all(hashlib.sha256(os.read(descriptor, size)).hexdigest() == digest for digest, size in entry.pieces())


def _same_content(descriptor: int, entry: Entry, content: bytes) -> bool:
    status = os.fstat(descriptor)
    if status.st_size != len(content) or stat.S_IMODE(status.st_mode) != int(entry.mode, 8):
        return False
    with open(descriptor, "rb", closefd=False) as file:
        return file.read(len(content) + 1) == content
