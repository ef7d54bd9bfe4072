"""Running a site's or a release's own programs: bounded in time and output, with a clean environment.

A program runs without a shell, in a session of its own, and gets nothing of our environment. When its
time is over, or it has ended and left children, its whole process group is killed.
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
    """The end of what it wrote."""


def run(
    arguments: Sequence[str],
    *,
    timeout: float,
    folder: Path | None,
    variables: Mapping[str, str],
    errors: bool = True,
) -> Outcome:
    """Run a program and wait for it.

    Args:
        arguments: the program and its arguments.
        timeout: seconds after which it is killed.
        folder: where it runs; `/` by default.
        variables: what its environment holds besides PATH, LANG and HOME.
        errors: whether its output includes what it writes to standard error.
    """
    environment = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": os.environ.get("HOME", "/"), **variables}
    process: subprocess.Popen[bytes] | None = None
    try:
        with interrupt.held_back():
            process = subprocess.Popen(
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if errors else subprocess.DEVNULL,
                cwd=folder or "/",
                env=environment,
                start_new_session=True,
            )
        output, in_time = _collect(process, time.monotonic() + timeout)
    except OSError as error:
        if process is not None:
            raise
        return Outcome(problem=f"cannot be run: {(error.strerror or '').lower()}", output="")
    finally:
        if process is not None:
            _end(process)
    text = output.decode("utf-8", "replace")
    if not in_time:
        return Outcome(problem=f"did not end within {timeout:g} seconds", output=text)
    if process.returncode:
        how = f"exit code {process.returncode}" if process.returncode > 0 else f"signal {-process.returncode}"
        return Outcome(problem=f"failed with {how}", output=text)
    return Outcome(problem=None, output=text)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a program and of its children."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()


def _collect(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bool]:
    """The end of the output, and whether the program ended in time; children that hold the pipe do not count."""
    assert process.stdout is not None
    kept = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            ended = process.poll() is not None
            if selector.select(0 if ended else min(0.05, max(0.0, deadline - time.monotonic()))):
                part = os.read(process.stdout.fileno(), 1 << 16)
                kept = (kept + part)[-OUTPUT_MAX:]
                if not part:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(max(0.0, deadline - time.monotonic()))
                    return kept, process.poll() is not None
                if time.monotonic() < deadline:
                    continue
            if ended:
                return kept, True
            if time.monotonic() >= deadline:
                return kept, False
