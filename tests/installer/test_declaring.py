"""Many environments at a site: each is governed by one source, can be copied, and can be removed."""

from __future__ import annotations

import importlib
import os
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from calls import Call
from killer import Side, killed
from shop import events, shop
from worlds import Connected, Isolated

from installer.cli import PROGRAM
from installer.declaring import declared
from installer.environments.environment import load
from sealift.errors import UsageError

SEALED = """\
environment: plant-7
release: shop
version: {version}
targets: [{{kind: directory, path: {path}}}]
policy: none
"""


@pytest.fixture
def site(connected: Connected, isolated: Isolated) -> Isolated:
    """A site that holds two releases, each with an environment in it, and runs the first by a file."""
    for version in ("1.0.0", "1.1.0"):
        text = SEALED.format(version=version, path=isolated.srv)
        isolated.admit(connected.bundle(version, {**shop(version), "env/prod.yaml": text.encode()}))
    isolated.apply("1.0.0")
    return isolated


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, isolated: Isolated) -> Call:
    """Runs the program for the site of `isolated`, at the time of the tests."""
    for name in ("options", "env", "status"):
        monkeypatch.setattr(importlib.import_module(f"installer.cli.{name}"), "utc_now", lambda: isolated.now)
    monkeypatch.setenv("SEALIFT_SITE", str(isolated.folder))
    return Call(PROGRAM, capsys)


def _version(folder: Path) -> str | None:
    path = folder / "current" / "version.txt"
    return path.read_text().strip() if path.exists() else None


def test_an_environment_may_come_in_a_release(connected: Connected, isolated: Isolated, call: Call) -> None:
    """Signed as the rest of it; the site remembers that the release governs it, whatever its version."""
    for version in ("1.0.0", "1.1.0"):
        text = SEALED.format(version=version, path=isolated.srv)
        isolated.admit(connected.bundle(version, {**shop(version), "env/prod.yaml": text.encode()}))
    for version in ("1.0.0", "1.1.0"):
        assert call("apply", f"shop@{version}:env/prod.yaml") == 0, call.err
        assert _version(isolated.srv) == version
    assert isolated.installation.deployments.state("plant-7").source == "release:shop:env/prod.yaml"


def test_what_governs_an_environment_is_not_changed_by_accident(site: Isolated, call: Call) -> None:
    """Another source is refused, and the hint says how to change over; then the former one is refused."""
    assert call("apply", "shop@1.1.0:env/prod.yaml") == 2
    assert "is governed by a file at this site, and not by the file env/prod.yaml of the release shop" in call.err
    assert "--take-over" in call.err
    assert serving_version(site) == "1.0.0"
    assert call("plan", "shop@1.1.0:env/prod.yaml") == 2
    assert call("apply", "shop@1.1.0:env/prod.yaml", "--take-over") == 0, call.err
    assert serving_version(site) == "1.1.0"
    with pytest.raises(UsageError, match="governed by the file"):
        site.installation.apply(load(site.environment("1.0.0")))
    assert call("rollback", "plant-7") == 0
    assert site.installation.deployments.state("plant-7").source == "release:shop:env/prod.yaml"


def serving_version(site: Isolated) -> str | None:
    """What serves at the target of `plant-7`."""
    return _version(site.srv)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("shop@1.0.0:env/none.yaml", "shop@1.0.0 has no file env/none.yaml"),
        ("shop@9:env/prod.yaml", "shop@9 is not at this site"),
        ("shop@1.0.0:version.txt", "shop@1.0.0:version.txt:1:1: must be a mapping"),
        ("nowhere.yaml", "nowhere.yaml: no such file"),
    ],
)
def test_a_declaration_that_is_not_there_is_told(site: Isolated, given: str, message: str) -> None:
    """With the file, in the release or at the site."""
    with pytest.raises(UsageError) as caught:
        declared(given, site.site)
    assert message in caught.value.message


def test_a_copy_is_one_command(site: Isolated, call: Call) -> None:
    """With changes and an end, after which status asks to remove it; the original is as it was."""
    other = site.root / "hotfix"
    arguments = ("--set", "version=1.1.0", "--set", f"targets[0].path={other}", "--expires", "3d")
    assert call("env", "copy", "plant-7", "hotfix", *arguments, "--dry-run") == 0, call.err
    assert not other.exists()
    assert call("env", "copy", "plant-7", "hotfix", *arguments) == 0, call.err
    assert (_version(other), serving_version(site)) == ("1.1.0", "1.0.0")
    listed = {each["environment"]: each for each in call.document("env", "list")["environments"]}
    assert listed["hotfix"] == {
        "environment": "hotfix",
        "current": "shop@1.1.0",
        "governed_by": "copy:plant-7",
        "expires": "2026-05-04T12:00:00Z",
        "targets": 1,
    }
    assert call("status") == 0
    assert "was to last until" not in call.out
    site.now += timedelta(days=3)
    assert call("status") == 0
    assert "environment hotfix was to last until 2026-05-04T12:00:00Z: remove it with" in call.out


def test_a_copy_needs_targets_of_its_own(site: Isolated, call: Call) -> None:
    """Two environments at one place would undo each other."""
    assert call("env", "copy", "plant-7", "hotfix", "--set", "version=1.1.0") == 2
    assert f"environment plant-7 is deployed to {site.srv} as well" in call.err
    assert serving_version(site) == "1.0.0"


@pytest.mark.parametrize(
    "change", ["version", "nothing.at.all=1", "targets[3].path=/a", "targets.path=/a", "=1", "targets[0]..path=/a"]
)
def test_a_change_without_a_place_is_refused(site: Isolated, call: Call, change: str) -> None:
    """And so is one that makes the environment invalid."""
    assert call("env", "copy", "plant-7", "hotfix", "--set", change) == 2
    assert "names no place" in call.err
    assert call("env", "copy", "plant-7", "hotfix", "--set", "targets=[]") == 2
    assert "targets: must not be an empty list" in call.err
    assert call("env", "copy", "nobody", "hotfix") == 2


def test_a_removed_environment_serves_nothing_and_is_forgotten(site: Isolated, call: Call) -> None:
    """Its folder at the target is empty, its release stays at the site, and the ledger says so."""
    assert call("env", "remove", "plant-7") == 0, call.err
    assert not (site.srv / "current").exists()
    assert not list((site.srv / "releases").iterdir())
    assert call.document("env", "list") == {"environments": []}
    assert len(site.site.state.admitted) == 2
    assert events(site, "undeployed", "1.0.0") == 1
    assert call("env", "remove", "plant-7") == 2
    site.apply("1.0.0")
    assert serving_version(site) == "1.0.0"


def _second(site: Isolated, path: Path, name: str = "plant-8") -> Path:
    """A file that declares another environment, deployed to `path`."""
    declared = site.environment("1.0.0")
    declared.write_text(declared.read_text().replace("plant-7", name).replace(str(site.srv), str(path)))
    return declared


def test_two_environments_cannot_have_one_place(site: Isolated) -> None:
    """Whatever declares them: they would undo each other. Nothing is changed, and another place is no trouble."""
    before = site.fingerprint_of_everything()
    with pytest.raises(UsageError, match=f"environment plant-7 is deployed to {site.srv} as well"):
        site.installation.apply(load(_second(site, site.srv)))
    assert site.fingerprint_of_everything() == before
    site.installation.apply(load(_second(site, site.root / "second")))


def test_a_rollback_does_not_return_to_a_place_that_another_environment_has(site: Isolated) -> None:
    """It moved away, and another one came."""
    old = site.srv
    site.srv = site.root / "moved"
    site.apply("1.1.0")
    site.installation.apply(load(_second(site, old).rename(site.root / "second.yaml")))
    with pytest.raises(UsageError, match=f"environment plant-8 is deployed to {old} as well"):
        site.installation.rollback("plant-7")


def test_environments_that_share_a_place_already_go_on(site: Isolated) -> None:
    """What older versions allowed is no reason to stop what runs."""
    deployments = site.installation.deployments
    deployments.keep_state(msgspec.structs.replace(deployments.state("plant-7"), environment="plant-8"))
    site.apply("1.1.0")
    assert serving_version(site) == "1.1.0"


def test_a_removal_leaves_what_another_environment_uses(site: Isolated, call: Call) -> None:
    """It is refused while both are deployed to one place, as older versions let them be."""
    deployments = site.installation.deployments
    deployments.keep_state(msgspec.structs.replace(deployments.state("plant-7"), environment="plant-8"))
    assert call("env", "remove", "plant-8") == 2
    assert f"environment plant-7 is deployed to {site.srv} as well" in call.err
    assert serving_version(site) == "1.0.0"


def test_a_removal_that_fails_returns_what_served(site: Isolated, call: Call) -> None:
    """Of two targets one refuses: the other serves again."""
    other = site.root / "second"
    site.apply("1.0.0", target=f"  - {{kind: directory, path: {other}}}\n")
    real = os.unlink

    def refuse(path: str | Path, *, dir_fd: int | None = None) -> None:
        if str(path) == str(site.srv / "current"):
            raise PermissionError(13, "permission denied", str(path))
        real(path, dir_fd=dir_fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.unlink", refuse)
        assert call("env", "remove", "plant-7") == 8
    assert (_version(other), serving_version(site)) == ("1.0.0", "1.0.0")
    assert call("env", "remove", "plant-7") == 0


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_killed_removal_is_finished_or_undone(site: Isolated, side: Side) -> None:
    """79: at each call that changes the disk; the next command leaves all of it or nothing."""
    number = 0
    while True:
        number += 1
        if not killed(lambda: site.installation.remove("plant-7"), number, side):
            break
        work = site.installation
        assert serving_version(site) in (None, "1.0.0")
        if "plant-7" in work.deployments.names():
            try:
                work.remove("plant-7")
            except UsageError:
                assert "plant-7" not in site.installation.deployments.names()
        assert not (site.srv / "current").exists()
        assert "plant-7" not in site.installation.deployments.names(), number
        assert events(site, "undeployed") == number
        site.apply("1.0.0")
    assert number > 5
