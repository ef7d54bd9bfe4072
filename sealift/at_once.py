"""Doing the same with several things at once, in threads: for work that waits for disks or for the kernel."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Hands(Generic[T]):
    """Threads that begin at once to do `work` on each item, while their maker does something else.

    As a context: leaving it waits for what was begun, and begins nothing further. `concurrent.futures` would do,
    but for the time that importing it takes.
    """

    def __init__(self, work: Callable[[T], None], items: Iterable[T], *, workers: int) -> None:
        self._work = work
        self._waiting = deque(items)
        self._failure: BaseException | None = None
        count = min(workers, len(self._waiting))
        self._threads = [threading.Thread(target=self._run, name="hand", daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Hands[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.clear()
        self._join()

    def finish(self) -> None:
        """Wait until all is done; after a failure nothing further begins, and it is raised."""
        self._join()
        if self._failure:
            raise self._failure

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while True:
            try:
                item = self._waiting.popleft()
            except IndexError:
                return
            try:
                self._work(item)
            except BaseException as error:
                self._waiting.clear()
                self._failure = self._failure or error


def at_once(
    work: Callable[[T], None], items: Iterable[T], *, workers: int, leave: Callable[[], None] | None = None
) -> None:
    """Do `work` on each item in `workers` threads; after a failure nothing further begins, and it is raised.

    Args:
        work: what to do.
        items: what to do it with.
        workers: how many threads.
        leave: told where something from outside (Ctrl-C) ends the waiting, so that long work can end itself soon.
    """
    with Hands(work, items, workers=workers) as hands:
        try:
            hands.finish()
        except BaseException:
            if leave is not None:
                leave()
            raise
