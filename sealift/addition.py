"""Additions: values that are added to bytes of a content, each at the place that a gap leads to from the one before.

It is the part of a subtraction that takes time. numpy does it in a thirtieth of it, and is an extra: where it is not
at hand, or not worth its start, bytes are added one by one. Both ways give the same, and refuse the same.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from itertools import accumulate, compress

from .errors import IntegrityError

LONG = 255
"""The gap that no value follows."""
WORTH = 4 << 20
"""Values from which on numpy is worth the time and the memory of its start: to add so many one by one takes a processor
half a second."""
_STEPS = bytes(range(1, 256)) + b"\xff"
"""What a gap and the byte behind it add to the place: a long gap has no byte behind it."""
_ENDS = b"\1" * 255 + b"\0"
"""Whether a value follows a gap."""
_SLICE = 1 << 16
"""Gaps that numpy is given at a time: what it makes of them stays near to the processor."""
_THREADS = "OPENBLAS_NUM_THREADS"

Addition = Callable[[bytearray, bytes, bytes], None]
"""Adds to a content, which has one byte more in front, since what is summed up is the place behind a byte. It takes
the gaps and the values, as many of them as there are gaps but long ones, and raises `IntegrityError`, before anything
is changed, where a gap leads out of the content."""


def one_by_one(content: bytearray, gaps: bytes, values: bytes) -> None:
    """Add in a loop (see `Addition`).

    Raises:
        IntegrityError: a gap leads out of the content.
    """
    steps = gaps.translate(_STEPS)
    _check(sum(steps), content)
    for place, value in zip(compress(accumulate(steps), gaps.translate(_ENDS)), values, strict=True):
        content[place] = content[place] + value & 0xFF


def with_numpy() -> Addition | None:
    """The `Addition` that uses numpy; None where it cannot be imported."""
    try:
        with _without_threads():
            import numpy as np
    except ImportError:
        return None

    def add(content: bytearray, gaps: bytes, values: bytes) -> None:
        steps = np.frombuffer(gaps.translate(_STEPS), np.uint8)
        _check(int(steps.sum(dtype=np.int64)), content)
        target, added = np.frombuffer(content, np.uint8), np.frombuffer(values, np.uint8)
        followed = np.frombuffer(gaps, np.uint8) != LONG
        place = taken = 0
        for start in range(0, len(gaps), _SLICE):
            part = slice(start, start + _SLICE)
            behind = np.cumsum(steps[part], dtype=np.int64) + place
            places = behind[followed[part]]
            target[places] += added[taken : taken + len(places)]
            place, taken = int(behind[-1]), taken + len(places)

    return add


@contextlib.contextmanager
def _without_threads() -> Iterator[None]:
    """Let numpy's linear algebra, which nothing here uses, start no threads: workers are forked later."""
    former = os.environ.get(_THREADS)
    os.environ[_THREADS] = "1"
    try:
        yield
    finally:
        del os.environ[_THREADS]
        if former is not None:
            os.environ[_THREADS] = former


def quickest(values: int) -> Addition:
    """The way that takes the least time.

    Args:
        values: how many there are in all.
    """
    return (with_numpy() if values >= WORTH else None) or one_by_one


def _check(end: int, content: bytearray) -> None:
    if end >= len(content):
        raise IntegrityError("a subtraction changes bytes that it does not have", hint="ask for a whole bundle")
