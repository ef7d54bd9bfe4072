"""The source `oci` against Debian's docker-registry in three modes, and with skopeo and umoci as other readers."""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
import subprocess
import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from images import Pile, Sample, digest_of, sample
from registries import PASSWORD, USER, Running, logged_in, need, registry

from bundler.images.remote import Remote
from bundler.source import Found, Workshop
from bundler.sources import oci
from sealift.errors import IntegrityError, MalformedError, SourceError, UsageError
from sealift.oci.model import Descriptor
from sealift.oci.registry import Registry
from sealift.progress import Silent


@pytest.fixture(autouse=True)
def _home(quiet_home: Path) -> Path:
    return quiet_home


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """An empty cache."""
    return Workshop(base=tmp_path, cache=tmp_path / "cache", progress=Silent())


@pytest.fixture(params=["plain", "tls", "token"])
def any_registry(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Running:
    """Each kind of registry in turn, logged in to."""
    running: Running = request.getfixturevalue(f"{request.param}_registry")
    if running.mode != "plain":
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(logged_in(tmp_path, running)))
    if running.authority is not None:
        monkeypatch.setenv("SEALIFT_CA_FILE", str(running.authority))
    return running


def pushed(running: Running, repository: str, *, seed: int = 1, size: int = 20_000) -> Sample:
    """A sample in a registry, tagged 1.0, with its signature and its SBOM."""
    made = sample(seed, size=size)
    running.push(made.pile, repository, {"1.0": made.root, made.signature_tag: made.signature})
    running.push_referrer(made.pile, repository, made.root, made.sbom)
    return made


def want(running: Running, repository: str, tag: str = ":1.0", **more: Any) -> dict[str, Any]:
    """A part of a spec that wants an image of a registry."""
    return {"image": f"{running.host}/{repository}{tag}", "unsafe_http": running.mode != "tls", **more}


def pinned(asked: Mapping[str, Any], workshop: Workshop) -> dict[str, Any]:
    """The same with what the source pins."""
    return {**asked, **oci.pin(asked, workshop)}


def write(entries: Iterator[Found], folder: Path) -> Path:
    """The tree that was found, as a folder."""
    for entry in entries:
        path = folder / entry.path
        if entry.kind == "dir":
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(entry.origin, path)
    return folder


def run(*words: str | Path) -> bytes:
    """What a program says."""
    need(str(words[0]))
    done = subprocess.run([str(word) for word in words], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def blobs(layout: Path) -> set[str]:
    """The digests of a layout's blobs, each of which is its content's."""
    found = {f"sha256:{path.name}" for path in (layout / "blobs/sha256").iterdir()}
    assert found == {digest_of(path.read_bytes()) for path in (layout / "blobs/sha256").iterdir()}
    return found


def named(layout: Path) -> dict[str, str]:
    """The digests that a layout's index names, by whole name."""
    listed = json.loads((layout / "index.json").read_bytes())["manifests"]
    return {each["annotations"]["io.containerd.image.name"]: each["digest"] for each in listed}


def test_everything_of_an_image_arrives(any_registry: Running, workshop: Workshop, tmp_path: Path) -> None:
    """An index in an index, every platform, the signature by cosign's tag, the SBOM by the fallback tag."""
    made = pushed(any_registry, "shop/web")
    layout = write(oci.collect(pinned(want(any_registry, "shop/web"), workshop), workshop), tmp_path / "layout")
    assert blobs(layout) == set(made.pile.blobs)
    place = f"{any_registry.host}/shop/web"
    assert named(layout) == {
        f"{place}:1.0": made.root["digest"],
        f"{place}:{made.signature_tag}": made.signature["digest"],
        f"{place}@{made.sbom['digest']}": made.sbom["digest"],
    }


def test_skopeo_reads_the_same_bytes(plain_registry: Running, workshop: Workshop, tmp_path: Path) -> None:
    """Of the index, in the registry and in the layout."""
    made = pushed(plain_registry, "shop/skopeo")
    layout = write(oci.collect(pinned(want(plain_registry, "shop/skopeo"), workshop), workshop), tmp_path / "layout")
    there = run("skopeo", "inspect", "--tls-verify=false", "--raw", f"docker://{plain_registry.host}/shop/skopeo:1.0")
    here = run("skopeo", "inspect", "--raw", f"oci:{layout}:1.0")
    assert there == here == made.pile.blobs[made.root["digest"]]


def test_a_tag_that_moves_changes_nothing(plain_registry: Running, workshop: Workshop, tmp_path: Path) -> None:
    """What was locked is collected, whatever the tag stands for by now."""
    first = pushed(plain_registry, "shop/moving")
    asked = pinned(want(plain_registry, "shop/moving"), workshop)
    pushed(plain_registry, "shop/moving", seed=2)
    layout = write(oci.collect(asked, workshop), tmp_path / "layout")
    assert named(layout)[f"{plain_registry.host}/shop/moving:1.0"] == first.root["digest"]


def test_a_later_signature_changes_nothing(plain_registry: Running, workshop: Workshop) -> None:
    """The lock names what refers to the image too, so a release stays what it was."""
    made = sample(7)
    plain_registry.push(made.pile, "shop/later", {"1.0": made.root})
    asked = pinned(want(plain_registry, "shop/later"), workshop)
    before = [entry.path for entry in oci.collect(asked, workshop)]
    plain_registry.push(made.pile, "shop/later", {made.signature_tag: made.signature})
    assert [entry.path for entry in oci.collect(asked, workshop)] == before
    assert oci.pin(want(plain_registry, "shop/later"), workshop)["attached"] != asked["attached"]


def test_referrers_may_be_left_out(plain_registry: Running, workshop: Workshop, tmp_path: Path) -> None:
    """`referrers: false` takes the image alone."""
    made = pushed(plain_registry, "shop/alone")
    asked = pinned(want(plain_registry, "shop/alone", referrers=False), workshop)
    layout = write(oci.collect(asked, workshop), tmp_path / "layout")
    assert list(named(layout).values()) == [made.root["digest"]]


def test_a_tag_alone_is_not_sealed(plain_registry: Running, workshop: Workshop) -> None:
    """Without a lock nobody knows which image is meant."""
    with pytest.raises(SourceError, match="has no digest") as raised:
        list(oci.collect(want(plain_registry, "shop/any"), workshop))
    assert "lock" in (raised.value.hint or "")


def test_a_digest_in_the_name_is_enough(plain_registry: Running, workshop: Workshop, tmp_path: Path) -> None:
    """`REPOSITORY:TAG@sha256:…` needs no lock, and keeps its tag."""
    made = pushed(plain_registry, "shop/digest")
    asked = want(plain_registry, "shop/digest", f":1.0@{made.root['digest']}")
    layout = write(oci.collect(asked, workshop), tmp_path / "layout")
    assert named(layout)[f"{plain_registry.host}/shop/digest:1.0"] == made.root["digest"]


def test_what_the_cache_has_is_not_fetched_again(workshop: Workshop, tmp_path: Path) -> None:
    """A second collection works with the registry gone."""
    with registry(tmp_path / "registry") as running:
        pushed(running, "shop/cached")
        asked = pinned(want(running, "shop/cached"), workshop)
        first = list(oci.collect(asked, workshop))
    assert list(oci.collect(asked, workshop)) == first


def test_layers_of_the_former_version_are_not_fetched_again(
    plain_registry: Running, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade fetches the blobs that are new."""
    pushed(plain_registry, "shop/upgrade")
    list(oci.collect(pinned(want(plain_registry, "shop/upgrade"), workshop), workshop))
    second = pushed(plain_registry, "shop/upgrade", seed=5)
    asked = pinned(want(plain_registry, "shop/upgrade"), workshop)
    fetched: list[str] = []
    original = Remote._fetch

    def noted(self: Remote, at: Registry, blob: Descriptor) -> Path:
        fetched.append(blob.digest)
        return original(self, at, blob)

    monkeypatch.setattr(Remote, "_fetch", noted)
    list(oci.collect(asked, workshop))
    known = set(sample(1).pile.blobs)
    assert set(fetched) == {digest for digest in second.pile.blobs if digest not in second.pile.types} - known


@pytest.mark.parametrize(
    ("platforms", "architectures"),
    [(["linux/arm64"], {"arm64"}), (["linux/riscv64", "linux/amd64"], {"amd64", "riscv64"})],
)
def test_some_platforms(
    plain_registry: Running, workshop: Workshop, tmp_path: Path, platforms: list[str], architectures: set[str]
) -> None:
    """The manifests that were chosen keep their digests; one alone is the image itself."""
    made = pushed(plain_registry, "shop/platforms")
    asked = pinned(want(plain_registry, "shop/platforms", platforms=platforms, referrers=False), workshop)
    layout = write(oci.collect(asked, workshop), tmp_path / "layout")
    manifests = blobs(layout) & set(made.pile.types)
    found = set()
    for digest in manifests:
        tree = json.loads(made.pile.blobs[digest])
        if "config" in tree:
            found.add(json.loads(made.pile.blobs[tree["config"]["digest"]])["architecture"])
    assert found == architectures
    (root,) = named(layout).values()
    tree = json.loads((layout / "blobs/sha256" / root.removeprefix("sha256:")).read_bytes())
    assert len(tree["manifests"]) == 2 if len(platforms) == 2 else "layers" in tree


def test_a_platform_that_is_missing(plain_registry: Running, workshop: Workshop) -> None:
    """The message names those that are there."""
    pushed(plain_registry, "shop/missing")
    with pytest.raises(SourceError, match="has no platform windows/amd64") as raised:
        oci.pin(want(plain_registry, "shop/missing", platforms=["windows/amd64"]), workshop)
    assert "linux/arm64" in (raised.value.hint or "")


def test_a_chart_is_an_artifact_like_any_other(any_registry: Running, workshop: Workshop, tmp_path: Path) -> None:
    """Its manifest, its configuration and its archive arrive."""
    pile = Pile()
    chart = pile.chart("shop", "1.2.3", {"web.yaml": "kind: Deployment\n"})
    any_registry.push(pile, "charts/shop", {"1.2.3": chart})
    asked = pinned(want(any_registry, "charts/shop", ":1.2.3"), workshop)
    assert blobs(write(oci.collect(asked, workshop), tmp_path / "layout")) == set(pile.blobs)


def test_missing_credentials(tls_registry: Running, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how to log in."""
    monkeypatch.setenv("SEALIFT_CA_FILE", str(tls_registry.authority))
    with pytest.raises(SourceError, match="wants credentials") as raised:
        oci.pin(want(tls_registry, "shop/web"), workshop)
    assert "podman login" in (raised.value.hint or "")


@pytest.mark.parametrize("mode", ["tls", "token"])
def test_wrong_credentials(
    request: pytest.FixtureRequest, workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """They are told of, and not shown."""
    running: Running = request.getfixturevalue(f"{mode}_registry")
    if running.authority:
        monkeypatch.setenv("SEALIFT_CA_FILE", str(running.authority))
    auth = base64.b64encode(b"robot:geheim").decode()
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {running.host: {"auth": auth}}}))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    with pytest.raises(SourceError, match="wants credentials") as raised:
        oci.pin(want(running, "shop/web"), workshop)
    assert "geheim" not in f"{raised.value.message}{raised.value.hint}"
    assert auth not in f"{raised.value.message}{raised.value.hint}"


def test_a_certificate_that_is_not_trusted(tls_registry: Running, workshop: Workshop) -> None:
    """There is no way around it but to trust the authority."""
    with pytest.raises(SourceError, match="certificate is not trusted"):
        oci.pin(want(tls_registry, "shop/web"), workshop)


def test_a_certificate_of_certs_d(tls_registry: Running, workshop: Workshop, quiet_home: Path) -> None:
    """As podman and skopeo find it."""
    pushed(tls_registry, "shop/certs")
    folder = quiet_home / ".config/containers/certs.d" / tls_registry.host
    folder.mkdir(parents=True)
    assert tls_registry.authority
    shutil.copy(tls_registry.authority, folder / "ca.crt")
    logged = quiet_home / ".docker"
    logged.mkdir()
    logged_in(logged, tls_registry).rename(logged / "config.json")
    assert oci.pin(want(tls_registry, "shop/certs"), workshop)["manifest"] == sample().root["digest"]


def test_a_credential_helper(
    tls_registry: Running, workshop: Workshop, quiet_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for the host, and what it says is used."""
    pushed(tls_registry, "shop/helper")
    monkeypatch.setenv("SEALIFT_CA_FILE", str(tls_registry.authority))
    folder = quiet_home / "bin"
    folder.mkdir()
    helper = folder / "docker-credential-test"
    said = json.dumps({"Username": USER, "Secret": PASSWORD})
    helper.write_text(f"#!/bin/sh\nread host\n[ \"$1 $host\" = 'get {tls_registry.host}' ] && echo '{said}'\n")
    helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    (quiet_home / "config.json").write_text(json.dumps({"credHelpers": {tls_registry.host: "test"}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(quiet_home))
    assert oci.pin(want(tls_registry, "shop/helper"), workshop)["manifest"] == sample().root["digest"]


def test_a_mirror_of_registries_conf(
    plain_registry: Running, workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mirror is asked first, and the image keeps its own name."""
    made = pushed(plain_registry, "mirror/shop/web")
    (tmp_path / "registries.conf").write_text(
        '[[registry]]\nprefix = "registry.example.com/shop"\nlocation = "registry.example.com/shop"\n'
        f'[[registry.mirror]]\nlocation = "{plain_registry.host}/mirror/shop"\ninsecure = true\n'
    )
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "registries.conf"))
    asked = pinned({"image": "registry.example.com/shop/web:1.0"}, workshop)
    layout = write(oci.collect(asked, workshop), tmp_path / "layout")
    assert named(layout)["registry.example.com/shop/web:1.0"] == made.root["digest"]


def test_an_image_may_bear_another_name(plain_registry: Running, workshop: Workshop, tmp_path: Path) -> None:
    """`as` is what sites call it; its signature goes with it."""
    made = pushed(plain_registry, "shop/renamed")
    asked = pinned(want(plain_registry, "shop/renamed", **{"as": "registry.example.com/front:2"}), workshop)
    layout = write(oci.collect(asked, workshop), tmp_path / "layout")
    assert named(layout)["registry.example.com/front:2"] == made.root["digest"]
    assert named(layout)[f"registry.example.com/front:{made.signature_tag}"] == made.signature["digest"]


def test_a_layout_folder_and_its_tar(workshop: Workshop, tmp_path: Path) -> None:
    """They give the same tree; what refers to the image comes along."""
    made = sample()
    roots = {"1.0": made.root, made.signature_tag: made.signature, "": made.sbom}
    folder = made.pile.write(tmp_path / "given", roots)
    run("tar", "-C", folder, "-cf", tmp_path / "given.tar", ".")
    asked = {"image": "oci:given:1.0", "as": "registry.example.com/shop/web:1.0"}
    first = write(oci.collect(asked, workshop), tmp_path / "first")
    second = write(oci.collect({**asked, "image": "oci-archive:given.tar:1.0"}, workshop), tmp_path / "second")
    assert blobs(first) == blobs(second) == set(made.pile.blobs)
    assert (first / "index.json").read_bytes() == (second / "index.json").read_bytes()
    assert len(named(first)) == 3


def test_what_umoci_wrote(workshop: Workshop, tmp_path: Path) -> None:
    """A layout of another tool, of the files of a real Debian package, is read and unpacked again by it."""
    need("umoci")
    listed = subprocess.run(["dpkg", "-L", "jq"], capture_output=True, text=True, check=False).stdout.splitlines()
    files = [path for path in listed if Path(path).is_file()] or ["/bin/sh"]
    bundle = tmp_path / "bundle/usr"
    bundle.mkdir(parents=True)
    for path in files:
        shutil.copy(path, bundle / Path(path).name)
    given = tmp_path / "given"
    run("umoci", "init", "--layout", given)
    run("umoci", "new", "--image", f"{given}:real")
    run("umoci", "insert", "--rootless", "--image", f"{given}:real", tmp_path / "bundle", "/opt")
    asked = {"image": "oci:given:real", "as": "registry.example.com/real:1"}
    layout = write(oci.collect(asked, workshop), tmp_path / "layout")
    run("umoci", "unpack", "--rootless", "--image", f"{layout}:1", tmp_path / "unpacked")
    unpacked = tmp_path / "unpacked/rootfs/opt/usr"
    assert {path.name: path.read_bytes() for path in unpacked.iterdir()} == {
        Path(path).name: Path(path).read_bytes() for path in files
    }


def test_what_docker_save_writes(workshop: Workshop, tmp_path: Path) -> None:
    """The archive that skopeo writes gives the image with the configuration that it has anywhere."""
    pile = Pile()
    image = pile.image(3)
    pile.write(tmp_path / "given", {"1.0": image})
    saved = f"docker-archive:{tmp_path}/saved.tar:registry.example.com/shop/web:1.0"
    run("skopeo", "copy", "--quiet", f"oci:{tmp_path}/given:1.0", saved)
    layout = write(oci.collect({"image": "docker-archive:saved.tar"}, workshop), tmp_path / "layout")
    (digest,) = named(layout).values()
    assert list(named(layout)) == ["registry.example.com/shop/web:1.0"]
    manifest = json.loads((layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes())
    config = json.loads(pile.blobs[manifest["config"]["digest"]])
    assert [each["digest"] for each in manifest["layers"]] == config["rootfs"]["diff_ids"]


def test_a_layout_without_a_name(workshop: Workshop, tmp_path: Path) -> None:
    """A site could not tell where such an image belongs."""
    made = sample()
    made.pile.write(tmp_path / "given", {"1.0": made.root})
    with pytest.raises(SourceError, match="does not say what the image is called"):
        list(oci.collect({"image": "oci:given:1.0"}, workshop))


def test_a_damaged_layout(workshop: Workshop, tmp_path: Path) -> None:
    """A flipped byte is told with exit code 5."""
    made = sample()
    folder = made.pile.write(tmp_path / "given", {"1.0": made.root})
    blob = (
        folder / "blobs/sha256" / next(d for d in made.pile.blobs if d not in made.pile.types).removeprefix("sha256:")
    )
    blob.write_bytes(bytes([blob.read_bytes()[0] ^ 1]) + blob.read_bytes()[1:])
    with pytest.raises(IntegrityError):
        list(oci.collect({"image": "oci:given:1.0", "as": "registry.example.com/shop/web:1.0"}, workshop))


def test_a_tar_that_is_none(workshop: Workshop, tmp_path: Path) -> None:
    """It is malformed, and the hint says that a compressed one is to be unpacked."""
    (tmp_path / "given.tar").write_bytes(b"\x1f\x8b" + 2000 * b"x")
    with pytest.raises(MalformedError, match="is no tar") as raised:
        list(oci.collect({"image": "oci:given.tar", "as": "registry.example.com/web:1"}, workshop))
    assert "unpack" in (raised.value.hint or "")


@pytest.mark.parametrize(
    "image", ["UPPER/case:1", "registry.example.com/a b", "registry.example.com/web:", "x@sha256:12", "a//b", "-/x"]
)
def test_names_that_are_none(image: str, workshop: Workshop) -> None:
    """Exit code 2, before anybody is asked."""
    with pytest.raises(UsageError):
        oci.pin({"image": image}, workshop)
    assert oci.lint({"image": image}, workshop.base, pinned=False)


def test_memory_does_not_grow_with_a_layer(plain_registry: Running, workshop: Workshop) -> None:
    """A layer of 48 MB goes through a few pieces of 1 MiB at a time."""
    pile = Pile()
    plain_registry.push(pile, "shop/large", {"1.0": pile.image(41, size=48_000_000)})
    asked = pinned(want(plain_registry, "shop/large", referrers=False), workshop)
    tracemalloc.start()
    try:
        list(oci.collect(asked, workshop))
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
    finally:
        tracemalloc.stop()
