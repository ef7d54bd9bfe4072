"""An end for what might wait for ever."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def no_longer_than(seconds: int, what: str) -> Iterator[None]:
    """Let what hangs in the main thread fail after `seconds`.

    Raises:
        TimeoutError: `what` hangs.
    """

    def late(*_: object) -> None:
        raise TimeoutError(f"{what} hangs")

    former = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)
