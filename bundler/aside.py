"""Work that is done on the side, in a thread, while the leader of a crew mostly waits."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Aside:
    """A thread that does `work` once; make it only after a crew was forked, since threads do not fork."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="aside", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._failure = error

    def check(self) -> None:
        """Raise what the work raised, if it has failed by now."""
        if self._failure:
            raise self._failure

    def join(self) -> None:
        """Wait until it has ended, well or not."""
        self._thread.join()
