"""Work in threads: all of it is done, or the first failure is raised and nothing further begins."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from sealift.at_once import Hands, at_once


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_every_item_is_worked_on_once(workers: int) -> None:
    """Whatever the number of threads."""
    done: list[int] = []
    at_once(done.append, range(50), workers=workers)
    assert sorted(done) == list(range(50))


def test_nothing_to_do_is_done() -> None:
    """No item needs no thread."""
    at_once(lambda _: None, (), workers=3)


def test_a_failure_is_raised_and_nothing_further_begins() -> None:
    """What was begun ends; what was not begun never does."""
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        if item == 3:
            raise ValueError("the third")

    with pytest.raises(ValueError, match="the third"):
        at_once(work, range(1000), workers=1)
    assert begun == [0, 1, 2, 3]


def test_items_are_worked_on_side_by_side() -> None:
    """Two threads meet: neither waits for the other's item to end."""
    meeting = threading.Barrier(2, timeout=30)

    def work(_: int) -> None:
        meeting.wait()

    at_once(work, range(2), workers=2)


def test_leaving_early_begins_nothing_further() -> None:
    """Its maker failed, and does not wait for the rest."""
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        time.sleep(0.05)

    with pytest.raises(KeyboardInterrupt), Hands(work, range(1000), workers=2):
        raise KeyboardInterrupt
    assert len(begun) <= 4


def test_long_work_is_told_when_nobody_waits_any_more() -> None:
    """Ctrl-C ends the waiting; what is under way hears of it, and ends itself."""
    left = threading.Event()
    begun = threading.Event()

    def work(_: int) -> None:
        begun.set()
        assert left.wait(30)

    def interrupt() -> None:
        begun.wait(30)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        at_once(work, range(2), workers=2, leave=left.set)
