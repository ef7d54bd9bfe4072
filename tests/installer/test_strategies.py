"""Blue/green and canary deployments through real proxies: no request fails, whatever happens to the installer."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from molds import Molded
from proxies import Front, Kind, Load, front, wait_for
from registries import need
from shop import events, hold, runs
from worlds import Connected, Isolated

from installer.applying import Outcome
from installer.environments.environment import load
from sealift.errors import DeployError, StoreError, UsageError

ENOUGH = 20_000
CANARY = "  steps: [{share: 10, seconds: 1}, {share: 50, seconds: 1}]\n"


@pytest.fixture(params=["haproxy", "nginx"])
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Front]:
    """Each proxy in turn."""
    kind: Kind = request.param
    with front(kind, tmp_path / "front", tmp_path / "srv") as running:
        yield running


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[Front]:
    """HAProxy alone."""
    with front("haproxy", tmp_path / "front", tmp_path / "srv") as running:
        yield running


@pytest.fixture
def site(connected: Connected, isolated: Isolated, molded: Molded) -> Isolated:
    """A site that holds three releases."""
    hold(molded, connected, isolated, "1.0.0", "1.1.0", "1.2.0")
    return isolated


def _environment(site: Isolated, proxy: Front, version: str, kind: str = "blue-green", more: str = "") -> Path:
    path = site.root / "environment.yaml"
    path.write_text(
        f'environment: plant-7\nrelease: shop\nversion: "{version}"\ntargets:\n'
        f"  - {{kind: directory, path: '{proxy.srv}/{{slot}}'}}\npolicy: none\n" + proxy.strategy(kind, more)
    )
    return path


def _apply(site: Isolated, proxy: Front, version: str, kind: str = "blue-green", more: str = "") -> Outcome:
    return site.installation.apply(load(_environment(site, proxy, version, kind, more)))


def _serving(site: Isolated) -> str | None:
    environment = load(site.root / "environment.yaml")
    return site.installation.targets(environment)[-1].current()


def test_the_first_release_takes_all_traffic(proxy: Front, site: Isolated) -> None:
    """There is nobody to share it with."""
    assert _apply(site, proxy, "1.0.0").changed
    assert proxy.get() == "1.0.0\n"
    assert not _apply(site, proxy, "1.0.0").changed


def test_an_upgrade_runs_beside_the_former_release_and_a_rollback_moves_traffic_alone(
    proxy: Front, site: Isolated
) -> None:
    """The former slot is kept warm: nothing is written or started for the way back."""
    _apply(site, proxy, "1.0.0")
    _apply(site, proxy, "1.1.0")
    assert proxy.get() == "1.1.0\n"
    started = proxy.start.rename(proxy.folder / "gone")
    assert site.installation.rollback("plant-7").written == 0
    assert proxy.get() == "1.0.0\n"
    assert runs(site) == ("1.0.0", "1.1.0")
    started.rename(proxy.start)
    _apply(site, proxy, "1.2.0")
    assert proxy.get() == "1.2.0\n"


def test_a_release_that_is_not_well_gets_no_traffic(proxy: Front, site: Isolated, connected: Connected) -> None:
    """It is asked in its slot before the proxy hears of it."""
    _apply(site, proxy, "1.0.0")
    site.admit(connected.bundle("1.3.0", {"other.txt": b"no version\n"}))
    with pytest.raises(DeployError, match="slot green: health check"):
        _apply(site, proxy, "1.3.0")
    assert proxy.get() == "1.0.0\n"
    assert runs(site) == ("1.0.0", None)
    _apply(site, proxy, "1.1.0")
    assert proxy.get() == "1.1.0\n"


def test_a_program_that_does_not_start_the_release_fails_the_deployment(haproxy: Front, site: Isolated) -> None:
    """The former release serves on."""
    _apply(site, haproxy, "1.0.0")
    haproxy.start.write_text("#!/bin/sh\necho no port is left\nexit 3\n")
    with pytest.raises(DeployError, match="exit code 3: no port is left"):
        _apply(site, haproxy, "1.1.0")
    assert haproxy.get() == "1.0.0\n"


def test_a_failed_first_deployment_leaves_no_traffic(haproxy: Front, site: Isolated) -> None:
    """Both servers are in maintenance, and nothing serves."""
    haproxy.start.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(DeployError):
        _apply(site, haproxy, "1.0.0")
    assert _serving(site) is None
    assert runs(site) == (None, None)


def test_a_canary_that_fails_at_a_step_returns_all_traffic(haproxy: Front, site: Isolated) -> None:
    """The release is well at first; its slot dies while it has a tenth of the traffic."""
    _apply(site, haproxy, "1.0.0")
    steps = "  steps: [{share: 10, seconds: 30}]\n"
    path = _environment(site, haproxy, "1.1.0", "canary", steps)
    child = os.fork()
    if child == 0:
        try:
            site.installation.apply(load(path))
        except DeployError as error:
            os._exit(9 if "failed at 10 %" in error.message else 1)
        os._exit(0)
    wait_for(lambda: "(10 %)" in (_serving(site) or ""))
    time.sleep(1.5)  # HAProxy has found the slot up by then
    os.kill(int((haproxy.folder / "green/nginx.pid").read_text()), signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert haproxy.get() == "1.0.0\n"
    assert (_serving(site) or "").startswith("1.0.0-")
    assert events(site, "returned", "1.1.0") == 1


def test_a_canary_whose_requests_fail_returns_all_traffic(haproxy: Front, site: Isolated, connected: Connected) -> None:
    """HAProxy counts what its slot answers: the health check passes, and the users' page does not."""
    _apply(site, haproxy, "1.0.0")
    (haproxy.folder / "green/template").write_text(
        (haproxy.folder / "green/template")
        .read_text()
        .replace("root ROOT;", "root ROOT; location = /a { return 500; }")
    )
    need("ab")
    steps = "  steps: [{share: 50, seconds: 20}]\n  errors: 1\n"
    with (
        Load(f"http://127.0.0.1:{haproxy.port}/a", least=100),
        pytest.raises(DeployError, match="requests failed, and 1 % are borne"),
    ):
        _apply(site, haproxy, "1.1.0", "canary", steps)
    assert (_serving(site) or "").startswith("1.0.0-")


def test_a_canary_can_be_held_and_then_given_everything(proxy: Front, site: Isolated) -> None:
    """For a comparison of the two; a further release finds no room meanwhile, and a rollback takes all back."""
    _apply(site, proxy, "1.0.0")
    held = "  steps: [{share: 10, seconds: 0}]\n  hold: 20\n"
    assert _apply(site, proxy, "1.1.0", "canary", held).changed
    assert (_serving(site) or "").startswith("1.1.0-")
    assert not _apply(site, proxy, "1.1.0", "canary", held).changed
    assert {proxy.get() for _ in range(40)} == {"1.0.0\n", "1.1.0\n"}
    with pytest.raises(UsageError, match="both slots"):
        _apply(site, proxy, "1.2.0", "canary", held)
    assert _apply(site, proxy, "1.1.0", "canary", CANARY).changed
    assert {proxy.get() for _ in range(40)} == {"1.1.0\n"}
    site.installation.rollback("plant-7")
    assert proxy.get() == "1.0.0\n"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["blue-green", "canary"])
def test_no_request_fails_during_a_switch_a_return_and_a_kill(proxy: Front, site: Isolated, kind: str) -> None:
    """At least 20,000, each by its own connection, while the installer upgrades, returns, is killed and recovers."""
    need("ab")
    more = CANARY if kind == "canary" else ""
    _apply(site, proxy, "1.0.0", kind, more)
    with Load(f"http://127.0.0.1:{proxy.port}/version.txt", least=ENOUGH) as load_:
        _apply(site, proxy, "1.1.0", kind, more)
        site.installation.rollback("plant-7")
        path = _environment(site, proxy, "1.2.0", "canary", "  steps: [{share: 30, seconds: 60}]\n")
        child = os.fork()
        if child == 0:
            site.installation.apply(load(path))
            os._exit(0)
        wait_for(lambda: "(30 %)" in (_serving(site) or ""))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        outcome = _apply(site, proxy, "1.1.0", kind, more)
    assert outcome.recovered
    assert proxy.get() == "1.1.0\n"
    assert load_.requests >= ENOUGH
    assert not load_.problems
    assert load_.failed == 0


def test_a_held_canary_whose_promotion_fails_stays_as_it_was(haproxy: Front, site: Isolated) -> None:
    """Both go on with their shares, and once the cause is mended the same command goes through."""
    _apply(site, haproxy, "1.0.0")
    held = "  steps: [{share: 10, seconds: 0}]\n  hold: 25\n"
    _apply(site, haproxy, "1.1.0", "canary", held)
    more = "  steps: [{share: 50, seconds: 0}]\n"
    path = _environment(site, haproxy, "1.1.0", "canary", more)
    path.write_text(path.read_text() + "health: [{command: [/bin/false], retries: 0}]\n")
    with pytest.raises(DeployError, match="health check /bin/false"):
        site.installation.apply(load(path))
    assert "(25 %)" in (_serving(site) or "")
    _apply(site, haproxy, "1.1.0", "canary", more)
    assert (_serving(site) or "").startswith("1.1.0-")
    site.installation.rollback("plant-7")
    assert haproxy.get() == "1.0.0\n"


def test_haproxy_that_was_restarted_goes_on_as_it_was(haproxy: Front, site: Isolated) -> None:
    """By the state file that is kept for it."""
    _apply(site, haproxy, "1.0.0")
    _apply(site, haproxy, "1.1.0")
    haproxy.stop()
    haproxy.run()
    wait_for(lambda: (_serving(site) or "").startswith("1.1.0-"))
    assert haproxy.get() == "1.1.0\n"


def test_a_proxy_that_does_not_answer_is_named_before_anything_is_changed(haproxy: Front, site: Isolated) -> None:
    """Nothing is written to a slot."""
    haproxy.stop()
    with pytest.raises(DeployError, match="does not answer"):
        _apply(site, haproxy, "1.0.0")
    assert not haproxy.srv.exists()


def test_a_backend_without_the_slots_is_named(haproxy: Front, site: Isolated) -> None:
    """So is one that is not there."""
    path = _environment(site, haproxy, "1.0.0")
    path.write_text(path.read_text().replace("backend: shop", "backend: other"))
    with pytest.raises(UsageError, match="backend other is not there"):
        site.installation.apply(load(path))
    path = _environment(site, haproxy, "1.0.0")
    path.write_text(path.read_text().replace("green:", "red:"))
    with pytest.raises(UsageError, match="has no server red"):
        site.installation.apply(load(path))


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Front]:
    """Nginx alone."""
    with front("nginx", tmp_path / "front", tmp_path / "srv") as running:
        yield running


def test_an_upstream_that_nginx_refuses_is_taken_back(nginx: Front, site: Isolated) -> None:
    """The configuration is checked before it is loaded; what served serves on."""
    _apply(site, nginx, "1.0.0")
    before = (nginx.folder / "upstream.conf").read_bytes()
    broken = nginx.folder / "upstream-other.conf"
    broken.write_text("upstream shop { server 127.0.0.1:1; }\n")
    with pytest.raises(DeployError, match="nginx upstream shop"):
        _apply(site, nginx, "1.1.0")
    broken.unlink()
    assert (nginx.folder / "upstream.conf").read_bytes() == before
    assert nginx.get() == "1.0.0\n"
    assert runs(site) == ("1.0.0", None)


def test_a_reload_that_was_killed_is_made_again(nginx: Front, site: Isolated) -> None:
    """The file says one thing, and nobody knows what nginx does: the next command makes sure."""
    _apply(site, nginx, "1.0.0")
    (room,) = site.folder.glob("environments/plant-7/targets/slots-*")
    (room / "reloading").touch()
    assert "not known" in (_serving(site) or "")
    assert _apply(site, nginx, "1.0.0").changed
    assert (_serving(site) or "").startswith("1.0.0-")


def test_a_file_that_somebody_else_made_is_left_alone(nginx: Front, site: Isolated) -> None:
    """It is named before anything is changed."""
    (nginx.folder / "upstream.conf").write_text("upstream shop { server 127.0.0.1:1; }\n")
    with pytest.raises(UsageError, match=r"was not made by sealift-install"):
        _apply(site, nginx, "1.0.0")
    assert not nginx.srv.exists()


def test_a_strategy_with_slots_needs_a_target_with_slots(haproxy: Front, site: Isolated) -> None:
    """Else there would be nothing to move the traffic to."""
    path = _environment(site, haproxy, "1.0.0")
    path.write_text(path.read_text().replace("/{slot}", "/one"))
    with pytest.raises(UsageError, match="finds no target for its slots"):
        site.installation.apply(load(path))


def test_targets_without_slots_come_first(haproxy: Front, site: Isolated) -> None:
    """They switch where they are, in the same transaction, before the traffic moves."""
    path = _environment(site, haproxy, "1.0.0")
    path.write_text(path.read_text().replace("targets:\n", f"targets:\n  - {{kind: directory, path: '{site.srv}'}}\n"))
    plan = site.installation.plan(load(path))
    assert [step.kind for step in plan.steps] == ["directory", "blue-green"]
    site.installation.apply(load(path))
    assert (site.srv / "current/version.txt").read_text() == "1.0.0\n"
    assert haproxy.get() == "1.0.0\n"


def test_a_record_that_is_damaged_is_named(haproxy: Front, site: Isolated) -> None:
    """With what helps."""
    _apply(site, haproxy, "1.0.0")
    (room,) = site.folder.glob("environments/plant-7/targets/slots-*")
    (room / "slots.json").write_text("{")
    with pytest.raises(StoreError, match="is damaged"):
        _apply(site, haproxy, "1.1.0")
