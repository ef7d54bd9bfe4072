"""Programs that fetch for us, git and apt: bounded in what they say and in the time without progress.

A program runs without a shell, in a session of its own, and it and its children end with the run.
"""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sealift import interrupt
from sealift.errors import SourceError

OUTPUT_MAX = 16 << 20
"""Bytes of what a program may write to standard output."""
SAID_MAX = 64 << 10
"""Bytes of what it writes to standard error that are kept: the last ones."""
STALLED = 300.0
"""Seconds without a byte, after which it is killed."""
_STEP = 0.2


def run(
    command: Sequence[str],
    variables: Mapping[str, str],
    folder: Path,
    *,
    shown: str,
    tick: Callable[[], int] | None = None,
    limits: Mapping[int, int] | None = None,
) -> tuple[int, bytes, bytes]:
    """Run a program to its end; its exit code, its output, and the end of its standard error.

    Args:
        command: the program and its arguments.
        variables: its whole environment.
        folder: where it runs, if it is there.
        shown: whom it talks to, for messages.
        tick: asked now and then; a number that grows says that there is progress.
        limits: what it may use, by `resource.RLIMIT_…`.

    Raises:
        SourceError: it stalls, or says too much.
    """
    with started(command, variables, folder) as process:
        for limit, value in (limits or {}).items():
            resource.prlimit(process.pid, limit, (value, value))
        output, said = _collected(process, shown, tick)
        return process.wait(), output, said


@contextlib.contextmanager
def started(command: Sequence[str], variables: Mapping[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program with pipes, in a session of its own, which ends with the block, and its children too."""
    process: subprocess.Popen[bytes] | None = None
    try:
        with interrupt.held_back():
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder if folder.is_dir() else "/",
                env=variables,
                start_new_session=True,
            )
        yield process
    finally:
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()


def _collected(process: subprocess.Popen[bytes], shown: str, tick: Callable[[], int] | None) -> tuple[bytes, bytes]:
    """All that a program writes to standard output, and the end of what it writes to standard error."""
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdin.close()
    output, said, grown = bytearray(), b"", 0
    moved = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stderr, selectors.EVENT_READ)
        while selector.get_map():
            ready: list[tuple[selectors.SelectorKey, Any]] = selector.select(_STEP)
            for key, _ in ready:
                piece = os.read(key.fd, 1 << 16)
                if not piece:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    output += piece
                else:
                    said = (said + piece)[-SAID_MAX:]
            if len(output) > OUTPUT_MAX:
                raise SourceError(f"{shown}: it says more than {OUTPUT_MAX} bytes")
            now = tick() if tick else 0
            if ready or now > grown:
                moved, grown = time.monotonic(), max(now, grown)
            elif time.monotonic() - moved > STALLED:
                raise SourceError(f"{shown}: nothing came for {STALLED:g} seconds", hint="try again later")
    return bytes(output), said
