"""Programs that answer: what they read, what they write, and how much of it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from installer.programs import commands

SHELL = "/bin/sh"


def test_the_answer_stands_apart(tmp_path: Path) -> None:
    """Standard output is the answer, and standard error the words of a failure."""
    outcome = commands.run(
        [SHELL, "-c", "echo one; echo two >&2; exit 3"], timeout=10, folder=tmp_path, variables={}, answer_max=100
    )
    assert (outcome.problem, outcome.answer, outcome.words) == ("failed with exit code 3", b"one\n", "two")


def test_it_reads_what_it_is_asked(tmp_path: Path) -> None:
    """A file is its standard input, from where the file stands."""
    question = tmp_path / "question"
    question.write_bytes(b"x" * 300_000)
    with question.open("rb") as asked:
        outcome = commands.run(["/bin/cat"], timeout=10, folder=None, variables={}, asked=asked, answer_max=1 << 20)
    assert (outcome.problem, len(outcome.answer)) == (None, 300_000)


def test_an_endless_answer_is_ended() -> None:
    """More than was allowed is neither kept nor waited for."""
    outcome = commands.run(["/usr/bin/yes"], timeout=60, folder=None, variables={}, answer_max=1000)
    assert (outcome.problem, outcome.answer) == ("answered with more than 1000 bytes", b"")


def test_it_can_hold_a_lock_that_we_lose(tmp_path: Path) -> None:
    """A descriptor that it was given stays open in it."""
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    words = [SHELL, "-c", f"readlink /proc/self/fd/{lock}"]
    outcome = commands.run(words, timeout=10, folder=None, variables={}, answer_max=1000, holding=(lock,))
    os.close(lock)
    assert outcome.answer.decode().strip() == str(tmp_path / "lock")
