"""An export knows which files sites fill in, and refuses what they could not use."""

from __future__ import annotations

import json

import pytest
from worlds import Connected

from bundler.rehearsing import rehearse
from bundler.sealing import Effort, Sealed, seal
from bundler.spec import Spec, load
from sealift.errors import UsageError
from sealift.manifest import Values, encode
from sealift.manifest import release as read_release
from sealift.progress import Silent

SCHEMA = {"type": "object", "properties": {"host": {"type": "string"}}}
FILES = {
    "config/app.yaml": b"host: ${{ host }}\n",
    "config/deep/b.yaml": b"b\n",
    "config/schema.json": json.dumps(SCHEMA).encode(),
    "web.html": b"<b>",
}


EFFORT = Effort(level=3, threads=1)


def sealed(connected: Connected, spec: Spec) -> Sealed:
    """Seal `spec` in the depot."""
    with connected.depot.lock():
        return seal(spec, connected.depot, lambda: None, effort=EFFORT, progress=Silent())


def _values(templates: str, schema: str = "config/schema.json") -> str:
    return f"values: {{schema: {schema}, templates: {templates}}}\n"


def _refused(connected: Connected, files: dict[str, bytes], more: str) -> list[str]:
    spec = load(connected.spec("1.0.0", files, more=more), lint=True)
    with pytest.raises(UsageError) as caught:
        sealed(connected, spec)
    return caught.value.message.splitlines()


def test_templates_are_sealed_by_their_paths(connected: Connected) -> None:
    """The patterns of the spec are resolved once; sites know no patterns."""
    made = sealed(connected, load(connected.spec("1.0.0", FILES, more=_values("[config/*.yaml, config/deep]"))))
    assert made.release.values == Values(
        schema="config/schema.json", templates=("config/app.yaml", "config/deep/b.yaml")
    )
    assert read_release(encode(made.release)) == made.release


def test_a_release_without_values_has_the_bytes_that_it_always_had(connected: Connected) -> None:
    """The key is absent."""
    made = sealed(connected, load(connected.spec("1.0.0", FILES)))
    assert b"values" not in encode(made.release)


def test_with_several_artifacts_paths_begin_with_the_artifact(connected: Connected) -> None:
    """As the programs of hooks do."""
    more = "  api: {source: path, path: shop-1.0.0/config}\n" + _values("['api/*.yaml']", "web/config/schema.json")
    made = sealed(connected, load(connected.spec("1.0.0", FILES, more=more)))
    assert made.release.values == Values(schema="web/config/schema.json", templates=("api/app.yaml",))


def test_every_template_that_cannot_be_used_is_told(connected: Connected) -> None:
    """With its line, beside patterns that meet nothing and a schema that is none."""
    files = {
        **FILES,
        "config/app.yaml": b"a\n${% if %}\n",
        "config/c.yaml": b"\xff",
        "config/schema.json": b'{"type": "object", "not": {}}',
    }
    path = connected.root / "shop-1.0.0.yaml"
    assert _refused(connected, files, _values("[config/*.yaml, none/*]")) == [
        "config/app.yaml:2: expected an expression, got 'end of statement block'",
        "config/c.yaml:1: a template is utf-8 text",
        f"{path}: values.templates[1]: 'none/*' meets no file",
        "config/schema.json: is no schema that sites can check: schema #: cannot check ['not']",
    ]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (b"{", "is no json"),
        (b"[]", "must be the schema of a mapping"),
        (b'{"type": "object", "properties": {"secrets": {}}}', "the name 'secrets' is taken"),
        (b'{"type": "object", "properties": {"a": {"pattern": "("}}}', "is no schema that sites can check"),
    ],
)
def test_a_schema_that_sites_cannot_check_is_refused(connected: Connected, schema: bytes, message: str) -> None:
    """Before it is sealed: a release never changes."""
    (told,) = _refused(connected, {**FILES, "config/schema.json": schema}, _values("[config/*.yaml]"))
    assert told.startswith(f"config/schema.json: {message}")


def test_a_schema_that_is_not_there_is_told(connected: Connected) -> None:
    """By the name that the spec gives it."""
    (told,) = _refused(connected, FILES, _values("[config/*.yaml]", "schema.json"))
    assert told.endswith("values.schema: the release has no file 'schema.json'")


def test_a_pattern_that_is_none_is_told_with_its_place(connected: Connected) -> None:
    """When the spec is read."""
    path = connected.spec("1.0.0", FILES, more=_values("['!a']"))
    with pytest.raises(UsageError, match=r"values\.templates\[0\]: '!a' is no valid pattern"):
        load(path)


def test_published_values_never_change(connected: Connected) -> None:
    """Other templates under the same name and version are other content."""
    connected.bundle("1.0.0", FILES, more=_values("[config/*.yaml]"))
    with pytest.raises(UsageError, match="what differs: values"):
        connected.bundle("1.0.0", FILES, more=_values("[config/app.yaml, web.html]"))


def test_a_rehearsal_refuses_the_same(connected: Connected) -> None:
    """`export --dry-run` finds what an export would."""
    spec = load(connected.spec("1.0.0", {**FILES, "config/app.yaml": b"${%"}, more=_values("[config/*.yaml]")))
    with pytest.raises(UsageError, match=r"app\.yaml:1"):
        rehearse([spec], connected.depot, connected.root / "out", effort=EFFORT, progress=Silent())
