"""The lookout: sees what the sources find, and knows which of it sites will fill with values.

What could not be filled at a site is refused here, before it is sealed: a release never changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sealift.document import Problem, shown
from sealift.errors import SourceError, UsageError
from sealift.manifest import TEMPLATES_MAX, Kind, Values
from sealift.names import visible
from sealift.reading import bounded
from sealift.subset import audit
from sealift.template import RESERVED, TEMPLATE_MAX, UnfitError, check_syntax

from .patterns import Taken
from .source import Found
from .spec import Spec


class Lookout:
    """Sees the entries of a spec's artifacts as they are packed."""

    def __init__(self, spec: Spec) -> None:
        self._wanted = spec.values
        self._name = visible(str(spec.path))
        self._prefixed = len(spec.artifacts) > 1
        self._met = [Taken.of([pattern], []) for pattern in spec.values.templates] if spec.values else []
        self._used: set[int] = set()
        self._templates: list[str] = []
        self._schema: bytes | None = None
        self._problems: list[str] = []

    def over(self, artifact: str, kind: Kind, entries: Iterator[Found]) -> Iterator[Found]:
        """The same entries; those of files are looked at on their way."""
        if self._wanted is None or kind != "files":
            return entries
        return self._watched(f"{artifact}/" if self._prefixed else "", entries)

    def _watched(self, prefix: str, entries: Iterator[Found]) -> Iterator[Found]:
        assert self._wanted is not None
        for entry in entries:
            if entry.kind == "file":
                path = prefix + entry.path
                if path == self._wanted.schema:
                    self._schema = _content(entry)
                met = {number for number, each in enumerate(self._met) if each.reaches(path.split("/"), folder=False)}
                if met:
                    self._used |= met
                    self._look_at(path, entry)
            yield entry

    def _look_at(self, path: str, entry: Found) -> None:
        if len(self._templates) >= TEMPLATES_MAX:
            raise UsageError(f"{self._name}: values.templates meets more than {TEMPLATES_MAX} files")
        self._templates.append(path)
        shown_path = visible(path)
        if entry.size > TEMPLATE_MAX:
            self._problems.append(f"{shown_path}:1: a template has at most {TEMPLATE_MAX} bytes")
            return
        try:
            check_syntax(_content(entry).decode())
        except UnicodeDecodeError:
            self._problems.append(f"{shown_path}:1: a template is utf-8 text")
        except UnfitError as error:
            self._problems.append(f"{shown_path}:{error.line}: {error.message}")

    def seen(self) -> Values | None:
        """The templates and their schema, once all entries have passed; None where the spec asks for none.

        Raises:
            UsageError: a template or the schema cannot be used, or a pattern met nothing; every problem is told.
        """
        if self._wanted is None:
            return None
        problems = list(self._problems)
        for number, pattern in enumerate(self._wanted.templates):
            if number not in self._used:
                told = Problem(steps=("values", "templates", number), message=f"{visible(pattern)!r} meets no file")
                problems.append(f"{self._name}: {shown(told.steps)}: {told.message}")
        if self._schema is None:
            problems.append(f"{self._name}: values.schema: the release has no file {visible(self._wanted.schema)!r}")
        else:
            problems += [f"{visible(self._wanted.schema)}: {each}" for each in _wrong_with(self._schema)]
        if problems:
            raise UsageError(
                "\n".join(problems),
                hint="with several artifacts, paths and patterns begin with an artifact's name"
                if self._prefixed and len(problems) == 1
                else None,
            )
        return Values(schema=self._wanted.schema, templates=tuple(sorted(self._templates)))


def _content(entry: Found) -> bytes:
    content = bounded(Path(entry.origin), TEMPLATE_MAX, follow=True)
    if content is None:
        raise SourceError(f"{visible(entry.path)} is gone: it changed while it was read")
    return content


def _wrong_with(schema: bytes) -> Iterator[str]:
    """What keeps a file from being the schema of values."""
    if len(schema) > TEMPLATE_MAX:
        yield f"a schema has at most {TEMPLATE_MAX} bytes"
        return
    try:
        found: Any = json.loads(schema)
    except (ValueError, RecursionError) as error:
        yield f"is no json: {str(error)[:200]}"
        return
    if not isinstance(found, dict) or found.get("type") != "object":
        yield "must be the schema of a mapping: write 'type': 'object'"
        return
    try:
        audit(found)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        yield f"is no schema that sites can check: {error}"
    for name in RESERVED:
        if name in found.get("properties", {}):
            yield f"the name {name!r} is taken: templates have it beside the values"
