"""Checks a document against a JSON Schema, and says everything that is wrong with it at once.

The schema is of the subset in `sealift.subset`, whose keywords have the standard's own meaning here: the
verdict is that of any other validator. What this one adds is the place, the reason and the remedy.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from .document import Document, Problem, Steps, quoted
from .errors import MalformedError
from .subset import Schema, audit, compiled, discriminator, resolve

_WORDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "empty",
}
_SHOWN_MAX = 12
_CLOSE_MAX = 64
"""Characters of a key up to which a similar one is looked for."""


def check(document: Document, schema: Schema, *, further: Iterable[Problem] = ()) -> None:
    """Accept `document` if `schema` does and it has no faults of its own.

    Args:
        document: as `document.parse` returns it.
        schema: of the subset that this module knows.
        further: what the caller's own rules found; told instead of the schema's problem with the same value.

    Raises:
        UsageError: listing every problem, each with its line and column.
        ValueError: the schema itself is at fault.
    """
    told = [*document.faults, *further]
    known = {(problem.steps, problem.at_key) for problem in told}
    found = [
        problem
        for problem in problems(document.value, schema, written=document.written)
        if problem.missing or (problem.steps, problem.at_key) not in known
    ]
    if told or found:
        raise document.refusal([*told, *found])


def obey(document: Document, steps: Steps, rule: Callable[[str], str]) -> list[Problem]:
    """The problem that `rule` (of `sealift.names`) raises about the string at `steps`; none where no string is."""
    value = document.value
    for step in steps:
        if not isinstance(value, dict) or step not in value:
            return []
        value = value[step]
    return _obey(value, steps, rule) if isinstance(value, str) else []


def obey_keys(document: Document, key: str, rule: Callable[[str], str]) -> list[Problem]:
    """As `obey`, of every key of the mapping that the top-level `key` holds."""
    value = document.value.get(key) if isinstance(document.value, dict) else None
    if not isinstance(value, dict):
        return []
    return [problem for name in value for problem in _obey(name, (key, name), rule, at_key=True)]


def _obey(text: str, steps: Steps, rule: Callable[[str], str], *, at_key: bool = False) -> list[Problem]:
    try:
        rule(text)
    except MalformedError as error:
        return [Problem(steps=steps, message=error.message, hint=error.hint, at_key=at_key)]
    return []


def problems(value: Any, schema: Schema, *, written: Mapping[Steps, str] | None = None) -> list[Problem]:
    """All that is wrong with `value`, in the order of the document; empty if `schema` accepts it.

    Args:
        value: plain JSON values.
        schema: of the subset that this module knows.
        written: how scalars that are no strings were written, for the hints.

    Raises:
        ValueError: the schema itself is at fault.
    """
    audit(schema)
    return list(_Walk(schema, written or {}).at(value, schema, ()))


def _frozen(value: Any) -> Any:
    """A hashable value that is equal when two JSON values are: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, Mapping):
        return "object", frozenset((key, _frozen(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return "array", tuple(_frozen(item) for item in value)
    return _kind(value), value


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, Mapping) else "array"


def _is(value: Any, kind: str) -> bool:
    if kind == "integer":
        return _kind(value) == "number" and (isinstance(value, int) or value.is_integer())
    return _kind(value) == kind


def _told(value: Any) -> str:
    """A value as it is shown in a message."""
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def _list(names: Iterable[str]) -> str:
    listed = [quoted(name) for name in names]
    return ", ".join(listed[:_SHOWN_MAX]) + (", …" if len(listed) > _SHOWN_MAX else "")


def guess(word: str, known: Iterable[Any]) -> str | None:
    """The hint that names the one of `known` which `word` was probably meant to be."""
    names = [name for name in known if isinstance(name, str)]
    close = difflib.get_close_matches(word, names, n=1) if len(word) <= _CLOSE_MAX else []
    return f"did you mean {quoted(close[0])}?" if close else None


class _Walk:
    """One pass over a value, along the schema."""

    def __init__(self, root: Schema, written: Mapping[Steps, str]) -> None:
        self.root = root
        self.written = written

    def at(self, value: Any, schema: Schema, steps: Steps) -> Iterator[Problem]:
        if "$ref" in schema:
            yield from self.at(value, resolve({"$ref": schema["$ref"]}, self.root), steps)
        wrong = next(filter(None, (self._type(value, schema, steps), self._value(value, schema, steps))), None)
        if wrong:
            yield wrong
        elif isinstance(value, str):
            yield from self._string(value, schema, steps)
        elif isinstance(value, list):
            yield from self._array(value, schema, steps)
        elif isinstance(value, Mapping):
            yield from self._object(value, schema, steps)
        elif _kind(value) == "number":
            if "minimum" in schema and value < schema["minimum"]:
                yield Problem(steps=steps, message=f"must be at least {schema['minimum']}, not {_told(value)}")
            if "maximum" in schema and value > schema["maximum"]:
                yield Problem(steps=steps, message=f"must be at most {schema['maximum']}, not {_told(value)}")
        if "oneOf" in schema and not wrong:
            yield from self._one_of(value, schema, steps)

    def _type(self, value: Any, schema: Schema, steps: Steps) -> Problem | None:
        kinds = schema.get("type", ())
        kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
        if not kinds or any(_is(value, kind) for kind in kinds):
            return None
        return self._other(value, kinds, " or ".join(_WORDS[kind] for kind in kinds), schema, steps)

    def _other(self, value: Any, kinds: Iterable[str], wanted: str, schema: Schema, steps: Steps) -> Problem:
        """The problem that `value` is of another type than one of `kinds`."""
        hint: str | None = schema.get("description")
        if value is None:
            return Problem(steps=steps, message=f"is empty, and must be {wanted}", hint=hint)
        if "string" in kinds and _kind(value) in ("number", "boolean"):
            hint = f'write it in quotes: "{self.written.get(steps, _told(value))}"'
        elif "boolean" in kinds and isinstance(value, str):
            hint = "write true or false, without quotes"
        elif ("integer" in kinds or "number" in kinds) and isinstance(value, str):
            hint = "write digits alone, without quotes"
        elif "array" in kinds and isinstance(value, str):
            hint = "write each entry on a line of its own after '- ', or all in [ ]"
        return Problem(steps=steps, message=f"must be {wanted}, not {_WORDS[_kind(value)]}", hint=hint)

    def _value(self, value: Any, schema: Schema, steps: Steps) -> Problem | None:
        if "const" in schema:
            allowed: Sequence[Any] = [schema["const"]]
        elif "enum" in schema:
            allowed = schema["enum"]
        else:
            return None
        if _frozen(value) in {_frozen(item) for item in allowed}:
            return None
        wanted = f"{'' if len(allowed) == 1 else 'one of '}{', '.join(_told(item) for item in allowed)}"
        hint: str | None = schema.get("description")
        if value is None:
            return Problem(steps=steps, message=f"is empty, and must be {wanted}", hint=hint)
        text = self.written.get(steps)
        if text is not None and text in allowed:
            hint = f'write it in quotes: "{text}"'
        elif isinstance(value, str) and len(allowed) > 1:
            hint = guess(value, allowed) or hint
        told = _WORDS[_kind(value)] if isinstance(value, (list, Mapping)) else _told(value)
        return Problem(steps=steps, message=f"must be {wanted}, not {told}", hint=hint)

    def _string(self, value: str, schema: Schema, steps: Steps) -> Iterator[Problem]:
        if not value and schema.get("minLength"):
            yield Problem(steps=steps, message="is an empty string", hint=schema.get("description"))
        elif len(value) < schema.get("minLength", 0):
            yield Problem(steps=steps, message=f"is shorter than {schema['minLength']} characters")
        elif len(value) > schema.get("maxLength", len(value)):
            yield Problem(steps=steps, message=f"is longer than {schema['maxLength']} characters")
        elif "pattern" in schema and not compiled(schema["pattern"]).search(value):
            message = f"{quoted(value)} does not have the form that is wanted here"
            yield Problem(steps=steps, message=message, hint=schema.get("description") or schema["pattern"])

    def _array(self, value: list[Any], schema: Schema, steps: Steps) -> Iterator[Problem]:
        if len(value) < schema.get("minItems", 0):
            least = schema["minItems"]
            message = "must not be an empty list" if least == 1 else f"must have at least {least} entries"
            yield Problem(steps=steps, message=message, hint=schema.get("description"))
        if len(value) > schema.get("maxItems", len(value)):
            yield Problem(steps=steps, message=f"must have at most {schema['maxItems']} entries")
        first = schema.get("prefixItems", ())
        seen: dict[Any, int] = {}
        for index, item in enumerate(value):
            if index < len(first):
                yield from self.at(item, first[index], (*steps, index))
            elif "items" in schema:
                yield from self.at(item, schema["items"], (*steps, index))
            if schema.get("uniqueItems") and seen.setdefault(_frozen(item), index) != index:
                yield Problem(steps=(*steps, index), message=f"is the same as entry [{seen[_frozen(item)]}]")

    def _object(self, value: Mapping[str, Any], schema: Schema, steps: Steps) -> Iterator[Problem]:
        properties = schema.get("properties", {})
        for key in schema.get("required", ()):
            if key not in value:
                hint = properties.get(key, {}).get("description")
                yield Problem(steps=steps, message=f"the key {quoted(key)} is missing", hint=hint, missing=True)
        if len(value) < schema.get("minProperties", 0):
            least = schema["minProperties"]
            message = "must not be empty" if least == 1 else f"must have at least {least} keys"
            yield Problem(steps=steps, message=message, hint=schema.get("description"))
        if len(value) > schema.get("maxProperties", len(value)):
            yield Problem(steps=steps, message=f"must have at most {schema['maxProperties']} keys")
        patterns = schema.get("patternProperties", {})
        additional = schema.get("additionalProperties", True)
        for key, item in value.items():
            here = (*steps, key)
            for problem in self.at(key, schema.get("propertyNames", {}), ()):
                yield Problem(steps=here, message=problem.message, hint=problem.hint, at_key=True)
            matching = [part for pattern, part in patterns.items() if compiled(pattern).search(key)]
            if key in properties:
                matching.insert(0, properties[key])
            elif not matching and additional is False:
                free = [name for name in properties if name not in value]
                hint = guess(key, free) or (f"what may stand here too: {_list(free)}" if free else None)
                yield Problem(steps=here, message="unknown key", hint=hint, at_key=True)
            elif not matching and additional is not True:
                matching = [additional]
            for part in matching:
                yield from self.at(item, part, here)

    def _one_of(self, value: Any, schema: Schema, steps: Steps) -> Iterator[Problem]:
        key, branches = discriminator([resolve(branch, self.root) for branch in schema["oneOf"]])
        if not isinstance(value, Mapping):
            yield self._other(value, ["object"], "a mapping", schema, steps)
        elif key is None:
            marks = [mark for mark in branches if mark in value]
            if len(marks) == 1:
                yield from self.at(value, branches[marks[0]], steps)
            elif marks:
                yield Problem(steps=(*steps, marks[1]), message=f"cannot stand beside {quoted(marks[0])}", at_key=True)
            else:
                yield Problem(steps=steps, message=f"needs one of the keys {_list(branches)}", missing=True)
        elif key not in value:
            known = f"write one of {_list(branches)}"
            yield Problem(steps=steps, message=f"the key {quoted(key)} is missing", hint=known, missing=True)
        elif not isinstance(value[key], str):
            yield self._other(value[key], ["string"], f"one of {_list(branches)}", {}, (*steps, key))
        elif value[key] not in branches:
            message = f"unknown {key} {quoted(value[key])}, known: {_list(branches)}"
            yield Problem(steps=(*steps, key), message=message, hint=guess(value[key], branches))
        else:
            yield from self.at(value, branches[value[key]], steps)
