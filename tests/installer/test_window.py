"""The window of a rebuilding: what is handed out, in which order it is written, and how much waits."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from installer.storage.window import Task, Window
from sealift.difference import Patch

MIB = 1 << 20


def task(size: int) -> Task:
    """A frame of `size` bytes."""
    return Task(Patch(pack=0, offset=0, length=1, size=size, sha256="0" * 64, chunks=((0, 1),)), [])


@given(sizes=st.lists(st.integers(1, 8 * MIB), max_size=120), workers=st.integers(1, 4), seed=st.integers(0, 99))
def test_all_is_handed_out_and_written_in_order(sizes: list[int], workers: int, seed: int) -> None:
    """In whatever order workers end, every task is written once, in order, and no more than the bound waits."""
    chance = random.Random(seed)
    window = Window(iter([task(size) for size in sizes]))
    under_way: list[list[tuple[int, Task]]] = []
    made: set[int] = set()
    written: list[int] = []
    waiting = 0
    ended = False
    while not ended or under_way:
        while not ended and len(under_way) < 2 * workers:
            try:
                run = next(window)
            except StopIteration:
                ended = True
                break
            if run is None:
                assert waiting >= 16 * MIB or len(made) + sum(map(len, under_way)) >= 256
                break
            under_way.append(run)
            waiting += sum(each.part.size for _, each in run if isinstance(each.part, Patch))
        assert waiting < 24 * MIB
        if not under_way:
            continue
        run = under_way.pop(chance.randrange(len(under_way)))
        made.update(number for number, _ in run)
        for number, each in window.written(made):
            assert isinstance(each.part, Patch)
            assert each.part.size == sizes[number]
            made.discard(number)
            written.append(number)
            waiting -= each.part.size
    assert written == list(range(len(sizes)))


def test_many_small_tasks_go_to_several_workers() -> None:
    """A run has a bounded number of frames, and a bounded number of them wait."""
    window = Window(iter([task(1) for _ in range(1000)]))
    runs = [next(window) for _ in range(5)]
    assert [len(run) if run else None for run in runs] == [64, 64, 64, 64, None]
