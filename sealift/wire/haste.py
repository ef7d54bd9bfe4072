"""Haste: who answers gets so many seconds for an answer's head and for each piece of its body, however it slices them.

A socket's own timeout begins anew with every byte, so a head that drips, interim answers without end or trailers
without end would keep a client for ever.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO


class Hasty(io.RawIOBase):
    """What arrives over a line, until the time of what is under way is over."""

    def __init__(self, raw: BinaryIO | io.RawIOBase, seconds: float, clock: Callable[[], float] = time.monotonic):
        """Take a line, whose first operation is under way.

        Args:
            raw: what it brings, unbuffered.
            seconds: how long one operation may take.
            clock: says the seconds.
        """
        self._raw = raw
        self._seconds = seconds
        self._clock = clock
        self._until: float | None = clock() + seconds

    @contextlib.contextmanager
    def within(self) -> Iterator[None]:
        """Give what is done meanwhile the time of one operation."""
        self._until = self._clock() + self._seconds
        try:
            yield
        finally:
            self._until = None

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview | bytearray) -> int | None:  # type: ignore[override]
        """Bytes that were read.

        Raises:
            TimeoutError: the time is over.
        """
        if self._until is not None and self._clock() > self._until:
            raise TimeoutError("timed out")
        return self._raw.readinto(buffer)  # type: ignore[union-attr]

    def close(self) -> None:
        """Let go of the line."""
        self._raw.close()
        super().close()
