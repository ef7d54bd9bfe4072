"""Source `npm`: which tarballs are taken, from where, with which credentials, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from routes import Answer, Routes, serving
from worlds import NOW, Connected

from bundler.locking import resolve
from bundler.sealing import Effort
from bundler.source import Workshop, problems_of
from bundler.sources import npm as source
from bundler.spec import load
from sealift.errors import IntegrityError, SealiftError, SourceError, UsageError
from sealift.progress import Silent


def tarball(name: str, version: str = "1.0.0") -> bytes:
    """A package that can be installed."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        body = json.dumps({"name": name, "version": version, "main": "it.js"}).encode()
        for path, content in (("package/package.json", body), ("package/it.js", b"module.exports = 1\n")):
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def integrity(content: bytes, algorithm: str = "sha512") -> str:
    """As a lock file says it."""
    return f"{algorithm}-{base64.b64encode(hashlib.new(algorithm, content).digest()).decode()}"


class Registry:
    """A registry, and lock files of what it has."""

    def __init__(self, server: Routes) -> None:
        self.server = server
        self.packages: dict[str, Any] = {}
        self.contents: dict[str, bytes] = {}

    def add(self, name: str, version: str = "1.0.0", *, authorization: str | None = None, **more: Any) -> str:
        """Offer a package, and lock it; return its path on the server."""
        content = tarball(name, version)
        path = f"/npm/{name}/-/{name.rpartition('/')[2]}-{version}.tgz"
        self.server.answers[path] = Answer(body=content, authorization=authorization)
        self.contents[name] = content
        entry = {"version": version, "integrity": integrity(content), "resolved": f"{self.server.url}{path}", **more}
        self.packages[f"node_modules/{name}"] = {key: value for key, value in entry.items() if value is not None}
        return path

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self.server.url}/npm/"

    def text(self, version: int = 3) -> str:
        """The lock file."""
        return json.dumps(
            {"name": "app", "lockfileVersion": version, "packages": {"": {"name": "app"}, **self.packages}}
        )


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Registry]:
    """An empty registry; nothing of this machine's own configuration of npm counts."""
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    for name in [name for name in os.environ if name.lower().startswith("npm_config_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("npm_config_userconfig", str(tmp_path / "npmrc"))
    monkeypatch.setenv("npm_config_globalconfig", str(tmp_path / "global"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with serving() as server:
        yield Registry(server)


@pytest.fixture
def own_default(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> str:
    """What npm's own default registry is taken to be."""
    default = f"{registry.server.url}/default/"
    monkeypatch.setattr("bundler.npm.settings.default_registry", lambda: default)
    return default


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    """Where a source works."""
    base = tmp_path / "base"
    base.mkdir()
    return Workshop(base=base, cache=tmp_path / "cache", progress=Silent())


def wants(shop: Workshop, text: str, **more: Any) -> dict[str, Any]:
    """The source's part of a spec, with a lock file of this text."""
    (shop.base / "package-lock.json").write_text(text)
    return {"lockfile": "package-lock.json", **more}


def taken(want: Mapping[str, Any], shop: Workshop) -> list[str]:
    """What is collected with what is pinned."""
    return [found.path for found in source.collect({**want, **source.pin(want, shop)}, shop)]


@pytest.mark.parametrize("version", [2, 3])
def test_it_takes_what_the_lock_file_says(registry: Registry, shop: Workshop, own_default: str, version: int) -> None:
    """Each package once, in a folder of its name, scopes too; workspaces and bundled packages are not taken."""
    registry.add("left")
    registry.add("@shop/web", "2.0.0-beta.1")
    registry.packages["node_modules/left/node_modules/alias"] = {
        **registry.packages["node_modules/left"],
        "name": "left",
    }
    registry.packages["node_modules/own"] = {"resolved": "packages/own", "link": True}
    registry.packages["packages/own"] = {"version": "1.0.0"}
    registry.packages["node_modules/left/node_modules/inner"] = {"version": "1.0.0", "inBundle": True}
    assert taken(wants(shop, registry.text(version)), shop) == [
        "@shop",
        "@shop/web",
        "@shop/web/web-2.0.0-beta.1.tgz",
        "left",
        "left/left-1.0.0.tgz",
    ]


def test_kinds_and_platforms_can_be_left_out(registry: Registry, shop: Workshop, own_default: str) -> None:
    """As `npm ci --omit` leaves them out, and optional packages of other systems and processors."""
    registry.add("plain")
    registry.add("test-tool", dev=True)
    registry.add("fast-linux", optional=True, os=["linux"], cpu=["x64"])
    registry.add("fast-mac", optional=True, os=["darwin"], cpu=["arm64"])
    registry.add("not-windows", optional=True, os=["!win32"])
    text = registry.text()
    files = [path for path in taken(wants(shop, text, omit=["dev"], os=["linux"], cpu=["x64"]), shop) if "/" in path]
    assert [path.partition("/")[0] for path in files] == ["fast-linux", "not-windows", "plain"]
    assert len([path for path in taken(wants(shop, text, omit=["dev", "optional"]), shop) if "/" in path]) == 1


def test_what_the_registry_serves_must_have_the_integrity(registry: Registry, shop: Workshop, own_default: str) -> None:
    """Another content under the same name and version: exit 5, and nothing is kept."""
    path = registry.add("left")
    registry.server.answers[path] = Answer(body=b"other")
    with pytest.raises(IntegrityError, match="does not match its digest"):
        source.pin(wants(shop, registry.text()), shop)
    assert [path.name for path in shop.cache.iterdir()] == ["lock"]


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"integrity": None}, "without an integrity"),
        ({"integrity": "sha1-aaaa"}, "without an integrity"),
        ({"integrity": "sha512-!!!"}, "without an integrity"),
        ({"integrity": "sha512-AAAA"}, "without an integrity"),
        ({"resolved": "file:../left.tgz"}, "a file of this machine"),
        ({"resolved": "git+ssh://git@example.org/left.git#abc"}, "no package of a registry"),
        ({"version": "../1"}, "no name and version"),
        ({"version": "1/../.."}, "no name and version"),
        ({"name": "../../etc"}, "no name and version"),
        ({"name": "a/b"}, "no name and version"),
        ({"name": ".."}, "no name and version"),
    ],
)
def test_what_no_registry_vouches_for_is_refused(
    registry: Registry, shop: Workshop, own_default: str, more: dict[str, Any], error: str
) -> None:
    """52: no integrity, a weak one, local files, git, and names that climb: exit 3, before anybody is asked."""
    registry.add("left")
    registry.packages["node_modules/left"] |= more
    want = wants(shop, registry.text())
    with pytest.raises(SourceError, match=error):
        source.pin(want, shop)
    assert registry.server.asked == []
    assert [problem.steps for problem in problems_of(source, want, shop.base, pinned=False)] == [("lockfile",)]


def test_one_version_with_two_integrities_is_refused(registry: Registry, shop: Workshop, own_default: str) -> None:
    """Which of them is meant nobody knows."""
    registry.add("left")
    other = {**registry.packages["node_modules/left"], "integrity": integrity(b"other")}
    registry.packages["node_modules/a/node_modules/left"] = other
    with pytest.raises(SourceError, match="two integrities"):
        source.pin(wants(shop, registry.text()), shop)


@pytest.mark.parametrize("wrong", ["left", "right"])
def test_each_package_of_one_address_must_have_its_integrity(
    registry: Registry, shop: Workshop, own_default: str, wrong: str
) -> None:
    """What one package vouches for does not stand for another that names the same address."""
    registry.add("left")
    registry.add("right", resolved=registry.packages["node_modules/left"]["resolved"])
    for name in ("left", "right"):
        content = b"other" if name == wrong else registry.contents["left"]
        registry.packages[f"node_modules/{name}"]["integrity"] = integrity(content)
    with pytest.raises(IntegrityError):
        source.pin(wants(shop, registry.text()), shop)


def test_names_that_collide_are_refused(registry: Registry, shop: Workshop, own_default: str) -> None:
    """58: two packages that are one folder where letter case is folded."""
    registry.add("JSONStream")
    registry.add("jsonstream", "2.0.0")
    want = wants(shop, registry.text())
    with pytest.raises(SealiftError, match="letter case is folded"):
        taken(want, shop)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"lockfileVersion": 1, "dependencies": {}}',
        '{"lockfileVersion": 3, "packages": []}',
        "[" * 99999,
    ],
)
def test_a_lock_file_that_is_none_is_refused(shop: Workshop, text: str) -> None:
    """Exit 2, and the hint says how to write one."""
    with pytest.raises(UsageError) as raised:
        source.pin(wants(shop, text), shop)
    assert "npm install" in (raised.value.hint or "")


def test_packages_of_the_default_registry_come_from_the_configured_one(
    registry: Registry, shop: Workshop, own_default: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock file that was written against npm's own registry works behind a mirror, and others' addresses stay."""
    registry.add("left", resolved=f"{own_default}left/-/left-1.0.0.tgz")
    registry.add("bare", resolved=None)
    other = registry.add("other")
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", registry.url)
    files = source.pin(wants(shop, registry.text()), shop)["files"]
    assert [line.split()[3] for line in files] == [
        f"{registry.url}bare/-/bare-1.0.0.tgz",
        f"{registry.url}left/-/left-1.0.0.tgz",
        f"{registry.server.url}{other}",
    ]


@pytest.mark.parametrize("where", ["token", "basic", "scope", "user"])
def test_it_asks_as_npm_is_configured(
    registry: Registry,
    shop: Workshop,
    own_default: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    where: str,
) -> None:
    """Registries of scopes, tokens with variables, and the older forms; each goes to its own path alone."""
    pair = base64.b64encode(b"user:s3cret").decode()
    said = "Bearer s3cret" if where in ("token", "scope") else f"Basic {pair}"
    registry.add("@shop/web", authorization=said, resolved=None)
    place = registry.url.removeprefix("http:")
    monkeypatch.setenv("SHOP_TOKEN", "s3cret")
    lines = {
        "token": [f"registry={registry.url}", f"{place}:_authToken=${{SHOP_TOKEN}}"],
        "scope": [f"@shop:registry = {registry.url}", f"{place}:_authToken=s3cret", "registry=https://example.invalid"],
        "basic": [f"registry={registry.url}", f'{place}:_auth = "{pair}"', "; a comment"],
        "user": [
            f"registry={registry.url}",
            f"{place}:username=user",
            f"{place}:_password={base64.b64encode(b's3cret').decode()}",
        ],
    }[where]
    lines.append("//127.0.0.1/elsewhere/:_authToken=wrong")
    (tmp_path / "npmrc").write_text("\n".join(lines))
    pins = source.pin(wants(shop, registry.text()), shop)
    assert "s3cret" not in str(pins)
    assert registry.server.asked[-1][1] == said


def test_a_token_goes_to_its_own_path_alone(
    registry: Registry, shop: Workshop, own_default: str, tmp_path: Path
) -> None:
    """103: another repository of the same host, and a host that a redirect leads to, are not told it."""
    path = registry.add("left")
    place = registry.url.removeprefix("http:").replace("/npm/", "/private/")
    (tmp_path / "npmrc").write_text(f"registry=http:{place}\n{place}:_authToken=s3cret\n")
    with serving() as other:
        other.answers["/it"] = registry.server.answers[path]
        registry.server.answers[path] = Answer(status=302, headers={"Location": f"{other.url}/it"})
        taken(wants(shop, registry.text()), shop)
        assert {said for _, said in [*registry.server.asked, *other.asked]} == {""}


def test_a_project_says_registries_and_no_more(
    registry: Registry, shop: Workshop, own_default: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The .npmrc of somebody else's project sends no secret of the environment anywhere, and replaces no authority."""
    path = registry.add("left", resolved=None)
    monkeypatch.setenv("SECRET", "s3cret")
    place = registry.url.removeprefix("http:")
    lines = f"registry={registry.url}\n{place}:_authToken=${{SECRET}}\ncafile=/nonexistent\n"
    (shop.base / ".npmrc").write_text(lines)
    taken(wants(shop, registry.text()), shop)
    assert registry.server.asked == [(path, "")]
    (shop.base / ".npmrc").write_text(f"registry={registry.url}${{SECRET}}/\n")
    with pytest.raises(SealiftError):
        taken(wants(shop, registry.text()), shop)
    assert "s3cret" not in str(registry.server.asked)


def test_a_project_takes_no_token_out_of_tls(
    registry: Registry, shop: Workshop, own_default: str, tmp_path: Path
) -> None:
    """A user's token is not told to an http address that only a project, or a lock file, names."""
    registry.add("left", resolved=None)
    registry.add("right")
    place = registry.url.removeprefix("http:")
    (tmp_path / "npmrc").write_text(f"registry=https:{place}\n{place}:_authToken=s3cret\n")
    (shop.base / ".npmrc").write_text(f"registry={registry.url}\n")
    taken(wants(shop, registry.text()), shop)
    assert {said for _, said in registry.server.asked} == {""}


def test_credentials_in_addresses_are_refused(registry: Registry, shop: Workshop, own_default: str) -> None:
    """In a spec and in a lock file: exit 2, and no secret is shown."""
    registry.add("left", resolved="https://user:s3cret@example.org/left-1.0.0.tgz")
    for want in (
        wants(shop, registry.text()),
        wants(shop, registry.text(), registry="https://user:s3cret@example.org"),
    ):
        with pytest.raises(UsageError) as raised:
            source.pin(want, shop)
        assert "s3cret" not in raised.value.message


def test_a_second_export_fetches_nothing(registry: Registry, connected: Connected, own_default: str) -> None:
    """What the depot's cache holds is not asked for again, and provenance names every tarball."""
    registry.add("left")
    registry.add("@shop/web")
    (connected.root / "package-lock.json").write_text(registry.text())
    spec = connected.root / "shop.yaml"
    spec.write_text(
        "release: shop\nversion: '1.0'\nartifacts:\n  js:\n    source: npm\n    lockfile: package-lock.json\n"
    )
    resolve(
        load(spec, pinned=False), effort=Effort(level=1, threads=1), progress=Silent(), now=NOW, depot=connected.depot
    )
    registry.server.asked.clear()
    connected.export(spec)
    assert registry.server.asked == []
    (sealed,) = connected.made["shop-1.0.sealift"].sealed
    assert (sealed.release.artifacts[0].kind, sealed.release.artifacts[0].files) == ("npm", 2)
    assert sealed.release.provenance
    said = connected.depot.path("manifests", sealed.release.provenance).read_text()
    assert f"{registry.url}@shop/web/-/web-1.0.0.tgz" in said


def test_a_changed_lock_file_needs_a_new_lock(registry: Registry, shop: Workshop, own_default: str) -> None:
    """What was locked is what is collected."""
    registry.add("left")
    want = wants(shop, registry.text())
    pinned = {**want, **source.pin(want, shop)}
    (shop.base / "package-lock.json").write_text(registry.text(2))
    with pytest.raises(SourceError, match="was changed since it was locked"):
        list(source.collect(pinned, shop))


@pytest.mark.skipif(shutil.which("npm") is None and not os.environ.get("SEALIFT_REQUIRE_ALL"), reason="needs npm")
def test_the_machines_own_registry_is_asked_by_name(shop: Workshop, tmp_path: Path) -> None:
    """A real package by its name, with npm's own lock of it, from what npm is set up for here."""
    (shop.base / "package.json").write_text('{"name":"app","version":"1.0.0","dependencies":{"left-pad":"1.3.0"}}')
    done = subprocess.run(
        ["npm", "install", "--package-lock-only", "--ignore-scripts"],
        cwd=shop.base,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    want = {"lockfile": "package-lock.json"}
    pinned = {**want, **source.pin(want, shop)}
    *_, found = source.collect(pinned, shop)
    assert found.path == "left-pad/left-pad-1.3.0.tgz"
    with tarfile.open(found.origin) as archive:
        assert "package/package.json" in archive.getnames()
