"""What every target keeps to: one suite, run over each kind of target."""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest
from boxes import Boxes, box
from cluster import Cluster, cluster
from debian import deb
from distributions import npm, wheel
from example_program import example
from gitserver import repository
from gnupg import fingerprint
from images import Sample, sample
from machine import Machine
from molds import Molded
from registries import need, registry
from stores import Store
from worlds import Connected, Isolated

import installer.targets
from installer.applying import Installation
from installer.environments import environment
from installer.storage.deployable import identity_of
from installer.target import Prunable, Target
from sealift.errors import DeployError, SealiftError, UsageError
from sealift.manifest import Kind
from sealift.plugins import kinds
from sealift.progress import Silent

KINDS = [
    "apt-repository",
    "bucket",
    "bucket-azurite",
    "command",
    "directory",
    "function",
    "function-azurite",
    "gitops",
    "kubernetes",
    "npm-registry",
    "oci-layout",
    "oci-layout-tar",
    "podman",
    "pypi-index",
    "registry",
    "systemd",
]
PACKAGES: dict[str, tuple[Kind, dict[str, dict[str, bytes]]]] = {
    "apt-repository": (
        "debs",
        {
            "1.0": {"base_1.0_all.deb": deb("base"), "shop_1.0_all.deb": deb("shop")},
            "1.1": {"base_1.0_all.deb": deb("base"), "shop_1.1_all.deb": deb("shop", "1.1")},
        },
    ),
    "npm-registry": (
        "npm",
        {"1.0": {**npm("base"), **npm("shop", "1.0.0")}, "1.1": {**npm("base"), **npm("shop", "1.1.0")}},
    ),
    "pypi-index": (
        "wheels",
        {"1.0": {**wheel("base"), **wheel("shop", "1.0")}, "1.1": {**wheel("base"), **wheel("shop", "1.1")}},
    ),
}
"""The kind of the artifacts that an index lists, and those of two releases."""
VERSIONS = ("1.0", "1.1")
VARIANTS = ("-azurite", "-tar")
"""What tells apart the cases of one kind."""


def plain(case: str) -> str:
    """The kind that a case is of."""
    return next((case.removesuffix(variant) for variant in VARIANTS if case.endswith(variant)), case)


@dataclass
class Case:
    """A site with two releases of images, and a target of a kind."""

    kind: str
    site: Isolated
    settings: str
    harm: Callable[[], None]
    """Damages what release 1.0 has at the target."""
    theirs: Callable[[], Callable[[], bool]] | None = None
    """Puts something in the way that is not ours, and gives what says whether it is still there."""

    def deploy(self, version: str) -> None:
        self.site.deploy(version, self.settings)

    def rollback(self) -> None:
        self.site.installation.rollback("plant-7")

    @property
    def installation(self) -> Installation:
        return self.site.installation

    @property
    def target(self) -> Target:
        declared = environment.load(self.site.root / "environment.yaml")
        return self.installation.targets(declared)[0]

    def identity(self, version: str) -> str:
        admitted = self.site.site.state.release("shop", version)
        assert admitted is not None
        return identity_of(version, admitted.part.release.sha256)

    def problem(self, *, deep: bool) -> str | None:
        return self.site.problem(deep=deep)


@pytest.fixture(params=KINDS)
def case(
    request: pytest.FixtureRequest,
    connected: Connected,
    isolated: Isolated,
    molded: Molded,
    quiet_home: Path,
    tmp_path: Path,
    store_of: Callable[[str], Store],
) -> Iterator[Case]:
    """Each kind of target in turn."""
    kind: str = request.param
    if kind == "kubernetes":
        need("kubectl")
        molded("contract kubernetes", lambda: isolated.bring(connected, _manifests()))
        with cluster(tmp_path) as there:
            yield _kubernetes(isolated, there)
        return
    if kind == "podman":
        molded("contract podman", lambda: _admit_images(connected, isolated, box("1.0"), box("1.1")))
        yield _podman(isolated, request.getfixturevalue("podman"))
        return
    if kind == "systemd":
        molded("contract systemd", lambda: isolated.bring(connected, _units()))
        yield _systemd(isolated, request.getfixturevalue("systemd"))
        return
    if kind in PACKAGES:
        gnupg = request.getfixturevalue("gnupg") if kind == "apt-repository" else None
        molded(f"contract {kind}", lambda: _admit_packages(connected, isolated, kind))
        yield _index(kind, isolated, tmp_path / "srv", gnupg)
        return
    molded("contract images", lambda: _admit_images(connected, isolated, sample(1), sample(2)))
    place = tmp_path / "srv"
    made = sample(1)
    layer = next(digest for digest, content in made.pile.blobs.items() if len(content) > 15_000)

    def damage() -> None:
        for path in place.rglob(layer.removeprefix("sha256:")) if kind != "oci-layout-tar" else place.rglob("*.tar"):
            path.unlink()

    if kind == "registry":
        with registry(tmp_path / "registry") as running:
            rule = "{from: registry.example.com/shop/*, to: mirror/*}"
            settings = (
                f"{{kind: registry, registry: '{running.host}', path: {place}, unsafe_http: true, map: [{rule}]}}"
            )
            yield Case(kind=kind, site=isolated, settings=settings, harm=lambda: running.forget(layer))
        return
    if plain(kind) in ("bucket", "function"):
        store = store_of(kind.partition("-")[2] or "rgw")
        yield _bucket(isolated, store, layer) if plain(kind) == "bucket" else _function(isolated, store)
        return
    if kind == "gitops":
        yield _gitops(isolated, tmp_path)
        return
    if kind == "command":
        (tmp_path / "live").mkdir()
        settings = f"{{kind: command, command: [{example(tmp_path)}, {tmp_path / 'live'}], path: {place}}}"
        yield Case(
            kind=kind, site=isolated, settings=settings, harm=damage, theirs=lambda: _theirs(tmp_path / "live/live")
        )
        return
    settings = f"{{kind: {kind.removesuffix('-tar')}, path: {place}{', form: tar' if kind.endswith('-tar') else ''}}}"
    yield Case(kind=kind, site=isolated, settings=settings, harm=damage)


def _admit_images(connected: Connected, site: Isolated, *samples: Sample) -> None:
    for made, version in zip(samples, VERSIONS, strict=True):
        site.admit(connected.export(connected.images(version, made)))


def _admit_packages(connected: Connected, site: Isolated, kind: str) -> None:
    sort, releases = PACKAGES[kind]
    for version, files in releases.items():
        site.admit(connected.packages(version, files, kind=sort))


def _manifests() -> dict[str, dict[str, bytes]]:
    tree = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop"}}
    return {version: {"shop.json": json.dumps({**tree, "data": {"version": version}}).encode()} for version in VERSIONS}


def _units() -> dict[str, dict[str, bytes]]:
    run = "[Service]\nEnvironment=VERSION={}\nExecStart=/bin/sleep infinity\n"
    return {version: {"shop.service": run.format(version).encode()} for version in VERSIONS}


def _kubernetes(site: Isolated, there: Cluster) -> Case:
    """A double of a cluster."""

    def theirs() -> Callable[[], bool]:
        there.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop"}, "data": {"a": "mine"}})
        return lambda: there.objects[("v1", "plant", "configmaps", "shop")]["data"] == {"a": "mine"}

    return Case(
        kind="kubernetes",
        site=site,
        settings=f"{{kind: kubernetes, namespace: plant, kubeconfig: {there.kubeconfig}}}",
        harm=there.objects.clear,
        theirs=theirs,
    )


def _podman(site: Isolated, podman: Boxes) -> Case:
    """A podman with a store of its own."""

    def other() -> Callable[[], bool]:
        theirs = podman.run("create", "--name=shop", "--rootfs", str(site.root), "/bin/true")
        return lambda: bool(podman.inspect("shop")["Id"] == theirs)

    def harm() -> None:
        podman.run("rm", "--force", "--time=0", "shop")

    return Case(
        kind="podman",
        site=site,
        settings="{kind: podman, name: shop, containers: [{name: shop, artifact: image-0}], settle: 0}",
        harm=harm,
        theirs=other,
    )


def _systemd(site: Isolated, machine: Machine) -> Case:
    """A machine of its own; a unit instead of an image."""
    unit = machine.units / "shop.service"
    return Case(
        kind="systemd",
        site=site,
        settings=f"{{kind: systemd, path: {machine.units}, run: [shop.service], settle: 0}}",
        harm=unit.unlink,
        theirs=lambda: _theirs(unit),
    )


def _theirs(path: Path) -> Callable[[], bool]:
    """Something that is not ours, under a name that we use."""
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    return lambda: path.read_text() == "mine"


def _bucket(site: Isolated, store: Store, layer: str) -> Case:
    """A prefix of a bucket; the images count as files."""

    def theirs() -> Callable[[], bool]:
        store.write("current.json", b"mine")
        return lambda: store.content("current.json") == b"mine"

    def damage() -> None:
        store.write(f"objects/sha256/{layer.removeprefix('sha256:')}", b"x" * 100)

    return Case(kind="bucket", site=site, settings=f"{{kind: bucket, {store.yaml}}}", harm=damage, theirs=theirs)


def _function(site: Isolated, store: Store) -> Case:
    """A function in a bucket; the image counts as its files."""
    alias = "resize/aliases/live.json"

    def theirs() -> Callable[[], bool]:
        store.write(alias, b"mine")
        return lambda: store.content(alias) == b"mine"

    def damage() -> None:
        store.write(f"resize/{json.loads(store.content(alias))['object']}", b"x")

    settings = f"{{kind: function, {store.yaml}, function: resize}}"
    return Case(kind="function", site=site, settings=settings, harm=damage, theirs=theirs)


def _gitops(site: Isolated, tmp_path: Path) -> Case:
    """A repository that is empty; the images count as files."""
    there = repository(tmp_path / "manifests.git")
    settings = f"{{kind: gitops, repository: {there.folder}, path: apps/shop, artifacts: [image-0]}}"

    def damage() -> None:
        there.commit({".sealift": ("040000", there.git("rev-parse", "main:.sealift"))}, parent="main")

    def theirs() -> Callable[[], bool]:
        there.commit({"apps": {"shop": {"index.json": b"mine"}}})
        return lambda: there.git("show", "main:apps/shop/index.json") == "mine"

    return Case(kind="gitops", site=site, settings=settings, harm=damage, theirs=theirs)


def _index(kind: str, isolated: Isolated, place: Path, gnupg: Path | None) -> Case:
    def damage() -> None:
        shipped = next(path for path in (place / "current").rglob("*base*") if path.suffix in (".deb", ".whl", ".tgz"))
        shipped.write_bytes(shipped.read_bytes()[:-1] + b"?")

    more = ", base_url: 'http://npm.site.local/'" if kind == "npm-registry" else ""
    if gnupg is not None:
        more = f", gnupg: {gnupg}, key: {fingerprint(gnupg)}"
    return Case(kind=kind, site=isolated, settings=f"{{kind: {kind}, path: {place}{more}}}", harm=damage)


def test_every_target_has_a_case() -> None:
    """A new target cannot be forgotten here."""
    modules = {module.name for module in pkgutil.iter_modules(installer.targets.__path__)}
    assert {module.replace("_", "-") for module in modules} == {plain(kind) for kind in KINDS}


@pytest.mark.parametrize("kind", sorted({plain(kind) for kind in KINDS}))
def test_its_schema_is_closed_and_described(kind: str) -> None:
    """An editor can say what each key means, and a key that is not known is refused."""
    schema = kinds("installer.targets", "sealift.targets")[kind].SCHEMA
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False
    assert all(key["description"] for key in schema["properties"].values())


def test_there_is_no_way_back_at_first(case: Case) -> None:
    """After the first deployment there is no former release."""
    case.deploy("1.0")
    with pytest.raises(UsageError):
        case.rollback()
    assert case.target.current() == case.identity("1.0")


def test_it_deploys_upgrades_and_returns(case: Case) -> None:
    """Each step serves what it should, and says so."""
    case.deploy("1.0")
    assert case.target.current() == case.identity("1.0")
    assert case.problem(deep=True) is None
    case.deploy("1.1")
    assert case.target.current() == case.identity("1.1")
    assert case.problem(deep=True) is None
    case.rollback()
    assert case.target.current() == case.identity("1.0")
    assert case.problem(deep=True) is None


def test_again_is_nothing(case: Case) -> None:
    """A second apply of the same changes nothing."""
    case.deploy("1.0")
    assert case.site.deploy("1.0", case.settings).changed is False


def test_a_failed_deployment_returns(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A health check that fails lets the former release serve."""
    case.deploy("1.0")
    with monkeypatch.context() as patched:
        patched.setattr("installer.applying.unhealthy", lambda *_, **__: "it does not answer")
        with pytest.raises(DeployError):
            case.deploy("1.1")
    assert case.target.current() == case.identity("1.0")
    assert case.problem(deep=True) is None


def test_a_failed_first_deployment_leaves_nothing(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing served before, nothing serves after."""
    monkeypatch.setattr("installer.applying.unhealthy", lambda *_, **__: "it does not answer")
    with pytest.raises(DeployError):
        case.deploy("1.0")
    assert case.target.current() is None


def test_damage_is_seen(case: Case) -> None:
    """A look at everything finds what is no longer there."""
    case.deploy("1.0")
    case.harm()
    assert case.problem(deep=True)


def test_damage_is_repaired(case: Case) -> None:
    """An apply that looks at everything makes the release that serves whole again, and says what it repairs."""
    if case.kind == "gitops":
        case.settings = case.settings.removesuffix("}") + ", edited: overwrite}"
    case.deploy("1.0")
    case.harm()
    declared = environment.load(case.site.root / "environment.yaml")
    work = Installation(case.site.site, workers=2, progress=Silent(), clock=lambda: case.site.now, deep=True)
    (step,) = work.plan(declared).steps
    assert (step.action, bool(step.problem)) in {("repair", True), ("switch", False)}
    assert work.apply(declared).changed
    assert case.problem(deep=True) is None
    assert not work.plan(declared).pending


def test_it_keeps_what_it_may_return_to(case: Case) -> None:
    """Pruning removes other releases alone."""
    case.deploy("1.0")
    case.deploy("1.1")
    target = case.target
    assert isinstance(target, Prunable)
    assert target.prune({case.identity("1.0"), case.identity("1.1")}) == 0
    assert target.prune(set()) == 1
    assert target.current() == case.identity("1.1")


def test_what_is_not_ours_is_left_alone(case: Case, tmp_path: Path) -> None:
    """Something else where the target begins is an error before anything is done."""
    untouched = case.theirs() if case.theirs else _theirs(tmp_path / "srv/current")
    with pytest.raises(SealiftError):
        case.deploy("1.0")
    assert untouched()
