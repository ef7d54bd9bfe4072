"""The target `podman` against podman itself, with images of busybox, and with Debian's docker-registry."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from boxes import Boxes, box
from images import Sample
from killer import killed_at_program
from molds import Molded
from registries import Running
from worlds import Connected, Isolated

from installer.applying import Outcome
from installer.environments.environment import load
from sealift.errors import DeployError, SealiftError, UsageError

WEB = "registry.example.com/shop/web"
RUN = "containers: [{name: shop, artifact: image-0}, {name: side, artifact: image-1}], settle: 0"
POD = """\
apiVersion: v1
kind: Pod
metadata: {{name: shop}}
spec:
  hostNetwork: true
  containers:
  - {{name: web, image: "registry.example.com/shop/web:{}", imagePullPolicy: Never}}
"""


class Place:
    """A site that holds releases of images."""

    def __init__(self, connected: Connected, site: Isolated, podman: Boxes) -> None:
        self._connected = connected
        self.site = site
        self.podman = podman

    def bring(self, version: str, *samples: Sample, pod: str = "") -> None:
        spec = self._connected.images(version, *samples)
        if pod:
            folder = self._connected.root / f"pods-{version}"
            folder.mkdir()
            (folder / "shop.yaml").write_text(pod)
            spec.write_text(f"{spec.read_text()}  pods:\n    source: path\n    path: {folder.name}\n")
        self.site.admit(self._connected.export(spec))

    def deploy(self, version: str, run: str = RUN) -> Outcome:
        return self.site.deploy(version, f"{{kind: podman, name: shop, {run}}}")

    def rollback(self) -> None:
        self.site.installation.rollback("plant-7")

    def problem(self, *, deep: bool = False) -> str | None:
        return self.site.problem(deep=deep)

    def version(self, name: str = "shop") -> str:
        found = [each for each in self.podman.inspect(name)["Config"]["Env"] if each.startswith("VERSION=")]
        return str(found[0]).removeprefix("VERSION=")

    def id(self, name: str) -> str:
        return str(self.podman.inspect(name)["Id"])


@pytest.fixture
def place(connected: Connected, isolated: Isolated, molded: Molded, podman: Boxes, quiet_home: Path) -> Place:
    """It holds two good releases, of which one image is the same."""
    place = Place(connected, isolated, podman)

    def make() -> None:
        side = box("side")
        for version in ("1.0", "1.1"):
            place.bring(version, box(version), side)

    molded("podman", make)
    return place


def test_what_is_another_is_replaced_and_nothing_else(place: Place) -> None:
    """Of indexes in indexes, this machine's image runs, by its digest; what is the same in both releases runs on."""
    place.deploy("1.0")
    side = place.id("side")
    assert place.version() == "1.0"
    assert place.podman.names() == {"shop", "side"}
    assert place.problem(deep=True) is None
    place.deploy("1.1")
    assert (place.version(), place.id("side")) == ("1.1", side)
    assert place.problem(deep=True) is None
    place.rollback()
    assert (place.version(), place.id("side")) == ("1.0", side)
    assert place.deploy("1.0").changed is False


def test_a_return_needs_no_store_of_podman(place: Place) -> None:
    """Images that somebody has removed from it meanwhile are brought again from the site."""
    place.deploy("1.0")
    place.deploy("1.1")
    place.podman.run("image", "prune", "--all", "--force")
    place.rollback()
    assert place.version() == "1.0"


def test_options_and_commands(place: Place) -> None:
    """They are those of the environment; another option is another container."""
    run = "containers: [{name: shop, artifact: image-0, options: [--env=A=b], command: [/bin/sleep, '99']}], settle: 0"
    place.deploy("1.0", run)
    found = place.podman.inspect("shop")
    assert "A=b" in found["Config"]["Env"]
    assert found["Config"]["Cmd"] == ["/bin/sleep", "99"]
    place.deploy("1.0", run.replace("A=b", "A=c"))
    assert "A=c" in place.podman.inspect("shop")["Config"]["Env"]


@pytest.mark.parametrize("words", ["exit 3", "/bin/sleep 0.5; exit 3"])
def test_a_container_that_does_not_stay_up(place: Place, words: str) -> None:
    """What it wrote is in the error, and the former containers run again."""
    place.deploy("1.0")
    place.bring("1.2", box("1.2", f"echo the valve is stuck; {words}"), box("side"))
    with pytest.raises(DeployError, match=r"shop is (exited, exit code 3|stopped): this is 1\.2; the valve is stuck"):
        place.deploy("1.2", RUN.replace("settle: 0", "settle: 3"))
    assert (place.version(), place.podman.names(), place.problem()) == ("1.0", {"shop", "side"}, None)


def test_a_container_that_is_not_healthy(place: Place) -> None:
    """Its own health check decides, as long as the patience lasts."""
    checked = "containers: [{name: shop, artifact: image-0, options: ['--health-cmd=%s', --health-interval=disable]}]"
    place.deploy("1.0", f"{checked % '/bin/echo ok'}, settle: 0")
    with pytest.raises(DeployError, match="container shop is not healthy"):
        place.deploy("1.1", f"{checked % '/bin/sh -c false'}, settle: 0, timeout: 8")
    assert place.version() == "1.0"


@pytest.mark.slow
def test_pods_by_kube_play(place: Place) -> None:
    """The manifest is the release's own; its images are known by the names that it uses."""
    pods = "pods: {artifacts: [pods]}, settle: 0"
    place.bring("2.0", box("2.0"), pod=POD.format("2.0"))
    place.bring("2.1", box("2.1"), pod=POD.format("2.1"))
    place.bring("2.2", box("2.2", "exit 3"), pod=POD.format("2.2"))
    place.deploy("2.0", pods)
    assert place.version("shop-web") == "2.0"
    assert place.problem(deep=True) is None
    place.deploy("2.1", pods)
    assert place.version("shop-web") == "2.1"
    with pytest.raises(DeployError, match="pod shop is"):
        place.deploy("2.2", pods.replace("settle: 0", "settle: 3"))
    assert place.version("shop-web") == "2.1"
    place.rollback()
    assert place.version("shop-web") == "2.0"
    place.deploy("1.0")
    assert place.podman.names() == {"shop", "side"}


def test_from_the_registry_of_the_site(place: Place, plain_registry: Running, tmp_path: Path) -> None:
    """Images that the target registry has brought there are pulled by their digests; the site keeps no layout."""
    name = tmp_path.name.lower()
    rule = f"map: [{{from: registry.example.com/shop/*, to: '{name}/*'}}]"
    common = f"registry: '{plain_registry.host}', unsafe_http: true, {rule}"
    targets = f"{{kind: registry, path: {place.site.srv}, {common}}}\n  - {{kind: podman, name: shop, {common}, {RUN}}}"
    with pytest.raises(DeployError, match="podman pull failed"):
        place.deploy("1.0", f"{common}, {RUN}")
    registered = f"{{kind: registry, path: {place.site.srv}, {common}}}"
    place.site.deploy("1.0", registered)
    place.site.deploy("1.0", targets)
    assert place.version() == "1.0"
    assert not list(place.site.folder.rglob("layouts"))


def test_what_is_not_ours_stays(place: Place) -> None:
    """A container of others under a name that is wanted is an error before anything is done."""
    place.deploy("1.0", "containers: [{name: other, artifact: image-0}], settle: 0")
    image = place.podman.inspect("other")["Image"]
    place.podman.run("run", "--detach", "--name=side", image)
    theirs = place.id("side")
    with pytest.raises(DeployError, match="a container side that sealift did not start"):
        place.deploy("1.0")
    assert place.id("side") == theirs
    assert "other" in place.podman.names()


def test_a_name_of_an_image_that_others_use_stays(place: Place) -> None:
    """Containers give no image a name; for pods one that stands for an image of others is an error before anything."""
    pods = "pods: {artifacts: [pods]}, settle: 0"
    place.deploy("1.0")
    theirs = place.podman.run("commit", "--quiet", "side")
    for version in ("1.1", "2.0"):
        place.podman.run("tag", theirs, f"{WEB}:{version}")
    place.deploy("1.1")
    place.bring("2.0", box("2.0"), pod=POD.format("2.0"))
    with pytest.raises(DeployError, match=f"{WEB}:2.0 is the name of another image"):
        place.deploy("2.0", pods)
    for version in ("1.1", "2.0"):
        assert place.podman.run("image", "inspect", "--format={{.Id}}", f"{WEB}:{version}") == theirs
    assert place.version() == "1.1"


def test_drift(place: Place) -> None:
    """What was stopped, replaced or removed is said."""
    place.deploy("1.0")
    place.podman.run("stop", "--time=0", "side")
    assert "container side is exited" in str(place.problem())
    place.podman.run("rm", "side")
    assert place.problem() == "container side is gone"
    place.podman.run("run", "--detach", "--name=side", place.podman.inspect("shop")["Image"])
    assert str(place.problem()).startswith("container side is another one than was deployed")


@pytest.mark.parametrize(
    ("run", "error"),
    [
        ("settle: 0", "nothing to run"),
        ("containers: [{name: a, artifact: image-0}, {name: a, artifact: image-1}]", "two containers of one name"),
        ("containers: [{name: a, artifact: none}]", "has no image 'none'"),
        ("containers: [{name: a, artifact: image-0, options: [rm]}]", "options"),
        ("containers: [{name: --all, artifact: image-0}]", "name"),
        ("pods: {artifacts: [image-0]}", "no manifest of pods|is no valid yaml|without apiVersion"),
    ],
    ids=lambda value: value[:40],
)
def test_what_cannot_be(place: Place, run: str, error: str) -> None:
    """Bad settings are errors, and nothing runs."""
    with pytest.raises(UsageError, match=error):
        place.deploy("1.0", run)
    assert place.podman.names() == set()


def test_pods_that_podman_does_not_play(place: Place) -> None:
    """A kind that it does not know is an error before anything is done."""
    place.bring("2.0", box("2.0"), pod="apiVersion: v1\nkind: Service\nmetadata: {name: a}\n")
    with pytest.raises(UsageError, match="has a Service, which podman does not play"):
        place.deploy("2.0", "pods: {artifacts: [pods]}")


def test_an_image_for_another_machine(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the release has none for this one, that is said while staging."""
    monkeypatch.setattr("platform.machine", lambda: "s390x")
    with pytest.raises(UsageError, match="has no image for linux/s390x"):
        place.deploy("1.0")


def test_without_podman(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without it is an error, and no trace is left."""
    monkeypatch.setattr("installer.programs.commands.PATH", "/nowhere")
    with pytest.raises(SealiftError, match="cannot be run"):
        place.deploy("1.0")


def test_layouts_that_nothing_needs_are_removed(place: Place) -> None:
    """Those of releases that are kept stay."""
    place.deploy("1.0")
    place.deploy("1.1")
    target = place.site.installation.targets(load(place.site.root / "environment.yaml"))[0]
    (layouts,) = place.site.folder.rglob("layouts")
    assert len(list(layouts.iterdir())) == 3
    assert target.prune(set()) == 1  # type: ignore[attr-defined]
    assert len(list(layouts.iterdir())) == 2


@pytest.mark.slow
@pytest.mark.parametrize("word", ["rm", "run"])
def test_a_killed_switch(place: Place, word: str) -> None:
    """95: after the kill no release counts as serving, and the next command ends at one, whole and running."""
    place.deploy("1.0")
    killed_at_program(lambda: place.deploy("1.1"), lambda words: words[:2] == ["podman", word])
    target = place.site.installation.targets(load(place.site.root / "environment.yaml"))[0]
    assert "did not end" in str(target.current())
    outcome = place.deploy("1.1")
    assert outcome.recovered is not None
    assert (place.version(), place.podman.names(), place.problem(deep=True)) == ("1.1", {"shop", "side"}, None)


def test_a_record_that_is_gone(place: Place) -> None:
    """Without what was staged there is no way back, and the error says so."""
    place.deploy("1.0")
    place.deploy("1.1")
    for path in place.site.folder.rglob("1.0-*"):
        shutil.rmtree(path)
    target = place.site.installation.targets(load(place.site.root / "environment.yaml"))[0]
    with pytest.raises(SealiftError, match="is missing or damaged"):
        target.activate("1.0-aaaaaaaaaaaa")
    assert place.version() == "1.1"
