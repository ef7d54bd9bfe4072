"""Crews: workers that answer, fail aloud, and never outlive their leader."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import pytest
from alarms import no_longer_than

from sealift.crew import Channel, Crew
from sealift.errors import IntegrityError, SealiftError


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """A crew that waits for ever fails its test instead."""
    with no_longer_than(20, "the crew"):
        yield


def double(channel: Channel) -> None:
    """Answers twice what it is told."""
    while True:
        channel.send(channel.receive() * 2)


def children() -> set[int]:
    """Our processes that have not been waited for."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return set(map(int, file.read().split()))


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_every_task_is_answered(count: int, ahead: int) -> None:
    """However many workers there are, each task gives one answer."""
    with Crew(count, double) as crew:
        assert sorted(crew.run(iter(range(100)), ahead=ahead)) == list(range(0, 200, 2))
        assert list(crew.run(iter(()))) == []


def test_a_few_tasks_are_for_as_many_workers() -> None:
    """Nobody is handed a second task while somebody has none."""

    def who(channel: Channel) -> None:
        while True:
            channel.receive()
            channel.send(os.getpid())

    with Crew(3, who) as crew:
        assert len(set(crew.run(iter(range(3)), ahead=2))) == 3


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("most", [1, 4, 200])
def test_answers_come_in_the_order_of_their_tasks(count: int, most: int) -> None:
    """Whoever is quicker, answers keep the order, and no more than so many tasks are begun before the first is done."""
    begun: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(60):
            begun.append(number)
            yield number

    def late(channel: Channel) -> None:
        while True:
            number = channel.receive()
            time.sleep(0.02 if number % 7 == 0 else 0)
            channel.send(number)

    with Crew(count, late) as crew:
        for place, answer in enumerate(crew.in_order(tasks(), most=most)):
            assert answer == place
            assert len(begun) - place <= most
        assert list(crew.in_order(iter(()))) == []


def test_nothing_is_handed_out_where_the_tasks_wait() -> None:
    """After None among the tasks, the next is asked for when an answer has come, and none is lost."""
    answered: list[int] = []

    def one_at_a_time() -> Iterator[int | None]:
        for number in range(20):
            while len(answered) < number:
                yield None
            yield number

    with Crew(2, double) as crew:
        for answer in crew.in_order(one_at_a_time()):
            answered.append(answer)
    assert answered == list(range(0, 40, 2))


def test_no_worker_outlives_its_crew() -> None:
    """After the crew, its processes are gone and waited for."""
    before = children()
    with Crew(3, double) as crew:
        assert len(children() - before) == 3
        list(crew.run(iter([1, 2, 3])))
    assert children() == before


def test_a_failure_ends_the_crew_at_once() -> None:
    """Where the leader fails, workers in the midst of their work are killed."""

    def sleep(channel: Channel) -> None:
        channel.receive()
        time.sleep(60)

    def interrupted() -> Iterator[int]:
        yield from (1, 2)
        raise KeyboardInterrupt

    before = children()
    with pytest.raises(KeyboardInterrupt), Crew(2, sleep) as crew:
        list(crew.run(interrupted()))
    assert children() == before


def test_a_workers_refusal_reaches_the_leader() -> None:
    """An error that a person should read arrives with its kind, its message and its hint."""

    def refuse(channel: Channel) -> None:
        channel.receive()
        raise IntegrityError("a frame is damaged", hint="fetch it again")

    with pytest.raises(IntegrityError, match="a frame is damaged") as caught, Crew(2, refuse) as crew:
        list(crew.run(iter(range(10)), ahead=1))
    assert caught.value.hint == "fetch it again"


def test_a_workers_bug_reaches_the_leader() -> None:
    """A failure that nobody foresaw is told with its traceback."""

    def fail(channel: Channel) -> None:
        channel.receive()
        raise ZeroDivisionError("nothing to share")

    with pytest.raises(RuntimeError, match="nothing to share"), Crew(1, fail) as crew:
        list(crew.run(iter([1]), ahead=1))


def test_a_killed_worker_is_noticed() -> None:
    """A worker that disappears (as when memory runs out) is an error, not an endless wait."""

    def die(channel: Channel) -> None:
        channel.receive()
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises((EOFError, SealiftError)), Crew(1, die) as crew:
        list(crew.run(iter([1]), ahead=1))


def test_workers_end_with_their_leader() -> None:
    """A leader that is killed takes its workers along: their pipes end."""
    reader, writer = os.pipe()

    def tell(channel: Channel) -> None:
        os.close(reader)
        os.write(writer, b"%d " % os.getpid())
        channel.receive()

    leader = os.fork()
    if leader == 0:
        with contextlib.suppress(BaseException):
            Crew(2, tell)
            time.sleep(60)
        os._exit(0)
    os.close(writer)
    told = b""
    while told.count(b" ") < 2:
        told += os.read(reader, 100)
    os.kill(leader, signal.SIGKILL)
    os.waitpid(leader, 0)
    assert os.read(reader, 100) == b""  # the last writer is gone
    os.close(reader)


def test_workers_do_not_hear_ctrl_c() -> None:
    """SIGINT goes to the whole group of a terminal; the leader alone decides what it means."""

    def ask(channel: Channel) -> None:
        channel.receive()
        os.kill(os.getpid(), signal.SIGINT)
        channel.send("still here")

    with Crew(1, ask) as crew:
        assert list(crew.run(iter([0]), ahead=1)) == ["still here"]


def test_a_slot_is_shared() -> None:
    """What a worker writes into its slot, the leader sees."""

    def fill(channel: Channel) -> None:
        assert channel.slot is not None
        while True:
            value = channel.receive()
            channel.slot[:4] = value
            channel.send(None)

    with Crew(1, fill, slot=4096) as crew:
        (channel,) = crew.channels
        for value in (b"abcd", b"wxyz"):
            channel.send(value)
            assert channel.receive() is None
            assert channel.slot is not None
            assert channel.slot[:4] == value


def test_large_tasks_and_large_answers_do_not_block_each_other() -> None:
    """Messages above a pipe's 64 KiB pass both ways at once: nobody waits for somebody who waits for him."""
    with Crew(2, double) as crew:
        answers = list(crew.run(iter([b"x" * 500_000] * 8), ahead=2))
    assert list(map(len, answers)) == [1_000_000] * 8


def test_a_refusal_is_told_while_more_tasks_are_sent() -> None:
    """A worker that refused a task is heard, though the leader is just sending it the next one."""

    def refuse(channel: Channel) -> None:
        channel.receive()
        raise IntegrityError("a frame is damaged")

    for _ in range(20):
        with pytest.raises(IntegrityError), Crew(1, refuse) as crew:
            list(crew.run(iter([b"x" * 200_000] * 3), ahead=3))


def test_a_refusal_is_told_though_the_worker_is_gone() -> None:
    """A worker that refused and ended is heard, though the leader first finds its pipe broken."""

    def refuse(channel: Channel) -> None:
        channel.receive()
        raise IntegrityError("a frame is damaged")

    def slow() -> Iterator[int]:
        for number in range(3):
            yield number
            time.sleep(0.2)

    with pytest.raises(IntegrityError), Crew(1, refuse) as crew:
        list(crew.run(slow(), ahead=3))
