"""Masking: words of programs and services, with a mask wherever a piece of a secret stands in them.

What a release's templates were filled with may come back in the words of whatever reads the filled files: kubectl,
a journal, a program of the site. Such words are often cut, so a piece of a secret counts as the secret: every run of
`RUN` characters that it shares with the words, as it is, in JSON, and in base64, as templates can write it.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import groupby
from operator import itemgetter

from sealift.errors import SealiftError
from sealift.names import visible

from .environments.environment import Environment
from .environments.secret import resolve

RUN = 6
"""Characters of the shortest piece of a secret that is looked for."""
LEAST = 4
"""Characters of the shortest secret that is looked for: shorter ones stand in any text."""


class Masks:
    """The masks of some secrets, which are asked for when there is something to mask."""

    def __init__(self, *environments: Environment | None, known: Mapping[str, str] | None = None) -> None:
        """Mask what environments refer to, as it is now, and what is known already, by its names."""
        self._environments = [each for each in environments if each is not None]
        self._known = known or {}

    @cached_property
    def _secrets(self) -> list[tuple[str, str]]:
        found = list(self._known.items())
        for environment in self._environments:
            found += resolve(environment.secrets)[0].items()
        return sorted(set(found), key=lambda item: -len(item[1]))

    def of(self, words: str) -> str:
        """The words with `<secret NAME>` in place of what is a secret's."""
        whose: list[str | None] = [None] * len(words)
        for name, secret in self._secrets:
            for form in _forms(secret):
                for begin, end in _shared(words, form):
                    whose[begin:end] = [owner or name for owner in whose[begin:end]]
        runs = groupby(zip(whose, words, strict=True), key=itemgetter(0))
        return "".join(f"<secret {owner}>" if owner else "".join(each for _, each in run) for owner, run in runs)

    def over(self, error: SealiftError) -> None:
        """Mask what an error says, and its hint."""
        error.message = self.of(error.message)
        error.hint = self.of(error.hint) if error.hint else None

    @contextlib.contextmanager
    def upon(self) -> Iterator[None]:
        """Mask what is raised meanwhile."""
        try:
            yield
        except SealiftError as error:
            self.over(error)
            raise


def _forms(secret: str) -> set[str]:
    """How a secret may stand in words, a line of it at a time."""
    lines = {line.strip() for line in secret.splitlines()}
    forms = {form for line in lines for form in (line, visible(line), json.dumps(line)[1:-1])}
    forms.add(base64.b64encode(secret.encode()).decode().rstrip("="))
    return {form for form in forms if len(form) >= LEAST}


def _shared(words: str, form: str) -> Iterator[tuple[int, int]]:
    """Where the words have a run of a form: from where to where."""
    run = min(RUN, len(form))
    runs = {form[begin : begin + run] for begin in range(len(form) - run + 1)}
    for begin in range(len(words) - run + 1):
        if words[begin : begin + run] in runs:
            yield begin, begin + run
