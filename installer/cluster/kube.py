"""Kubernetes manifests of a release, as far as a target must know them: which objects they are about.

They are read only after the release was verified, and still bounded: no aliases, so nothing unfolds. Values may have
filled them, so what is wrong with one is said by its file and place, and never in its own words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from sealift.errors import UsageError
from sealift.names import visible

SIZE_MAX = 4 << 20
"""Bytes of one file."""
NODES_MAX = 200_000
DEPTH_MAX = 64
_TAG = "tag:yaml.org,2002:"
_BOOL = re.compile(r"(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)\Z")
_INT = re.compile(r"[-+]?(?:0b[01_]+|0[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)\Z")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?\Z")
_LOADER: Any = type(
    "ManifestLoader",
    (getattr(yaml, "CSafeLoader", yaml.SafeLoader),),
    {
        "yaml_implicit_resolvers": {
            None: [
                (_TAG + "null", re.compile(r"(?:~|null|Null|NULL|)\Z")),
                (_TAG + "bool", _BOOL),
                (_TAG + "int", _INT),
                (_TAG + "float", _FLOAT),
            ]
        }
    },
)
"""Scalars as kubectl takes them: YAML 1.1 (`0644` is octal), but for times and numbers of base 60."""
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
"""Kinds whose rollout can be waited for."""
FIRST = ("Namespace", "CustomResourceDefinition")
"""Kinds that others need."""
CONNECTION: Mapping[str, Any] = {
    "kubeconfig": {
        "description": "kubectl's configuration, as an absolute path; where nothing is said, what kubectl finds.",
        "type": "string",
        "pattern": "^/[^\\u0000]*$",
        "maxLength": 3072,
    },
    "context": {
        "description": "The context in that configuration; where nothing is said, its own.",
        "type": "string",
        "maxLength": 253,
        "pattern": r"^[A-Za-z0-9][A-Za-z0-9_.:@/-]*$",
    },
}
"""The schema of the keys that say which cluster it is."""


@dataclass(frozen=True, kw_only=True, order=True)
class Object:
    """What one document of a file is about."""

    api: str
    """Its `apiVersion`."""
    kind: str
    namespace: str
    """Empty where the document names none."""
    name: str

    def __str__(self) -> str:
        return f"{self.kind.lower()} {f'{self.namespace}/' if self.namespace else ''}{self.name}"


def is_manifest(path: str) -> bool:
    """Whether a file is read, by its name."""
    return path.endswith((".yaml", ".yml", ".json"))


def documents(content: bytes, what: str) -> list[dict[str, Any]]:
    """The documents of a file; a `List` counts as what it lists.

    Args:
        content: of the file.
        what: its name, for the message.

    Raises:
        UsageError: it is not YAML of objects that have a kind and a name, or too much of it.
    """
    if len(content) > SIZE_MAX:
        raise UsageError(f"{what} has more than {SIZE_MAX} bytes")
    found = []
    try:
        _survey(content, what)
        for tree in yaml.load_all(content, Loader=_LOADER):
            if tree is None:
                continue
            if isinstance(tree, dict) and tree.get("kind") == "List" and isinstance(tree.get("items"), list):
                found += tree["items"]
            else:
                found.append(tree)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        where = _where(getattr(error, "problem_mark", None))
        raise UsageError(f"{what}{where} is no valid yaml", hint="mend the release") from error
    for tree in found:
        object_of(tree, what)
    return found


def object_of(tree: Any, what: str) -> Object:
    """What a document is about.

    Raises:
        UsageError: it does not say.
    """
    meta = tree.get("metadata") if isinstance(tree, dict) else None
    said = [tree.get("apiVersion"), tree.get("kind"), meta.get("name")] if isinstance(meta, dict) else []
    namespace = meta.get("namespace", "") if isinstance(meta, dict) else ""
    if len(said) != 3 or not all(isinstance(each, str) and each for each in (*said, namespace or "x")):
        raise UsageError(
            f"{what} has a document without apiVersion, kind and metadata.name",
            hint="choose by `artifacts` and `folder`",
        )
    keys = ("apiVersion", "kind", "metadata.name", "metadata.namespace")
    for key, each in zip(keys, (*said, namespace), strict=True):
        if visible(each) != each or each.startswith("-") or " " in each:
            raise UsageError(
                f"{what} has an object whose {key} begins with a hyphen, or has a space or a control character",
                hint="mend the release, or the values that fill it",
            )
    return Object(api=said[0], kind=said[1], namespace=namespace, name=said[2])


def _where(mark: Any) -> str:
    return f":{mark.line + 1}:{mark.column + 1}" if mark else ""


def _survey(content: bytes, what: str) -> None:
    depth = nodes = 0
    for event in yaml.parse(content, Loader=_LOADER):
        nodes += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise UsageError(f"{what}{_where(event.start_mark)} has an alias", hint="write it out")
        if nodes > NODES_MAX or depth > DEPTH_MAX:
            raise UsageError(f"{what} holds too many values, or nests them too deep")


def rank(tree: Mapping[str, Any]) -> bool:
    """What objects are sorted by: those that others need come first."""
    return tree["kind"] not in FIRST


def unready(live: Mapping[str, Any]) -> str | None:
    """Why a workload, as the cluster has it, has not been rolled out; None where it has, or is none."""
    if live.get("kind") not in WORKLOADS:
        return None
    spec, status = live.get("spec") or {}, live.get("status") or {}
    if int(status.get("observedGeneration") or 0) < int((live.get("metadata") or {}).get("generation") or 0):
        return "was not looked at yet"
    daemon = live["kind"] == "DaemonSet"
    wanted = status.get("desiredNumberScheduled", 0) if daemon else spec.get("replicas", 1)
    ready = status.get("numberReady" if daemon else "readyReplicas") or 0
    updated = status.get("updatedNumberScheduled" if daemon else "updatedReplicas") or 0
    if ready < wanted or updated < wanted:
        return f"has {min(ready, updated)} of {wanted} ready"
    return None
