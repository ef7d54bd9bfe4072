"""Secrets by reference: an environment says where a secret is, never what it is.

What is found is kept in memory alone. No message says anything of it: not even what a command wrote that failed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sealift import hooks
from sealift.reading import opened

from ..programs import commands

SECRET_MAX = 32 << 10
"""Bytes of one secret."""
SECRETS_MAX = 256
NAME = "[A-Za-z_][A-Za-z0-9_]{0,63}"
"""What a template can call a secret: `secrets.NAME`."""
TIMEOUT = 30
"""Seconds that a command may take."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Where a secret is."""

    kind: Literal["file", "env", "command"]
    where: tuple[str, ...]
    """The path, the variable, or the program and its arguments."""


class _Missing(Exception):
    """A secret cannot be had; why is its text."""


def convert(value: Mapping[str, Any]) -> dict[str, Reference]:
    """The references that `value` says, which the schema of this module has accepted."""
    found = {}
    for name, entry in value.items():
        ((kind, where),) = entry.items()
        found[name] = Reference(kind=kind, where=(where,) if isinstance(where, str) else tuple(where))
    return found


def resolve(references: Mapping[str, Reference]) -> tuple[dict[str, str], dict[str, str]]:
    """The secrets that are referred to, and why the others cannot be had, both by name."""
    found, missing = {}, {}
    for name, reference in references.items():
        try:
            found[name] = _text(_READERS[reference.kind](reference.where))
        except _Missing as error:
            missing[name] = str(error)
    return found, missing


def _text(content: bytes) -> str:
    """The secret in `content`; a newline at the end is none of it."""
    if len(content) > SECRET_MAX:
        raise _Missing(f"the secret has more than {SECRET_MAX} bytes")
    try:
        text = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise _Missing("the secret is not utf-8") from None
    if not text or "\0" in text:
        raise _Missing("the secret is empty" if not text else "the secret holds a NUL")
    return text


def _file(where: tuple[str, ...]) -> bytes:
    try:
        file = opened(Path(where[0]), follow=True)
        if file is None:
            raise _Missing(f"{where[0]} is no regular file")
        with file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o007:
                raise _Missing(f"everybody may read or write {where[0]}: chmod o= {where[0]}")
            return file.read(SECRET_MAX + 1)
    except OSError as error:
        raise _Missing(f"{where[0]}: {(error.strerror or '').lower()}") from None


def _env(where: tuple[str, ...]) -> bytes:
    value = os.environb.get(where[0].encode())
    if value is None:
        raise _Missing(f"the variable {where[0]} is not set")
    return value


def _command(where: tuple[str, ...]) -> bytes:
    outcome = commands.run(where, timeout=TIMEOUT, folder=None, variables={}, answer_max=SECRET_MAX + 1)
    if outcome.problem:
        raise _Missing(f"{where[0]} {outcome.problem}")
    return outcome.answer


_READERS = {"file": _file, "env": _env, "command": _command}


def schema() -> dict[str, Any]:
    """The JSON Schema of the secrets of an environment."""
    kinds = {
        "file": {
            "description": "The file that holds it, as an absolute path; not readable by everybody.",
            "type": "string",
            "pattern": "^/[^\\u0000]*$",
            "maxLength": 3072,
        },
        "env": {
            "description": "The variable of sealift-install's own environment that holds it.",
            "type": "string",
            "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,127}$",
        },
        "command": hooks.command("The program that prints it, and its arguments; no shell.", absolute=True),
    }
    branches = [
        {"type": "object", "properties": {kind: part}, "required": [kind], "additionalProperties": False}
        for kind, part in kinds.items()
    ]
    return {
        "description": "Where the secrets are that templates know as secrets.NAME: a file, a variable or a command.",
        "type": "object",
        "maxProperties": SECRETS_MAX,
        "propertyNames": {
            "description": "What templates call the secret: letters, digits and '_'.",
            "type": "string",
            "pattern": f"^{NAME}$",
        },
        "additionalProperties": {"description": "Where one secret is.", "oneOf": branches},
    }
