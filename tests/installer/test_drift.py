"""What no longer is as it was deployed: an apply finds it, says what it is, and repairs it without a gap."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest
from calls import Call
from killer import Side, killed
from molds import Molded
from shop import hold, runs, serving, shop
from worlds import Connected, Isolated

from installer.applying import Installation
from installer.cli import PROGRAM
from installer.environments.environment import load
from sealift.errors import DeployError
from sealift.progress import Silent


@pytest.fixture
def site(connected: Connected, isolated: Isolated, molded: Molded) -> Isolated:
    """A site that runs a release, one of whose files somebody has changed."""
    hold(molded, connected, isolated, "1.0.0")
    isolated.apply("1.0.0")
    (isolated.srv / "current/version.txt").write_text("changed\n")
    return isolated


def _deep(site: Isolated) -> Installation:
    return Installation(site.site, workers=1, progress=Silent(), clock=lambda: site.now, deep=True)


def test_a_quick_apply_does_not_read_every_file(site: Isolated) -> None:
    """What serves has the right name; only a deep look sees more."""
    assert not site.installation.plan(load(site.environment("1.0.0"))).pending


def test_a_deep_apply_writes_a_changed_folder_anew(site: Isolated) -> None:
    """And leaves nothing behind; the way back is what it was."""
    assert _deep(site).apply(load(site.environment("1.0.0"))).changed
    assert serving(site) == "1.0.0"
    assert runs(site) == ("1.0.0", None)
    assert [path.name for path in (site.srv / "releases").iterdir()] == [(site.srv / "current").readlink().name]
    assert not _deep(site).plan(load(site.environment("1.0.0"))).pending


def test_a_deep_plan_says_what_it_would_repair_and_touches_nothing(
    site: Isolated, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In words and in JSON, with the exit code of pending changes."""
    monkeypatch.setenv("SEALIFT_SITE", str(site.folder))
    call = Call(PROGRAM, capsys)
    environment = site.environment("1.0.0")
    before = site.fingerprint_of_everything()
    assert call("plan", environment, "--exit-code") == 0
    assert call("plan", environment, "--deep", "--exit-code") == 11
    assert f"directory {site.srv}: repair, since {site.srv}/releases/" in call.out
    (target,) = call.document("plan", environment, "--deep")["targets"]
    assert (target["action"], "no longer holds" in target["problem"]) == ("repair", True)
    assert site.fingerprint_of_everything() == before


def test_other_settings_of_a_target_are_another_deployment(site: Isolated, connected: Connected) -> None:
    """It is staged beside the one that serves, and a failure leaves that one as it was; a rollback returns to it."""
    spec = connected.root / "two.yaml"
    (connected.root / "other").mkdir()
    (connected.root / "other/file.txt").write_text("other\n")
    spec.write_text(
        'release: shop\nversion: "1.1.0"\nartifacts:\n  web: {source: path, path: shop-1.0.0}\n'
        "  other: {source: path, path: other}\n"
    )
    site.admit(connected.export(spec))
    for names in ("[web]", "[other]", "[web, other]"):
        site.deploy("1.1.0", f"{{kind: directory, path: {site.srv}, artifacts: {names}}}")
        there = {path.name for path in (site.srv / "current").iterdir()}
        wanted = {
            "[web]": {path.partition("/")[0] for path in shop("1.0.0")},
            "[other]": {"file.txt"},
            "[web, other]": {"web", "other"},
        }
        assert there == wanted[names]
    failing = f"{{kind: directory, path: {site.srv}, artifacts: [other]}}"
    path = site.root / "environment.yaml"
    path.write_text(
        f'environment: plant-7\nrelease: shop\nversion: "1.1.0"\ntargets:\n  - {failing}\npolicy: none\n'
        "health: [{command: [/bin/false], retries: 0}]\n"
    )
    with pytest.raises(DeployError):
        site.installation.apply(load(path))
    assert {path.name for path in (site.srv / "current").iterdir()} == {"web", "other"}
    site.installation.rollback("plant-7")
    assert {path.name for path in (site.srv / "current").iterdir()} == {"file.txt"}


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_killed_repair_leaves_a_whole_folder_and_can_be_repeated(site: Isolated, tmp_path: Path, side: Side) -> None:
    """79, 95: at every instant `current` leads to a folder with every file."""
    kept = tmp_path / "kept"
    shutil.copytree(site.root, kept, symlinks=True)
    for number in itertools.count(1):
        shutil.rmtree(site.root)
        shutil.copytree(kept, site.root, symlinks=True)
        was = killed(lambda: _deep(site).apply(load(site.environment("1.0.0"))), number, side)
        assert (site.srv / "current/version.txt").read_text() in ("changed\n", "1.0.0\n"), number
        assert (site.srv / "current/bin/check").exists(), number
        _deep(site).apply(load(site.environment("1.0.0")))
        assert serving(site) == "1.0.0", number
        if not was:
            assert number > 5
            return
