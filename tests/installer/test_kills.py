"""A process that is killed at any instant leaves the site and its targets whole, and the next command goes on.

Each operation is killed just before and just after every call that changes the disk, one call after another.
"""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from killer import Side, killed
from shop import admitted, events, interrupted, runs, serving, shop
from worlds import NOW, Connected, Isolated

from bundler.depots.depot import Depot
from installer.auditing import audit
from installer.collecting import Collected, collect
from installer.records.site import Site
from keys.ceremony import init
from sealift.errors import DeployError
from sealift.progress import Silent

SLICES = 2
VERSIONS = ("1.0.0", "1.1.0", "1.2.0")
UNHEALTHY = "health:\n  - command: [/bin/false]\n    retries: 0\n"


@dataclass(frozen=True, kw_only=True)
class World:
    """A site that a test may ruin, and the states that it can be set to."""

    states: Path
    site: Isolated
    bundles: dict[str, Path]

    def set_to(self, state: str) -> None:
        """Make the site and its target what they were in a kept state."""
        shutil.rmtree(self.site.root)
        shutil.copytree(self.states / state, self.site.root, symlinks=True)

    def keep(self, state: str) -> None:
        """Keep what the site and its target are now."""
        shutil.copytree(self.site.root, self.states / state, symlinks=True)

    def check_sound(self, *, deep: bool = False) -> None:
        """The site opens; its store and its ledger are whole."""
        found = audit(self.site.site, deep=deep, workers=1, progress=Silent())
        assert found.sound, found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The states that the operations start from."""
    base = tmp_path_factory.mktemp("kills")
    (base / "connected").mkdir()
    (base / "isolated").mkdir()
    made = init(
        base / "connected" / "depot",
        root_keys=1,
        threshold=1,
        passphrase=None,
        now=NOW,
        unsafe_unencrypted=True,
    )
    connected = Connected(
        root=base / "connected", depot=Depot(base / "connected" / "depot"), fingerprint=made.fingerprint
    )
    bundles = {version: connected.bundle(version, shop(version)) for version in VERSIONS}
    bundles["difference"] = connected.export(
        connected.root / "shop-1.1.0.yaml", connected.root / "difference.sealift", since=["shop@1.0.0"]
    )
    made_of = connected.made["difference.sealift"].carried[0].difference
    assert made_of is not None
    assert made_of.inside.archives == 1
    Site.create(base / "isolated" / "site", connected.first_root.read_bytes(), connected.fingerprint, NOW)
    site = Isolated(root=base / "isolated", folder=base / "isolated" / "site", srv=base / "isolated" / "srv")
    world = World(states=base / "states", site=site, bundles=bundles)
    world.keep("enrolled")
    site.admit(bundles["1.0.0"])
    world.keep("holds 1.0.0")
    site.apply("1.0.0")
    site.admit(bundles["1.1.0"])
    world.keep("runs 1.0.0")
    site.apply("1.1.0")
    world.keep("runs 1.1.0")
    site.admit(bundles["1.2.0"])
    site.apply("1.2.0")
    world.keep("runs 1.2.0")
    world.set_to("enrolled")
    large = {f"own/{number}": random.Random(number).randbytes(20_000) for number in range(10)}
    site.admit(connected.bundle("2.0.0", shop("2.0.0") | large))
    site.admit(connected.bundle("2.1.0", shop("2.1.0") | {"kept": large["own/3"]}, since=["shop@2.0.0"]))
    world.keep("needs little of 2.0.0")
    yield world
    shutil.rmtree(base)


def _every_kill(
    world: World, state: str, side: Side, part: int, operation: Callable[[], object], check: Callable[[int], None]
) -> None:
    """Kill `operation` at every `SLICES`-th call from `part`, and `check` each time, until it completes."""
    for number in itertools.count(part + 1, SLICES):
        world.set_to(state)
        if not killed(operation, number, side):
            assert number > 5
            return
        check(number)


def each_kill(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test for both sides of the calls, in slices."""
    for mark in (pytest.mark.parametrize("side", ["before", "after"]), pytest.mark.parametrize("part", range(SLICES))):
        test = mark(test)
    return test


@each_kill
def test_a_killed_import_of_a_difference_admits_all_or_nothing(world: World, side: Side, part: int) -> None:
    """79: what was rebuilt before the kill is rebuilt again, and the site holds the base alone or both, whole."""

    def check(number: int) -> None:
        world.check_sound()
        assert admitted(world.site) in (["1.0.0"], ["1.0.0", "1.1.0"]), number
        world.site.admit(world.bundles["difference"])
        world.check_sound(deep=True)
        assert admitted(world.site) == ["1.0.0", "1.1.0"]
        assert events(world.site, "admitted", "1.1.0") == 1, number

    _every_kill(world, "holds 1.0.0", side, part, lambda: world.site.admit(world.bundles["difference"]), check)


@each_kill
def test_a_killed_import_admits_all_or_nothing_and_can_be_repeated(world: World, side: Side, part: int) -> None:
    """79: whatever the instant, the site holds the old releases or the old and the new one."""

    def check(number: int) -> None:
        world.check_sound()
        assert admitted(world.site) in (["1.0.0"], ["1.0.0", "1.1.0"]), number
        world.site.admit(world.bundles["1.1.0"])
        world.check_sound(deep=True)
        assert admitted(world.site) == ["1.0.0", "1.1.0"]
        assert events(world.site, "admitted", "1.1.0") == 1, number

    _every_kill(world, "holds 1.0.0", side, part, lambda: world.site.admit(world.bundles["1.1.0"]), check)


@each_kill
def test_a_killed_apply_leaves_a_whole_release_serving_and_can_be_repeated(world: World, side: Side, part: int) -> None:
    """79, 95: before and after the recovery, what serves is the old release or the new one, whole."""

    def check(number: int) -> None:
        world.check_sound()
        assert serving(world.site) in ("1.0.0", "1.1.0"), number
        if not interrupted(world.site):
            assert serving(world.site) == runs(world.site)[0], number
        world.site.apply("1.1.0")
        assert serving(world.site) == "1.1.0"
        assert runs(world.site) == ("1.1.0", "1.0.0"), number
        assert not interrupted(world.site)
        assert events(world.site, "deployed", "1.1.0") == 1, number
        assert not list(world.site.srv.rglob(".tmp-*"))
        world.check_sound()

    _every_kill(world, "runs 1.0.0", side, part, lambda: world.site.apply("1.1.0"), check)


@each_kill
def test_a_killed_first_apply_leaves_nothing_or_a_whole_release(world: World, side: Side, part: int) -> None:
    """79: the same where nothing was deployed before."""

    def check(number: int) -> None:
        world.check_sound()
        assert serving(world.site) in (None, "1.0.0"), number
        world.site.apply("1.0.0")
        assert (serving(world.site), runs(world.site)) == ("1.0.0", ("1.0.0", None)), number
        assert events(world.site, "deployed", "1.0.0") == 1, number
        world.check_sound()

    _every_kill(world, "holds 1.0.0", side, part, lambda: world.site.apply("1.0.0"), check)


@each_kill
def test_a_killed_rollback_is_finished_once(world: World, side: Side, part: int) -> None:
    """79, 96: repeated, it ends at the former release; it does not turn back to the one that was left."""

    def check(number: int) -> None:
        world.check_sound()
        assert serving(world.site) in ("1.0.0", "1.1.0"), number
        if interrupted(world.site) or runs(world.site)[0] == "1.1.0":
            world.site.installation.rollback("plant-7")
        assert serving(world.site) == "1.0.0"
        assert runs(world.site) == ("1.0.0", "1.1.0"), number
        assert events(world.site, "rolled-back", "1.0.0") == 1, number
        world.check_sound()

    _every_kill(world, "runs 1.1.0", side, part, lambda: world.site.installation.rollback("plant-7"), check)


@each_kill
def test_a_killed_return_is_taken_up_by_the_next_command(world: World, side: Side, part: int) -> None:
    """96: an apply that fails its health check and is killed while it returns the former release."""

    def attempt() -> None:
        with pytest.raises(DeployError):
            world.site.apply("1.1.0", more=UNHEALTHY)

    def check(number: int) -> None:
        world.check_sound()
        assert serving(world.site) in ("1.0.0", "1.1.0"), number
        attempt()
        assert (serving(world.site), runs(world.site)) == ("1.0.0", ("1.0.0", None)), number
        assert not interrupted(world.site)
        world.check_sound()

    _every_kill(world, "runs 1.0.0", side, part, attempt, check)


@each_kill
def test_a_killed_gc_removes_nothing_that_is_needed_and_can_be_repeated(world: World, side: Side, part: int) -> None:
    """79, 93: what an environment runs or ran before is whole at every instant; a second gc ends the work."""

    def gc() -> None:
        work = world.site.installation
        collect(work.site, work, keep=0, dry_run=False, clock=lambda: NOW)

    def check(number: int) -> None:
        world.check_sound()
        assert serving(world.site) == "1.2.0"
        gc()
        assert admitted(world.site) == ["1.1.0", "1.2.0"], number
        assert len(list((world.site.srv / "releases").iterdir())) == 2, number
        assert len(list((world.site.folder / "store" / "manifests").iterdir())) == 2 * 2, number
        world.check_sound(deep=True)
        world.site.installation.rollback("plant-7")
        assert serving(world.site) == "1.1.0"

    _every_kill(world, "runs 1.2.0", side, part, gc, check)


@each_kill
def test_a_killed_gc_that_packs_anew_loses_nothing(world: World, side: Side, part: int) -> None:
    """79, 93: a release is whole in its old packs or in the new ones; a second gc ends the work."""

    def gc() -> Collected:
        work = world.site.installation
        return collect(work.site, work, keep=1, dry_run=False, clock=lambda: NOW)

    def check(number: int) -> None:
        world.check_sound(deep=True)
        gc()
        assert admitted(world.site) == ["2.1.0"], number
        world.check_sound(deep=True)
        again = gc()
        assert (again.files, again.packs) == (0, 0), number
        assert sum(path.stat().st_size for path in (world.site.folder / "store" / "packs").iterdir()) < 40_000

    _every_kill(world, "needs little of 2.0.0", side, part, gc, check)
