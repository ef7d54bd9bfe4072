"""A locked application with its wheels, its debs and its npm packages crosses in one bundle and installs at a site."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from aptmachine import Machine
from debian import Repository
from enclave import URL, enclave, plain_server
from gnupg import fingerprint
from registries import need
from worlds import NOW, Connected, Isolated

from bundler.locking import resolve
from bundler.sealing import Effort
from bundler.spec import load
from sealift.progress import Silent

ROOT = Path(__file__).parents[2]


def application(folder: Path, debs: Path, gnupg: Path) -> Path:
    """The spec of an application with lock files of its own: a real wheel and npm package, and debs of a repository."""
    locked = (ROOT / "requirements.lock").read_text()
    wanted = re.search(r"^iniconfig==.*?(?=^\S)", locked, re.M | re.S)
    assert wanted
    (folder / "requirements.txt").write_text(wanted[0])
    (folder / "package.json").write_text('{"name":"it","version":"1.0.0","dependencies":{"left-pad":"1.3.0"}}')
    command = [need("npm"), "install", "--package-lock-only", "--ignore-scripts"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    repository = Repository(debs, gnupg)
    repository.deb("app", "2.0", Depends="lib")
    repository.deb("lib", "1.5")
    repository.publish()
    spec = folder / "shop.yaml"
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    spec.write_text(
        "release: shop\nversion: '1.0'\nartifacts:\n"
        "  python:\n    source: pypi\n    lockfile: requirements.txt\n"
        f"    python: ['{minor}']\n    platforms: [manylinux_2_28_x86_64]\n"
        "  js:\n    source: npm\n    lockfile: package-lock.json\n"
        "  debs:\n    source: deb\n    packages: [app]\n    architecture: amd64\n"
        f"    repositories: [{{url: '{debs}', suites: [stable], keyring: '{gnupg}/good.pgp'}}]\n"
    )
    return spec


@pytest.mark.slow
def test_an_application_installs_by_pip_apt_and_npm(
    connected: Connected, isolated: Isolated, gnupg: Path, tmp_path: Path
) -> None:
    """104: one bundle, three indexes of the site, and no other network while `pip`, `apt-get` and `npm` install."""
    need("apt-get")
    spec = application(connected.root, tmp_path / "upstream", gnupg)
    resolve(load(spec), effort=Effort(level=3, threads=2), progress=Silent(), depot=connected.depot, now=NOW)
    isolated.admit(connected.export(spec))
    isolated.deploy(
        "1.0",
        f"{{kind: pypi-index, path: {tmp_path}/pypi}}\n"
        f"  - {{kind: npm-registry, path: {tmp_path}/npm, base_url: '{URL}'}}\n"
        f"  - {{kind: apt-repository, path: {tmp_path}/debs, gnupg: {gnupg}, key: {fingerprint(gnupg)}}}",
    )
    machine = Machine(tmp_path, f"file:{tmp_path}/debs/current", gnupg / "good.asc")
    app = tmp_path / "app"
    app.mkdir()
    for name in ("package.json", "package-lock.json"):
        (app / name).write_bytes((connected.root / name).read_bytes())
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--require-hashes",
        "-t",
        tmp_path / "site-packages",
    ]
    done = enclave(
        plain_server(tmp_path / "npm/current"),
        [*pip, "--index-url", f"file://{tmp_path}/pypi/current/simple", "-r", connected.root / "requirements.txt"],
        ["npm", "ci", "--prefix", app],
        machine.apt("update"),
        machine.apt("install", "app"),
        folder=tmp_path,
        variables={
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_CACHE_DIR": "1",
            "npm_config_registry": URL,
            "npm_config_userconfig": os.devnull,
            "npm_config_cache": str(tmp_path / "npm-cache"),
            "npm_config_fetch_retries": "0",
        },
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site-packages/iniconfig/__init__.py").is_file()
    assert json.loads((app / "node_modules/left-pad/package.json").read_text())["version"] == "1.3.0"
    assert machine.installed() == {"app 2.0", "lib 1.5"}
