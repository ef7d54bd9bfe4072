"""An index that several environments share: side by side, taken out again, killed, damaged, full."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from distributions import wheel
from faults import Faults
from killer import killed
from worlds import NOW, Connected, Isolated

from bundler.depots.depot import Depot
from installer.environments import environment
from installer.indexes.shared import SharedIndex
from installer.indexes.side import Side
from installer.records.site import Site
from installer.storage.deployable import Deployable
from installer.storage.store import Store
from keys.ceremony import init
from sealift.errors import DeployError, MalformedError, StoreError, UsageError

BASE = {**wheel("base"), **wheel("shop", "1.0")}
LATER = {**wheel("base"), **wheel("shop", "1.1"), **wheel("more")}


class Plant:
    """A site whose environments share an index."""

    def __init__(self, connected: Connected, isolated: Isolated, root: Path) -> None:
        self.connected, self.isolated, self.root = connected, isolated, root
        self.target = f"{{kind: pypi-index, path: {root}}}"

    def admit(self, version: str, files: dict[str, bytes], release: str = "shop") -> None:
        self.isolated.admit(self.connected.packages(version, files, release=release))

    def apply(self, version: str, name: str = "plant-7", release: str = "shop", more: str = "") -> None:
        self.isolated.deploy(version, self.target, environment=name, release=release, more=more)

    def index(self, name: str = "plant-7", release: str = "shop", version: str = "1.0") -> SharedIndex:
        """The index as the target of an environment."""
        path = self.isolated.root / "look.yaml"
        path.write_text(
            f'environment: {name}\nrelease: {release}\nversion: "{version}"\ntargets: [{self.target}]\npolicy: none\n'
        )
        (found,) = self.isolated.installation.targets(environment.load(path))
        assert isinstance(found, SharedIndex)
        return found

    def deployable(self, version: str, release: str = "shop") -> Deployable:
        site = self.isolated.site
        admitted = site.state.release(release, version)
        assert admitted is not None
        return Deployable(release=Store(site.store).held(admitted.part), part=admitted.part)

    def files(self) -> set[str]:
        """The packages that the index lists."""
        return {path.name for path in (self.root / "current").rglob("*.whl")}

    def problem(self, version: str, name: str = "plant-7", release: str = "shop") -> str | None:
        return self.index(name).check(self.deployable(version, release), deep=True)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, and its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(*packages: dict[str, bytes]) -> set[str]:
    """The file names of packages."""
    return set().union(*packages)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A depot, and a site that holds two releases of one application and one of another, which share a package."""
    base = tmp_path_factory.mktemp("shared-index")
    done = init(base / "depot", root_keys=1, threshold=1, passphrase=None, now=NOW, unsafe_unencrypted=True)
    connected = Connected(root=base, depot=Depot(base / "depot"), fingerprint=done.fingerprint)
    (base / "isolated").mkdir()
    site = Isolated(root=base / "isolated", folder=base / "isolated/site", srv=base)
    Site.create(site.folder, connected.first_root.read_bytes(), connected.fingerprint, NOW)
    plant = Plant(connected, site, base / "pypi")
    plant.admit("1.0", BASE)
    plant.admit("1.1", LATER)
    plant.admit("5", {**wheel("base"), **wheel("tool")}, "tools")
    return base, done.fingerprint


@pytest.fixture
def plant(made: tuple[Path, str], tmp_path: Path) -> Plant:
    """A copy of what was made."""
    base, fingerprint = made
    root = tmp_path / "plant"
    shutil.copytree(base, root, symlinks=True)
    site = Isolated(root=root / "isolated", folder=root / "isolated/site", srv=root)
    return Plant(Connected(root=root, depot=Depot(root / "depot"), fingerprint=fingerprint), site, tmp_path / "pypi")


def test_releases_of_several_environments_are_listed_together(plant: Plant) -> None:
    """What two of them bring is listed once."""
    plant.apply("1.0")
    plant.apply("5", "tools", "tools")
    assert plant.files() == names(BASE, wheel("tool"))
    assert plant.problem("1.0") is None
    assert plant.problem("5", "tools", "tools") is None


def test_a_rollback_takes_out_what_only_that_release_brought(plant: Plant) -> None:
    """And nothing that another environment has."""
    plant.apply("1.0")
    plant.apply("5", "tools", "tools")
    plant.apply("1.1")
    assert plant.files() == names(LATER, wheel("tool"))
    plant.isolated.installation.rollback("plant-7")
    assert plant.files() == names(BASE, wheel("tool"))
    assert not (plant.root / "current/simple/more").exists()
    assert plant.problem("1.0") is None


def test_a_failed_first_deployment_leaves_the_others(plant: Plant) -> None:
    """The environment is taken out as a whole."""
    plant.apply("5", "tools", "tools")
    with pytest.raises(DeployError):
        plant.apply("1.0", more="health:\n  - command: [/bin/false]\n    retries: 0\n")
    assert plant.files() == names(wheel("base"), wheel("tool"))
    assert plant.index().current() is None


def test_other_content_under_a_name_of_another_release_is_refused(plant: Plant) -> None:
    """Before anything changes; and so it is where it differs by its name's spelling alone."""
    plant.apply("1.0")
    before = tree(plant.root)
    plant.admit("6", wheel("base", says="something else"), "tools")
    spelled = {name.replace("base", "Base"): content for name, content in wheel("base", says="else").items()}
    plant.admit("7", spelled, "tools")
    for version in ("6", "7"):
        with pytest.raises(
            UsageError, match=r"ase-1\.0-py3-none-any\.whl of tools@. has other content than base"
        ) as caught:
            plant.apply(version, "tools", "tools")
        assert caught.value.hint
        assert tree(plant.root) == before


def test_an_upgrade_with_other_content_under_a_name_is_refused(plant: Plant) -> None:
    """A rollback would bring the former content back, and nobody could tell the two."""
    plant.apply("1.0")
    plant.admit("1.2", wheel("base", says="something else"))
    with pytest.raises(UsageError, match="has other content than"):
        plant.apply("1.2")
    assert plant.problem("1.0") is None


def test_names_of_one_release_that_collide_are_refused(plant: Plant) -> None:
    """After normalisation they are one project, version and tag."""
    (dotted,) = wheel("x.y", says="dotted").values()
    plant.admit("2.0", {**wheel("x-y"), "x.y-1.0-py3-none-any.whl": dotted})
    with pytest.raises(MalformedError, match="the same package with different contents"):
        plant.apply("2.0")


def test_a_release_without_packages_is_refused(plant: Plant) -> None:
    """It says which kind is wanted."""
    plant.isolated.admit(plant.connected.bundle("3.0", {"a": b"a"}))
    with pytest.raises(UsageError, match="no artifact of the kind wheels"):
        plant.apply("3.0")


def test_another_kind_of_index_is_refused(plant: Plant) -> None:
    """Two kinds would overwrite each other's pages."""
    plant.apply("1.0")
    for mark in (plant.root / "indexes").glob("*.json"):
        mark.write_bytes(mark.read_bytes().replace(b"pypi-index", b"other-index"))
    with pytest.raises(UsageError, match="kind other-index"):
        plant.apply("1.1")


def test_only_what_differs_is_written(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """An added package costs what it costs: its own page, and the list of projects."""
    plant.apply("1.0")
    written: list[str] = []
    write = Side.write

    def noting(side: Side, path: str, content: bytes) -> None:
        written.append(path)
        write(side, path, content)

    monkeypatch.setattr(Side, "write", noting)
    plant.apply("1.1")
    pages = {path.rpartition("/")[0] for path in written}
    assert pages == {"simple", "simple/shop", "simple/more"}
    assert len(written) == 6


def test_both_sides_are_the_same_afterwards(plant: Plant) -> None:
    """So the next switch costs what it changes; and who serves the wrong folder serves the right thing soon."""
    plant.apply("1.0")
    plant.apply("1.1")
    assert tree(plant.root / "indexes/a") == tree(plant.root / "indexes/b")


def test_pruning_removes_contents_that_no_release_needs(plant: Plant) -> None:
    """What another environment has stays, and the index is whole."""
    plant.apply("1.0")
    plant.apply("5", "tools", "tools")
    plant.apply("1.1")
    contents = len(list((plant.root / "pool").glob("*/*")))
    assert plant.index().prune({plant.deployable("1.0").identity}) == 0
    assert len(list((plant.root / "pool").glob("*/*"))) == contents
    assert plant.index().prune(()) == 1
    assert len(list((plant.root / "pool").glob("*/*"))) == contents - 2
    assert plant.problem("1.1") is None
    assert plant.problem("5", "tools", "tools") is None
    plant.apply("1.0")
    assert plant.problem("1.0") is None


def _tampered(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize(
    "name",
    [
        "simple/base/base-1.0-py3-none-any.whl",
        "simple/base/base-1.0-py3-none-any.whl.metadata",
        "simple/more/more-1.0-py3-none-any.whl",
        "simple/base/index.html",
        "simple/index.json",
    ],
)
@pytest.mark.parametrize("harm", [_tampered, Path.unlink])
def test_damage_is_seen_and_mended(plant: Plant, name: str, harm: Callable[[Path], None]) -> None:
    """94: applying another version and this one again writes anew what is damaged, on both sides."""
    plant.apply("1.0")
    plant.apply("1.1")
    harm(plant.root / "current" / name)
    said = plant.problem("1.1")
    assert said is not None
    assert "apply another version, and then this one again" in said
    plant.apply("1.0")
    plant.apply("1.1")
    assert plant.problem("1.1") is None
    assert tree(plant.root / "indexes/a") == tree(plant.root / "indexes/b")


def test_a_file_that_does_not_belong_is_seen(plant: Plant) -> None:
    """Somebody put a package into the index by hand."""
    plant.apply("1.0")
    (plant.root / "current/simple/base/base-9-py3-none-any.whl").write_bytes(b"mine")
    assert "base-9" in (plant.problem("1.0") or "")


def test_a_damaged_listing_is_an_error(plant: Plant) -> None:
    """94: an index is not made of what cannot be read; another environment's release still serves."""
    plant.apply("1.0")
    plant.apply("5", "tools", "tools")
    (listing,) = (plant.root / "releases/tools").iterdir()
    listing.write_bytes(listing.read_bytes().replace(b"tool-1.0", b"evil-1.0"))
    with pytest.raises(StoreError, match="missing or damaged"):
        plant.apply("1.1")
    assert plant.files() == names(BASE, wheel("tool"))


def test_a_lost_side_is_made_anew(plant: Plant) -> None:
    """What a kill left half-changed says nothing of itself, and nothing of it is believed."""
    plant.apply("1.0")
    live = os.readlink(plant.root / "current").rpartition("/")[2]
    other = "b" if live == "a" else "a"
    (plant.root / f"indexes/{other}.json").unlink()
    (plant.root / f"indexes/{other}/simple/evil").mkdir()
    (plant.root / f"indexes/{other}/simple/evil/index.html").write_text("half")
    plant.apply("1.1")
    assert plant.problem("1.1") is None
    assert tree(plant.root / "indexes/a") == tree(plant.root / "indexes/b")


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_do_not_depend_on_the_umask(plant: Plant, umask: int) -> None:
    """100: a web server of another user can read everything below `current`, and nobody else can write it."""
    former = os.umask(umask)
    try:
        plant.apply("1.0")
        plant.apply("1.1")
    finally:
        os.umask(former)
    assert (plant.root.stat().st_mode & 0o777, (plant.root / "indexes").stat().st_mode & 0o777) == (0o755, 0o755)
    for path in (plant.root / "current").resolve().rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


def _sound(plant: Plant, allowed: tuple[Deployable, ...]) -> None:
    """What is served is one of the releases, whole: a look at one environment's release is one at the whole index."""
    index = plant.index()
    (serving,) = [each for each in allowed if each.identity == index.current()]
    assert index.check(serving, deep=True) is None
    assert names(wheel("base"), wheel("tool")) <= plant.files()


@pytest.mark.slow
@pytest.mark.parametrize("work", ["upgrade", "rollback", "prune"])
def test_a_kill_at_any_instant_leaves_a_whole_index(plant: Plant, tmp_path: Path, work: str) -> None:
    """79: the former release or the next one serves; the same again ends the work, and leaves nothing behind."""
    plant.apply("1.0")
    plant.apply("5", "tools", "tools")
    first, second = plant.deployable("1.0"), plant.deployable("1.1")
    if work != "upgrade":
        _upgrade(plant, second)
    kept = tmp_path / "kept"
    os.rename(plant.root, kept)

    def operation() -> None:
        if work == "upgrade":
            _upgrade(plant, second)
        elif work == "rollback":
            plant.index().activate(first.identity)
        else:
            plant.index().prune(())

    for number in itertools.count(1, 1 if work == "upgrade" else 2):
        shutil.rmtree(plant.root, ignore_errors=True)
        _copy(kept, plant.root)
        dead = killed(operation, number, "before")
        _sound(plant, (first, second))
        operation()
        _sound(plant, (second if work != "rollback" else first,))
        assert tree(plant.root / "indexes/a") == tree(plant.root / "indexes/b")
        assert not list(plant.root.rglob(".tmp-*")), number
        if not dead:
            assert number > 3
            return


def _copy(source: Path, to: Path) -> None:
    """Copy a folder with its links, hard ones too."""
    seen: dict[int, Path] = {}
    for path in [source, *sorted(source.rglob("*"))]:
        new = to / path.relative_to(source)
        if path.is_symlink():
            new.symlink_to(path.readlink())
        elif path.is_dir():
            new.mkdir()
        elif path.stat().st_ino in seen:
            os.link(seen[path.stat().st_ino], new)
        else:
            shutil.copy2(path, new)
            seen[path.stat().st_ino] = new


@pytest.mark.slow
def test_a_disk_that_fails_at_any_call_leaves_a_whole_index(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """81, 82: the error says what the disk said; what served before serves, and the same again succeeds."""
    plant.apply("1.0")
    plant.apply("5", "tools", "tools")
    first, second = plant.deployable("1.0"), plant.deployable("1.1")
    kept = tmp_path / "kept"
    os.rename(plant.root, kept)
    faults, failed = Faults(monkeypatch), 0
    for number in itertools.count(1):
        shutil.rmtree(plant.root, ignore_errors=True)
        _copy(kept, plant.root)
        faults.begin(number, errno.ENOSPC)
        try:
            _upgrade(plant, second)
        except StoreError:
            failed += 1
        reached = faults.end()
        _sound(plant, (first, second))
        if not reached:
            assert failed > 10
            return
        _upgrade(plant, second)
        _sound(plant, (second,))


def _upgrade(plant: Plant, release: Deployable) -> None:
    index = plant.index()
    index.stage(release, None)
    index.activate(release.identity)
