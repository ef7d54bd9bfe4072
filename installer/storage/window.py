"""The window of a rebuilding: what is handed out to workers and not yet written, in bounds and in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sealift.difference import Inflated, Patch

_RUN, _RUN_FRAMES = 4 << 20, 64
"""Bytes of frames that one worker makes one behind the other, and how many: they mostly refer to the same frames of
the bases."""
_WAITING, _ARCHIVES, _WAITING_BYTES = 256, 32, 16 << 20
"""Tasks that are under way or wait to be written, archives among them, and bytes of the frames among them."""


class Task(NamedTuple):
    """What a worker makes of one part of a difference."""

    part: Patch | Inflated
    chunks: list[tuple[bytes, int]]
    """The digest and size of each chunk of its content."""


class Window:
    """Tasks with their numbers, in runs for a crew that answers in order; None where too many wait to be written."""

    def __init__(self, tasks: Iterator[Task]) -> None:
        self._runs = _runs(enumerate(tasks))
        self._waiting: deque[list[tuple[int, Task]]] = deque()
        self._tasks = self._archives = self._bytes = 0

    def __iter__(self) -> Window:
        return self

    def __next__(self) -> list[tuple[int, Task]] | None:
        if self._tasks >= _WAITING or self._archives >= _ARCHIVES or self._bytes >= _WAITING_BYTES:
            return None
        run = next(self._runs)
        self._waiting.append(run)
        self._count(run, 1)
        return run

    def written(self) -> None:
        """The first run of those that wait was written."""
        self._count(self._waiting.popleft(), -1)

    def first(self) -> list[tuple[int, Task]]:
        """The first run of those that wait."""
        return self._waiting[0]

    def _count(self, run: Sequence[tuple[int, Task]], sign: int) -> None:
        self._tasks += sign * len(run)
        for _, task in run:
            if isinstance(task.part, Patch):
                self._bytes += sign * task.part.size
            else:
                self._archives += sign


def _runs(tasks: Iterator[tuple[int, Task]]) -> Iterator[list[tuple[int, Task]]]:
    """What one worker is given at a time: an archive alone, or frames in a row."""
    run: list[tuple[int, Task]] = []
    size = 0
    for number, task in tasks:
        alone = isinstance(task.part, Inflated)
        if run and (alone or size + size_of(task.part) > _RUN or len(run) == _RUN_FRAMES):
            yield run
            run, size = [], 0
        run.append((number, task))
        size += size_of(task.part)
        if alone:
            yield run
            run, size = [], 0
    if run:
        yield run


def size_of(part: Patch | Inflated) -> int:
    """Bytes of the content that it brings."""
    return part.size if isinstance(part, Patch) else part.recipe.size
