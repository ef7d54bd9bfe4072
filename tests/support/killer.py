"""Kills a process just before, or just after, its n-th call that changes a disk or another thing that is counted.

Until all of the process is gone, it is waited for.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from installer.folders import writing
from installer.programs import commands

Side = Literal["before", "after"]
CALLS = ("fsync", "fdatasync", "replace", "rename", "unlink", "rmdir", "symlink", "link", "mkdir")
"""The functions of `os` that are counted; beside them, `installer.folders.writing.sync_file_system`."""


class Fuse:
    """Counts calls, and kills this process at one of them; in processes that it forks it does nothing.

    Args:
        at: which call, from 1.
        side: whether the call has taken effect.
    """

    def __init__(self, at: int, side: Side) -> None:
        self._own = os.getpid()
        self._at = at
        self._side = side
        self._count = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """Around a call that counts."""
        due = False
        if os.getpid() == self._own:
            with self._lock:
                self._count += 1
                due = self._count == self._at
        if due and self._side == "before":
            os.kill(self._own, signal.SIGKILL)
        try:
            yield
        finally:
            if due:
                os.kill(self._own, signal.SIGKILL)

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """A function that counts."""

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self.call():
                return call(*args, **kwargs)

        return wrapper


def arm_disk(fuse: Fuse) -> None:
    """Let every call count that changes a disk."""
    for name in CALLS:
        setattr(os, name, fuse.around(getattr(os, name)))
    writing.sync_file_system = fuse.around(writing.sync_file_system)


def killed(operation: Callable[[], object], at: int, side: Side, arm: Callable[[Fuse], None] = arm_disk) -> bool:
    """Run `operation` in a forked child that is killed at its `at`-th call; whether it came that far.

    The call is counted in the child itself, not in workers that it forks: those lose their leader. What runs on in
    them is waited for, as a machine would be by whoever runs the next command.

    Args:
        operation: what to run.
        at: which call, from 1.
        side: whether the call has taken effect.
        arm: lets calls count, in the child.

    Raises:
        AssertionError: the operation failed before it was killed; its traceback is on standard error.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 3
        try:
            os.close(reader)
            arm(Fuse(at, side))
            operation()
            status = 0
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(status)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    while os.read(reader, 1):  # ends when the last worker that inherited the pipe has ended
        pass
    os.close(reader)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    assert os.waitstatus_to_exitcode(status) == 0, "the operation failed before it was killed"
    return False


def killed_at_program(
    operation: Callable[[], object], due: Callable[[Sequence[str]], bool], side: Side = "after"
) -> None:
    """Run `operation` in a forked child that is killed at the first program that it runs and that is due.

    Args:
        operation: what to run.
        due: whether a program is, by its words.
        side: whether the program has run.

    Raises:
        AssertionError: the operation came to its end.
    """
    child = os.fork()
    if child == 0:
        original = commands.run

        def run(words: Sequence[str], **rest: Any) -> commands.Outcome:
            if due(words) and side == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            outcome = original(words, **rest)
            if due(words):
                os.kill(os.getpid(), signal.SIGKILL)
            return outcome

        try:
            setattr(commands, "run", run)  # noqa: B010 mypy refuses the assignment
            operation()
        finally:
            os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
