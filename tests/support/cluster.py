"""A double of a Kubernetes API server, for the kubectl command: no real one can be had where these tests run.

It knows discovery, get, list, watch, delete, server-side apply with managers, conflicts and dry runs, and JSON patches
for a few kinds. It has no admission, no defaults, no schemas, no controllers, no proxies: a workload is ready at once,
unless its image is called `broken`. What it accepts a cluster may refuse.
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from threaded import threaded

Tree = dict[str, Any]
Key = tuple[str, str, str, str]
"""Group and version, namespace, resource and name."""
RESOURCES = {
    "v1": [
        ("namespaces", "Namespace", False),
        ("configmaps", "ConfigMap", True),
        ("services", "Service", True),
        ("secrets", "Secret", True),
    ],
    "apps/v1": [("deployments", "Deployment", True), ("statefulsets", "StatefulSet", True)],
    "gateway.networking.k8s.io/v1": [("httproutes", "HTTPRoute", True)],
}
_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


def _paths(tree: Tree, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _paths(value, (*before, name))
        else:
            yield (*before, name), value


def _at(tree: Tree, path: tuple[str, ...]) -> Any:
    found: Any = tree
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _put(tree: Tree, path: tuple[str, ...], value: Any) -> None:
    for step in path[:-1]:
        tree = tree.setdefault(step, {})
    tree[path[-1]] = value


def _take(tree: Tree, path: tuple[str, ...]) -> None:
    for step in path[:-1]:
        tree = tree.get(step, {})
    tree.pop(path[-1], None)


@dataclass
class Cluster:
    """What the double holds."""

    kubeconfig: Path
    objects: dict[Key, Tree] = field(default_factory=dict)
    applied: dict[Key, Tree] = field(default_factory=dict)
    """What was last applied as each object."""
    others: dict[Key, set[tuple[str, ...]]] = field(default_factory=dict)
    """Fields that somebody else has set."""
    log: list[str] = field(default_factory=list)
    """Every request that changes something, dry runs apart."""
    before_patch: Callable[[], None] = lambda: None
    """What happens between a client's reading of an object and its JSON patch."""
    after_patch: Callable[[Tree], None] = lambda tree: None
    """What happens to an object when it was patched so, before the client hears of it."""

    def get(self, resource: str, name: str, namespace: str = "plant") -> Tree | None:
        """An object."""
        version = next(version for version, known in RESOURCES.items() for each, _, _ in known if each == resource)
        return self.objects.get((version, namespace, resource, name))

    def create(self, tree: Tree, namespace: str = "plant") -> None:
        """Make an object that nobody applied."""
        version = tree["apiVersion"]
        resource = next(each for each, kind, _ in RESOURCES[version] if kind == tree["kind"])
        meta = {"namespace": namespace, "uid": "u", "generation": 1, "resourceVersion": "1", **tree["metadata"]}
        self.objects[(version, namespace, resource, tree["metadata"]["name"])] = {**tree, "metadata": meta}

    def edit(self, resource: str, name: str, path: tuple[str, ...], value: Any) -> None:
        """Set a field of an object as somebody else."""
        (key,) = [each for each in self.objects if each[2:] == (resource, name)]
        _put(self.objects[key], path, value)
        self.others.setdefault(key, set()).add(path)

    def apply(self, key: Key, kind: str, body: Tree, *, force: bool, dry: bool) -> tuple[int, Tree]:
        """Server-side apply."""
        former = self.objects.get(key)
        tree = copy.deepcopy(former) if former else {"metadata": {"uid": "u", "generation": 0, "resourceVersion": "0"}}
        taken = {path for path in self.others.get(key, ()) if _at(body, path) not in (None, _at(tree, path))}
        if taken and not force:
            names = ", ".join(".".join(path) for path in sorted(taken))
            return 409, _status(409, "Conflict", f'Apply failed with 1 conflict: conflict with "people": {names}')
        for path, _ in _paths(self.applied.get(key, {})):
            if _at(body, path) is None:
                _take(tree, path)
        for path, value in _paths(body):
            _put(tree, path, value)
        if key[1]:
            tree["metadata"]["namespace"] = key[1]
        if former is None or tree != former:
            number = int(str(tree["metadata"]["generation"])) + 1
            tree["metadata"] |= {"generation": number, "resourceVersion": str(number)}
            if kind in ("Deployment", "StatefulSet"):
                tree["status"] = _rolled(tree, number)
        if not dry:
            self.objects[key], self.applied[key] = tree, body
            self.others.get(key, set()).difference_update(taken)
        return (200 if former else 201), tree

    def patch(self, key: Key, operations: list[Tree]) -> tuple[int, Tree]:
        """A JSON patch (RFC 6902) of what is there already: `test`, `add` and `replace` of members of mappings."""
        self.before_patch()
        former = self.objects[key]
        tree = copy.deepcopy(former)
        for each in operations:
            *way, last = [step.replace("~1", "/").replace("~0", "~") for step in each["path"].split("/")[1:]]
            at: Any = tree
            for step in way:
                at = at[int(step)] if isinstance(at, list) else at[step]
            there = at[int(last)] if isinstance(at, list) else at.get(last)
            if there is None and each["op"] != "add":
                return 422, _status(422, "Invalid", f"{each['op']} operation does not apply")
            if each["op"] == "test" and there != each["value"]:
                return 422, _status(422, "Invalid", f"testing value {each['path']} failed")
            if each["op"] != "test":
                at[last] = each["value"]
        if tree != former:
            self.after_patch(tree)
            number = int(str(tree["metadata"]["generation"])) + 1
            tree["metadata"] |= {"generation": number, "resourceVersion": str(number)}
            self.objects[key] = tree
        return 200, tree


def _rolled(tree: Tree, generation: int) -> Tree:
    wanted = tree["spec"].get("replicas", 1)
    broken = "broken" in json.dumps(tree["spec"])
    ready = 0 if broken else wanted
    reason = "ProgressDeadlineExceeded" if broken else "NewReplicaSetAvailable"
    return {
        "observedGeneration": generation,
        "replicas": wanted,
        "updatedReplicas": wanted,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "conditions": [{"type": "Progressing", "status": str(not broken), "reason": reason}],
    }


def _status(code: int, reason: str, message: str) -> Tree:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }


def _field(number: int, content: str | bytes) -> bytes:
    """A field of a message of protocol buffers."""
    plain = content.encode() if isinstance(content, str) else content
    length, size = bytearray(), len(plain)
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + plain


def _openapi() -> bytes:
    """An OpenAPI 2 document that says of each kind that a dry run is known: an older kubectl wants to read so."""
    paths = b""
    for version, known in RESOURCES.items():
        group, _, name = version.rpartition("/")
        for resource, kind, _ in known:
            about = f"group: '{group}'\nkind: {kind}\nversion: {name}\n"
            extension = _field(13, _field(1, "x-kubernetes-group-version-kind") + _field(2, _field(2, about)))
            parameter = _field(8, _field(1, _field(2, _field(3, _field(2, "query") + _field(4, "dryRun")))))
            item = _field(8, parameter + extension)
            paths += _field(2, _field(1, f"/{version}/{resource}/{{name}}") + _field(2, item))
    return _field(1, "2.0") + _field(8, paths) + _field(9, b"")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    cluster: Cluster


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _say(self, tree: Tree, code: int = 200) -> None:
        self._send(json.dumps(tree).encode(), "application/json", code)

    def _send(self, body: bytes, kind: str, code: int) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _missing(self, what: str) -> None:
        self._say(_status(404, "NotFound", f'"{what}" not found'), 404)

    def _serve(self) -> None:
        address = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(address.query))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = address.path.rstrip("/")
        if path == "/version":
            self._say({"major": "1", "minor": "32", "gitVersion": "v1.32.0"})
        elif path == "/api":
            self._say({"kind": "APIVersions", "versions": ["v1"]})
        elif path == "/openapi/v2" and "protobuf" in str(self.headers.get("Accept")):
            self._send(_openapi(), "application/com.github.proto-openapi.spec.v2.v1.0+protobuf", 200)
        elif path == "/apis":
            groups = []
            for known in RESOURCES:
                group, slash, name = known.rpartition("/")
                version = {"groupVersion": known, "version": name}
                groups += [{"name": group, "versions": [version], "preferredVersion": version}] if slash else []
            self._say({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        elif (found := re.fullmatch(r"/(?:api|apis)/((?:[a-z0-9.]+/)?v1)(?:/(.*))?", path)) and found[1] in RESOURCES:
            self._resources(found[1], found[2], query, body)
        else:
            self._missing(path)

    def _resources(self, version: str, rest: str | None, query: dict[str, str], body: bytes) -> None:
        if not rest:
            known = [
                {"name": name, "singularName": "", "namespaced": spaced, "kind": kind, "verbs": _VERBS}
                for name, kind, spaced in RESOURCES[version]
            ]
            self._say({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": known})
            return
        parts = rest.split("/")
        namespace = ""
        if parts[0] == "namespaces" and len(parts) > 2:
            namespace, parts = parts[1], parts[2:]
        resource, name = parts[0], parts[1] if len(parts) > 1 else ""
        kind = next((kind for each, kind, _ in RESOURCES[version] if each == resource), "")
        cluster, key = self.server.cluster, (version, namespace, resource, name)
        if self.command in ("PATCH", "DELETE") and "dryRun" not in query:
            cluster.log.append(f"{self.command} {resource}/{name}")
        if not kind:
            self._missing(resource)
        elif self.command == "GET" and not name:
            self._list(version, namespace, resource, kind, query)
        elif self.command == "PATCH" and "apply-patch" in str(self.headers.get("Content-Type")):
            force, dry = query.get("force") == "true", "dryRun" in query
            code, tree = cluster.apply(key, kind, yaml.safe_load(body), force=force, dry=dry)
            self._say(tree, code)
        elif key not in cluster.objects:
            self._missing(name)
        elif self.command == "PATCH" and "json-patch" in str(self.headers.get("Content-Type")):
            code, tree = cluster.patch(key, json.loads(body))
            self._say(tree, code)
        elif self.command == "DELETE":
            del cluster.objects[key]
            cluster.applied.pop(key, None)
            self._say({"kind": "Status", "apiVersion": "v1", "status": "Success"})
        else:
            self._say(cluster.objects[key])

    def _list(self, version: str, namespace: str, resource: str, kind: str, query: dict[str, str]) -> None:
        wanted = dict(each.split("=", 1) for each in query.get("fieldSelector", "").split(",") if "=" in each)
        items = [
            tree
            for key, tree in self.server.cluster.objects.items()
            if key[:3] == (version, namespace, resource) and key[3] == wanted.get("metadata.name", key[3])
        ]
        if "watch" not in query:
            meta = {"resourceVersion": "1"}
            self._say({"kind": f"{kind}List", "apiVersion": version, "metadata": meta, "items": items})
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        for tree in items:
            self.wfile.write(json.dumps({"type": "ADDED", "object": tree}).encode() + b"\n")
        self.close_connection = True

    def do_GET(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._say(_status(405, "MethodNotAllowed", "objects are applied here"), 405)


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A double, and a configuration for it in `folder`."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        config = folder / "kubeconfig"
        config.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                    "users": [{"name": "u", "user": {}}],
                    "current-context": "c",
                }
            )
        )
        server.cluster = Cluster(kubeconfig=config)
        with threaded(server):
            yield server.cluster
