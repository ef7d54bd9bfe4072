"""Balancer `nginx`: nginx by a file with one `upstream`, which it includes; checked before nginx is told to reload.

    # made by sealift-install: a change is lost at the next deployment
    # shares {"blue":75,"green":25}
    upstream shop {
        server 127.0.0.1:8081 weight=75;
        server 127.0.0.1:8082 weight=25;
    }

A reload lets what is under way end with the workers that have it. Between the file and the reload, a mark in the
target's room says that the end is not known, so that a change which was killed there is made again.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sealift.durable import make_folder, storing, sync_folder, write_file
from sealift.errors import DeployError, UsageError
from sealift.hooks import command, seconds
from sealift.reading import bounded

from ..programs import commands
from . import Shares

SIZE_MAX = 64 << 10
_SHARES = "# shares "
_FIRST = "# made by sealift-install: a change is lost at the next deployment"
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "file": {
            "description": "A file of its own that nginx includes, as an absolute path; its folder must exist.",
            "type": "string",
            "pattern": "^/[^\\u0000]*$",
            "maxLength": 3072,
        },
        "upstream": {
            "description": "The name of the upstream, for `proxy_pass`.",
            "type": "string",
            "pattern": "^[A-Za-z0-9_.-]{1,128}$",
        },
        "test": command("Checks the configuration; `/usr/sbin/nginx -t` where nothing is said.", absolute=True),
        "reload": command("Reloads it; `/usr/sbin/nginx -s reload` where nothing is said.", absolute=True),
        "drain": seconds("How long what is under way gets to end after a reload.", least=0, default=5),
    },
    "required": ["file", "upstream"],
    "additionalProperties": False,
}
_TIMEOUT = 60
"""Seconds for checking the configuration, and again for reloading it."""


class Nginx:
    """An upstream file."""

    divides = True

    def __init__(self, settings: Mapping[str, Any], slots: Mapping[str, str], room: Path) -> None:
        self._file = Path(settings["file"])
        self._upstream: str = settings["upstream"]
        self._test: list[str] = settings.get("test", ["/usr/sbin/nginx", "-t"])
        self._reload: list[str] = settings.get("reload", ["/usr/sbin/nginx", "-s", "reload"])
        self._drain: int = settings.get("drain", 5)
        self._slots = dict(slots)
        self._mark = room / "reloading"
        self.place = f"nginx upstream {self._upstream}"
        self.owns = f"{self.place} in {self._file}"

    def shares(self) -> Shares | None:
        """What the file says; no share where there is none yet, and None where the reload was not seen to end."""
        if self._mark.exists():
            return None
        content = bounded(self._file, SIZE_MAX)
        if content is None:
            return dict.fromkeys(self._slots, 0)
        shares = _read(content)
        if shares is None:
            raise UsageError(
                f"{self._file} was not made by sealift-install", hint="move it away, or name another file for nginx"
            )
        return {name: shares.get(name, 0) for name in self._slots}

    def share_out(self, shares: Shares) -> None:
        """Write the file, let nginx check it, reload; a file that nginx refuses is taken back."""
        former = bounded(self._file, SIZE_MAX)
        make_folder(self._mark.parent, mode=0o700)
        write_file(self._mark, b"")
        write_file(self._file, self._written(shares), mode=0o644)
        if problem := _run(self._test):
            self._restore(former)
            self._unmark()
            raise DeployError(f"{self.place}: {problem}", hint="the former file is in place again")
        if problem := _run(self._reload):
            raise DeployError(f"{self.place}: {problem}")
        self._unmark()
        time.sleep(self._drain)

    def counts(self) -> None:
        """It does not count."""

    def _written(self, shares: Shares) -> bytes:
        lines = [_FIRST, _SHARES + json.dumps(dict(shares), sort_keys=True, separators=(",", ":"))]
        lines.append(f"upstream {self._upstream} {{")
        for name, address in self._slots.items():
            lines.append(f"    server {address} {f'weight={shares[name]}' if shares[name] else 'down'};  # {name}")
        return "\n".join([*lines, "}", ""]).encode()

    def _restore(self, former: bytes | None) -> None:
        if former is not None:
            write_file(self._file, former, mode=0o644)
            return
        with storing(self._file):
            self._file.unlink()
            sync_folder(self._file.parent)

    def _unmark(self) -> None:
        with storing(self._mark):
            self._mark.unlink()
            sync_folder(self._mark.parent)


def _read(content: bytes) -> dict[str, int] | None:
    lines = content.decode("utf-8", "replace").splitlines()
    if len(lines) > 1 and lines[0] == _FIRST and lines[1].startswith(_SHARES):
        with contextlib.suppress(ValueError):
            found = json.loads(lines[1].removeprefix(_SHARES))
            if isinstance(found, dict) and all(isinstance(share, int) for share in found.values()):
                return found
    return None


def _run(arguments: list[str]) -> str | None:
    outcome = commands.run(arguments, timeout=_TIMEOUT, folder=None, variables={})
    if outcome.problem is None:
        return None
    last = outcome.output.strip().rpartition("\n")[2]
    return f"{' '.join(arguments)} {outcome.problem}{': ' + last if last else ''}"


def balancer(settings: Mapping[str, Any], slots: Mapping[str, str], room: Path) -> Nginx:
    """The upstream that `settings` names."""
    return Nginx(settings, slots, room)
