"""Balancer `haproxy`: HAProxy by its runtime socket, with one server a slot in a backend. Nothing is reloaded.

The share of a server is its weight, out of 100 together. One that gets none is drained: what is under way ends
there, nothing new comes, and it goes on being checked, so that it can take the traffic back at once. Where nothing
is to serve, all are in maintenance.

HAProxy forgets this when it restarts, unless it reads a state file. With `state_file`, what it says of its servers
is kept there after each change, for its `server-state-file` and `load-server-state-from-file`.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sealift.durable import write_file
from sealift.errors import DeployError, UsageError

from ..network.haproxy_socket import ask
from . import Count, Shares

_NAME = "^[A-Za-z0-9_.:-]{1,128}$"
_HELD_BACK = 0x01 | 0x02 | 0x08 | 0x10 | 0x20
"""The bits of `srv_admin_state` with which a server gets nothing new: any maintenance, any drain. That it was disabled
in the configuration (0x04) stays set whatever it is now."""
_RUNNING = 2
"""`srv_op_state` of a server that is up."""
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "socket": {
            "description": "Its runtime socket with the level 'admin', as an absolute path.",
            "type": "string",
            "pattern": "^/[^\\u0000]*$",
            "maxLength": 100,
        },
        "backend": {
            "description": "The backend whose servers bear the names of the slots.",
            "type": "string",
            "pattern": _NAME,
        },
        "state_file": {
            "description": "A file that keeps the state of its servers for its restart, as an absolute path.",
            "type": "string",
            "pattern": "^/[^\\u0000]*$",
            "maxLength": 3072,
        },
        "patience": {
            "description": "How long a slot may take to be up, and then old connections to end. Seconds, 10 where "
            "nothing is said.",
            "type": "integer",
            "minimum": 1,
            "maximum": 3600,
            "default": 10,
        },
    },
    "required": ["socket", "backend"],
    "additionalProperties": False,
}


class HAProxy:
    """The servers of a backend."""

    divides = True

    def __init__(self, settings: Mapping[str, Any], slots: Sequence[str]) -> None:
        self._socket = Path(settings["socket"])
        self._backend: str = settings["backend"]
        self._state_file = Path(settings["state_file"]) if "state_file" in settings else None
        self._patience: int = settings.get("patience", 10)
        self._slots = tuple(slots)
        self.place = f"haproxy backend {self._backend}"
        self.owns = f"{self.place} at {self._socket}"

    def shares(self) -> Shares:
        """The share of each server, by its weight and whether it is held back."""
        weights = {}
        for name, server in self._servers().items():
            held = int(server["srv_admin_state"]) & _HELD_BACK
            weights[name] = 0 if held else int(server["srv_uweight"])
        total = sum(weights.values())
        return {name: round(100 * weight / total) if total else 0 for name, weight in weights.items()}

    def share_out(self, shares: Shares) -> None:
        """Let who gets traffic be up first, then hold the others back, and wait for what is under way there."""
        serving = [name for name in self._slots if shares[name]]
        for name in serving:
            self._set(name, f"weight {shares[name]}")
            self._set(name, "state ready")
        self._until_up(serving)
        for name in self._slots:
            if name not in serving:
                self._set(name, "state drain" if serving else "state maint")
        self._until_ended([name for name in self._slots if name not in serving])
        if self._state_file is not None:
            write_file(self._state_file, self._say("show servers state").encode())

    def counts(self) -> Mapping[str, Count]:
        """Requests and failures of each server, as its statistics have them."""
        return {
            name: Count(requests=_number(row, "stot"), failed=sum(_number(row, key) for key in ("hrsp_5xx", "eresp")))
            for name, row in self._statistics().items()
        }

    def _until_up(self, names: Sequence[str]) -> None:
        deadline = time.monotonic() + self._patience
        while down := [name for name in names if int(self._servers()[name]["srv_op_state"]) != _RUNNING]:
            if time.monotonic() > deadline:
                raise DeployError(f"{self.place} does not find server {down[0]} up within {self._patience} seconds")
            time.sleep(0.05)

    def _until_ended(self, names: Sequence[str]) -> None:
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            if not any(_number(self._statistics()[name], "scur") for name in names):
                return
            time.sleep(0.05)

    def _servers(self) -> dict[str, dict[str, str]]:
        text = self._say(f"show servers state {self._backend}")
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not lines[1].startswith("# "):
            raise UsageError(
                f"{self.place} is not there: {_first(text)}", hint="name a backend of the configuration of HAProxy"
            )
        keys = lines[1][2:].split()
        rows = {row["srv_name"]: row for row in (dict(zip(keys, line.split(), strict=False)) for line in lines[2:])}
        return self._own(rows)

    def _statistics(self) -> dict[str, dict[str, str]]:
        lines = self._say("show stat").removeprefix("# ").splitlines()
        rows = csv.DictReader(lines)
        return self._own({row["svname"]: row for row in rows if row.get("pxname") == self._backend})

    def _own(self, rows: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        if missing := [name for name in self._slots if name not in rows]:
            raise UsageError(
                f"{self.place} has no server {missing[0]}", hint="name the servers of the backend as the slots are"
            )
        return {name: rows[name] for name in self._slots}

    def _set(self, name: str, what: str) -> None:
        said = self._say(f"set server {self._backend}/{name} {what}").strip()
        if said:
            raise DeployError(f"{self.place} refuses to set {what} of server {name}: {_first(said)}")

    def _say(self, command: str) -> str:
        try:
            return ask(self._socket, command, timeout=self._patience)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise DeployError(
                f"the runtime socket {self._socket} of HAProxy does not answer: {reason}",
                hint="see whether HAProxy runs, and whether its `stats socket` has `level admin` for this user",
            ) from error


def _number(row: Mapping[str, str], key: str) -> int:
    return int(row.get(key) or 0)


def _first(text: str) -> str:
    return next(_lines(text), "it says nothing")


def _lines(text: str) -> Iterator[str]:
    return (line.strip().rstrip(".") for line in text.splitlines() if line.strip())


def balancer(settings: Mapping[str, Any], slots: Mapping[str, str], room: Path) -> HAProxy:
    """The backend that `settings` names."""
    return HAProxy(settings, tuple(slots))
