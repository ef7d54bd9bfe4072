"""A directory that takes some artifacts of a release: just these, whole, wherever their content lies."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from worlds import Connected, Isolated, write_tree

from installer.environments.environment import load
from sealift.errors import DeployError, UsageError

_NOISE = random.Random(7).randbytes(300_000)
_NAMES = ("api", "data", "web")


def _files(name: str, version: str) -> dict[str, bytes]:
    return {
        "a.txt": b"the first of all, and the same\n",
        "shared/noise.bin": _NOISE,
        "same.txt": b"the same everywhere\n" * 30,
        f"only/{name}.txt": name.encode() * 100,
        "version.txt": version.encode(),
        "twice.txt": b"the same everywhere\n" * 30,
        "empty": b"",
    }


@pytest.fixture
def site(connected: Connected, isolated: Isolated) -> Isolated:
    """A site that holds two releases of three artifacts, which have much in common."""
    for version in ("1.0.0", "1.1.0"):
        text = f'release: shop\nversion: "{version}"\nartifacts:\n'
        for name in _NAMES:
            folder = connected.root / version / name
            write_tree(folder, _files(name, version))
            (folder / "link").symlink_to("same.txt")
            text += f"  {name}: {{source: path, path: {version}/{name}}}\n"
        spec = connected.root / f"{version}.yaml"
        spec.write_text(text)
        isolated.admit(connected.export(spec))
    return isolated


def _environment(site: Isolated, version: str, more: str, hooks: str = "") -> Path:
    path = site.root / "environment.yaml"
    path.write_text(
        f'environment: plant-7\nrelease: shop\nversion: "{version}"\ntargets:\n'
        f"  - {{kind: directory, path: {site.srv}{more}}}\npolicy: none\n{hooks}"
    )
    return path


def _apply(site: Isolated, version: str, more: str, hooks: str = "") -> None:
    site.installation.apply(load(_environment(site, version, more, hooks)))


def _there(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _wanted(names: tuple[str, ...], version: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name in names:
        prefix = "" if len(names) == 1 else f"{name}/"
        files = _files(name, version)
        found |= {prefix + path: content for path, content in {**files, "link": files["same.txt"]}.items()}
    return found


@pytest.mark.parametrize("names", [each for size in (1, 2, 3) for each in itertools.combinations(_NAMES, size)])
@pytest.mark.parametrize("reuse", ["hardlink", "none"])
def test_any_choice_is_deployed_whole_and_nothing_else(site: Isolated, names: tuple[str, ...], reuse: str) -> None:
    """Also where a chunk appears first in an artifact that is left out, and when files are taken from the former."""
    more = f", artifacts: [{', '.join(names)}], reuse: {reuse}"
    for version in ("1.0.0", "1.1.0"):
        _apply(site, version, more)
        assert _there(site.srv / "current") == _wanted(names, version)
    assert site.problems(deep=True) == [None]


def test_damage_is_seen_in_what_is_taken(site: Isolated) -> None:
    """A deep look compares the chosen artifacts."""
    _apply(site, "1.0.0", ", artifacts: [data, web]")
    (site.srv / "current/web/version.txt").write_text("9")
    assert site.problem(deep=True)


def test_an_artifact_that_is_not_there_is_named(site: Isolated) -> None:
    """Before anything is written."""
    with pytest.raises(UsageError, match="has no artifact 'wab'"):
        _apply(site, "1.0.0", ", artifacts: [wab]")
    assert not (site.srv / "releases").exists()


def test_a_hook_of_the_release_runs_where_its_program_is(connected: Connected, site: Isolated) -> None:
    """In no folder where it is not; where none has it, the deployment fails."""
    spec = connected.root / "1.2.0.yaml"
    spec.write_text(
        (connected.root / "1.1.0.yaml").read_text().replace("1.1.0", "1.2.0").replace("path: 1.2.0", "path: 1.1.0")
        + "hooks:\n  after-switch:\n    - run: [hook]\n"
    )
    hook = connected.root / "1.1.0/api/hook"
    hook.write_text("#!/bin/sh\ntouch ran\n")
    hook.chmod(0o755)
    site.admit(connected.export(spec))
    with pytest.raises(DeployError, match="hook hook of the release is in no folder"):
        _apply(site, "1.2.0", ", artifacts: [web]")
    path = _environment(site, "1.2.0", ", artifacts: [api]")
    text = path.read_text().replace(
        "targets:\n", f"targets:\n  - {{kind: directory, path: {site.srv}-2, artifacts: [web]}}\n"
    )
    path.write_text(text)
    site.installation.apply(load(path))
    assert (site.srv / "current/ran").exists()
    assert not Path(f"{site.srv}-2/current/ran").exists()
