"""The challenge of a server that wants to know who asks: WWW-Authenticate (RFC 9110, 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

HEADER_MAX = 8192
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 the grammar's own word
_SCHEME = re.compile(rf"\s*({_TOKEN})(?:\s+|\Z|(?=,))")
_PARAMETER = re.compile(rf'\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))\s*(?:,|\Z)')


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """One way to say who asks."""

    scheme: str
    """Lower-case: `basic` or `bearer`."""
    parameters: Mapping[str, str] = field(default_factory=dict)


def challenges(header: str) -> list[Challenge]:
    """The challenges of a header, as far as it can be read; of an over-long one none."""
    found: list[Challenge] = []
    rest = header if len(header) <= HEADER_MAX else ""
    while match := _SCHEME.match(rest):
        rest = rest[match.end() :]
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(rest):
            value = re.sub(r"\\(.)", r"\1", parameter[2]) if parameter[2] is not None else parameter[3]
            parameters.setdefault(parameter[1].lower(), value)
            rest = rest[parameter.end() :]
        found.append(Challenge(scheme=match[1].lower(), parameters=parameters))
        rest = rest.lstrip(" \t,")
    return found
