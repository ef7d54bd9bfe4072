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


@given(sizes=st.lists(st.integers(1, 8 * MIB), max_size=120), ahead=st.integers(1, 8), seed=st.integers(0, 99))
def test_all_is_handed_out_in_order_and_within_bounds(sizes: list[int], ahead: int, seed: int) -> None:
    """Every task is handed out once, in order, and no more than the bound waits to be written."""
    chance = random.Random(seed)
    window = Window(iter([task(size) for size in sizes]))
    waiting: list[int] = []
    seen: list[int] = []
    while True:
        run: list[tuple[int, Task]] | None = []
        while run is not None and len(waiting) < ahead:
            run = next(window, None) if len(seen) < len(sizes) else None
            if run is None:
                assert sum(waiting) >= 16 * MIB or len(seen) == len(sizes)
                break
            seen += [number for number, _ in run]
            waiting.append(sum(sizes[number] for number, _ in run))
            assert sum(waiting) < 24 * MIB
        if not waiting:
            break
        for _ in range(chance.randint(1, len(waiting))):
            assert sum(sizes[number] for number, _ in window.first()) == waiting.pop(0)
            window.written()
    assert seen == list(range(len(sizes)))


def test_many_small_tasks_go_to_several_workers() -> None:
    """A run has a bounded number of frames, and a bounded number of them wait."""
    window = Window(iter([task(1) for _ in range(1000)]))
    runs = [next(window) for _ in range(5)]
    assert [len(run) if run else None for run in runs] == [64, 64, 64, 64, None]
