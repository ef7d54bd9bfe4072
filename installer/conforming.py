"""Whether a program keeps to the target protocol, tried in a folder of its own with two small releases.

Each demand is one of docs/reference/target-protocol.md. The program is run for real: what it does with a release, it
does here, so it is tried where nothing depends on it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealift import strict_json
from sealift.durable import make_folder, write_file
from sealift.errors import SealiftError

from .programs.program import PROTOCOL, Program

FIRST, SECOND = "1.0-aaaaaaaaaaaa", "1.1-bbbbbbbbbbbb"
KILLS = (0.0, 0.01, 0.03, 0.1)
"""Seconds after which the program is killed while it activates."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Something that the protocol asks for."""

    name: str
    problem: str | None
    """In which way the program does not do so; None where it does."""


class _Wrong(Exception):
    """The program does something else than it should."""


def conform(words: Sequence[str], folder: Path, *, timeout: float) -> Iterator[Demand]:
    """Try every demand in turn, until one is so basic that the rest would say nothing.

    Args:
        words: the program and its arguments.
        folder: an empty folder, for the releases.
        timeout: seconds for one operation.

    Raises:
        StoreError: the disk refuses.
    """
    trial = _Trial(words, folder, timeout)
    for name, attempt, basic in trial.demands():
        problem = None
        try:
            attempt()
        except _Wrong as wrong:
            problem = str(wrong)
        except SealiftError as error:
            problem = error.message
        yield Demand(name=name, problem=problem)
        if problem and basic:
            return


class _Trial:
    def __init__(self, words: Sequence[str], folder: Path, timeout: float) -> None:
        self._words = list(words)
        self._folder = folder
        self._program = Program(words, timeout=timeout, environment="conformance", entry="0" * 16, room=folder / "room")
        for identity in (FIRST, SECOND):
            make_folder(self._release(identity))
            write_file(self._release(identity) / "index.html", f"<h1>{identity}</h1>\n".encode())

    def _release(self, identity: str) -> Path:
        return self._folder / "releases" / identity

    def demands(self) -> Iterator[tuple[str, Callable[[], None], bool]]:
        """What each is called, what tries it, and whether the rest needs it."""
        yield "it describes itself", lambda: self._described(), True
        yield "nothing serves at first", lambda: self._serves(None), True
        yield "staging is invisible", lambda: self._invisible(), True
        yield "staging can be repeated", lambda: self._stage(FIRST), False
        yield "a staged release can be activated", lambda: self._activated(FIRST), True
        yield "activating can be repeated", lambda: self._activated(FIRST), False
        yield "what serves is in order", lambda: self._in_order(FIRST), False
        yield "another release can follow", lambda: self._follows(), True
        yield "the former one can return", lambda: self._activated(FIRST), True
        yield "a kill leaves the one or the other", lambda: self._killed(), False
        yield "what is not kept can be pruned", lambda: self._pruned(), False
        yield "nothing can serve again", lambda: self._activated(None), False
        yield "an unknown operation is refused", lambda: self._refused({"operation": "explode"}), False
        yield "another protocol is refused", lambda: self._refused({"protocol": PROTOCOL + 1}), False

    def _described(self) -> None:
        self._program.describe()

    def _about(self, identity: str | None) -> dict[str, Any]:
        return {"identity": identity, "folder": str(self._release(identity)) if identity else None}

    def _whole(self, identity: str) -> dict[str, Any]:
        version, _, digest = identity.partition("-")
        return {
            **self._about(identity),
            "release": {"name": "conformance", "version": version, "manifest": digest.ljust(64, digest[0])},
        }

    def _serves(self, *identities: str | None) -> None:
        serving = self._program.current()
        if serving not in identities:
            raise _Wrong(f"it says that {serving or 'nothing'} serves, not {identities[0] or 'nothing'}")

    def _stage(self, identity: str) -> None:
        self._program.ask("stage", **self._whole(identity), former=None)

    def _invisible(self) -> None:
        self._stage(FIRST)
        self._serves(None)

    def _activated(self, identity: str | None) -> None:
        self._program.ask("activate", **self._about(identity))
        self._serves(identity)

    def _in_order(self, identity: str) -> None:
        for deep in (False, True):
            if problem := self._program.check(**self._whole(identity), deep=deep):
                raise _Wrong(f"it finds wrong what it has just activated: {problem}")

    def _follows(self) -> None:
        self._program.ask("stage", **self._whole(SECOND), former=FIRST)
        self._serves(FIRST)
        self._activated(SECOND)

    def _killed(self) -> None:
        for delay in KILLS:
            self._kill_after(delay, {"operation": "activate", **self._about(SECOND)})
            self._serves(FIRST, SECOND)
            self._activated(SECOND)
            self._activated(FIRST)

    def _pruned(self) -> None:
        if "prune" in self._program.describe().operations:
            self._program.ask("prune", keep=[FIRST])
            self._in_order(FIRST)

    def _request(self, fields: dict[str, Any]) -> bytes:
        request = {"protocol": PROTOCOL, "operation": "current", "environment": "conformance", "entry": None, **fields}
        return strict_json.canonical(request)

    def _kill_after(self, delay: float, fields: dict[str, Any]) -> None:
        with subprocess.Popen(
            self._words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
        ) as process:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(self._request(fields))
                process.stdin.close()
            time.sleep(delay)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def _refused(self, fields: dict[str, Any]) -> None:
        problem = self._program.refusal(self._request(fields))
        if problem:
            raise _Wrong(problem)
