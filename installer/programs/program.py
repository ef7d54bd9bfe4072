"""A site's own program that is a target: one request on its standard input, one reply on its standard output, JSON.

docs/reference/target-protocol.md specifies both. A reply is strict JSON of bounded size, and has the fields of its
operation and no other.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from sealift import strict_json
from sealift.durable import locked, make_folder, storing
from sealift.errors import DeployError, MalformedError
from sealift.names import visible

from . import commands

PROTOCOL = 1
REPLY_MAX = 64 << 10
"""Bytes of a reply."""
WAIT = 60.0
"""Seconds to wait for a program that outlived the command that started it."""
Operation = Literal["describe", "current", "stage", "activate", "check", "prune"]
REQUIRED: tuple[Operation, ...] = ("describe", "current", "stage", "activate", "check")
"""What every program has to offer; `prune` it may."""
Identity = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z.+_~-]{1,200}\Z")]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]


class _Reply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    protocol: Literal[1]


class Done(_Reply, frozen=True, kw_only=True):
    """The reply to `stage`, `activate` and `prune`."""


class Described(_Reply, frozen=True, kw_only=True):
    """The reply to `describe`."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    """What the program calls itself."""
    operations: Annotated[tuple[Operation, ...], msgspec.Meta(max_length=16)]


class Current(_Reply, frozen=True, kw_only=True):
    """The reply to `current`."""

    identity: Identity | None
    """The release that serves; None where none does."""


class Checked(_Reply, frozen=True, kw_only=True):
    """The reply to `check`."""

    problem: _Text | None
    """What is wrong, in one sentence; None where nothing is."""


class Failed(_Reply, frozen=True, kw_only=True):
    """The reply to anything that could not be done."""

    error: _Text
    hint: _Text | None = None


KINDS: Mapping[Operation, type[_Reply]] = {
    "describe": Described,
    "current": Current,
    "stage": Done,
    "activate": Done,
    "check": Checked,
    "prune": Done,
}


class Program:
    """A program that speaks the protocol."""

    def __init__(
        self, words: Sequence[str], *, timeout: float, environment: str, entry: str | None, room: Path
    ) -> None:
        """Run nothing yet.

        Args:
            words: the program and its arguments.
            timeout: seconds for one operation.
            environment: the name of the environment that the target belongs to.
            entry: the identity of the operation that is under way, which the ledger bears.
            room: a folder of ours, for the lock that keeps two of its runs apart.
        """
        self._words = tuple(words)
        self._timeout = timeout
        self._environment = environment
        self._entry = entry
        self._room = room

    def describe(self) -> Described:
        """What it is. Raises as `ask`."""
        found = self.ask("describe")
        assert isinstance(found, Described)
        if lacking := [operation for operation in REQUIRED if operation not in found.operations]:
            raise DeployError(f"{self._name} does not offer {', '.join(lacking)}", hint="ask who wrote it")
        return found

    def current(self) -> str | None:
        """The release that it says serves. Raises as `ask`."""
        found = self.ask("current")
        assert isinstance(found, Current)
        return found.identity

    def check(self, **fields: Any) -> str | None:
        """What it says is wrong. Raises as `ask`."""
        found = self.ask("check", **fields)
        assert isinstance(found, Checked)
        return None if found.problem is None else visible(found.problem)

    @property
    def _name(self) -> str:
        return visible(self._words[0])

    def ask(self, operation: Operation, **fields: Any) -> _Reply:
        """Its reply to one request.

        Raises:
            DeployError: it fails, says that it could not, or replies otherwise than the protocol says.
            StoreError: the disk refuses, or an earlier run of it has not ended.
        """
        request = {
            "protocol": PROTOCOL,
            "operation": operation,
            "environment": self._environment,
            "entry": self._entry,
            **fields,
        }
        return self._reply(operation, self._run(strict_json.canonical(request)))

    def refusal(self, request: bytes) -> str | None:
        """In which way it does not refuse a request that it cannot know; None where it does, by a reply."""
        outcome = self._run(request)
        if self._failed(outcome.answer) is None:
            return f"it does not reply with an error, but {outcome.problem or 'as if it had been done'}"
        return None

    def _run(self, request: bytes) -> commands.Outcome:
        make_folder(self._room, mode=0o700)
        with contextlib.ExitStack() as stack:
            lock = stack.enter_context(locked(self._room / "lock", what=self._name, wait=WAIT))
            with storing(self._room):
                asked = stack.enter_context(tempfile.TemporaryFile(dir=self._room))
                asked.write(request + b"\n")
                asked.seek(0)
            return commands.run(
                self._words,
                timeout=self._timeout,
                folder=None,
                variables={},
                asked=asked,
                answer_max=REPLY_MAX,
                holding=(lock,),
            )

    def _reply(self, operation: Operation, outcome: commands.Outcome) -> _Reply:
        what = f"{self._name} for {operation}"
        failed = self._failed(outcome.answer)
        if failed:
            raise DeployError(f"{what}: {visible(failed.error)}", hint=failed.hint and visible(failed.hint))
        if outcome.problem:
            last = visible(outcome.words)[:300]
            raise DeployError(f"{what} {outcome.problem}{': ' + last if last else ''}")
        try:
            tree = strict_json.parse(outcome.answer, "its reply", cap=REPLY_MAX)
            return msgspec.convert(tree, KINDS[operation])
        except (MalformedError, msgspec.ValidationError) as error:
            raise DeployError(
                f"{what} does not reply as the protocol says: {visible(str(error))[:300]}",
                hint="try it with `sealift-install conform`",
            ) from error

    def _failed(self, answer: bytes) -> Failed | None:
        """What it says of its failure, whatever its exit code is."""
        with contextlib.suppress(MalformedError, msgspec.ValidationError):
            return msgspec.convert(strict_json.parse(answer, "", cap=REPLY_MAX), Failed)
        return None
