"""Which JSON Schemas (draft 2020-12) Sealift publishes: those that it can check wholly and explain.

Any keyword beyond `KEYWORDS` is a programming error, so that a published schema promises nothing that is
not checked. `oneOf` must be decidable by one key: either each branch is a mapping that requires the same
key with a `const` of its own (`source: path`), or each is closed and requires a key that no other branch
knows (`command` or `http`). So a problem can be told of the branch that was meant, and of no other.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

Schema = Mapping[str, Any]

_ANNOTATIONS = {"$schema", "$id", "title", "description", "default", "examples"}
_ANY = {"$defs", "$ref", "type", "const", "enum", "oneOf"}
_OBJECT = {"properties", "required", "additionalProperties", "patternProperties", "propertyNames"}
_SIZES = {"minProperties", "maxProperties", "minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum"}
NAME_FORM = "up to 64 lower-case letters, digits, '.', '_' and '-', a letter or digit first and last"
SPACED_FORM = f"{NAME_FORM}; before it, a namespace and a slash where a team signs for it"
VERSION_FORM = "up to 64 letters, digits, '.', '+', '_', '~' and '-', a letter or digit first and last"
KEYWORDS = frozenset(_ANNOTATIONS | _ANY | _OBJECT | _SIZES | {"items", "prefixItems", "uniqueItems", "pattern"})


def audit(schema: Schema) -> None:
    """Refuse a schema that this module cannot check wholly.

    Raises:
        ValueError: it has an unknown keyword, a dangling reference, or a `oneOf` that no key decides.
    """
    for part in _parts(schema, "#"):
        if "$ref" in part:
            resolve(part, schema)
        if "oneOf" in part:
            discriminator([resolve(branch, schema) for branch in part["oneOf"]])
        for pattern in [*([part["pattern"]] if "pattern" in part else []), *part.get("patternProperties", {})]:
            compiled(pattern)


def _parts(schema: Any, where: str) -> Iterator[Schema]:
    unknown = schema.keys() - KEYWORDS if isinstance(schema, Mapping) else {schema}
    if unknown:
        raise ValueError(f"schema {where}: cannot check {sorted(unknown)}")
    yield schema
    for keyword in ("properties", "patternProperties", "$defs"):
        for name, part in schema.get(keyword, {}).items():
            yield from _parts(part, f"{where}/{keyword}/{name}")
    for keyword in ("prefixItems", "oneOf"):
        for index, part in enumerate(schema.get(keyword, ())):
            yield from _parts(part, f"{where}/{keyword}/{index}")
    for keyword in ("items", "propertyNames"):
        if keyword in schema:
            yield from _parts(schema[keyword], f"{where}/{keyword}")
    if not isinstance(schema.get("additionalProperties", False), bool):
        yield from _parts(schema["additionalProperties"], f"{where}/additionalProperties")


def resolve(schema: Schema, root: Schema) -> Schema:
    """The schema that `schema` refers to, or itself."""
    for _ in range(16):
        if "$ref" not in schema:
            return schema
        prefix, _, name = schema["$ref"].rpartition("/")
        if prefix != "#/$defs" or name not in root.get("$defs", {}):
            raise ValueError(f"schema: {schema['$ref']!r} is no reference to $defs")
        schema = root["$defs"][name]
    raise ValueError("schema: references without end")


def discriminator(branches: Sequence[Schema]) -> tuple[str | None, dict[str, Schema]]:
    """The key whose value decides, or None if its presence does; and the branches by that value or key."""
    if branches and all(branch.get("type") == "object" for branch in branches):
        for key in branches[0].get("required", ()):
            kinds = {
                branch["properties"][key]["const"]: branch
                for branch in branches
                if key in branch.get("required", ()) and "const" in branch.get("properties", {}).get(key, {})
            }
            if len(kinds) == len(branches) and all(isinstance(kind, str) for kind in kinds):
                return key, kinds
        marks: dict[str, Schema] = {}
        for branch in branches:
            others = [other for other in branches if other is not branch]
            for key in branch.get("required", ()):
                if all(_closed(other) and key not in other.get("properties", {}) for other in others):
                    marks[key] = branch
                    break
        if len(marks) == len(branches):
            return None, marks
    raise ValueError("schema: no single key decides between the branches of oneOf")


def _closed(schema: Schema) -> bool:
    return schema.get("additionalProperties") is False and "patternProperties" not in schema


@functools.lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    """`pattern` with the standard's meaning of `$`: the end, and not before a last newline (ECMA-262)."""
    tokens = r"\\.|\[(?:\\.|[^\]\\])*\]|\$"
    try:
        return re.compile(re.sub(tokens, lambda token: r"\Z" if token[0] == "$" else token[0], pattern))
    except re.error as error:
        raise ValueError(f"schema: {pattern!r} is no pattern: {error}") from error


def name(form: re.Pattern[str], description: str) -> dict[str, Any]:
    """The schema of a string that has the `form` of a name (`sealift.names`), without `..`."""
    return {"description": description, "type": "string", "pattern": rf"^(?!.*\.\.)(?:{form.pattern})$"}


def branches(
    key: str, known: Mapping[str, ModuleType], description: str, among: Iterable[object] | None = None
) -> list[dict[str, Any]]:
    """The branches of a `oneOf` that the value of `key` decides: the `SCHEMA` of each kind.

    Args:
        key: what decides.
        known: the modules of the kinds.
        description: of the key.
        among: the values that are to be checked. The branch of a kind that none of them names holds the key alone,
            which gives the same verdict, and the kind's module is not imported; None for every kind's own keys.

    Raises:
        ValueError: as `branch`.
    """
    said = None if among is None else [each.get(key) for each in among if isinstance(each, Mapping)]
    return [
        branch(key, kind, known[kind].SCHEMA if said is None or kind in said else {"type": "object"}, description)
        for kind in known
    ]


def branch(key: str, kind: str, schema: Schema, description: str) -> dict[str, Any]:
    """The `SCHEMA` of a kind as a branch of a `oneOf` that the value of `key` decides.

    Raises:
        ValueError: `schema` is not that of a mapping, or has the key itself.
    """
    if schema.get("type") != "object" or key in schema.get("properties", {}):
        raise ValueError(f"the schema of the {key} {kind!r} must be that of a mapping without {key!r}")
    marked = {key: {"description": description, "const": kind}, **schema.get("properties", {})}
    return {**schema, "properties": marked, "required": [key, *schema.get("required", ())]}
