"""What stops a command from outside: Ctrl-C (SIGINT), SIGTERM as a service manager sends it, SIGHUP of a lost terminal.

All three are one thing, a `KeyboardInterrupt`, so that whatever undoes a change after Ctrl-C undoes it after the
others too. They are held back for the moment between starting a process and knowing it: an exception there would
leave a process that nobody can end, since the call that would have named it did not return.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """Another signal than SIGINT asks the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP interrupt the block as Ctrl-C does, unless they were ignored before (`nohup`).

    Raises:
        Stopped: one came.
    """
    with _handling([each for each in SIGNALS[1:] if signal.getsignal(each) is signal.SIG_DFL], _stop):
        yield


def ignore() -> None:
    """Leave all of them to the process that leads this one."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Let a signal that comes inside the block be heard at its end; a process that is started inside is not changed.

    Only a handler of Python's can be put off: what ends the process at once still does.
    """
    heard: list[int] = []

    def hear(number: int, _: FrameType | None) -> None:
        heard.append(number)

    try:
        with _handling([each for each in SIGNALS if callable(signal.getsignal(each))], hear):
            yield
    finally:
        for number in heard[:1]:
            signal.raise_signal(number)


@contextlib.contextmanager
def _handling(signals: Sequence[signal.Signals], handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Have `handler` hear some signals inside the block. Only the main thread hears any; elsewhere nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {each: signal.signal(each, handler) for each in signals}
    try:
        yield
    finally:
        for each, before in former.items():
            signal.signal(each, before)


def _stop(number: int, _: FrameType | None) -> None:
    raise Stopped(number)
