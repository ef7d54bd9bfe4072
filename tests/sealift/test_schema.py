"""The validator agrees with the standard, and tells every problem in words that help."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealift import document
from sealift.errors import MalformedError, UsageError
from sealift.names import check_release
from sealift.schema import check, obey, obey_keys, problems
from sealift.subset import audit, branch, branches

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"

Schema = dict[str, Any]


def closed(required: list[str] | None = None, **properties: Schema) -> Schema:
    """The schema of a mapping with these keys and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": required or [],
        "additionalProperties": False,
    }


OWN: dict[str, Schema] = {
    "kinds": {
        "type": "array",
        "uniqueItems": True,
        "items": {
            "oneOf": [
                closed(["source", "path"], source={"const": "path"}, path={"type": "string", "minLength": 1}),
                closed(["source"], source={"const": "url"}, sha256={"type": "string", "pattern": "^[0-9a-f]{4}$"}),
            ]
        },
    },
    "marks": {
        "oneOf": [
            closed(["command"], command={"type": "array", "minItems": 1}, timeout={"type": "integer"}),
            closed(["http"], http={"type": "string"}, timeout={"type": "integer"}),
        ]
    },
    "references": {
        "$defs": {
            "port": {"type": "integer", "minimum": 1, "maximum": 9},
            "ports": {"items": {"$ref": "#/$defs/port"}},
        },
        "type": "object",
        "properties": {"in": {"$ref": "#/$defs/ports", "maxItems": 2}, "out": {"$ref": "#/$defs/port"}},
        "minProperties": 1,
        "maxProperties": 2,
    },
    "patterns": {
        "type": ["object", "null"],
        "propertyNames": {"pattern": "^[a-c]{0,2}$", "maxLength": 2},
        "patternProperties": {"^a": {"type": "boolean"}, "b$": {"enum": [1, "x", None, [1], False]}},
        "additionalProperties": {"type": ["number", "string"], "maximum": 3, "maxLength": 2},
    },
    "places": {
        "type": "array",
        "prefixItems": [{"type": "string", "pattern": "^/"}, {"const": {"a": 1}}],
        "items": {"type": "integer"},
        "minItems": 1,
        "maxItems": 4,
        "uniqueItems": True,
    },
    "anything": {"description": "no rule at all"},
}
PUBLISHED = [pytest.param(REFERENCE / name, id=name) for name in ("sealift.schema.json", "environment.schema.json")]

junk: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 1.0, 2.5, -1, 10**6, "", "a", "x", "/a", "none", "1.0"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", "path"]), inner, max_size=2),
    max_leaves=3,
)


def instances(schema: Schema, root: Schema, *, noise: bool) -> st.SearchStrategy[Any]:
    """Values that `schema` accepts; with `noise`, such that some part may be anything else."""
    good = _good(schema, root, noise=noise)
    return st.integers(0, 9).flatmap(lambda dice: junk if dice == 0 else good) if noise else good


def _good(schema: Schema, root: Schema, *, noise: bool) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        merged = {**root["$defs"][schema["$ref"].rpartition("/")[2]], **schema}
        del merged["$ref"]
        return instances(merged, root, noise=noise)
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "oneOf" in schema:
        return st.one_of([instances(part, root, noise=noise) for part in schema["oneOf"]])
    kinds = schema.get("type", "array" if "items" in schema else ["null", "string"])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return st.one_of([_KINDS[kind](schema, root, noise) for kind in kinds])


def _strings(schema: Schema, root: Schema, noise: bool) -> st.SearchStrategy[Any]:
    least, most = schema.get("minLength", 0), schema.get("maxLength", 100)
    if "pattern" in schema:
        whole = re.sub(r"\$$", r"\\Z", schema["pattern"])
        text = st.from_regex(whole).map(lambda found: found.rstrip("\n") if whole.endswith("Z") else found)
        if not noise:
            text = text.filter(lambda found: least <= len(found) <= most)
        return text
    return st.text(min_size=least, max_size=min(most, least + 5))


def _numbers(schema: Schema, root: Schema, noise: bool) -> st.SearchStrategy[Any]:
    least = schema.get("minimum", -5)
    numbers = st.integers(least - noise, schema.get("maximum", least + 10) + noise)
    return numbers | numbers.map(float)


def _sorted(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _arrays(schema: Schema, root: Schema, noise: bool) -> st.SearchStrategy[Any]:
    first = [instances(part, root, noise=noise) for part in schema.get("prefixItems", [])]
    rest = instances(schema.get("items", {}), root, noise=noise)
    least = 0 if noise else schema.get("minItems", 0)
    if first:
        tail = st.lists(rest, max_size=1)
        return st.tuples(st.tuples(*first), tail).map(lambda parts: [*parts[0], *parts[1]][: schema.get("maxItems", 9)])
    unique = _sorted if schema.get("uniqueItems") and not noise else None
    return st.lists(rest, min_size=least, max_size=min(3, schema.get("maxItems", 3)), unique_by=unique)


def _objects(schema: Schema, root: Schema, noise: bool) -> st.SearchStrategy[Any]:
    parts = {key: instances(part, root, noise=noise) for key, part in schema.get("properties", {}).items()}
    required = {key: parts.pop(key) for key in schema.get("required", [])}
    if noise:
        parts |= {"odd": junk}
    base = st.fixed_dictionaries(required, optional=parts)
    more = schema.get("additionalProperties", {})
    if not isinstance(more, dict):
        least = 0 if noise else schema.get("minProperties", 0)
        return base.filter(lambda found: len(found) >= least) if least else base
    keys = _strings(schema.get("propertyNames", {}), root, noise)
    if noise:
        keys |= st.sampled_from(["", "A b", "a..b", "x" * 99, "ab\n"])
    if not noise and "patternProperties" in schema:
        keys = st.just("c")
    least = max(0, schema.get("minProperties", 0) - len(required))
    extra = st.dictionaries(keys, instances(more, root, noise=noise), min_size=0 if noise else least, max_size=2)
    return st.tuples(extra, base).map(lambda both: {**both[0], **both[1]})


_KINDS: dict[str, Any] = {
    "object": _objects,
    "array": _arrays,
    "string": _strings,
    "integer": _numbers,
    "number": _numbers,
    "boolean": lambda schema, root, noise: st.booleans(),
    "null": lambda schema, root, noise: st.none(),
}


def ecma(schema: Any) -> Any:
    r"""`schema` for Python's `re`, in which the standard's `$` is `\Z`."""
    if isinstance(schema, dict):
        return {
            re.sub(r"\$$", r"\\Z", key) if key.endswith("$") else key: re.sub(r"\$$", r"\\Z", part)
            if key == "pattern"
            else ecma(part)
            for key, part in schema.items()
        }
    return [ecma(part) for part in schema] if isinstance(schema, list) else schema


def agree(schema: Schema, data: st.DataObject) -> None:
    """Hold that a value near `schema` gets the verdict that the oracle gives."""
    value = data.draw(instances(schema, schema, noise=True))
    oracle = jsonschema.Draft202012Validator(ecma(schema))
    assert (problems(value, schema) == []) == oracle.is_valid(value), value


quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("schema", OWN.values(), ids=OWN)
@quick
@given(data=st.data())
def test_verdicts_are_those_of_the_standard(schema: Schema, data: st.DataObject) -> None:
    """Whatever the value, an independent implementation decides alike."""
    agree(schema, data)


@pytest.mark.parametrize("path", PUBLISHED)
@quick
@given(data=st.data())
def test_published_schemas_mean_what_the_standard_says(path: Path, data: st.DataObject) -> None:
    """An editor with any other validator accepts what Sealift accepts."""
    agree(json.loads(path.read_text()), data)


@pytest.mark.parametrize("path", PUBLISHED)
@quick
@given(data=st.data())
def test_published_schemas_accept_what_they_describe(path: Path, data: st.DataObject) -> None:
    """What is generated from the schema alone has no problem."""
    schema = json.loads(path.read_text())
    assert problems(data.draw(instances(schema, schema, noise=False)), schema) == []


@pytest.mark.parametrize("path", PUBLISHED)
def test_published_schemas_describe_every_key(path: Path) -> None:
    """An editor has something to show for each key."""
    schema = json.loads(path.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    pending: list[Any] = [schema]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            for key, inner in part.get("properties", {}).items():
                assert inner.get("description"), key
            pending += part.values()
        elif isinstance(part, list):
            pending += part


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": []},
        {"items": {"format": "uri"}},
        {"properties": {"a": {"not": {}}}},
        {"additionalProperties": {"if": {}}},
        {"$ref": "#/$defs/none"},
        {"$ref": "https://example.test/schema"},
        {"$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"pattern": "("},
        {"oneOf": []},
        {"oneOf": [{"type": "object"}, {"type": "object"}]},
        {"oneOf": [closed(["a"], a={"const": 1}), {"type": "object", "required": ["b"]}]},
        {"oneOf": [closed(["a"], a={"const": "x"}), closed(["a"], a={"const": "x"})]},
        {"items": True},
    ],
)
def test_a_schema_that_cannot_be_checked_is_a_bug(schema: Schema) -> None:
    """A published schema promises nothing that is not checked."""
    with pytest.raises(ValueError, match="schema"):
        audit(schema)


@pytest.mark.parametrize("schema", [{"type": "string"}, closed(source={}), {}])
def test_a_kind_that_is_no_mapping_of_its_own_keys_is_a_bug(schema: Schema) -> None:
    """The key that decides belongs to Sealift."""
    with pytest.raises(ValueError, match="source"):
        branch("source", "odd", schema, "")


def told(value: Any, schema: Schema) -> list[tuple[str, str, str | None]]:
    """Each problem as path, message and hint."""
    return [(document.shown(found.steps), found.message, found.hint) for found in problems(value, schema)]


def test_an_unknown_key_is_guessed() -> None:
    """A typing error is named with what was meant."""
    assert told([{"source": "path", "paht": "x"}], OWN["kinds"]) == [
        ("[0]", "the key 'path' is missing", None),
        ("[0].paht", "unknown key", "did you mean 'path'?"),
    ]


def test_an_unknown_kind_lists_the_known() -> None:
    """Only the branch that is meant speaks; where none is, all are named."""
    assert told([{"source": "ulr"}], OWN["kinds"]) == [
        ("[0].source", "unknown source 'ulr', known: 'path', 'url'", "did you mean 'url'?")
    ]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "needs one of the keys 'command', 'http'"),
        ({"http": "x", "command": ["x"]}, "cannot stand beside 'command'"),
        ([], "must be a mapping, not a list"),
    ],
)
def test_a_choice_by_key_says_what_it_needs(value: Any, message: str) -> None:
    """None and both are told apart."""
    assert [found[1] for found in told(value, OWN["marks"])] == [message]


def test_booleans_are_no_numbers() -> None:
    """`true` is neither 1 nor a whole number."""
    assert told(True, {"type": "integer"})[0][1] == "must be a whole number, not true or false"
    assert told(True, {"const": 1})[0][1] == "must be 1, not true"


def test_a_pattern_ends_where_the_text_ends() -> None:
    """`$` does not overlook a last newline, as Python's own would."""
    assert problems("ab\n", {"pattern": "^[a-z]+$"}) != []
    assert problems("a$", {"pattern": r"^a\$[$]?$"}) == []


def saved(folder: Path, text: str) -> document.Document:
    """The document that `text` makes."""
    path = folder / "it.yaml"
    path.write_text(text)
    return document.parse(path)


def test_a_number_for_a_string_is_told_to_be_quoted_as_it_was_written(tmp_path: Path) -> None:
    """The hint does not turn 1.10 into 1.1."""
    with pytest.raises(UsageError) as caught:
        check(saved(tmp_path, "version: 1.10\n"), closed(version={"type": "string"}))
    assert caught.value.message == f"{tmp_path}/it.yaml:1:10: version: must be a string, not a number"
    assert caught.value.hint == 'write it in quotes: "1.10"'


def test_all_problems_are_listed_in_the_order_of_the_document(tmp_path: Path) -> None:
    """Faults of the document, of its names and of its values come in one list."""
    text = "b: .nan\na: No!\na: 2\nc: 1\n"
    found = saved(tmp_path, text)
    schema = closed(["d"], a={"type": "string", "pattern": "^[a-z]+$"}, b={"type": "integer"})
    with pytest.raises(UsageError) as caught:
        check(found, schema, further=obey(found, ("a",), check_release))
    lines = caught.value.message.replace(f"{tmp_path}/", "").splitlines()
    assert [line.partition(" (")[0] for line in lines] == [
        "it.yaml:1:1: the key 'd' is missing",
        "it.yaml:1:4: b: a number must be finite",
        "it.yaml:2:4: a: 'No!' is no valid name",
        "it.yaml:3:1: a: duplicate key, first at 2:1",
        "it.yaml:4:1: c: unknown key",
    ]


def test_a_rule_speaks_of_strings_alone(tmp_path: Path) -> None:
    """What is missing or no string is the schema's to tell."""

    def refuse(text: str) -> str:
        raise MalformedError("no")

    found = saved(tmp_path, "a: 1\nb: x\nc: {d: e}\n")
    assert obey(found, ("a",), refuse) == obey(found, ("z", "y"), refuse) == obey_keys(found, "b", refuse) == []
    assert [problem.steps for problem in obey(found, ("c", "d"), refuse)] == [("c", "d")]
    assert [(problem.steps, problem.at_key) for problem in obey_keys(found, "c", refuse)] == [(("c", "d"), True)]


def test_a_valid_document_passes(tmp_path: Path) -> None:
    """Silence is consent."""
    check(saved(tmp_path, "in: [1, 2]\n"), OWN["references"])


class _Named(dict[str, ModuleType]):
    """Kinds of which only `path` can be imported."""

    def __getitem__(self, kind: str) -> ModuleType:
        assert kind == "path", f"{kind} is imported"
        module = ModuleType(kind)
        module.__dict__["SCHEMA"] = closed(["path"], path={"type": "string"})
        return module


def test_kinds_that_nobody_names_are_not_imported() -> None:
    """The verdict is the same without their keys, and the message about an unknown kind names them."""
    known = _Named.fromkeys(["path", "url"], ModuleType("one"))
    some = [{"source": "path", "path": "a"}, {"source": ["url"]}, "url"]
    schema = {"oneOf": branches("source", _Named(known), "Where it is.", some)}
    audit(schema)
    assert list(problems(some[0], schema)) == []
    assert "missing" in next(iter(problems({"source": "path"}, schema))).message
    assert "known: 'path', 'url'" in next(iter(problems({"source": "git"}, schema))).message
