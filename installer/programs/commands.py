"""Running a site's or a release's own programs: bounded in time and output, with a clean environment.

A program runs without a shell, in a session of its own, and gets nothing of our environment. When its
time is over, or it has ended and left children, its whole process group is killed. What it writes is kept as one
text, or, where it has to answer, its standard output apart from the rest.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sealift import interrupt

OUTPUT_MAX = 64 << 10
"""Bytes of output that are kept: the last ones."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a program ended."""

    problem: str | None
    """What went wrong, in a few words; None where it exited with 0."""
    output: str
    """The end of what it wrote; of one that answers, to its standard error."""
    answer: bytes = b""
    """All that a program that answers wrote to its standard output."""

    @property
    def words(self) -> str:
        """The last line that it wrote."""
        return self.output.strip().rpartition("\n")[2]


def run(
    arguments: Sequence[str],
    *,
    timeout: float,
    folder: Path | None,
    variables: Mapping[str, str],
    asked: BinaryIO | None = None,
    answer_max: int | None = None,
    holding: Sequence[int] = (),
) -> Outcome:
    """Run a program and wait for it.

    Args:
        arguments: the program and its arguments.
        timeout: seconds after which it is killed.
        folder: where it runs; `/` by default.
        variables: what its environment holds besides PATH, LANG and HOME.
        asked: a file that it reads as its standard input; nothing by default.
        answer_max: bytes of its answer; with more of them it is killed. Without, it does not answer.
        holding: descriptors that it holds too, such as a lock that outlives us with it.
    """
    environment = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": os.environ.get("HOME", "/"), **variables}
    process: subprocess.Popen[bytes] | None = None
    try:
        with interrupt.held_back():
            process = subprocess.Popen(
                list(arguments),
                stdin=asked or subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if answer_max is None else subprocess.PIPE,
                cwd=folder or "/",
                env=environment,
                start_new_session=True,
                pass_fds=holding,
            )
        answer, output, in_time = _collect(process, time.monotonic() + timeout, answer_max)
    except OSError as error:
        if process is not None:
            raise
        return Outcome(problem=f"cannot be run: {(error.strerror or '').lower()}", output="")
    finally:
        if process is not None:
            _end(process)
    text = output.decode("utf-8", "replace")
    if answer_max is not None and len(answer) > answer_max:
        return Outcome(problem=f"answered with more than {answer_max} bytes", output=text)
    if not in_time:
        return Outcome(problem=f"did not end within {timeout:g} seconds", output=text)
    if process.returncode:
        how = f"exit code {process.returncode}" if process.returncode > 0 else f"signal {-process.returncode}"
        return Outcome(problem=f"failed with {how}", output=text, answer=answer)
    return Outcome(problem=None, output=text, answer=answer)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a program and of its children."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()


def _collect(process: subprocess.Popen[bytes], deadline: float, answer_max: int | None) -> tuple[bytes, bytes, bool]:
    """The answer, the end of the output, and whether the program ended in time.

    Children that hold the pipes do not count. Of an answer that is too long no more is read.
    """
    answer, kept = bytearray(), b""
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdout, process.stderr):
            if pipe:
                selector.register(pipe, selectors.EVENT_READ)
        while True:
            ended = process.poll() is not None
            ready = selector.select(0 if ended else min(0.05, max(0.0, deadline - time.monotonic())))
            for key, _ in ready:
                part = os.read(key.fd, 1 << 16)
                if not part:
                    selector.unregister(key.fileobj)
                elif answer_max is not None and key.fileobj is process.stdout:
                    answer += part
                    if len(answer) > answer_max:
                        return bytes(answer), kept, False
                else:
                    kept = (kept + part)[-OUTPUT_MAX:]
            if not selector.get_map():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, deadline - time.monotonic()))
                return bytes(answer), kept, process.poll() is not None
            if ready and time.monotonic() < deadline:
                continue
            if ended:
                return bytes(answer), kept, True
            if time.monotonic() >= deadline:
                return bytes(answer), kept, False
