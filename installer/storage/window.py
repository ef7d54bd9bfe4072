"""The window of a rebuilding: what is handed out to workers and not yet written, in bounds and in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterator, Sequence
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
    """Tasks by their numbers, in runs for a crew, and those of them that wait to be written, which is done in order.

    Where too many wait, nothing further is handed out: it gives None until some were written.
    """

    def __init__(self, tasks: Iterator[Task]) -> None:
        self._runs = _runs(enumerate(tasks))
        self._waiting: deque[tuple[int, Task]] = deque()
        self._archives = self._bytes = 0

    def __iter__(self) -> Window:
        return self

    def __next__(self) -> list[tuple[int, Task]] | None:
        if len(self._waiting) >= _WAITING or self._archives >= _ARCHIVES or self._bytes >= _WAITING_BYTES:
            return None
        run = next(self._runs)
        self._waiting.extend(run)
        self._count(run, 1)
        return run

    def written(self, made: Container[int]) -> Iterator[tuple[int, Task]]:
        """Yield the tasks that can be written, those before them being written; they do not wait any more."""
        while self._waiting and self._waiting[0][0] in made:
            first = self._waiting.popleft()
            self._count([first], -1)
            yield first

    def _count(self, tasks: Sequence[tuple[int, Task]], sign: int) -> None:
        for _, task in tasks:
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
