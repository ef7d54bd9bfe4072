r"""Patterns: which entries of a folder are taken, as the lines of a `.gitignore` in its root say it.

- `*` and `?` stand for characters of one name, `[a-z]` and `[!a-z]` for one of a set, never for `/`;
  `**` stands for any characters, `/` too, and `**/` for no folder as well; `\` takes the next
  character as it is.
- A pattern without `/`, but for one at its end, is met at every depth. Any other starts at the root.
- A `/` at the end meets folders only. What meets a folder holds for everything below it.
- `!` at the start, which in a `.gitignore` takes back, is refused: what is excluded wins over what is included.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sealift.errors import UsageError
from sealift.names import visible

Meets = Callable[[str], re.Match[str] | None]


class Taken(NamedTuple):
    """Which entries are taken. Each function is asked with a path, which ends in `/` if it is a folder's."""

    patterned: bool
    excluded: Meets
    included: Meets
    leads: Meets
    """Whether something that is included may lie below a folder."""

    @property
    def everything(self) -> bool:
        """Whether there is nothing that `include` narrows."""
        return self.included is _EVERYTHING

    @classmethod
    def of(cls, include: Sequence[str] | None, exclude: Sequence[str]) -> Taken:
        """What these patterns take; everything that is not excluded where `include` is None.

        Raises:
            UsageError: one is no valid pattern.
        """
        excluding = [translated(pattern) for pattern in exclude]
        excluded = _any([whole for whole, _ in excluding])
        if include is None:
            return cls(bool(excluding), excluded, _EVERYTHING, _EVERYTHING)
        including = [translated(pattern) for pattern in include]
        return cls(True, excluded, _any([whole for whole, _ in including]), _any([leads for _, leads in including]))

    def reaches(self, components: Sequence[str], *, folder: bool) -> bool:
        """Whether the entry with these components is taken, or something may be that lies below it.

        Args:
            components: its path, from the root on.
            folder: whether it is a folder.
        """
        wanted = self.everything
        for depth in range(1, len(components) + 1):
            subject = "/".join(components[:depth]) + ("/" if folder or depth < len(components) else "")
            if self.excluded(subject):
                return False
            wanted = wanted or self.included(subject) is not None
            if not wanted and not (subject.endswith("/") and self.leads(subject)):
                return False
        return True


def _any(expressions: Sequence[str]) -> Meets:
    return re.compile("|".join(expressions) if expressions else r"(?!)", re.DOTALL).fullmatch


_EVERYTHING: Meets = re.compile(".*", re.DOTALL).fullmatch


def translated(pattern: str) -> tuple[str, str]:
    """`pattern` as two regular expressions: of what it meets, and of the folders that may hold that.

    Raises:
        UsageError: it is no valid pattern.
    """
    core = pattern.removesuffix("/")
    components = core.removeprefix("/").split("/")
    try:
        if pattern.startswith("!") or any(component in ("", ".", "..") for component in components):
            raise ValueError("`!`, `.`, `..` and empty components have no meaning")
        if "/" not in core:
            components.insert(0, "**")
        whole, leads, crossed = "", [], False
        for number, component in enumerate(components):
            last = number == len(components) - 1
            crossed = crossed or "**" in component
            if component != "**":
                expression = _component(component) + ("" if last else "/")
                if not last and not crossed:
                    leads.append(expression)
            elif last:
                expression = ".+"
            else:
                expression = "" if whole.endswith("(?:.+/)?") else "(?:.+/)?"
            whole += expression
        whole += "/" if pattern.endswith("/") else "/?"
        re.compile(whole)
    except (ValueError, re.error) as error:
        raise UsageError(
            f"{visible(pattern)!r} is no valid pattern: {error}",
            hint="write it as in a .gitignore, relative to the root, for example 'docs/**' or '*.tmp'",
        ) from error
    lead = ".*" if crossed else ""
    for expression in reversed(leads):
        lead = f"(?:{expression}{lead})?"
    return whole, lead


def _component(component: str) -> str:
    """One component of a pattern as a regular expression, which no empty name meets."""
    out, at = [], 0
    while at < len(component):
        character = component[at]
        at += 1
        if character == "*":
            end = at
            while component[end : end + 1] == "*":
                end += 1
            out.append("[^/]*" if end == at else ".*")
            at = end
        elif character == "?":
            out.append("[^/]")
        elif character == "\\":
            if at == len(component):
                raise ValueError("it ends in a backslash")
            out.append(re.escape(component[at]))
            at += 1
        elif character == "[":
            negated = component[at : at + 1] in ("!", "^")
            start = at + negated
            end = component.find("]", start + 1)
            if end < 0:
                raise ValueError("a '[' is not closed")
            out.append(_set(component[start:end], negated))
            at = end + 1
        else:
            out.append(re.escape(character))
    return "(?=[^/])" + "".join(out)


def _set(members: str, negated: bool) -> str:
    out, at = [], 0
    while at < len(members):
        if at + 2 < len(members) and members[at + 1] == "-":
            out.append(f"{re.escape(members[at])}-{re.escape(members[at + 2])}")
            at += 3
        else:
            out.append(re.escape(members[at]))
            at += 1
    return f"(?!/)[{'^' if negated else ''}{''.join(out)}]"
