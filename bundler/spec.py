"""The spec: which artifacts make up a release, as a person writes it in `sealift.yaml`.

`load` is the only gate: a `Spec` has passed the published schema (docs/reference/sealift.schema.json,
which `python -m bundler.spec` prints) and the names of `sealift.names`; where it was linted, its sources found
nothing wrong with it either, and its lock, if there is one, was made for it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sealift import document, hooks, names
from sealift.document import Document, Problem
from sealift.errors import UsageError
from sealift.plugins import kinds
from sealift.schema import check, obey, obey_keys
from sealift.subset import NAME_FORM, SPACED_FORM, VERSION_FORM, branches, name

from . import lock as locks
from .lock import Lock
from .patterns import translated
from .source import problems_of

ARTIFACTS_MAX = 1024
PATTERNS_MAX = 256
"""Patterns of templates."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """An artifact that a spec asks for."""

    name: str
    source: str
    """The kind of its source."""
    want: Mapping[str, Any]
    """What the source is told: the artifact's keys without `source`."""

    @property
    def without_tls(self) -> bool:
        """Whether it was allowed to be asked for without TLS."""
        return self.want.get("unsafe_http") is True


@dataclass(frozen=True, kw_only=True)
class ValuesWanted:
    """What sites fill in. With several artifacts, paths and patterns begin with an artifact's name."""

    schema: str
    """The file that holds the JSON Schema of the values."""
    templates: tuple[str, ...]
    """Patterns of the files that they are filled in."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A release as it is wanted."""

    name: str
    version: str
    artifacts: tuple[Wanted, ...]
    """In the order of their names."""
    hooks: hooks.Hooks
    values: ValuesWanted | None = None
    path: Path
    """The file that says so."""

    @property
    def base(self) -> Path:
        """The folder that relative paths start from."""
        return self.path.parent


def load(path: Path, *, lint: bool = False, pinned: bool = True) -> Spec:
    """Read the spec in the file `path`.

    Args:
        path: the file.
        lint: also ask the sources what is wrong, before any work starts; nothing is fetched.
        pinned: compare it with its lock as well; False for who is about to write that.

    Raises:
        UsageError: it does not validate; the message lists every problem with file, line, column and path.
        MalformedError: the lock is none.
        StoreError: the lock cannot be read.
    """
    spec = document.parse(path)
    further = [
        *obey(spec, ("release",), names.check_spaced),
        *obey(spec, ("version",), names.check_version),
        *obey_keys(spec, "artifacts", names.check_release),
        *obey(spec, ("values", "schema"), names.check_path),
        *_lint_patterns(spec),
        *(_lint(spec, path, pinned=pinned) if lint else ()),
    ]
    check(spec, schema(spec.value), further=further)
    value = spec.value
    return Spec(
        name=value["release"],
        version=value["version"],
        artifacts=tuple(_wanted(key, want) for key, want in sorted(value["artifacts"].items())),
        hooks=hooks.convert(value.get("hooks", {})),
        values=_values(value.get("values")),
        path=path,
    )


def _wanted(name: str, want: Mapping[str, Any]) -> Wanted:
    return Wanted(name=name, source=want["source"], want={key: want[key] for key in want if key != "source"})


def _values(value: Mapping[str, Any] | None) -> ValuesWanted | None:
    return ValuesWanted(schema=value["schema"], templates=tuple(value["templates"])) if value else None


def _lint_patterns(spec: Document) -> Iterator[Problem]:
    value = spec.value.get("values") if isinstance(spec.value, dict) else None
    patterns = value.get("templates") if isinstance(value, dict) else None
    for number, pattern in enumerate(patterns if isinstance(patterns, list) else ()):
        if isinstance(pattern, str) and pattern:
            try:
                translated(pattern)
            except UsageError as error:
                yield Problem(steps=("values", "templates", number), message=error.message, hint=error.hint)


def _lint(spec: Document, path: Path, *, pinned: bool) -> Iterator[Problem]:
    value = spec.value if isinstance(spec.value, dict) else {}
    lock = locks.read(locks.path_of(path)) if pinned else None
    release, version = value.get("release"), value.get("version")
    if lock and isinstance(release, str) and isinstance(version, str):
        try:
            locks.check_label(lock, release, version)
        except UsageError as error:
            step = "release" if lock.release != release else "version"
            yield Problem(steps=(step,), message=error.message, hint=error.hint)
            lock, pinned = None, False
    sources = kinds("bundler.sources", "sealift.sources")
    parts = value.get("artifacts")
    for key, part in parts.items() if isinstance(parts, dict) else ():
        source = part.get("source") if isinstance(part, dict) else None
        if isinstance(source, str) and source in sources:
            yield from _lint_part(key, part, sources[source], lock, path.parent, pinned=pinned)


def _lint_part(
    key: str, part: Mapping[str, Any], source: object, lock: Lock | None, base: Path, *, pinned: bool
) -> Iterator[Problem]:
    want = _wanted(key, part).want
    try:
        want = locks.apply(lock, key, part["source"], want)
    except UsageError as error:
        yield Problem(steps=("artifacts", key), message=error.message, hint=error.hint)
        pinned = False
    for problem in problems_of(source, want, base, pinned=pinned):
        yield replace(problem, steps=("artifacts", key, *problem.steps))


def schema(value: object = None) -> dict[str, Any]:
    """The JSON Schema of a spec, with the keys of every source that is there.

    Args:
        value: a spec that is to be checked: then with the keys of those alone that it names.
    """
    parts = value.get("artifacts") if isinstance(value, dict) else None
    among = None if value is None else parts.values() if isinstance(parts, dict) else ()
    sources = kinds("bundler.sources", "sealift.sources")
    where = "Where the artifact is collected from; the other keys depend on it."
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Sealift spec",
        "description": "Which artifacts make up a release.",
        "type": "object",
        "properties": {
            "release": name(names.SPACED, f"The release's name: {SPACED_FORM}."),
            "version": name(names.VERSION, f"The release's version: {VERSION_FORM}."),
            "artifacts": {
                "description": "What the release holds: at least one artifact, by name.",
                "type": "object",
                "minProperties": 1,
                "maxProperties": ARTIFACTS_MAX,
                "propertyNames": name(names.RELEASE, f"An artifact's name: {NAME_FORM}."),
                "additionalProperties": {
                    "description": "One artifact.",
                    "oneOf": branches("source", sources, where, among),
                },
            },
            "hooks": {
                "description": "Commands around the switch, sealed into the release.",
                **hooks.schema(absolute=False),
            },
            "values": {
                "description": "What a site fills in before it deploys the release.",
                "type": "object",
                "properties": {
                    "schema": {
                        "description": "The file of the release that holds the JSON Schema of the values.",
                        "type": "string",
                        "minLength": 1,
                        "maxLength": names.PATH_MAX,
                    },
                    "templates": {
                        "description": "Patterns of the files that values are filled in, as in a .gitignore.",
                        "type": "array",
                        "minItems": 1,
                        "maxItems": PATTERNS_MAX,
                        "items": {
                            "description": "One pattern.",
                            "type": "string",
                            "minLength": 1,
                            "maxLength": names.PATH_MAX,
                        },
                    },
                },
                "required": ["schema", "templates"],
                "additionalProperties": False,
            },
        },
        "required": ["release", "version", "artifacts"],
        "additionalProperties": False,
    }


if __name__ == "__main__":
    json.dump(schema(), sys.stdout, indent=2)
    sys.stdout.write("\n")
