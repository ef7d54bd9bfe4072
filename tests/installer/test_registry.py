"""The target `registry` against Debian's docker-registry, and the whole way from one registry to another."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from images import Pile, Sample, sample
from registries import Running, logged_in, need, registry
from worlds import NOW, Connected, Isolated

from bundler.locking import resolve
from bundler.sealing import Effort
from bundler.spec import load as load_spec
from installer.applying import Installation, Outcome
from installer.environments.environment import load as load_environment
from installer.images.pushing import Placed, Push, Pushed
from sealift.errors import DeployError, StrandedError, UsageError
from sealift.oci import upload
from sealift.oci.address import Address
from sealift.oci.model import Descriptor
from sealift.oci.registry import Registry
from sealift.oci.transport import Body
from sealift.patience import Patience
from sealift.progress import Silent

Pieces = Iterator[bytes | memoryview]
WEB = "registry.example.com/shop/web"


@pytest.fixture(autouse=True)
def _home(quiet_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    quick = Patience(attempts=2, sleep=lambda _: None)
    monkeypatch.setattr("installer.targets.registry.Patience", lambda: quick)
    return quiet_home


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Running]:
    """The site's registry, empty."""
    with registry(tmp_path / "there") as running:
        yield running


def settings(running: Running, site: Isolated, rules: str = "") -> str:
    """The target's part of an environment."""
    unsafe = "" if running.mode == "tls" else ", unsafe_http: true"
    return (
        f"{{kind: registry, registry: '{running.host}', path: {site.srv}{unsafe}{', map: ' + rules if rules else ''}}}"
    )


def bring(connected: Connected, site: Isolated, version: str, *samples: Sample) -> None:
    """Carry a release of images to the site."""
    site.admit(connected.export(connected.images(version, *samples)))


def raw(running: Running, name: str) -> bytes:
    """What skopeo gets of an image, as it is."""
    need("skopeo")
    words = ["skopeo", "inspect", "--tls-verify=false", "--raw", f"docker://{running.host}/{name}"]
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_from_registry_to_registry(
    plain_registry: Running, there: Running, connected: Connected, isolated: Isolated, tmp_path: Path
) -> None:
    """A nested index, its signature, its SBOM and a chart have the same bytes at both ends, as skopeo reads them."""
    made, charts = sample(11), Pile()
    chart = charts.chart("shop", "1.0.0", {"web.yaml": "image: registry.example.com/shop/web:1.0\n"})
    plain_registry.push(made.pile, "whole/web", {"1.0": made.root, made.signature_tag: made.signature})
    plain_registry.push_referrer(made.pile, "whole/web", made.root, made.sbom)
    plain_registry.push(charts, "whole/charts/shop", {"1.0.0": chart})
    spec = tmp_path / "connected" / "whole.yaml"
    spec.write_text(
        'release: shop\nversion: "1.0"\nartifacts:\n'
        f"  web:\n    source: oci\n    image: {plain_registry.host}/whole/web:1.0\n    unsafe_http: true\n"
        f"  chart:\n    source: oci\n    image: {plain_registry.host}/whole/charts/shop:1.0.0\n    unsafe_http: true\n"
    )
    resolve(
        load_spec(spec, pinned=False),
        effort=Effort(level=3, threads=2),
        progress=Silent(),
        now=NOW,
        depot=connected.depot,
    )
    isolated.admit(connected.export(spec))
    isolated.deploy("1.0", settings(there, isolated))
    for name in ("whole/web:1.0", f"whole/web:{made.signature_tag}", "whole/charts/shop:1.0.0"):
        assert raw(there, name) == raw(plain_registry, name)
    for digest, content in made.pile.blobs.items():
        kind = "manifests" if digest in made.pile.types else "blobs"
        assert (
            there.request("GET", f"whole/web/{kind}/{digest}", Accept=made.pile.types.get(digest, "*/*"))[1] == content
        )
    listed = json.loads(there.manifest("whole/web", made.root["digest"].replace(":", "-")) or b"{}")["manifests"]
    assert [(each["digest"], each["artifactType"]) for each in listed] == [
        (made.sbom["digest"], "application/spdx+json")
    ]


@pytest.mark.parametrize("mode", ["tls", "token"])
def test_a_registry_with_credentials(
    request: pytest.FixtureRequest,
    connected: Connected,
    isolated: Isolated,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    """By password over TLS, and by bearer tokens with the scopes that are needed and no more."""
    running: Running = request.getfixturevalue(f"{mode}_registry")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(logged_in(tmp_path, running)))
    if running.authority:
        monkeypatch.setenv("SEALIFT_CA_FILE", str(running.authority))
    made = sample(12)
    bring(connected, isolated, "1.0", made)
    isolated.deploy("1.0", settings(running, isolated))
    assert running.manifest("shop/web", "1.0") == made.pile.blobs[made.root["digest"]]
    if mode == "token":
        assert "repository:shop/web:pull,push" in running.tokens


def test_names_are_mapped_and_told(there: Running, connected: Connected, isolated: Isolated) -> None:
    """The rule decides the repository; the image map and the mirrors say so."""
    made = sample(13)
    bring(connected, isolated, "1.0", made)
    isolated.deploy("1.0", settings(there, isolated, "[{from: registry.example.com/shop/*, to: mirror/*}]"))
    assert there.tags("mirror/web") == {"1.0", made.signature_tag, made.root["digest"].replace(":", "-")}
    current = isolated.srv / "current"
    listed = json.loads((current / "images.json").read_bytes())["images"]
    assert {
        "name": f"{WEB}:1.0",
        "digest": made.root["digest"],
        "site": f"{there.host}/mirror/web:1.0",
        "pinned": f"{there.host}/mirror/web@{made.root['digest']}",
    } in listed
    (table,) = tomllib.loads((current / "registries.conf.d/sealift.conf").read_text())["registry"]
    assert table["prefix"] == WEB
    assert table["mirror"] == [{"location": f"{there.host}/mirror/web", "insecure": True}]
    assert not (current / "containerd").exists()


def test_skopeo_finds_the_mirror(there: Running, connected: Connected, isolated: Isolated) -> None:
    """By the configuration that was written, the image's own name leads to the site's registry."""
    need("skopeo")
    made = sample(14)
    bring(connected, isolated, "1.0", made)
    isolated.deploy("1.0", settings(there, isolated, "[{from: registry.example.com/shop/*, to: mirror/*}]"))
    conf = isolated.srv / "current/registries.conf.d/sealift.conf"
    words = ["skopeo", "--registries-conf", str(conf), "inspect", "--raw", f"docker://{WEB}:1.0"]
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.stdout == made.pile.blobs[made.root["digest"]], done.stderr.decode()


def test_what_is_there_is_not_sent_again(there: Running, connected: Connected, isolated: Isolated) -> None:
    """An upgrade sends what is new; the layer that both have stays where it is."""
    bring(connected, isolated, "1.0", sample(15))
    bring(connected, isolated, "1.1", sample(16))
    first = isolated.deploy("1.0", settings(there, isolated))
    second = isolated.deploy("1.1", settings(there, isolated))
    assert first.written > second.written > 0
    assert second.reused > 0
    again = _staged_again(isolated, there)
    assert again.written == 0


def test_an_unchanged_image_costs_one_question_for_each_manifest(
    there: Running, connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manifest that is there vouches for its layers, so nobody asks for those."""
    made = sample(16)
    bring(connected, isolated, "1.1", made)
    isolated.deploy("1.1", settings(there, isolated))
    asked: list[str] = []
    original = Registry.digest_of

    def noted(self: Registry, reference: str) -> str | None:
        asked.append(reference)
        return original(self, reference)

    monkeypatch.setattr(Registry, "digest_of", noted)
    monkeypatch.setattr(Registry, "has_blob", lambda self, blob: pytest.fail("a layer is asked for"))
    again = _staged_again(isolated, there)
    assert sorted(each for each in asked if ":" in each) == sorted(made.pile.types)
    assert again.written == 0


def _staged_again(site: Isolated, running: Running) -> Outcome:
    shutil.rmtree(site.srv)
    return site.deploy("1.1", settings(running, site))


def test_a_blob_is_mounted_from_beside(
    there: Running, connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two repositories of a release share a layer, and it goes over the line once."""
    sent: list[str] = []
    original = Registry.upload

    def noted(self: Registry, blob: Descriptor, body: Body) -> None:
        sent.append(blob.digest)
        original(self, blob, body)

    monkeypatch.setattr(Registry, "upload", noted)
    bring(connected, isolated, "1.0", sample(17), sample(18))
    isolated.deploy("1.0", settings(there, isolated))
    assert len(sent) == len(set(sent))
    assert there.tags("shop/web1")


def test_the_ledger_says_what_was_spoken_with_without_tls(
    there: Running, connected: Connected, isolated: Isolated
) -> None:
    """Of each deployment and each return, by target; a target of another kind is not named."""
    for version, number in (("1.0", 19), ("1.1", 20)):
        bring(connected, isolated, version, sample(number))
        isolated.deploy(
            version, f"{{kind: oci-layout, path: {isolated.root}/layouts}}\n  - {settings(there, isolated)}"
        )
    isolated.installation.rollback("plant-7")
    told = [
        (entry.event, entry.detail["unsafe_http"])
        for entry in isolated.site.ledger.read()
        if "unsafe_http" in entry.detail
    ]
    assert told == [(event, ["targets[1] (registry)"]) for event in ("deployed", "deployed", "rolled-back")]


def test_a_deployment_without_unsafe_http_says_nothing_of_it(connected: Connected, isolated: Isolated) -> None:
    """Its entry in the ledger is as it always was."""
    bring(connected, isolated, "1.0", sample(20))
    isolated.deploy("1.0", f"{{kind: oci-layout, path: {isolated.srv}}}")
    assert all("unsafe_http" not in entry.detail for entry in isolated.site.ledger.read())


def test_rollback_gives_the_tags_back(there: Running, connected: Connected, isolated: Isolated) -> None:
    """A tag that both releases have stands for the former image again."""
    first, second = sample(21), sample(22)
    for version, made in (("1.0", first), ("1.1", second)):
        spec = connected.images(version, made)
        spec.write_text(spec.read_text().replace(f"web:{version}", "web:stable"))
        isolated.admit(connected.export(spec))
    isolated.deploy("1.0", settings(there, isolated))
    isolated.deploy("1.1", settings(there, isolated))
    assert there.manifest("shop/web", "stable") == second.pile.blobs[second.root["digest"]]
    isolated.installation.rollback("plant-7")
    assert there.manifest("shop/web", "stable") == first.pile.blobs[first.root["digest"]]


def test_a_tag_of_somebody_else_is_given_back(
    there: Running, connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first deployment that fails leaves the tag as it found it."""
    other = sample(23)
    there.push(other.pile, "shop/web", {"1.0": other.root})
    bring(connected, isolated, "1.0", sample(24))
    monkeypatch.setattr("installer.applying.unhealthy", lambda *_, **__: "it does not answer")
    with pytest.raises(DeployError):
        isolated.deploy("1.0", settings(there, isolated))
    assert there.manifest("shop/web", "1.0") == other.pile.blobs[other.root["digest"]]


def test_a_switch_that_breaks_off_is_undone(
    there: Running, connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some tags were set when the registry failed: the former ones are set again, by this run or the next."""
    first, second = sample(25), sample(26)
    for version, made in (("1.0", first), ("1.1", second)):
        spec = connected.images(version, made)
        spec.write_text(spec.read_text().replace(f"web:{version}", "web:stable"))
        isolated.admit(connected.export(spec))
    isolated.deploy("1.0", settings(there, isolated))
    original, broken = Registry.put_manifest, [True]

    def failing(self: Registry, reference: str, *rest: object) -> bool:
        done = original(self, reference, *rest)  # type: ignore[arg-type]
        if broken[0] and not reference.startswith("sha256:"):
            raise DeployError("the registry went away")
        return done

    monkeypatch.setattr(Registry, "put_manifest", failing)
    with pytest.raises(StrandedError):
        isolated.deploy("1.1", settings(there, isolated))
    assert there.manifest("shop/web", "stable") is not None
    broken[0] = False
    isolated.deploy("1.0", settings(there, isolated))
    assert there.manifest("shop/web", "stable") == first.pile.blobs[first.root["digest"]]
    assert not (isolated.srv / "switching").exists()
    isolated.deploy("1.1", settings(there, isolated))
    assert there.manifest("shop/web", "stable") == second.pile.blobs[second.root["digest"]]


def test_a_tag_that_somebody_moved_is_drift(there: Running, connected: Connected, isolated: Isolated) -> None:
    """`status` asks the registry, and says what the tag stands for."""
    bring(connected, isolated, "1.0", sample(27))
    isolated.deploy("1.0", settings(there, isolated))
    other = sample(28)
    there.push(other.pile, "shop/web", {"1.0": other.root})
    assert "stands for" in (isolated.problem(deep=False) or "")


def test_a_registry_that_lost_a_layer(there: Running, connected: Connected, isolated: Isolated) -> None:
    """`status --deep` finds it, though every tag is right."""
    made = sample(29)
    bring(connected, isolated, "1.0", made)
    isolated.deploy("1.0", settings(there, isolated))
    assert isolated.problem(deep=True) is None
    there.forget(next(digest for digest in made.pile.blobs if digest not in made.pile.types))
    assert isolated.problem(deep=False) is None
    assert "lacks" in (isolated.problem(deep=True) or "")


def test_a_layer_that_was_lost_is_brought_again(there: Running, connected: Connected, isolated: Isolated) -> None:
    """`apply --deep` believes no manifest, and sends what lacks."""
    made = sample(29)
    bring(connected, isolated, "1.0", made)
    isolated.deploy("1.0", settings(there, isolated))
    there.forget(max((digest for digest in made.pile.blobs), key=lambda digest: len(made.pile.blobs[digest])))
    deep = Installation(isolated.site, workers=2, progress=Silent(), clock=lambda: NOW, deep=True)
    assert deep.apply(load_environment(isolated.root / "environment.yaml")).written > 0
    assert isolated.problem(deep=True) is None


def test_a_blob_is_mounted_from_where_a_manifest_vouches_for_it(
    there: Running, connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later image of another repository sends only what no image there has."""
    bring(connected, isolated, "1.0", sample(17))
    isolated.deploy("1.0", settings(there, isolated))
    bring(connected, isolated, "1.1", sample(17), sample(18))
    sent: list[str] = []
    original = Registry.upload

    def noted(self: Registry, blob: Descriptor, body: Body) -> None:
        sent.append(blob.digest)
        original(self, blob, body)

    monkeypatch.setattr(Registry, "upload", noted)
    isolated.deploy("1.1", settings(there, isolated))
    assert sent
    assert not set(sent) & set(sample(17).pile.blobs)


def test_an_upload_that_breaks_off_is_sent_anew(
    there: Running, connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This registry takes no rest of an upload, so the layer begins anew, and arrives."""
    from sealift.wire import wire

    monkeypatch.setattr(upload, "SMALL", 1000)
    made = sample(30, size=9_000_000)
    bring(connected, isolated, "1.0", made)
    original = wire.Wire.send
    broken: list[int] = []

    def breaking(
        self: wire.Wire, method: str, address: Address, headers: dict[str, str], body: Pieces | None
    ) -> object:
        if method == "PATCH" and body is not None and not broken and int(headers["Content-Length"]) > 8_000_000:
            broken.append(1)
            body = _half(body)
        return original(self, method, address, headers, body)

    monkeypatch.setattr(wire.Wire, "send", breaking)
    isolated.deploy("1.0", settings(there, isolated))
    assert broken
    assert there.manifest("shop/web", "1.0") == made.pile.blobs[made.root["digest"]]


def _half(whole: Pieces) -> Pieces:
    """The first pieces, then a reset."""
    for number, piece in enumerate(whole):
        if number == 20:
            raise ConnectionResetError
        yield piece


def test_a_registry_that_is_not_there(connected: Connected, isolated: Isolated) -> None:
    """Exit code 9: the deployment failed, and what served before serves."""
    bring(connected, isolated, "1.0", sample(31))
    with pytest.raises(DeployError, match="no connection"):
        isolated.deploy("1.0", f"{{kind: registry, registry: '127.0.0.1:1', path: {isolated.srv}, unsafe_http: true}}")
    assert isolated.installation.deployments.state("plant-7").current is None


def test_a_release_without_images(there: Running, connected: Connected, isolated: Isolated) -> None:
    """It is said before anything is done."""
    isolated.admit(connected.bundle("1.0"))
    with pytest.raises(UsageError, match="holds no image"):
        isolated.deploy("1.0", settings(there, isolated))


def test_two_images_for_one_name(there: Running, connected: Connected, isolated: Isolated) -> None:
    """A rule that makes one name of two is refused, and no tag is set."""
    bring(connected, isolated, "1.0", sample(32), sample(33))
    with pytest.raises(UsageError, match="would both be"):
        isolated.deploy("1.0", settings(there, isolated, "[{from: 'registry.example.com/*', to: all}]"))
    assert there.tags("all") == set()


def test_without_the_extra(
    there: Running, connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installer without urllib3 says what is to be installed."""
    bring(connected, isolated, "1.0", sample(34))
    monkeypatch.setitem(sys.modules, "urllib3", None)
    for name in ("installer.network.wire", "sealift.wire.opener", "sealift.wire.wire"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(UsageError, match="needs the package") as raised:
        isolated.deploy("1.0", settings(there, isolated))
    assert "sealift[registry]" in (raised.value.hint or "")


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_skopeo_reads_a_layout_of_the_site(there: Running, connected: Connected, isolated: Isolated, form: str) -> None:
    """A site without a registry of its own gives the layout to whatever it has."""
    need("skopeo")
    made = sample(35)
    bring(connected, isolated, "1.0", made)
    isolated.deploy("1.0", f"{{kind: oci-layout, path: {isolated.srv}, form: {form}}}")
    place = f"{isolated.srv}/current/image-0"
    name = f"oci:{place}:1.0" if form == "folder" else f"oci-archive:{place}.tar:1.0"
    done = subprocess.run(["skopeo", "inspect", "--raw", name], capture_output=True, check=False)
    assert done.stdout == made.pile.blobs[made.root["digest"]], done.stderr.decode()


def test_layouts_share_their_blobs(connected: Connected, isolated: Isolated) -> None:
    """A blob that a release has twice, or that the former one has, is one file with more names."""
    for version, seeds in (("1.0", (36, 37)), ("1.1", (36, 38))):
        bring(connected, isolated, version, *(sample(seed) for seed in seeds))
    target = f"{{kind: oci-layout, path: {isolated.srv}}}"
    isolated.deploy("1.0", target)
    outcome = isolated.deploy("1.1", target)
    assert 0 < outcome.written < outcome.reused
    same = next(digest for digest in sample(36).pile.blobs).removeprefix("sha256:")
    files = [path.stat().st_ino for path in (isolated.srv / "releases").glob(f"*/*/blobs/sha256/{same}")]
    assert len(files) == 2
    assert len(set(files)) == 1


def test_memory_does_not_grow_with_a_layer(
    there: Running, connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers of 48 MB go frame by frame, four at a time."""
    bring(connected, isolated, "1.0", sample(42, size=16_000_000))
    original, peaks = Push.run, []

    def traced(self: Push, placed: Sequence[Placed]) -> Pushed:
        tracemalloc.start()
        try:
            return original(self, placed)
        finally:
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()

    monkeypatch.setattr(Push, "run", traced)
    isolated.deploy("1.0", settings(there, isolated))
    assert peaks[0] < 32_000_000
