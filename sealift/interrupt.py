"""Ctrl-C, held back for the moment between starting a process and knowing it.

A `KeyboardInterrupt` in that moment would leave a process that nobody can end: it was started, and the
call that would have named it did not return.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Let a SIGINT that comes inside the block be heard at its end; a process that is started inside is not changed.

    Only the main thread hears signals, and only a handler of Python's can be put off: elsewhere this does nothing.
    """
    former = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(former):
        yield
        return
    heard: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
        if heard:
            signal.raise_signal(signal.SIGINT)
