"""Ctrl-C and its like interrupt, wait for the end of a short block, and are never lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from sealift import interrupt


@pytest.fixture(autouse=True)
def hear() -> Iterator[None]:
    """SIGINT interrupts, whatever the tests were started by."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


def test_a_signal_inside_the_block_is_heard_at_its_end() -> None:
    """What the block does is done, and then the interrupt comes."""
    done: list[str] = []

    def work() -> None:
        with interrupt.held_back():
            signal.raise_signal(signal.SIGINT)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done


def test_after_the_block_signals_are_heard_at_once() -> None:
    """The former handler is back, after a failure too."""
    with pytest.raises(ValueError, match="boom"), interrupt.held_back():
        raise ValueError("boom")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_ignored_signal_stays_ignored() -> None:
    """A program that was started with SIGINT ignored, as `nohup` and shells do, keeps it so for its children."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupt.held_back():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_another_thread_runs_the_block_unchanged() -> None:
    """Only the main thread may set a handler."""
    seen: list[object] = []

    def work() -> None:
        with interrupt.held_back():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_interrupt_inside_the_block_only(number: signal.Signals) -> None:
    """Outside of it they do what they did."""
    before = signal.getsignal(number)
    with pytest.raises(interrupt.Stopped) as caught, interrupt.stoppable():
        signal.raise_signal(number)
    assert caught.value.signal is number
    assert signal.getsignal(number) is before


def test_a_terminal_that_may_go_is_not_missed() -> None:
    """`nohup` has SIGHUP ignored, and it stays ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupt.stoppable():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_is_heard_though_the_block_failed() -> None:
    """The failure is the interrupt's context."""

    def work() -> None:
        with interrupt.held_back():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("boom")

    with pytest.raises(KeyboardInterrupt) as caught:
        work()
    assert isinstance(caught.value.__context__, ValueError)
