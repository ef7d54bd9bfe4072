"""The balancer `kubernetes` by kubectl, against a double of an API server: see `tests/support/cluster.py`.

The double has no proxies and no gateway, so this holds which object says what and when, and not where packets go.
"""

from __future__ import annotations

import copy
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster, Tree, cluster
from molds import Molded
from registries import need
from shop import runs
from worlds import Connected, Isolated

from installer.applying import Outcome
from installer.balancers import Shares
from installer.balancers.kubernetes import balancer
from installer.environments.environment import load
from installer.programs import commands
from sealift.errors import DeployError, UsageError

SLOTS = {"blue": "127.0.0.1:1", "green": "127.0.0.1:2"}
SERVICE = "{service: web}"
ROUTE = '{route: web, backend: "web-{slot}"}'
CANARY = "  steps: [{share: 10, seconds: 0}, {share: 50, seconds: 0}]\n"
ALL_BLUE, ALL_GREEN, NOBODY = {"blue": 100, "green": 0}, {"blue": 0, "green": 100}, {"blue": 0, "green": 0}


def service(**more: Any) -> Tree:
    """A Service that selects nobody yet."""
    spec = {"ports": [{"port": 80}], "selector": {"app": "web", "slot": "none"}, "type": "ClusterIP", **more}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "labels": {"team": "a"}}, "spec": spec}


def backend(name: str, weight: int | None = None, **more: Any) -> Tree:
    """A backend of a rule."""
    return {"name": name, "port": 80, **more, **({} if weight is None else {"weight": weight})}


def route(*rules: list[Tree]) -> Tree:
    """An HTTPRoute with a redirect, and a rule for each list of backends; for both slots by default."""
    spec = {
        "parentRefs": [{"name": "front"}],
        "rules": [
            {"filters": [{"type": "RequestRedirect"}]},
            *({"backendRefs": refs} for refs in rules or ([backend("web-blue"), backend("web-green")],)),
        ],
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "web"},
        "spec": spec,
    }


def release(version: str) -> dict[str, bytes]:
    """A folder of manifests for each slot."""
    return {
        f"{slot}/web.json": json.dumps(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": f"web-{slot}"},
                "data": {"version": version},
            }
        ).encode()
        for slot in SLOTS
    }


class Place:
    """A site with three releases, and a cluster with a Service and an HTTPRoute that the site made."""

    def __init__(self, site: Isolated, there: Cluster) -> None:
        self.site = site
        self.there = there

    def environment(self, version: str, by: str, kind: str = "blue-green", more: str = "") -> Path:
        at = f"kubeconfig: {self.there.kubeconfig}"
        path = self.site.root / "environment.yaml"
        path.write_text(
            f'environment: plant-7\nrelease: shop\nversion: "{version}"\npolicy: none\ntargets:\n'
            f'  - {{kind: kubernetes, namespace: plant, {at}, name: "shop-{{slot}}", folder: "{{slot}}"}}\n'
            f"strategy:\n  kind: {kind}\n  slots: {{blue: '127.0.0.1:1', green: '127.0.0.1:2'}}\n"
            f"  proxy: {{kind: kubernetes, namespace: plant, {at}, drain: 0, by: {by}}}\n{more}"
        )
        return path

    def apply(self, version: str, by: str, kind: str = "blue-green", more: str = "") -> Outcome:
        return self.site.installation.apply(load(self.environment(version, by, kind, more)))

    def version(self, slot: str) -> Any:
        found = self.there.get("configmaps", f"web-{slot}")
        return found and found["data"]["version"]

    def traffic(self, by: str) -> Shares | None:
        found: Shares | None = balanced(self.there, {"service": "web"} if by == SERVICE else None).shares()
        return found


def balanced(there: Cluster, by: Tree | None = None) -> Any:
    """A balancer of a cluster, by the route unless something else is said."""
    by = by or {"route": "web", "backend": "web-{slot}"}
    settings = {"namespace": "plant", "kubeconfig": str(there.kubeconfig), "drain": 0, "by": by}
    return balancer(settings, SLOTS, Path("/nowhere"))


@pytest.fixture
def there(tmp_path: Path, quiet_home: Path) -> Iterator[Cluster]:
    """A cluster where the site made what moves the traffic."""
    need("kubectl")
    with cluster(tmp_path) as found:
        found.create(service())
        found.create(route())
        yield found


@pytest.fixture
def place(connected: Connected, isolated: Isolated, molded: Molded, there: Cluster) -> Place:
    """It holds three releases."""
    releases = {version: release(version) for version in ("1.0", "1.1", "1.2")}
    molded("cluster traffic", lambda: isolated.bring(connected, releases))
    return Place(isolated, there)


@pytest.mark.parametrize("by", [SERVICE, ROUTE], ids=["service", "route"])
def test_a_release_runs_beside_the_former_one_and_a_return_moves_traffic_alone(place: Place, by: str) -> None:
    """The way back is one patch, and where there is nothing to do there is none."""
    place.apply("1.0", by)
    assert (place.version("blue"), place.version("green"), place.traffic(by)) == ("1.0", None, ALL_BLUE)
    assert not place.apply("1.0", by).changed
    place.apply("1.1", by)
    assert (place.version("blue"), place.version("green"), place.traffic(by)) == ("1.0", "1.1", ALL_GREEN)
    place.there.log.clear()
    place.site.installation.rollback("plant-7")
    kind = "services" if by == SERVICE else "httproutes"
    assert (place.there.log, place.traffic(by)) == ([f"PATCH {kind}/web"], ALL_BLUE)
    assert runs(place.site) == ("1.0", "1.1")


def test_a_canary_goes_by_weights(place: Place) -> None:
    """The route has each share in turn, and the rest goes to the former release."""
    place.apply("1.0", ROUTE)
    seen: list[list[int]] = []

    def note(tree: Tree) -> None:
        seen.append([ref["weight"] for ref in tree["spec"]["rules"][1]["backendRefs"]])

    place.there.after_patch = note
    place.apply("1.1", ROUTE, "canary", CANARY)
    assert seen == [[90, 10], [50, 50], [0, 100]]


def test_a_canary_that_fails_at_a_step_returns_all_traffic(place: Place, tmp_path: Path) -> None:
    """It is well while it is idle, and ill with a tenth of the traffic."""
    place.apply("1.0", ROUTE)
    bad = tmp_path / "bad"
    asked = f"test $SEALIFT_SLOT = blue || test ! -e {bad}"
    health = f'  health: [{{command: [/bin/sh, -c, "{asked}"], retries: 0, interval: 0}}]\n'
    place.there.after_patch = lambda _: bad.touch()
    with pytest.raises(DeployError, match="failed at 10 %"):
        place.apply("1.1", ROUTE, "canary", CANARY + health)
    assert place.traffic(ROUTE) == ALL_BLUE
    assert runs(place.site) == ("1.0", None)


@pytest.mark.slow
def test_a_canary_can_be_held_and_then_given_everything(place: Place) -> None:
    """Meanwhile there is no room for a third release."""
    place.apply("1.0", ROUTE)
    place.apply("1.1", ROUTE, "canary", CANARY + "  hold: 20\n")
    assert place.traffic(ROUTE) == {"blue": 80, "green": 20}
    with pytest.raises(UsageError, match="both slots"):
        place.apply("1.2", ROUTE, "canary", CANARY)
    place.apply("1.1", ROUTE, "canary", CANARY)
    assert place.traffic(ROUTE) == ALL_GREEN


def test_a_service_gives_no_shares(place: Place) -> None:
    """A canary through it is refused before anything is changed, and so is a share, whoever asks."""
    with pytest.raises(UsageError, match=r"strategy canary needs shares .* service plant/web .* gives it to one slot"):
        place.apply("1.0", SERVICE, "canary", CANARY)
    with pytest.raises(DeployError, match="gives all traffic to a slot, or none"):
        balanced(place.there, {"service": "web"}).share_out({"blue": 30, "green": 70})
    assert place.there.log == []


@pytest.mark.slow
@pytest.mark.parametrize(("by", "when"), [(SERVICE, "after"), (ROUTE, "before")], ids=["service", "route"])
def test_a_killed_move(place: Place, by: str, when: str) -> None:
    """95: all traffic is at one release after the kill, and the next command ends at the one that is wanted."""
    place.apply("1.0", by)
    if (child := os.fork()) == 0:
        original = commands.run

        def run(arguments: list[str], **rest: object) -> commands.Outcome:
            if "patch" in arguments and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            outcome = original(arguments, **rest)  # type: ignore[arg-type]
            if "patch" in arguments:
                os.kill(os.getpid(), signal.SIGKILL)
            return outcome

        try:
            commands.run = run  # type: ignore[assignment]
            place.apply("1.1", by)
        finally:
            os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert place.traffic(by) == (ALL_BLUE if when == "before" else ALL_GREEN)
    outcome = place.apply("1.1", by)
    assert outcome.recovered is not None
    assert (place.version("green"), place.traffic(by)) == ("1.1", ALL_GREEN)


@pytest.mark.parametrize("by", [{"service": "web"}, None], ids=["service", "route"])
def test_nothing_else_of_the_object_is_touched(there: Cluster, by: Tree | None) -> None:
    """Moved there and back to nobody, it differs by its generation alone; what it says already costs no patch."""
    kind = "services" if by else "httproutes"
    moving = balanced(there, by)
    moving.share_out(NOBODY)
    former = copy.deepcopy(there.get(kind, "web"))
    moving.share_out(ALL_GREEN)
    assert moving.shares() == ALL_GREEN
    moving.share_out(ALL_GREEN)
    moving.share_out(NOBODY)
    assert moving.shares() == NOBODY
    assert len(there.log) == (2 if by else 3)
    now = copy.deepcopy(there.get(kind, "web"))
    assert former is not None
    assert now is not None
    for tree in (former, now):
        del tree["metadata"]["generation"], tree["metadata"]["resourceVersion"]
    assert now == former


def test_all_rules_of_the_slots_are_changed_at_once(there: Cluster) -> None:
    """In whatever order they name the slots, and no other rule."""
    both = [backend("web-blue", 1), backend("web-green", 0)]
    other = [backend("static", 7), backend("static-old", 3)]
    there.create(route(both, other, both[::-1]))
    balanced(there).share_out({"blue": 25, "green": 75})
    found = there.get("httproutes", "web")
    assert found is not None
    weights = [[ref["weight"] for ref in rule.get("backendRefs", ())] for rule in found["spec"]["rules"]]
    assert weights == [[], [25, 75], [7, 3], [75, 25]]
    assert there.log == ["PATCH httproutes/web"]


def test_slots_in_namespaces_of_their_own(there: Cluster) -> None:
    """A backend is known by its namespace as well."""
    there.create(route([backend("web", 3, namespace="shop-green"), backend("web", 1, namespace="shop-blue")]))
    moving = balanced(there, {"route": "web", "backend": "shop-{slot}/web"})
    assert moving.shares() == {"blue": 25, "green": 75}


def test_a_label_with_a_slash(there: Cluster) -> None:
    """It is escaped in the patch."""
    there.create(service(selector={"example.com/slot~x": "blue"}))
    moving = balanced(there, {"service": "web", "label": "example.com/slot~x"})
    moving.share_out(ALL_GREEN)
    assert moving.shares() == ALL_GREEN


def test_a_little_traffic_is_not_none(there: Cluster) -> None:
    """A slot that gets one request in a thousand is not idle."""
    there.create(route([backend("web-blue", 999), backend("web-green", 1)]))
    assert balanced(there).shares() == {"blue": 99, "green": 1}


@pytest.mark.parametrize(
    ("by", "tree", "error"),
    [
        ('{service: "other"}', None, "the service plant/other is not there"),
        ('{route: "other"}', None, "the httproute plant/other is not there"),
        (SERVICE, service(selector={"app": "web"}), "does not select by the label slot one of blue, green, none"),
        (SERVICE, service(selector={"slot": "red"}), "does not select by the label slot"),
        (SERVICE, service(type="ExternalName"), "does not select by the label slot"),
        ("{service: web, label: colour}", None, "does not select by the label colour"),
        (ROUTE, route([backend("static")]), "has no rule with the backends plant/web-blue and plant/web-green"),
        (ROUTE, route([backend("web-blue")]), "rule 1 of the httproute plant/web has other backends than one for each"),
        (ROUTE, route([backend("web-blue"), backend("web-green"), backend("x")]), "has other backends than one"),
        (ROUTE, route([backend("web-blue"), backend("web-blue")]), "has other backends than one"),
        (ROUTE, route([backend("web-blue", kind="Bucket"), backend("web-green")]), "has other backends than one"),
        (
            ROUTE,
            route([backend("web-blue", 1), backend("web-green", 0)], [backend("web-blue", 0), backend("web-green", 1)]),
            "share the traffic differently",
        ),
        ("{route: web, backend: web}", None, "both slots have the same backend"),
    ],
    ids=lambda value: value[:50] if isinstance(value, str) else "",
)
def test_an_object_without_the_form_is_left_alone(place: Place, by: str, tree: Tree | None, error: str) -> None:
    """It is named before anything is changed."""
    if tree is not None:
        place.there.create(tree)
    with pytest.raises(UsageError, match=error):
        place.apply("1.0", by)
    assert place.there.log == []


def test_an_object_that_comes_with_a_release_is_refused(place: Place) -> None:
    """The release would set it back at each deployment."""
    tree = service()
    tree["metadata"]["labels"] = {"sealift/target": "x"}
    place.there.create(tree)
    with pytest.raises(UsageError, match="the service plant/web comes with a release"):
        place.apply("1.0", SERVICE)
    assert place.there.log == []


@pytest.mark.parametrize("by", [{"service": "web"}, None], ids=["service", "route"])
def test_what_somebody_else_changed_meanwhile_is_not_overwritten(there: Cluster, by: Tree | None) -> None:
    """Between our reading and our patch."""
    theirs = service(selector={"slot": "blue"}) if by else route([backend("web-blue", 5), backend("web-green", 6)])
    there.before_patch = lambda: there.create(theirs)
    with pytest.raises(DeployError, match="kubectl patch failed") as caught:
        balanced(there, by).share_out(ALL_GREEN)
    assert "meanwhile" in str(caught.value.hint)
    found = there.get("services" if by else "httproutes", "web")
    assert found is not None
    assert found["spec"] == theirs["spec"]


def test_a_change_that_the_cluster_does_not_keep_is_an_error(there: Cluster) -> None:
    """A webhook may set it back, and the patch succeeds all the same."""
    there.after_patch = lambda tree: tree["spec"]["selector"].update(slot="blue")
    with pytest.raises(DeployError, match="does not keep what was set in the service plant/web"):
        balanced(there, {"service": "web"}).share_out(ALL_GREEN)


def test_a_cluster_that_does_not_answer_is_named_before_anything_is_changed(place: Place) -> None:
    """With what kubectl says."""
    path = place.environment("1.0", ROUTE)
    config = place.there.kubeconfig
    config.write_text(config.read_text().replace("127.0.0.1:", "127.0.0.1:1/"))
    with pytest.raises(DeployError, match="kubectl get failed"):
        place.site.installation.apply(load(path))
    assert place.there.log == []


def test_slots_of_one_namespace_need_names(place: Place) -> None:
    """Else the objects of one would be those of the other."""
    path = place.environment("1.0", ROUTE)
    path.write_text(path.read_text().replace('name: "shop-{slot}", ', ""))
    with pytest.raises(UsageError, match=r"both slots would have kubernetes \(.*, plant\)"):
        place.site.installation.apply(load(path))


def test_a_slot_is_named_in_a_namespace(place: Place) -> None:
    """Each has its own then; without slots, the words that stand for one are no name."""
    path = place.environment("1.0", ROUTE)
    text = (
        path.read_text()
        .replace("namespace: plant", 'namespace: "plant-{slot}"', 1)
        .replace('name: "shop-{slot}", ', "")
    )
    path.write_text(text)
    place.site.installation.apply(load(path))
    assert place.there.get("configmaps", "web-blue", "plant-blue") is not None
    path.write_text(text.partition("strategy:")[0].replace("plant-7", "plant-8"))
    with pytest.raises(UsageError, match=r"the namespace 'plant-\{slot\}' of a target kubernetes is none"):
        place.site.installation.apply(load(path))


def test_a_slot_that_is_called_none(place: Place) -> None:
    """A selector by that value stands for nobody."""
    path = place.environment("1.0", SERVICE)
    path.write_text(path.read_text().replace("{blue:", "{none:"))
    with pytest.raises(UsageError, match="a slot is called 'none'"):
        place.site.installation.apply(load(path))
