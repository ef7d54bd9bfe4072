"""Work that somebody else's input decides, in a process of its own that is bounded in time and memory.

It dumps no core: what it holds may be secret.
"""

from __future__ import annotations

import resource
import select
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from sealift.crew import Channel, Crew
from sealift.errors import SealiftError, UsageError

T = TypeVar("T")


def confined(work: Callable[[], T], what: str, *, seconds: int, memory: int) -> T:
    """What `work` returns, which can be pickled.

    Args:
        work: changes nothing but what it returns.
        what: what it is about, for messages.
        seconds: of time, and of processor time.
        memory: bytes that it may take beside what this process has.

    Raises:
        UsageError: it took too much time or memory.
        SealiftError: what `work` raised.
    """
    refused = UsageError(
        f"{what} took more than {seconds} seconds, or too much memory", hint="look for a loop without end"
    )

    def body(channel: Channel) -> None:
        has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        for limit, value in (
            (resource.RLIMIT_CPU, seconds),
            (resource.RLIMIT_AS, has + memory),
            (resource.RLIMIT_CORE, 0),
        ):
            resource.setrlimit(limit, (value, value))
        try:
            channel.send(work())
        except (MemoryError, RecursionError):
            raise refused from None

    with Crew(1, body) as crew:
        (channel,) = crew.channels
        if not select.select([channel], [], [], seconds)[0]:
            raise refused
        try:
            return cast(T, channel.receive())
        except SealiftError as error:
            if type(error) is SealiftError:
                raise refused from error
            raise
