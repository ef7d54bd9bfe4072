"""One transaction over five kinds of target: killed at any of its steps, all of them end in one state."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gitserver import repository
from images import sample
from registries import Running
from stores import Store
from worlds import Connected, Isolated, write_tree

from installer.applying import Installation
from installer.environments.environment import load
from sealift.errors import DeployError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def site(
    connected: Connected,
    isolated: Isolated,
    store_of: Callable[[str], Store],
    plain_registry: Running,
    tmp_path: Path,
) -> Isolated:
    """A site that runs the first of two releases, of an image and of files, at five kinds of target."""
    store = store_of("rgw")
    for seed, version in enumerate(("1.0", "1.1"), 1):
        spec = connected.images(version, sample(seed))
        write_tree(connected.root / f"web-{version}", {"app.yaml": f"version: {version}\n".encode()})
        spec.write_text(spec.read_text() + f"  web: {{source: path, path: web-{version}}}\n")
        isolated.admit(connected.export(spec))
    rule = f"{{from: registry.example.com/shop/*, to: {tmp_path.name.replace('_', '-')}/*}}"
    targets = (
        f"{{kind: directory, path: {isolated.root}/files}}",
        f"{{kind: oci-layout, path: {isolated.root}/layouts}}",
        f"{{kind: registry, registry: '{plain_registry.host}', path: {isolated.root}/images, unsafe_http: true, "
        f"map: [{rule}]}}",
        f"{{kind: gitops, repository: {repository(tmp_path / 'manifests.git').folder}, path: shop, artifacts: [web]}}",
        f"{{kind: bucket, {store.yaml}}}",
    )
    for version in ("1.0", "1.1"):
        _path(isolated, version).write_text(
            f'environment: plant-7\nrelease: shop\nversion: "{version}"\npolicy: none\ntargets:\n'
            + "".join(f"  - {target}\n" for target in targets)
        )
    isolated.installation.apply(load(_path(isolated, "1.0")))
    return isolated


def _path(site: Isolated, version: str) -> Path:
    return site.root / f"environment-{version}.yaml"


def _identities(work: Installation, site: Isolated) -> set[str | None]:
    return {target.current() for target in work.targets(load(_path(site, "1.0")))}


def _killed(site: Isolated, step: int) -> tuple[bool, list[str]]:
    """Apply 1.1 in another process and kill it at a step; whether it came that far, and what steps it took."""
    arguments = (site.folder, _path(site, "1.1"), step, site.now.isoformat())
    done = subprocess.run(
        [sys.executable, ROOT / "tests/support/stepkiller.py", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, -9), done.stderr
    return done.returncode == -9, done.stdout.splitlines()


@pytest.mark.slow
def test_a_kill_at_any_step_ends_in_one_state(site: Isolated) -> None:
    """79, 95: before each write of the journal, the state and the ledger, and before each change of a target."""
    ends: dict[str, int] = {}
    step = 0
    while True:
        step += 1
        was_killed, steps = _killed(site, step)
        work = site.installation
        with work.site.lock():
            work.recover("plant-7")
        work = site.installation
        current = work.deployments.state("plant-7").current
        assert current is not None
        assert _identities(work, site) == {current.identity}, steps
        assert [problem for _, problem in work.inspect(current, deep=not was_killed) if problem] == [], steps
        assert work.deployments.journal("plant-7") is None
        ends[current.version] = ends.get(current.version, 0) + 1
        if not was_killed:
            break
        if current.version == "1.1":
            work.rollback("plant-7")
    assert current.version == "1.1"
    assert {name.partition(" ")[0] for name in steps if " " in name} == {
        "directory",
        "oci-layout",
        "registry",
        "gitops",
        "bucket",
    }
    assert steps.count("keep_journal") == 3
    assert ends["1.0"] >= 12
    assert ends["1.1"] >= 2


@pytest.mark.slow
def test_a_failed_check_returns_all_five(site: Isolated) -> None:
    """The former release serves at each of them, and a second apply goes through."""
    path = _path(site, "1.1")
    text = path.read_text()
    path.write_text(text + "health: [{command: [/bin/false], retries: 0}]\n")
    before = _identities(site.installation, site)
    with pytest.raises(DeployError):
        site.installation.apply(load(path))
    assert _identities(site.installation, site) == before
    path.write_text(text)
    site.installation.apply(load(path))
    assert len(_identities(site.installation, site) - before) == 1
