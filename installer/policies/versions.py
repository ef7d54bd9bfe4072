"""Which of two versions is the newer one, and ranges of versions.

A version has an order if it is numbers with dots between them (`1.4`, `v2026.05.1`), then, if it is a pre-release, `-`
or `~` and identifiers (`-rc.2`), then, if it is a build, `+` and identifiers. The order is that of Semantic Versioning
2.0, for any number of numbers: a missing one is 0, a pre-release comes before its release, identifiers that are numbers
compare as such and come before words. Builds, which Semantic Versioning leaves open, compare as pre-releases do, and a
version without one comes first. Any other version has no order, and is in no range.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sealift.errors import MalformedError
from sealift.names import VERSION, check_version, visible

RANGE_MAX = 256
"""Characters of a range."""

_ORDERED = re.compile(r"v?([0-9]+(?:\.[0-9]+)*)(?:[-~]([0-9A-Za-z.~_-]+))?(?:\+([0-9A-Za-z.+~_-]+))?")
_CLAUSE = re.compile(rf"(\^|~|>=|<=|==|!=|>|<) *({VERSION.pattern})")
_HINT = "write a version, or '^1.4', '~1.4.2', '*', or several of '>=', '>', '<=', '<', '==', '!=' with commas between"

Key = tuple[Any, ...]


def key(version: str) -> Key | None:
    """What sorts `version` among others; None where it has no order."""
    found = _ORDERED.fullmatch(version)
    if not found:
        return None
    before = _identifiers(found[2]) if found[2] else ()
    build = _identifiers(found[3]) if found[3] else ()
    return (_numbers(version), not before, before, build, version)


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version that has an order, without zeros at the end."""
    found = _ORDERED.fullmatch(version)
    assert found is not None
    numbers = [int(each) for each in found[1].split(".")]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def _identifiers(text: str) -> tuple[tuple[int, int, str], ...]:
    parts = re.split(r"[.~+_-]", text)
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)


def at_least(version: str, least: str) -> bool:
    """Whether `version` is `least` or newer; not so where one of them has no order. Builds make no difference."""
    one, other = key(version), key(least)
    return one is not None and other is not None and one[:3] >= other[:3]


@dataclass(frozen=True, kw_only=True)
class Range:
    """Several conditions on a version, all of which must hold."""

    text: str
    """As it was written."""
    clauses: tuple[tuple[str, str], ...]
    """Operator and version of each; of none, every version that has an order is in the range."""

    def holds(self, version: str) -> bool:
        """Whether `version` is in the range. A pre-release is, only where the range names one of the same numbers."""
        found = key(version)
        if found is None:
            return False
        if not found[1]:
            named = [each for _, each in self.clauses if (said := key(each)) and not said[1]]
            if not any(_numbers(each) == found[0] for each in named):
                return False
        return all(_holds(operator, found[:3], bound) for operator, bound in self.clauses)


def _holds(operator: str, version: Key, bound: str) -> bool:
    found = key(bound)
    assert found is not None
    least = found[:3]
    if operator in ("^", "~"):
        return least <= version and version[0] < _next(operator, bound)
    return {
        ">=": version >= least,
        ">": version > least,
        "<=": version <= least,
        "<": version < least,
        "==": version == least,
        "!=": version != least,
    }[operator]


def _next(operator: str, bound: str) -> tuple[int, ...]:
    """The first numbers behind `^bound`, where the first number that is not 0 grows, or `~bound`, where the second."""
    found = _ORDERED.fullmatch(bound)
    assert found is not None
    numbers = [int(each) for each in found[1].split(".")]
    if operator == "^":
        at = next((place for place, number in enumerate(numbers) if number), len(numbers) - 1)
    else:
        at = min(1, len(numbers) - 1)
    return (*numbers[:at], numbers[at] + 1)


def wanted(text: str) -> str | Range:
    """The one version that `text` is, or the range.

    Raises:
        MalformedError: it is neither.
    """
    if VERSION.fullmatch(text):
        return check_version(text)
    if len(text) > RANGE_MAX:
        raise MalformedError(f"a range has at most {RANGE_MAX} characters")
    if text.strip() == "*":
        return Range(text=text, clauses=())
    clauses = []
    for part in text.split(","):
        found = _CLAUSE.fullmatch(part.strip())
        if not found or key(found[2]) is None:
            raise MalformedError(f"{visible(text)[:80]!r} is no version and no range of versions", hint=_HINT)
        clauses.append((found[1], found[2]))
    return Range(text=text, clauses=tuple(clauses))


def check_wanted(text: str) -> str:
    """Return `text` if it is a version or a range.

    Raises:
        MalformedError: it is neither.
    """
    wanted(text)
    return text
