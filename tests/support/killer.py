"""Kills a process just before, or just after, its n-th call that changes a disk, and waits until all of it is gone."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from typing import Any, Literal

from installer import writing

Side = Literal["before", "after"]
CALLS = ("fsync", "fdatasync", "replace", "rename", "unlink", "rmdir", "symlink", "link", "mkdir")
"""The functions of `os` that are counted; beside them, `installer.writing.sync_file_system`."""


def killed(operation: Callable[[], object], at: int, side: Side) -> bool:
    """Run `operation` in a forked child that is killed at its `at`-th call; whether it came that far.

    The call is counted in the child itself, not in workers that it forks: those lose their leader. What runs on in
    them is waited for, as a machine would be by whoever runs the next command.

    Args:
        operation: what to run.
        at: which call, from 1.
        side: whether the call has taken effect.

    Raises:
        AssertionError: the operation failed before it was killed; its traceback is on standard error.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 3
        try:
            os.close(reader)
            _arm(at, side)
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


def _arm(at: int, side: Side) -> None:
    count, own = 0, os.getpid()

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            if os.getpid() != own:
                return call(*args, **kwargs)
            count += 1
            due = count == at
            if due and side == "before":
                os.kill(own, signal.SIGKILL)
            try:
                return call(*args, **kwargs)
            finally:
                if due:
                    os.kill(own, signal.SIGKILL)

        return wrapper

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    writing.sync_file_system = counted(writing.sync_file_system)
