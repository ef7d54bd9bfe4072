"""The target `systemd` against systemd itself, as the first process of a container."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from killer import killed_at_program
from machine import Machine
from molds import Molded
from worlds import Connected, Isolated

from installer.applying import Outcome
from installer.environments.environment import load
from installer.systemd import units
from sealift.errors import DeployError, UsageError

UP = "systemd-notify --ready; exec sleep infinity"
RUN = "run: [shop.service, side.service], settle: 0"


def service(words: str = UP, more: str = "") -> bytes:
    """A service that says when it is up."""
    return (
        "[Unit]\nDescription=a test\n"
        f"[Service]\nType=notify\nNotifyAccess=all\nExecStart=/bin/sh -c '{words}'\nTimeoutStopSec=1\n{more}\n"
        "[Install]\nWantedBy=multi-user.target\n"
    ).encode()


def release(version: str) -> dict[str, bytes]:
    """A service that differs from version to version, and one that stays as it is."""
    return {
        "shop.service": service(more=f"Environment=VERSION={version}"),
        "shop.service.d/limits.conf": b"[Service]\nMemoryMax=200M\n",
        "side.service": service(),
    }


class Place:
    """A site that holds releases of units."""

    def __init__(self, connected: Connected, site: Isolated, machine: Machine) -> None:
        self._connected = connected
        self.site = site
        self.machine = machine

    def bring(self, version: str, files: dict[str, bytes], more: str = "") -> None:
        self.site.admit(self._connected.bundle(version, files, more=more))

    def deploy(self, version: str, run: str = RUN) -> Outcome:
        return self.site.deploy(version, f"{{kind: systemd, path: {self.machine.units}, {run}}}")

    def problem(self, *, deep: bool = False) -> str | None:
        return self.site.problem(deep=deep)

    def version(self) -> str:
        return self.machine.show("shop.service", "Environment").removeprefix("VERSION=")

    def pid(self, unit: str) -> str:
        return self.machine.show(unit, "MainPID")

    def state(self, unit: str) -> str:
        return self.machine.show(unit, "ActiveState")


@pytest.fixture
def place(connected: Connected, isolated: Isolated, molded: Molded, systemd: Machine) -> Place:
    """It holds two good releases."""
    molded("systemd", lambda: isolated.bring(connected, {version: release(version) for version in ("1.0", "1.1")}))
    return Place(connected, isolated, systemd)


def test_what_changed_is_started_anew_and_nothing_else(place: Place) -> None:
    """Units run, an upgrade and a return restart the one that is another, and the other keeps its process."""
    place.deploy("1.0")
    side, shop = place.pid("side.service"), place.pid("shop.service")
    assert place.version() == "1.0"
    assert place.machine.show("shop.service", "MemoryMax") == str(200 << 20)
    assert place.machine.show("shop.service", "UnitFileState") == "enabled"
    assert place.problem(deep=True) is None
    place.deploy("1.1")
    assert (place.version(), place.pid("side.service")) == ("1.1", side)
    assert place.pid("shop.service") != shop
    place.site.installation.rollback("plant-7")
    assert (place.version(), place.pid("side.service"), place.state("shop.service")) == ("1.0", side, "active")
    assert place.deploy("1.0").changed is False


def test_always_starts_all_anew(place: Place) -> None:
    """For units whose program is deployed by another target."""
    place.deploy("1.0", f"{RUN}, restart: always")
    side = place.pid("side.service")
    place.deploy("1.1", f"{RUN}, restart: always")
    assert place.pid("side.service") != side


def test_a_unit_that_does_not_start(place: Place) -> None:
    """Its journal is in the error, and the former units run again."""
    place.deploy("1.0")
    place.bring(
        "1.2", {**release("1.2"), "shop.service": service("echo the valve is stuck; exit 3", "Environment=VERSION=1.2")}
    )
    with pytest.raises(DeployError, match=r"shop\.service does not start: result (protocol|exit-code).*valve is stuck"):
        place.deploy("1.2")
    assert (place.version(), place.state("shop.service"), place.problem()) == ("1.0", "active", None)


@pytest.mark.slow
def test_a_unit_that_does_not_stay_up(place: Place) -> None:
    """One that dies, or that is started again and again, right after it was up is found while it settles."""
    place.deploy("1.0")
    dies = "systemd-notify --ready; sleep 0.5; exit 4"
    for version, more in (("1.2", "Restart=no"), ("1.3", "Restart=always\nRestartSec=0.1")):
        place.bring(version, {**release(version), "shop.service": service(dies, more)})
        with pytest.raises(DeployError, match=r"shop\.service (is failed|is activating|does not stay up)"):
            place.deploy(version, "run: [shop.service, side.service], settle: 4")
        assert (place.version(), place.state("shop.service")) == ("1.0", "active")


def test_a_unit_that_systemd_finds_wrong(place: Place) -> None:
    """Nothing in systemd's folder is touched, and nothing is started anew."""
    place.deploy("1.0")
    shop = place.pid("shop.service")
    place.bring("1.2", {**release("1.2"), "shop.service": b"[Service]\nType=notify\n"})
    with pytest.raises(DeployError, match=r"systemd-analyze verify failed .*shop\.service"):
        place.deploy("1.2")
    assert (place.version(), place.pid("shop.service")) == ("1.0", shop)


def test_what_is_gone_is_stopped_and_removed(place: Place) -> None:
    """With its drop-ins and its links; a drop-in of the site stays, and so does its folder."""
    place.deploy("1.0")
    own = place.machine.units / "shop.service.d/site.conf"
    own.write_bytes(b"[Service]\nNice=5\n")
    assert place.problem() is not None
    place.bring("2.0", {"side.service": service()})
    place.deploy("2.0", "run: [side.service], settle: 0")
    left = {str(path.relative_to(place.machine.units)) for path in place.machine.units.rglob("*")}
    assert left == {
        "side.service",
        "multi-user.target.wants",
        "multi-user.target.wants/side.service",
        "shop.service.d",
        "shop.service.d/site.conf",
    }
    assert place.state("shop.service") == "inactive"


def test_instances_and_timers(place: Place) -> None:
    """An instance follows its template; a timer waits, and its job may have ended."""
    files = {
        "shop@.service": service(more="Environment=VERSION=%i"),
        "job.service": b"[Service]\nType=oneshot\nExecStart=/bin/true\n",
        "job.timer": b"[Timer]\nOnCalendar=yearly\n[Install]\nWantedBy=timers.target\n",
    }
    run = 'run: ["shop@8081.service", job.timer, job.service], settle: 0'
    place.bring("2.0", files)
    place.bring("2.1", {**files, "shop@.service": service(more="Environment=VERSION=%i-new")})
    place.deploy("2.0", run.replace(", job.service", ""))
    assert place.machine.show("shop@8081.service", "Environment") == "VERSION=8081"
    place.deploy("2.1", run.replace(", job.service", ""))
    assert place.machine.show("shop@8081.service", "Environment") == "VERSION=8081-new"
    assert place.problem(deep=True) is None


@pytest.mark.parametrize("name", ["shop.service", "shop.service.d/limits.conf"])
def test_what_is_not_ours_stays(place: Place, name: str) -> None:
    """A file of others under a name of the release is an error before anything is done."""
    path = place.machine.units / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"theirs\n")
    with pytest.raises(DeployError, match="was not written by sealift"):
        place.deploy("1.0")
    assert path.read_bytes() == b"theirs\n"
    assert not (place.machine.units / "side.service").exists()


@pytest.mark.parametrize("name", ["shop.service", "shop.service.d"])
def test_no_link_is_followed(place: Place, name: str) -> None:
    """53: a link under the name of a unit, or of the folder of its drop-ins, is an error, and stays."""
    path, elsewhere = place.machine.units / name, place.site.root / "elsewhere"
    elsewhere.mkdir()
    path.symlink_to(elsewhere)
    with pytest.raises(DeployError, match="was not written by sealift"):
        place.deploy("1.0")
    assert path.is_symlink()
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        "systemd-journald.service",
        "systemd-journald.service.d/x.conf",
        "getty@.service",
        "system.slice.d/x.conf",
        "ctrl-alt-del.target",
    ],
)
def test_units_of_the_system_stay(place: Place, name: str) -> None:
    """What would hide or change a unit that systemd has from elsewhere is an error before anything is done."""
    unit = units.asked(units.base_of(name))
    before = [place.machine.show(unit, each) for each in ("FragmentPath", "DropInPaths", "MainPID")]
    place.bring("3.0", {"side.service": service(), name: service()})
    with pytest.raises(DeployError, match=r"there is a unit .* that sealift did not write"):
        place.deploy("3.0", "run: [side.service], settle: 0")
    assert not list(place.machine.units.iterdir())
    assert [place.machine.show(unit, each) for each in ("FragmentPath", "DropInPaths", "MainPID")] == before


def test_a_unit_of_others_is_not_stopped(place: Place) -> None:
    """One that the settings let run, and no more, runs on: its file is not the release's."""
    journal = "systemd-journald.service"
    place.deploy("1.0", f"run: [shop.service, side.service, {journal}], settle: 0")
    process = place.pid(journal)
    place.deploy("1.1", "run: [shop.service], settle: 0")
    assert (place.pid(journal), place.state("side.service")) == (process, "inactive")


def test_values_are_not_in_the_words_of_systemd(place: Place) -> None:
    """103: what systemd finds wrong in a unit that values filled is said by the unit's name alone."""
    files = {
        "units/bad.service": b"[Service]\nType=notify\nExecStart=${{ command }}\n",
        "units/side.service": service(),
        "schema.json": b'{"type": "object", "properties": {"command": {"type": "string"}}}',
    }
    place.bring("3.0", files, "values:\n  schema: schema.json\n  templates: [units/bad.service]\n")
    settings = f"path: {place.machine.units}, folder: units, run: [side.service], settle: 0"
    values = "values: {command: not-absolute-5eal/}\n"
    with pytest.raises(DeployError, match=r"verify failed .*: bad\.service; its words are not shown") as raised:
        place.site.deploy("3.0", f"{{kind: systemd, {settings}}}", more=values)
    assert "5eal" not in str(raised.value)


def test_what_people_edit_is_not_lost(place: Place) -> None:
    """An edited unit is drift, and stops the next deployment."""
    place.deploy("1.0")
    path = place.machine.units / "shop.service"
    path.write_bytes(service(more="Environment=VERSION=mine"))
    assert place.problem() == f"{path} is edited"
    with pytest.raises(DeployError, match="was edited"):
        place.deploy("1.1")
    assert b"mine" in path.read_bytes()


def test_a_unit_that_was_stopped_is_drift(place: Place) -> None:
    """What should run and does not is said."""
    place.deploy("1.0")
    place.machine.run("systemctl", "stop", "side.service")
    assert place.problem() == "side.service is inactive (dead), result success"


@pytest.mark.parametrize(
    ("files", "run", "error"),
    [
        ({"shop.conf": b""}, "run: []", "is no unit"),
        ({"a/shop.service": b""}, "run: []", "is no unit"),
        ({"systemd-.service.d/a.conf": b""}, "run: []", "is for all units whose names begin alike"),
        ({"shop.service": b"x" * (1 << 21)}, "run: []", "more than 1048576 bytes"),
        ({"shop.service": service()}, "run: [../shop.service]", "run"),
        ({"shop.service": service()}, "run: ['shop@.service']", "run"),
        ({"shop.service": service()}, "run: [--now]", "run"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be(place: Place, files: dict[str, bytes], run: str, error: str) -> None:
    """Files that are no units, and units that cannot run."""
    place.bring("3.0", files)
    with pytest.raises(UsageError, match=error):
        place.deploy("3.0", run)
    assert not list(place.machine.units.iterdir())


def test_a_unit_that_is_not_there(place: Place) -> None:
    """A name in `run` that nothing has is an error, and what was set is removed again."""
    with pytest.raises(DeployError, match=r"nowhere\.service"):
        place.deploy("1.0", "run: [shop.service, nowhere.service], settle: 0")
    assert not [path for path in place.machine.units.iterdir() if path.is_file()]
    assert place.state("shop.service") == "inactive"


def test_without_systemd(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none answers, nothing is set."""
    program = tmp_path / "systemctl"
    program.write_text("#!/bin/sh\necho there is no systemd here >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr("installer.programs.commands.PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(DeployError, match="there is no systemd here"):
        place.deploy("1.0")
    assert not list(place.machine.units.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("word", ["verify", "daemon-reload", "enable", "restart"])
def test_a_killed_switch(place: Place, word: str) -> None:
    """95: after the kill no release counts as serving, and the next command ends at one, whole and running."""
    place.deploy("1.0")
    killed_at_program(lambda: place.deploy("1.1"), lambda words: word in words)
    target = place.site.installation.targets(load(place.site.root / "environment.yaml"))[0]
    assert word == "verify" or "did not end" in str(target.current())
    outcome = place.deploy("1.1")
    assert outcome.recovered is not None
    assert (place.version(), place.state("shop.service"), place.problem(deep=True)) == ("1.1", "active", None)


def test_which_files_concern_a_unit() -> None:
    """Its own, its template's, and the drop-ins of both."""
    assert units.concerns("a@1.service", ["a@.service"])
    assert units.concerns("a@1.service", ["a@1.service.d/x.conf"])
    assert units.concerns("a.service", ["b.service", "a.service.d/x.conf"])
    assert not units.concerns("a.service", ["b.service", "ba.service", "a.service.dd/x.conf", "a.socket"])
