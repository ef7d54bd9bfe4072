"""The environment: what a site runs, and where, as a person writes it in `environment.yaml`.

`load` is the only gate: an `Environment` has passed the published schema
(docs/reference/environment.schema.json, which `python -m installer.environments.environment` prints) and the names
of `sealift.names`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sealift import document, hooks, names
from sealift.document import Document
from sealift.plugins import kinds
from sealift.schema import check, obey
from sealift.subset import NAME_FORM, SPACED_FORM, branches, name

from ..policies import policy as policies
from ..policies.policy import Policy
from ..policies.versions import RANGE_MAX, check_wanted
from . import secret
from .secret import Reference

TARGETS_MAX = 256
CHECKS_MAX = 64
TRIES_MAX = 1000


@dataclass(frozen=True, kw_only=True)
class TargetWanted:
    """A place that the release is deployed to."""

    kind: str
    settings: Mapping[str, Any]
    """What the target is told: its keys without `kind`."""

    @property
    def without_tls(self) -> bool:
        """Whether it was allowed to speak without TLS."""
        return self.settings.get("unsafe_http") is True


@dataclass(frozen=True, kw_only=True)
class StrategyWanted:
    """How traffic moves to a new release."""

    kind: str = "in-place"
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the strategy is told: its keys without `kind`."""


@dataclass(frozen=True, kw_only=True)
class CommandCheck:
    """The release is healthy if a command exits with 0."""

    command: tuple[str, ...]
    """The program, as an absolute path, and its arguments."""
    timeout: int = 10
    """Seconds for one attempt."""
    retries: int = 3
    """Further attempts after a failed one."""
    interval: int = 2
    """Seconds between two attempts."""


@dataclass(frozen=True, kw_only=True)
class HttpCheck:
    """The release is healthy if a GET of a URL answers with a status."""

    url: str
    status: int = 200
    timeout: int = 10
    """Seconds for one attempt."""
    retries: int = 3
    """Further attempts after a failed one."""
    interval: int = 2
    """Seconds between two attempts."""


Check = CommandCheck | HttpCheck
FILE = "file"
"""What governs an environment that a file at the site declares."""
NOWHERE = Document(name="environment", value={}, values={}, keys={}, written={})
"""What stands for the document of an environment that the site kept."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A declared state at a site."""

    name: str
    release: str
    version: str
    """One version, or a range (`installer.policies.versions`)."""
    targets: tuple[TargetWanted, ...]
    """In the order in which they are deployed to."""
    health: tuple[Check, ...]
    """In the order in which they are checked."""
    hooks: hooks.Hooks
    """The site's own; their programs are absolute paths."""
    strategy: StrategyWanted = field(default_factory=lambda: StrategyWanted())
    policy: Policy | Literal["none"]
    path: Path
    """The file that says so."""
    declared: Mapping[str, Any]
    """The same as plain values, to be kept."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """What is filled in the templates of the release."""
    secrets: Mapping[str, Reference] = field(default_factory=dict)
    """Where the secrets are that are filled in beside them."""
    source: str = FILE
    """What governs it: `FILE`, `release:<name>:<path>` or `copy:<environment>`."""
    expires: datetime | None = None
    """When it should be removed; None where it is to stay."""
    document: Document = field(default=NOWHERE, compare=False, repr=False)
    """Where it says what, for messages."""


def load(path: Path) -> Environment:
    """Read the environment in the file `path`.

    Raises:
        UsageError: it does not validate; the message lists every problem with file, line, column and path.
    """
    return accept(document.parse(path), path)


def accept(environment: Document, path: Path, source: str = FILE) -> Environment:
    """The environment that a document declares.

    Args:
        environment: as `document.parse` returns it.
        path: what it is called in hints.
        source: what governs the environment by it.

    Raises:
        UsageError: it does not validate; the message lists every problem with file, line, column and path.
    """
    further = [
        *obey(environment, ("environment",), names.check_release),
        *obey(environment, ("release",), names.check_spaced),
        *obey(environment, ("version",), check_wanted),
        *policies.problems(environment),
    ]
    check(environment, schema(environment.value), further=further)
    return replace(of(environment.value, path, environment), source=source)


def of(value: Mapping[str, Any], path: Path, document: Document = NOWHERE) -> Environment:
    """The environment that `value` declares, which `load` has accepted, now or before."""
    return Environment(
        name=value["environment"],
        release=value["release"],
        version=value["version"],
        targets=tuple(_target(target) for target in value["targets"]),
        health=tuple(_check(entry) for entry in value.get("health", ())),
        hooks=hooks.convert(value.get("hooks", {})),
        strategy=_strategy(value.get("strategy", {"kind": "in-place"})),
        policy=policies.of(value["policy"]),
        path=path,
        declared=value,
        values=value.get("values", {}),
        secrets=secret.convert(value.get("secrets", {})),
        document=document,
    )


def _target(target: Mapping[str, Any]) -> TargetWanted:
    return TargetWanted(kind=target["kind"], settings={key: target[key] for key in target if key != "kind"})


def _strategy(strategy: Mapping[str, Any]) -> StrategyWanted:
    return StrategyWanted(kind=strategy["kind"], settings={key: strategy[key] for key in strategy if key != "kind"})


def _check(entry: Mapping[str, Any]) -> Check:
    numbers = {key: int(value) for key, value in entry.items() if key not in ("command", "http")}
    if "command" in entry:
        return CommandCheck(command=tuple(entry["command"]), **numbers)
    return HttpCheck(url=entry["http"], **numbers)


def schema(value: object = None) -> dict[str, Any]:
    """The JSON Schema of an environment, with the keys of every target that is there.

    Args:
        value: an environment that is to be checked: then with the keys of those alone that it names.
    """
    declared = value if isinstance(value, dict) else {}
    listed = declared.get("targets")
    places = None if value is None else listed if isinstance(listed, list) else ()
    ways = None if value is None else [declared.get("strategy")]
    targets = kinds("installer.targets", "sealift.targets")
    what = "What the release is deployed to; the other keys depend on it."
    strategies = kinds("installer.strategies", "sealift.strategies")
    how = "How traffic moves; the other keys depend on it."
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Sealift environment",
        "description": "What a site runs, and where.",
        "type": "object",
        "properties": {
            "environment": name(names.RELEASE, f"The environment's name: {NAME_FORM}."),
            "release": name(names.SPACED, f"The name of the release that it runs: {SPACED_FORM}."),
            "version": {
                "description": "The version of that release, or a range, such as '^1.4' or '>=1.4, <2': then the "
                "newest one that the site has admitted.",
                "type": "string",
                "minLength": 1,
                "maxLength": RANGE_MAX,
                "pattern": "^[0-9A-Za-z^~<>=!*][ -~]*$",
            },
            "targets": {
                "description": "Where the release is deployed to, in this order: at least one target.",
                "type": "array",
                "minItems": 1,
                "maxItems": TARGETS_MAX,
                "uniqueItems": True,
                "items": {
                    "description": "One target.",
                    "oneOf": branches("kind", targets, what, places),
                },
            },
            "values": {
                "description": "What is filled in the templates of the release, as its own schema says.",
                "type": "object",
            },
            "secrets": secret.schema(),
            "health": {
                "description": "What must hold after the switch; where it does not, the former release returns.",
                "type": "array",
                "maxItems": CHECKS_MAX,
                "items": {
                    "description": "One check, by command or by http.",
                    "oneOf": [health_schema("command"), health_schema("http")],
                },
            },
            "strategy": {
                "description": "How traffic moves to a new release; in-place where nothing is said.",
                "oneOf": branches("kind", strategies, how, ways),
            },
            "hooks": {
                "description": "The site's own commands around the switch.",
                **hooks.schema(absolute=True),
            },
            "policy": policies.schema(),
        },
        "required": ["environment", "release", "version", "targets", "policy"],
        "additionalProperties": False,
    }


def health_schema(kind: Literal["command", "http", "path"]) -> dict[str, Any]:
    """The JSON Schema of a health check by a command, by a URL, or by a path at an address that is known."""
    status = {
        "description": "The status that is wanted, 200 where nothing is said.",
        "type": "integer",
        "minimum": 100,
        "maximum": 599,
        "default": 200,
    }
    own: dict[str, Any] = {
        "command": {
            "command": hooks.command("Healthy if this program exits with 0; no shell reads it.", absolute=True)
        },
        "http": {
            "http": {
                "description": "Healthy if a GET of this URL, http:// or https://, answers with the status.",
                "type": "string",
                "maxLength": 2048,
                "pattern": r"^https?://[A-Za-z0-9._:\[\]-]+([/?][!-~]*)?$",
            },
            "status": status,
        },
        "path": {
            "path": {
                "description": "Healthy if a GET of this path at the slot's address answers with the status.",
                "type": "string",
                "maxLength": 2048,
                "pattern": r"^/[!-~]*$",
            },
            "status": status,
        },
    }[kind]
    return {
        "type": "object",
        "properties": {
            **own,
            "timeout": hooks.seconds("For one attempt.", default=10),
            "retries": {
                "description": "Further attempts after a failed one, 3 where nothing is said.",
                "type": "integer",
                "minimum": 0,
                "maximum": TRIES_MAX,
                "default": 3,
            },
            "interval": hooks.seconds("Between two attempts.", least=0, default=2),
        },
        "required": [kind],
        "additionalProperties": False,
    }


if __name__ == "__main__":
    json.dump(schema(), sys.stdout, indent=2)
    sys.stdout.write("\n")
