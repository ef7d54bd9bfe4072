"""One command, measured: wall time, processor time, and memory, of it and of every process that it starts.

Each command runs in its own session, so that all of its processes are known, and can be ended with it.
The largest process is the kernel's own figure (`ru_maxrss`, of the command and all that it waited for); it cannot be
less than the size of this program when it started the command, about 25 MB. All processes together is the largest sum
of proportional set sizes (pages that are shared count once), sampled every 20 ms: sampling takes processor time from
the command, so times and memory are never taken from the same run.

Settings of this shell's Python are not passed on: with PYTHONDONTWRITEBYTECODE every start would compile the program
anew, which no installed program does. The warm-up leaves the compiled files behind.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

SAMPLE_SECONDS = 0.02
SHOWN_BYTES = 2000
LIMIT_SECONDS = 900
"""After which a command is held to hang, and is ended."""


class CommandError(Exception):
    """A measured command failed: what it was, and the end of what it said."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command line, and where it runs."""

    argv: Sequence[str | Path]
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    """What is added to this program's own environment, without its `PYTHON…` variables."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run of a command took."""

    seconds: float
    """Wall time."""
    cpu_seconds: float
    """User and system time, of all processes."""
    largest: int
    """The largest resident set of one process, in bytes."""
    together: int = 0
    """The largest sum of all processes' proportional set sizes, in bytes; 0 where it was not sampled."""


Measure = Callable[[Command], Run]


def timed(command: Command) -> Run:
    """Run a command undisturbed.

    Raises:
        CommandError: it could not be started, or it failed.
    """
    return _run(command, subprocess.DEVNULL)


def sampled(command: Command) -> Run:
    """Run a command and sample the memory of all of its processes; the times are not to be used.

    Raises:
        CommandError: it could not be started, or it failed.
    """
    return _run(command, subprocess.DEVNULL, sample=True)


def output(command: Command) -> str:
    """Run a command that is only preparation, and return its standard output.

    Raises:
        CommandError: it could not be started, or it failed.
    """
    with tempfile.TemporaryFile() as stdout:
        _run(command, stdout)
        stdout.seek(0)
        return stdout.read().decode()


def _run(command: Command, stdout: int | IO[bytes], *, sample: bool = False) -> Run:
    argv = [os.fspath(argument) for argument in command.argv]
    with tempfile.TemporaryFile() as stderr:
        start = time.perf_counter()
        try:
            process = subprocess.Popen(
                argv,
                cwd=command.cwd,
                env={**_environment(), **command.env},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except OSError as error:
            raise CommandError(f"{argv[0]} did not start: {error.strerror}") from error
        limit = threading.Timer(LIMIT_SECONDS, _end, (process.pid, signal.SIGKILL))
        limit.start()
        try:
            together = _sample(process.pid) if sample else 0
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            _end(process.pid, signal.SIGTERM)
            process.wait()
            raise
        finally:
            limit.cancel()
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if seconds >= LIMIT_SECONDS:
            raise CommandError(f"{Path(argv[0]).name} was ended after {LIMIT_SECONDS} s")
        if process.returncode:
            size = stderr.seek(0, os.SEEK_END)
            stderr.seek(max(0, size - SHOWN_BYTES))
            said = stderr.read().decode(errors="replace").strip()
            raise CommandError(f"{Path(argv[0]).name} ended with {process.returncode}: {said or 'no message'}")
    return Run(
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        largest=usage.ru_maxrss * 1024,
        together=together,
    )


def _end(leader: int, how: signal.Signals) -> None:
    """Signal all processes of a command that may have ended by itself."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, how)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _sample(leader: int) -> int:
    """Return the largest sum of proportional set sizes, in bytes, that a session had before its leader ended."""
    largest = 0
    while os.waitid(os.P_PID, leader, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        largest = max(largest, sum(_proportional_size(process) for process in _session(leader)))
        time.sleep(SAMPLE_SECONDS)
    return largest


def _session(leader: int) -> Iterator[Path]:
    """Yield the `/proc` folders of the processes of a session."""
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                fields = (process / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == leader:
                yield process


def _proportional_size(process: Path) -> int:
    try:
        for line in (process / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
