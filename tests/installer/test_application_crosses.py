"""A locked application crosses in one bundle, and installs where there is nothing but the site's own indexes."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from aptmachine import AptMachine
from debian import Repository
from distributions import npm, wheel
from enclave import URL, enclave, plain_server
from gnupg import fingerprint
from registries import need
from routes import Answer, serving
from wheelhouse import Index
from worlds import NOW, Connected, Isolated

from bundler.locking import resolve
from bundler.sealing import Effort
from bundler.spec import load
from installer.environments.environment import load as load_environment
from sealift.progress import Silent

WHEELS = {**wheel("shop-app", requires=["shop-lib>=1"]), **wheel("shop-lib", "1.2")}
TARBALLS = {**npm("shop-web", package={"dependencies": {"@shop/ui": "^1.0.0"}}), **npm("@shop/ui", "1.4.0")}
SPEC = """\
release: shop
version: "1.0"
artifacts:
  debs:
    source: deb
    packages: [shop-tool]
    architecture: amd64
    repositories: [{{url: archive, suites: [stable], keyring: {keys}/good.asc}}]
  py:
    source: pypi
    lockfile: requirements.txt
    python: ["3.11"]
    platforms: [manylinux_2_28_x86_64]
    index: [{url}/simple]
  web:
    source: npm
    lockfile: package-lock.json
"""
ENVIRONMENT = """\
environment: plant-7
release: shop
version: "1.0"
targets:
  - kind: pypi-index
    path: {0}/pypi
  - kind: npm-registry
    path: {0}/npm
    base_url: {1}
  - kind: apt-repository
    path: {0}/debs
    gnupg: {2}
    key: {3}
policy: none
"""


@pytest.fixture(autouse=True)
def _programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Npm and apt are here, and no configuration of this machine counts."""
    for program in ("npm", "apt-get"):
        need(program)
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().startswith("npm_config_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in ("npm_config_userconfig", "npm_config_globalconfig", "NETRC"):
        monkeypatch.setenv(name, str(tmp_path / name))


def _locks(folder: Path, url: str) -> None:
    """The application's own lock files, as its build left them."""
    lines = []
    for name, content in WHEELS.items():
        project, version = name.split("-")[:2]
        lines.append(f"{project.replace('_', '-')}=={version} --hash=sha256:{hashlib.sha256(content).hexdigest()}\n")
    (folder / "requirements.txt").write_text("".join(lines))
    packages: dict[str, dict[str, object]] = {}
    for path, content in TARBALLS.items():
        name, _, file = path.rpartition("/")
        packages[f"node_modules/{name}"] = {
            "version": file.removesuffix(".tgz").rpartition("-")[2],
            "resolved": f"{url}/{name}/-/{file}",
            "integrity": f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}",
        }
    packages["node_modules/shop-web"]["dependencies"] = {"@shop/ui": "^1.0.0"}
    root: dict[str, object] = {"name": "it", "version": "1.0.0", "dependencies": {"shop-web": "^1.0.0"}}
    lock = {"name": "it", "version": "1.0.0", "lockfileVersion": 3, "packages": {"": root, **packages}}
    (folder / "package.json").write_text(json.dumps(root))
    (folder / "package-lock.json").write_text(json.dumps(lock))


def test_an_application_of_wheels_debs_and_npm_packages_crosses(
    connected: Connected, isolated: Isolated, tmp_path: Path, gnupg: Path
) -> None:
    """104: its own lock files are honoured on both sides, and nothing but the site's indexes is asked."""
    with serving() as upstream:
        index = Index(upstream)
        for name, content in WHEELS.items():
            index.add(name.split("-")[0].replace("_", "-"), (name, content))
        for path, content in TARBALLS.items():
            package, _, file = path.rpartition("/")
            upstream.answers[f"/{package}/-/{file}"] = Answer(body=content)
        _locks(connected.root, upstream.url)
        archive = Repository(connected.root / "archive", gnupg)
        archive.deb("shop-tool", Depends="shop-base")
        archive.deb("shop-base", "2.0", "amd64")
        archive.publish()
        spec = connected.root / "shop.yaml"
        spec.write_text(SPEC.format(url=upstream.url, keys=gnupg))
        effort = Effort(level=1, threads=1)
        resolve(load(spec, pinned=False), effort=effort, progress=Silent(), now=NOW, depot=connected.depot)
        bundle = connected.export(spec)
    isolated.admit(bundle)
    environment = isolated.root / "environment.yaml"
    environment.write_text(ENVIRONMENT.format(tmp_path, URL, gnupg, fingerprint(gnupg, "other")))
    isolated.installation.apply(load_environment(environment))

    app = tmp_path / "app"
    app.mkdir()
    for name in ("requirements.txt", "package.json", "package-lock.json"):
        shutil.copy(connected.root / name, app / name)
    pip = [sys.executable, "-m", "pip", "install", "--index-url", f"file://{tmp_path}/pypi/current/simple"]
    machine = AptMachine(tmp_path, f"file:{tmp_path}/debs/current", gnupg / "other.asc")
    done = enclave(
        plain_server(tmp_path / "npm/current"),
        [*pip, "--require-hashes", "-r", app / "requirements.txt", "-t", app / "python"],
        ["npm", "ci", "--prefix", app, "--replace-registry-host=always"],
        machine.apt("update"),
        machine.apt("install", "shop-tool"),
        folder=tmp_path,
        variables={
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_CACHE_DIR": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "npm_config_registry": URL,
            "npm_config_cache": str(tmp_path / "npm-cache"),
            "npm_config_userconfig": os.devnull,
            "npm_config_audit": "false",
            "npm_config_update_notifier": "false",
        },
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (app / "python").glob("*.py")} == {"shop_app.py", "shop_lib.py"}
    assert (app / "node_modules/@shop/ui/index.js").is_file()
    assert (app / "node_modules/shop-web/index.js").is_file()
    assert machine.installed() == {"shop-base 2.0", "shop-tool 1.0"}
