"""The target `kubernetes` by kubectl, against a double of an API server: see `tests/support/cluster.py`.

The double has no admission, schemas or controllers, so this holds what kubectl is asked and what follows from its
answers, and not that a cluster takes the objects.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster, cluster
from killer import killed_at_program
from molds import Molded
from registries import need
from worlds import Connected, Isolated

from installer.applying import Outcome
from installer.cluster import kube
from installer.environments.environment import load
from sealift.errors import DeployError, SealiftError, StrandedError, UsageError

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, labels: {{app: web}}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: "{}"}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{type: ClusterIP, ports: [{{port: 80}}]}}
"""


def release(version: str, image: str = "") -> dict[str, bytes]:
    """A deployment, a service, and a config map that only this version has."""
    return {
        "web.yaml": WEB.format(image or f"web:{version}").encode(),
        "config.json": json.dumps(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"only-{version}"}, "data": {"a": version}}
        ).encode(),
        "README.md": b"no manifest\n",
    }


class Place:
    """A site that holds releases of manifests, and a cluster."""

    def __init__(self, connected: Connected, site: Isolated, there: Cluster) -> None:
        self._connected = connected
        self.site = site
        self.there = there

    def bring(self, version: str, files: dict[str, bytes]) -> None:
        self.site.admit(self._connected.bundle(version, files))

    def deploy(self, version: str, more: str = "") -> Outcome:
        extra = f", {more}" if more else ""
        return self.site.deploy(
            version,
            f"{{kind: kubernetes, namespace: plant, kubeconfig: {self.there.kubeconfig}, timeout: 20{extra}}}",
        )

    def problem(self, *, deep: bool = False) -> str | None:
        return self.site.problem(deep=deep)

    def image(self) -> Any:
        found = self.there.get("deployments", "web")
        return found and found["spec"]["template"]["spec"]["containers"][0]["image"]

    def names(self) -> set[str]:
        return {key[3] for key in self.there.objects}


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Cluster]:
    """An empty cluster."""
    need("kubectl")
    with cluster(tmp_path) as found:
        yield found


@pytest.fixture
def place(connected: Connected, isolated: Isolated, molded: Molded, quiet_home: Path, there: Cluster) -> Place:
    """It holds two good releases."""
    molded("kubernetes", lambda: isolated.bring(connected, {version: release(version) for version in ("1.0", "1.1")}))
    return Place(connected, isolated, there)


def test_objects_are_applied_and_what_is_gone_is_deleted(place: Place) -> None:
    """Each release has what it has and no more; what others made stays; a second apply changes nothing."""
    place.there.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}})
    place.deploy("1.0")
    assert (place.image(), place.names()) == ("web:1.0", {"web", "only-1.0", "theirs"})
    assert place.problem(deep=True) is None
    place.deploy("1.1")
    assert (place.image(), place.names()) == ("web:1.1", {"web", "only-1.1", "theirs"})
    before = list(place.there.log)
    assert place.deploy("1.1").changed is False
    assert place.problem(deep=True) is None
    assert place.there.log == before
    place.site.installation.rollback("plant-7")
    assert (place.image(), place.names()) == ("web:1.0", {"web", "only-1.0", "theirs"})


def test_a_rollout_that_fails(place: Place) -> None:
    """What kubectl says is the error, the former release is applied again, and nothing of it was deleted."""
    place.deploy("1.0")
    place.bring("1.2", release("1.2", "broken:1.2"))
    with pytest.raises(DeployError, match=r"kubectl rollout failed .* exceeded its progress deadline"):
        place.deploy("1.2")
    assert (place.image(), place.names(), place.problem(deep=True)) == ("web:1.0", {"web", "only-1.0"}, None)
    deleted = [line for line in place.there.log if line.startswith("DELETE")]
    assert deleted == ["DELETE configmaps/only-1.2"]


def test_a_first_rollout_that_fails_leaves_nothing(place: Place) -> None:
    """All that was created is deleted again."""
    place.bring("1.2", release("1.2", "broken:1.2"))
    with pytest.raises(DeployError):
        place.deploy("1.2")
    assert place.names() == set()


@pytest.mark.parametrize("name", ["web", "only-1.0"])
def test_what_is_not_ours_is_neither_changed_nor_deleted(place: Place, name: str) -> None:
    """An object of others under a name of the release is an error before anything is applied."""
    kind, api = ("Deployment", "apps/v1") if name == "web" else ("ConfigMap", "v1")
    place.there.create({"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": {}})
    with pytest.raises(DeployError, match=f"the {kind.lower()} plant/{name} is there, and was not made by this target"):
        place.deploy("1.0")
    assert place.there.log == []


def test_what_lost_our_label_is_not_deleted(place: Place) -> None:
    """An object that somebody has made their own meanwhile stays when the release no longer has it."""
    place.deploy("1.0")
    found = place.there.get("configmaps", "only-1.0")
    assert found is not None
    found["metadata"]["labels"] = {"team": "theirs"}
    assert place.problem() == "the configmap only-1.0 is another one than was deployed"
    place.deploy("1.1")
    assert place.names() == {"web", "only-1.0", "only-1.1"}


def test_fields_that_others_set(place: Place) -> None:
    """A conflict stops the deployment before anything is changed, or is overwritten; other fields of others stay."""
    place.deploy("1.0")
    place.there.edit("deployments", "web", ("metadata", "annotations"), {"team": "theirs"})
    assert place.problem(deep=True) is None
    place.there.edit("services", "web", ("spec", "type"), "NodePort")
    assert "are not as shop@1.0 has them" in str(place.problem(deep=True))
    with pytest.raises(DeployError, match="conflict"):
        place.deploy("1.1")
    assert place.image() == "web:1.0"
    place.deploy("1.1", "conflicts: overwrite")
    service, found = place.there.get("services", "web"), place.there.get("deployments", "web")
    assert service is not None
    assert found is not None
    assert (place.image(), service["spec"]["type"]) == ("web:1.1", "ClusterIP")
    assert found["metadata"]["annotations"] == {"team": "theirs"}


def test_drift(place: Place) -> None:
    """What was deleted, or is no longer ready, is said."""
    place.deploy("1.0")
    found = place.there.get("deployments", "web")
    assert found is not None
    found["status"]["readyReplicas"] = 1
    assert place.problem() == "the deployment web has 1 of 2 ready"
    del place.there.objects[("v1", "plant", "services", "web")]
    found["status"]["readyReplicas"] = 2
    assert place.problem() == "the service web is gone"


def test_a_cluster_that_cannot_be_reached(place: Place) -> None:
    """Before anything is changed that is an error, and after a switch has begun a person is needed."""
    config = json.loads(place.there.kubeconfig.read_text())
    place.deploy("1.0")
    good = json.dumps(config)
    config["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:1"
    place.there.kubeconfig.write_text(json.dumps(config))
    with pytest.raises(DeployError, match="kubectl get failed"):
        place.deploy("1.1")
    place.there.kubeconfig.write_text(good)
    place.bring("1.2", release("1.2"))
    health = f"cp {place.there.kubeconfig}.bad {place.there.kubeconfig}; false"
    (place.there.kubeconfig.parent / "kubeconfig.bad").write_text(json.dumps(config))
    path = place.site.root / "environment.yaml"
    path.write_text(
        path.read_text().replace("1.1", "1.2") + f'health:\n  - command: [/bin/sh, -c, "{health}"]\n    retries: 0\n'
    )
    with pytest.raises(StrandedError, match=r"should serve 1\.0-"):
        place.site.installation.apply(load(path))
    place.there.kubeconfig.write_text(good)
    outcome = place.deploy("1.1")
    assert outcome.recovered is not None
    assert (place.image(), place.problem(deep=True)) == ("web:1.1", None)


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({"a.yaml": b"a: ["}, r"a\.yaml:\d+:\d+ is no valid yaml"),
        ({"a.yaml": b"kind: Service\n"}, "without apiVersion, kind and metadata.name"),
        ({"a.yaml": b"- 1\n"}, "without apiVersion, kind and metadata.name"),
        ({"a.yaml": b"a: &a [x]\nb: [*a, *a]\n"}, r"a\.yaml:2:5 has an alias$"),
        ({"a.yaml": b"[" * 100 + b"]" * 100}, "nests them too deep"),
        ({"a.yaml": b"a: !!python/object/apply:os.system [x]\n"}, "is no valid yaml"),
        ({"a.yaml": b"x" * (5 << 20)}, "has more than 4194304 bytes"),
        ({"a.yaml": WEB.format("x").encode(), "b.yaml": WEB.format("x").encode()}, "both have the deployment web"),
        (
            {"a.yaml": b"{apiVersion: v1, kind: Service, metadata: {name: --all}}\n"},
            r"a\.yaml has an object whose metadata\.name begins with a hyphen",
        ),
        ({"a.txt": b""}, "has no manifest there"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_manifest(place: Place, files: dict[str, bytes], error: str) -> None:
    """46: such a release is refused while it is staged."""
    place.bring("3.0", files)
    with pytest.raises(UsageError, match=error):
        place.deploy("3.0")
    assert place.there.log == []


@pytest.mark.parametrize(
    "text",
    [
        "a: *SECRET",
        "a: &SECRET [x]\nb: *SECRET",
        "{apiVersion: v1, kind: Secret, metadata: {name: -SECRET}}",
        "{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: SECRET b}}",
        "a: !SECRET b",
        "%SECRET\na: b",
        'a: "SECRET',
        "a: SECRET: b",
    ],
)
def test_no_error_says_what_values_filled(text: str) -> None:
    """103: what is wrong with a manifest is said by its place, and nothing of its content is shown."""
    with pytest.raises(UsageError, match=r"^a\.yaml") as raised:
        kube.documents(text.encode(), "a.yaml")
    assert "SECRET" not in f"{raised.value}{raised.value.hint}"


@pytest.mark.slow
@pytest.mark.parametrize("word", ["apply", "rollout", "delete"])
def test_a_killed_switch(place: Place, word: str) -> None:
    """95: after the kill no release counts as serving, and the next command ends at one, whole."""
    place.deploy("1.0")
    killed_at_program(lambda: place.deploy("1.1"), lambda words: word in words and "--dry-run=server" not in words)
    target = place.site.installation.targets(load(place.site.root / "environment.yaml"))[0]
    assert "did not end" in str(target.current())
    outcome = place.deploy("1.1")
    assert outcome.recovered is not None
    assert (place.image(), place.names(), place.problem(deep=True)) == ("web:1.1", {"web", "only-1.1"}, None)


def test_scalars_are_read_as_kubectl_reads_them() -> None:
    """Octal modes are numbers, times and ports are text, and `on` is true, as in YAML 1.1."""
    head = b"apiVersion: v1\nkind: K\nmetadata: {name: a}\n"
    text = head + b"v: [0644, 0o17, 2026-01-01, '0644', 1:30, on, 1.5, 1e3, ~, 0x1f]\n"
    (tree,) = kube.documents(text, "f")
    assert tree["v"] == [420, "0o17", "2026-01-01", "0644", "1:30", True, 1.5, "1e3", None, 31]


def test_a_record_that_is_gone(place: Place) -> None:
    """Without what was staged there is no way back, and the error says so."""
    place.deploy("1.0")
    target = place.site.installation.targets(load(place.site.root / "environment.yaml"))[0]
    with pytest.raises(SealiftError, match="is missing or damaged"):
        target.activate("0.9-aaaaaaaaaaaa")
    assert place.image() == "web:1.0"
