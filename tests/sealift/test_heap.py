"""The heap: what was freed is kept for what is asked for next."""

from __future__ import annotations

import resource

from sealift.crew import Channel, Crew
from sealift.heap import retain

MIB = 1 << 20


def test_what_is_retained_is_not_asked_for_again() -> None:
    """Pages of a piece that was freed serve the next one, so that the kernel clears none of them."""

    def body(channel: Channel) -> None:
        while True:
            if channel.receive():
                retain(64 * MIB)
            len(b"\1" * (20 * MIB))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(20):
                len(b"\1" * (20 * MIB))
            channel.send(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

    with Crew(1, body) as crew:
        before, after = (next(crew.run(iter((retaining,)))) for retaining in (False, True))
    assert after < before / 4
