"""The target `npm-registry`: real `npm` installs from what it deploys, and refuses what was changed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from distributions import npm
from enclave import URL, enclave, nginx, plain_server
from worlds import Connected, Isolated

ROOT = Path(__file__).parents[2]
LIBRARY = npm("@shop/lib", "1.2.0", package={"bin": "index.js", "engines": {"node": ">=18"}})
APP = npm("shop-app", "1.0.0", package={"dependencies": {"@shop/lib": "^1.0.0"}})


@pytest.fixture(autouse=True)
def _npm() -> None:
    if shutil.which("npm") is None:
        if os.environ.get("SEALIFT_REQUIRE_ALL") == "1":
            pytest.fail("npm is missing")
        pytest.skip("npm is missing")


@pytest.fixture
def registry(connected: Connected, isolated: Isolated, tmp_path: Path) -> Path:
    """The folder of a deployed registry."""
    packages = {**LIBRARY, **APP, **npm("@shop/lib", "2.0.0-rc.1"), **npm("@shop/lib", "1.10.0")}
    isolated.admit(connected.packages("1.0", packages, kind="npm"))
    isolated.deploy("1.0", f"{{kind: npm-registry, path: {tmp_path / 'npm'}, base_url: '{URL}'}}")
    return tmp_path / "npm"


def variables(folder: Path) -> dict[str, str]:
    """No setting of this machine, and no other registry."""
    return {
        "npm_config_registry": URL,
        "npm_config_cache": str(folder / "npm-cache"),
        "npm_config_userconfig": os.devnull,
        "npm_config_audit": "false",
        "npm_config_fund": "false",
        "npm_config_update_notifier": "false",
        "npm_config_fetch_retries": "0",
    }


def locked(folder: Path) -> Path:
    """An application with a lock that names another registry."""
    folder.mkdir()
    packages = {}
    for path, content in {**LIBRARY, **APP}.items():
        name, _, file = path.rpartition("/")
        digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
        packages[f"node_modules/{name}"] = {
            "version": file.removesuffix(".tgz").rpartition("-")[2],
            "resolved": f"https://registry.example.com/{name}/-/{file}",
            "integrity": f"sha512-{digest}",
        }
    packages["node_modules/shop-app"]["dependencies"] = {"@shop/lib": "^1.0.0"}  # type: ignore[assignment]
    root = {"name": "it", "version": "1.0.0", "dependencies": {"shop-app": "^1.0.0"}}
    lock = {"name": "it", "version": "1.0.0", "lockfileVersion": 3, "packages": {"": root, **packages}}
    (folder / "package.json").write_text(json.dumps(root))
    (folder / "package-lock.json").write_text(json.dumps(lock))
    return folder


def installed(folder: Path) -> dict[str, str]:
    """The versions that are installed, by name."""
    found = {}
    for path in (folder / "node_modules").glob("**/package.json"):
        package = json.loads(path.read_text())
        found[package["name"]] = package["version"]
    return found


def test_npm_installs_from_a_plain_server(registry: Path, tmp_path: Path) -> None:
    """104: what a lock says, from a lock of another registry, and what fits best without one; nothing else is asked."""
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    (fresh / "package.json").write_text('{"name": "it", "version": "1.0.0"}')
    done = enclave(
        plain_server(registry / "current"),
        ["npm", "ci", "--prefix", locked(tmp_path / "locked"), "--replace-registry-host=always"],
        ["npm", "install", "--prefix", fresh, "shop-app"],
        folder=tmp_path,
        variables=variables(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert installed(tmp_path / "locked") == {"shop-app": "1.0.0", "@shop/lib": "1.2.0"}
    assert installed(fresh) == {"shop-app": "1.0.0", "@shop/lib": "1.10.0"}


def test_npm_installs_by_nginx_and_refuses_what_was_changed(registry: Path, tmp_path: Path) -> None:
    """94: with the settings that the documentation has; then a tarball is no longer what its integrity says."""
    page = (ROOT / "docs/how-to/site-indexes.md").read_text()
    settings = re.findall(r"```nginx\n(.*?)```", page, re.DOTALL)[1].replace("/srv/npm", str(registry))
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "package.json").write_text('{"name": "it", "version": "1.0.0"}')
    tarball = registry / "current/@shop/lib/-/lib-1.10.0.tgz"
    done = enclave(
        nginx(settings, tmp_path),
        ["npm", "install", "--prefix", tmp_path / "good", "@shop/lib"],
        ["sh", "-c", f"printf x >> {tarball}; rm -r {tmp_path}/npm-cache"],
        ["npm", "install", "--prefix", tmp_path / "bad", "@shop/lib"],
        folder=tmp_path,
        variables=variables(tmp_path),
    )
    assert installed(tmp_path / "good") == {"@shop/lib": "1.10.0"}
    assert done.returncode != 0
    assert "EINTEGRITY" in done.stderr
    assert "200 /@shop/lib/index.html" in (tmp_path / "access.log").read_text()
    assert not (tmp_path / "bad/node_modules/@shop").exists()


def test_a_changed_address_is_applied(registry: Path, isolated: Isolated) -> None:
    """All pages are made anew, and nothing else."""
    isolated.deploy("1.0", f"{{kind: npm-registry, path: {registry}, base_url: 'https://npm.site.local/sub'}}")
    packument = json.loads((registry / "current/@shop/lib/index.html").read_bytes())
    assert packument["versions"]["1.2.0"]["dist"]["tarball"] == "https://npm.site.local/sub/@shop/lib/-/lib-1.2.0.tgz"
    assert packument["dist-tags"] == {"latest": "1.10.0"}
