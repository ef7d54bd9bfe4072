"""The environment that the README shows: one release, four kinds of target, one transaction, by real servers."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from gitserver import Repository, repository
from images import sample
from proxies import Front, front, wait_for
from registries import Running
from stores import Store
from worlds import Connected, Isolated, write_tree

from installer.environments.environment import load
from sealift.errors import DeployError

README = Path(__file__).parents[2] / "README.md"
VERSIONS = ("1.0.0", "1.1.0")


class Plant:
    """A site with all that the example names."""

    def __init__(self, site: Isolated, proxy: Front, registry: Running, git: Repository, store: Store) -> None:
        self.site, self._proxy, self._registry, self._git, self._store = site, proxy, registry, git, store
        self._repository = store.prefix
        (text,) = [
            block for block in re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL) if "canary" in block
        ]
        self._example: dict[str, Any] = yaml.safe_load(text)

    def environment(self, version: str, seconds: int = 1) -> Path:
        """The example, at this site's addresses and with quick steps."""
        declared = {**self._example, "version": version}
        images, bucket, manifests, files = declared["targets"]
        images |= {"registry": self._registry.host, "path": str(self.site.root / "images"), "unsafe_http": True}
        images["map"] = [{"from": "registry.example.com/shop/*", "to": f"{self._repository}/*"}]
        bucket |= {"bucket": self._store.address, **self._store.settings}
        manifests |= {"repository": str(self._git.folder)}
        files |= {"path": f"{self._proxy.srv}/{{slot}}"}
        strategy = declared["strategy"]
        strategy["slots"] = {name: f"127.0.0.1:{port}" for name, port in self._proxy.ports.items()}
        strategy["proxy"]["socket"] = f"{self._proxy.folder}/admin.sock"
        strategy["start"]["run"] = [str(self._proxy.start), "{slot}"]
        strategy["steps"] = [{**step, "seconds": seconds} for step in strategy["steps"]]
        path = self.site.root / "environment.yaml"
        path.write_text(yaml.safe_dump(declared))
        return path

    def apply(self, version: str) -> str | None:
        """Apply a version; what it says it recovered."""
        return self.site.installation.apply(load(self.environment(version))).recovered

    @contextlib.contextmanager
    def begun(self, path: Path) -> Iterator[subprocess.Popen[bytes]]:
        """An apply in a process of its own, which is killed at the end."""
        program = [sys.executable, "-c", "from installer.cli import main; main()"]
        process = subprocess.Popen([*program, "apply", "--site", self.site.folder, path], cwd=README.parent)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def serving(self) -> set[str]:
        """The versions that are found at the four."""
        current = json.loads(self._store.content("current.json"))
        (asset,) = json.loads(self._store.content(current["index"]))["files"].values()
        images = json.loads((self.site.root / "images/current/images.json").read_text())["images"]
        tagged = [image["name"] for image in images if "@" not in image["name"]]
        return {
            self._proxy.get().strip(),
            self._git.git("show", "main:apps/shop/app.yaml").strip().removeprefix("version: "),
            self._store.content(asset["object"]).decode(),
            *(str(name).rpartition(":")[2] for name in tagged if "sha256-" not in name),
        }


@pytest.fixture
def plant(
    connected: Connected,
    isolated: Isolated,
    store_of: Callable[[str], Store],
    plain_registry: Running,
    tmp_path: Path,
) -> Iterator[Plant]:
    """A site that holds two releases of an image, assets, manifests and files."""
    for seed, version in enumerate(VERSIONS, 1):
        spec = connected.images(version, sample(seed))
        trees = {
            "assets": {"logo.txt": version.encode()},
            "manifests": {"app.yaml": f"version: {version}\n".encode()},
            "web": {"version.txt": f"{version}\n".encode()},
        }
        for name, files in trees.items():
            write_tree(connected.root / f"{name}-{version}", files)
            spec.write_text(spec.read_text() + f"  {name}: {{source: path, path: {name}-{version}}}\n")
        isolated.admit(connected.export(spec))
    git = repository(tmp_path / "plant.git")
    with front("haproxy", tmp_path / "front", tmp_path / "srv") as proxy:
        yield Plant(isolated, proxy, plain_registry, git, store_of("rgw"))


@pytest.mark.slow
def test_the_example_deploys_upgrades_as_a_canary_is_killed_recovers_and_rolls_back(plant: Plant) -> None:
    """79, 95: everywhere the same release at the end of each step, and a mixture only while the canary runs."""
    plant.apply("1.0.0")
    assert plant.serving() == {"1.0.0"}
    path = plant.environment("1.1.0", seconds=60)
    with plant.begun(path) as process:
        wait_for(lambda: "(10 %)" in str(plant.site.installation.targets(load(path))[-1].current()), patience=90)
        process.kill()
    work = plant.site.installation
    with work.site.lock():
        assert "undid it: shop@1.0.0 serves" in str(work.recover("plant-7"))
    assert plant.serving() == {"1.0.0"}
    assert plant.apply("1.1.0") is None
    assert plant.serving() == {"1.1.0"}
    plant.site.installation.rollback("plant-7")
    assert plant.serving() == {"1.0.0"}


@pytest.mark.slow
def test_where_one_target_fails_all_return(plant: Plant) -> None:
    """The canary's slot does not start, after the registry, the bucket and the repository were switched."""
    plant.apply("1.0.0")
    start = Path(load(plant.environment("1.1.0")).strategy.settings["start"]["run"][0])
    whole = start.read_text()
    start.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(DeployError):
        plant.apply("1.1.0")
    assert plant.serving() == {"1.0.0"}
    start.write_text(whole)
    plant.apply("1.1.0")
    assert plant.serving() == {"1.1.0"}
