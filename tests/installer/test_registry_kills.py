"""A process that is killed at any instant of the target `registry` leaves tags of one release, or a mark.

It is killed just before every request that changes the registry, and every call that changes the target's disk: just
after one is just before the next. The registry is a real one; before each kill it is set back to what it was. It is
one of those that take no tag away, so of a first release that is undone its tags may stay, all of them.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from images import Pile, Value
from killer import Fuse, killed
from pushkiller import arm_switch, arm_target
from registries import Running, registry
from shop import events, interrupted, runs
from worlds import Connected, Isolated

from sealift.errors import DeployError

NAMES = ("api", "web")
UNHEALTHY = "health:\n  - command: [/bin/false]\n    retries: 0\n"
Version = Literal["1.0", "1.1"]

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _home(quiet_home: Path) -> Path:
    return quiet_home


@dataclass(frozen=True, kw_only=True)
class World:
    """A site and its registry, which a test may ruin, and the states that they can be set to."""

    site: Isolated
    running: Running
    states: Path
    digests: dict[Version, dict[str, str]]
    """What each tag of a release stands for."""

    @property
    def _places(self) -> dict[str, Path]:
        return {"site": self.site.root, "registry": self.running.storage}

    def keep(self, state: str) -> None:
        """Keep what the site and the registry are now."""
        for name, place in self._places.items():
            if place.exists():
                shutil.copytree(place, self.states / state / name, symlinks=True)

    def set_to(self, state: str) -> None:
        """Make the site and the registry what they were in a kept state."""
        for name, place in self._places.items():
            shutil.rmtree(place, ignore_errors=True)
            if (self.states / state / name).exists():
                shutil.copytree(self.states / state / name, place, symlinks=True)

    def apply(self, version: Version, more: str = "") -> None:
        """Apply an environment with a version."""
        place = f"registry: '{self.running.host}', path: {self.site.srv}"
        self.site.deploy(version, f"{{kind: registry, {place}, unsafe_http: true}}", more=more)

    @property
    def stands(self) -> dict[str, str]:
        """What each tag stands for."""
        found = {}
        for name in NAMES:
            status, _, headers = self.running.request(
                "HEAD", f"shop/{name}/manifests/stable", Accept="application/vnd.oci.image.manifest.v1+json"
            )
            if status == 200:
                found[name] = headers["Docker-Content-Digest"]
        return found

    @property
    def marked(self) -> bool:
        """Whether a switch is said to be under way."""
        return (self.site.srv / "switching").exists()

    def check(self, *allowed: Version | None) -> None:
        """Each tag stands for what a release gave it; without a mark, all of them for what the one that serves did."""
        stands = self.stands
        for name in NAMES:
            assert stands.get(name) in [self.digests[each][name] if each else None for each in allowed]
        if not self.marked:
            current = self.site.srv / "current"
            serving = current.readlink().name.partition("-")[0] if current.is_symlink() else None
            assert stands in [found for version, found in self.digests.items() if serving in (version, None)] or (
                serving is None and stands == {}
            )

    def check_runs(self, version: Version) -> None:
        """A release is all that is there, and the site knows it."""
        assert self.stands == self.digests[version]
        assert not self.marked
        assert not interrupted(self.site)
        assert runs(self.site)[0] == version
        assert self.site.problem(deep=True) is None

    def every_kill(
        self,
        state: str,
        operation: Callable[[], object],
        check: Callable[[int], None],
        arm: Callable[[Fuse], None] = arm_switch,
    ) -> None:
        """Kill `operation` at every change, and `check` each time, until it completes."""
        for number in itertools.count(1):
            self.set_to(state)
            if not killed(operation, number, "before", arm):
                assert number > 8
                return
            check(number)


@pytest.fixture
def world(connected: Connected, isolated: Isolated, tmp_path: Path) -> Iterator[World]:
    """A site that holds two releases of two images with the same tags, and an empty registry."""
    digests: dict[Version, dict[str, str]] = {}
    versions: tuple[Version, ...] = ("1.0", "1.1")
    for version in versions:
        text = f'release: shop\nversion: "{version}"\nartifacts:\n'
        digests[version] = {}
        for number, name in enumerate(NAMES):
            pile = Pile()
            root: Value = pile.image(int(version[-1]) * 10 + number, size=2000)
            pile.write(connected.root / f"{name}-{version}", {"it": root})
            called = f"registry.example.com/shop/{name}:stable"
            text += f"  {name}: {{source: oci, image: 'oci:{name}-{version}:it', as: '{called}'}}\n"
            digests[version][name] = root["digest"]
        spec = connected.root / f"{version}.yaml"
        spec.write_text(text)
        isolated.admit(connected.export(spec))
    with registry(tmp_path / "there") as running:
        made = World(site=isolated, running=running, states=tmp_path / "states", digests=digests)
        made.keep("holds both")
        yield made


def test_a_killed_upgrade_has_tags_of_one_release_after_the_next_command(world: World) -> None:
    """79, 95: the next apply ends at the new release, or at the former one, with every tag."""
    world.apply("1.0")
    world.keep("runs 1.0")

    def check(number: int) -> None:
        world.check("1.0", "1.1")
        version: Version = "1.1" if number % 2 else "1.0"
        world.apply(version)
        world.check_runs(version)
        assert events(world.site, "deployed", "1.1") == (version == "1.1")
        assert version == "1.0" or not list(world.site.srv.rglob(".tmp-*"))

    world.every_kill("runs 1.0", lambda: world.apply("1.1"), check, arm_target)


def test_a_killed_rollback_has_tags_of_one_release_after_the_next_command(world: World) -> None:
    """79, 96: repeated, it ends at the former release with every tag."""
    world.apply("1.0")
    world.apply("1.1")
    world.keep("runs 1.1")

    def check(_: int) -> None:
        world.check("1.0", "1.1")
        if interrupted(world.site) or runs(world.site)[0] == "1.1":
            world.site.installation.rollback("plant-7")
        world.check_runs("1.0")
        assert events(world.site, "rolled-back", "1.0") == 1

    world.every_kill("runs 1.1", lambda: world.site.installation.rollback("plant-7"), check)


def test_a_killed_first_deployment_that_takes_its_tags_away(world: World) -> None:
    """79, 96: an unhealthy first release is killed while its tags are set, and while they are to be taken away."""

    def attempt() -> None:
        with pytest.raises(DeployError):
            world.apply("1.0", UNHEALTHY)

    def check(_: int) -> None:
        world.check("1.0", None)
        world.apply("1.0")
        world.check_runs("1.0")

    world.every_kill("holds both", attempt, check)
