"""Unit files and drop-ins of systemd: what they may be called, and what a change of some means for a unit."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

UNITS_MAX = 256
SIZE_MAX = 1 << 20
"""Bytes of one file."""
_SUFFIX = r"\.(?:service|socket|timer|path|target|mount|automount|slice|swap)"
_NAME = r"[A-Za-z0-9:_][A-Za-z0-9:_.\\-]*@?"
_FILE = re.compile(rf"{_NAME}{_SUFFIX}(?:\.d/[A-Za-z0-9_][A-Za-z0-9_.-]*\.conf)?")
UNIT: Mapping[str, Any] = {
    "type": "string",
    "maxLength": 255,
    "pattern": r"^[A-Za-z0-9:_][A-Za-z0-9:_.\\-]*(@[A-Za-z0-9:_.\\-]+)?\.(service|socket|timer|path|target|mount)$",
}
"""The schema of a unit that can run: no template."""


def fits(path: str) -> bool:
    """Whether a path is that of a unit file, or of a drop-in."""
    return bool(_FILE.fullmatch(path)) and ".." not in path


def template_of(unit: str) -> str | None:
    """The template that an instance is made of."""
    name, at, rest = unit.partition("@")
    return f"{name}@.{rest.rpartition('.')[2]}" if at else None


def base_of(path: str) -> str:
    """The unit that a file is, or is a drop-in of."""
    return path.partition("/")[0].removesuffix(".d") if "/" in path else path


def is_shared(path: str) -> bool:
    """Whether a path is a drop-in of all units whose names begin alike (`shop-.service.d/*.conf`)."""
    return "/" in path and base_of(path).rpartition(".")[0].partition("@")[0].endswith("-")


def asked(unit: str) -> str:
    """What systemd is asked about a unit by: of a template, which it does not answer for, an instance."""
    return unit.replace("@.", "@sealift.")


def concerns(unit: str, paths: Iterable[str]) -> bool:
    """Whether any of these files is the unit's, or its template's, or a drop-in of the one or the other."""
    own = {unit, template_of(unit)}
    return any(path.removesuffix("/" + path.rpartition("/")[2]).removesuffix(".d") in own for path in paths)


def wrong(unit: str, said: Mapping[str, str], *, restarts: str | None = None) -> str | None:
    """What is wrong with a unit that should run; None where nothing is.

    Args:
        unit: its name.
        said: what `systemctl show` says of it.
        restarts: how often it had been started anew when it was last looked at.
    """
    state = f"{said.get('ActiveState', 'unknown')} ({said.get('SubState', 'unknown')})"
    result = said.get("Result", "success")
    finished = said.get("Type") == "oneshot" and said.get("ActiveState") == "inactive" and result == "success"
    if said.get("LoadState") != "loaded":
        return f"{unit} is {said.get('LoadState', 'unknown')}"
    if said.get("ActiveState") not in ("active", "reloading") and not finished:
        return f"{unit} is {state}, result {result}"
    if restarts is not None and said.get("NRestarts", "0") != restarts:
        return f"{unit} does not stay up: it was started anew {said['NRestarts']} times"
    return None


def parsed(answer: bytes) -> dict[str, dict[str, str]]:
    """What `systemctl show` says of several units, by `Id`, and by every other name of theirs."""
    found: dict[str, dict[str, str]] = {}
    for block in answer.decode("utf-8", "replace").split("\n\n"):
        said = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for name in {said.get("Id", ""), *said.get("Names", "").split()} - {""}:
            found[name] = said
    return found


def order(units: Collection[str]) -> list[str]:
    """Units in the order in which they were written, each once."""
    return list(dict.fromkeys(units))
