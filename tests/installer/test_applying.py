"""A deployment ends at the new release, or at the former one; what it leaves undone, the next command ends."""

from __future__ import annotations

import contextlib
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from molds import Molded
from shop import SAME, events, hold, interrupted, runs, serving, shop
from worlds import Connected, Isolated, write_tree

from installer.applying import Installation
from installer.deployments import Journal, Phase
from installer.environments.environment import Environment, load
from installer.masking import Masks
from installer.programs import commands
from installer.targets.directory import Directory
from sealift.errors import DeployError, SealiftError, StoreError, StrandedError, UsageError
from sealift.progress import Silent


@pytest.fixture
def site(connected: Connected, isolated: Isolated, molded: Molded) -> Isolated:
    """A site that holds two releases and runs the first."""
    hold(molded, connected, isolated, "1.0.0", "1.1.0")
    isolated.apply("1.0.0")
    return isolated


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., Path]:
    """Makes programs for hooks and health checks."""

    def make(text: str, name: str = "hook") -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    return make


def _hook(moment: str, program: Path, *, timeout: int = 20) -> str:
    return f"hooks:\n  {moment}:\n    - run: [{program}]\n      timeout: {timeout}\n"


def _check(program: Path | str, *, retries: int = 0, interval: int = 0) -> str:
    return f"health:\n  - command: [{program}]\n    retries: {retries}\n    interval: {interval}\n"


def _unchanged(site: Isolated) -> bool:
    return (serving(site), runs(site), interrupted(site)) == ("1.0.0", ("1.0.0", None), False)


def _leftovers(site: Isolated) -> list[Path]:
    return list(site.srv.rglob(".tmp-*"))


def _gone(pid: int) -> bool:
    """Whether a process has ended; somebody else may still have to collect its status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def test_the_first_apply_lets_the_release_serve(site: Isolated) -> None:
    """`current` is the artifact's tree, and the site says so."""
    assert _unchanged(site)
    assert events(site, "deployed", "1.0.0") == 1


def test_an_upgrade_keeps_the_former_release_beside_it(site: Isolated) -> None:
    """So that a rollback needs no medium."""
    site.apply("1.1.0")
    assert (serving(site), runs(site)) == ("1.1.0", ("1.1.0", "1.0.0"))
    assert len(list((site.srv / "releases").iterdir())) == 2


def test_applying_again_changes_nothing(site: Isolated) -> None:
    """The same environment twice is one deployment."""
    before = site.fingerprint_of_everything()
    outcome = site.installation.apply(load(site.environment("1.0.0")))
    assert not outcome.changed
    assert site.fingerprint_of_everything() == before
    assert events(site, "deployed") == 1


def test_an_outcome_counts_what_was_written(site: Isolated) -> None:
    """What is written and what is taken from the release before add up to the release."""
    outcome = site.installation.apply(load(site.environment("1.1.0")))
    assert outcome.written + outcome.reused == sum(map(len, shop("1.1.0").values()))


def test_a_rollback_returns_and_a_second_one_turns_back(site: Isolated) -> None:
    """The two releases change places each time; nothing is written."""
    site.apply("1.1.0")
    for version, former in (("1.0.0", "1.1.0"), ("1.1.0", "1.0.0")):
        outcome = site.installation.rollback("plant-7")
        assert outcome.written == 0
        assert (serving(site), runs(site)) == (version, (version, former))
        assert events(site, "rolled-back", version) == 1


def test_a_rollback_writes_anew_what_was_changed_meanwhile(site: Isolated) -> None:
    """The former release's folder is checked file by file before it serves again."""
    site.apply("1.1.0")
    (folder,) = (site.srv / "releases").glob("1.0.0-*")
    (folder / "version.txt").write_text("changed\n")
    site.installation.rollback("plant-7")
    assert serving(site) == "1.0.0"


def test_a_rollback_without_a_former_release_is_refused(site: Isolated) -> None:
    """And changes nothing."""
    with pytest.raises(UsageError, match="no former release"):
        site.installation.rollback("plant-7")
    assert _unchanged(site)


def test_a_health_check_that_passes_lets_the_release_serve(site: Isolated, script: Callable[..., Path]) -> None:
    """It is told what was deployed."""
    check = script('test "$SEALIFT_VERSION $SEALIFT_FORMER_VERSION" = "1.1.0 1.0.0"')
    site.apply("1.1.0", more=_check(check))
    assert serving(site) == "1.1.0"


def test_a_health_check_that_fails_returns_the_former_release(site: Isolated, script: Callable[..., Path]) -> None:
    """By command: its last line is in the message, and the ledger says that it returned."""
    with pytest.raises(DeployError, match="exit code 3: no answer") as caught:
        site.apply("1.1.0", more=_check(script("echo no answer; exit 3")))
    assert "shop@1.0.0 serves" in (caught.value.hint or "")
    assert _unchanged(site)
    assert events(site, "returned", "1.1.0") == 1


def test_a_health_check_is_tried_again(site: Isolated, script: Callable[..., Path], tmp_path: Path) -> None:
    """A service that needs a moment is given it."""
    check = script(f"echo x >> {tmp_path}/tries; test $(wc -l < {tmp_path}/tries) -ge 3")
    site.apply("1.1.0", more=_check(check, retries=2))
    assert serving(site) == "1.1.0"


def test_a_first_release_that_is_unhealthy_leaves_nothing(connected: Connected, isolated: Isolated) -> None:
    """Where nothing served before, nothing serves after."""
    isolated.admit(connected.bundle("1.0.0", shop("1.0.0")))
    with pytest.raises(DeployError) as caught:
        isolated.apply("1.0.0", more=_check("/bin/false"))
    assert "nothing serves" in (caught.value.hint or "")
    assert (serving(isolated), runs(isolated)) == (None, (None, None))


class _Service:
    """A web server of the test's own, and what it is asked for."""

    def __init__(self, statuses: list[int]) -> None:
        self.asked: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/health?full=1"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self) -> None:
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def service() -> Iterator[Callable[..., _Service]]:
    """Starts web servers that answer with one status after another."""
    started: list[_Service] = []

    def start(*statuses: int) -> _Service:
        started.append(_Service(list(statuses)))
        return started[-1]

    yield start
    for each in started:
        each.close()


def _http(url: str, *, retries: int = 0, status: int = 200) -> str:
    return (
        f'health:\n  - http: "{url}"\n    retries: {retries}\n    interval: 0\n    status: {status}\n    timeout: 5\n'
    )


def test_a_service_that_answers_is_healthy(site: Isolated, service: Callable[..., _Service]) -> None:
    """By HTTP: the path and the query are asked for."""
    answering = service(200)
    site.apply("1.1.0", more=_http(answering.url))
    assert serving(site) == "1.1.0"
    assert answering.asked == ["/health?full=1"]


def test_a_service_that_comes_up_late_is_healthy(site: Isolated, service: Callable[..., _Service]) -> None:
    """By HTTP, after two answers with another status."""
    site.apply("1.1.0", more=_http(service(503, 503, 200).url, retries=2))
    assert serving(site) == "1.1.0"


@pytest.mark.parametrize("status", [500, 302, 404])
def test_a_service_that_answers_otherwise_returns_the_former_release(
    site: Isolated, service: Callable[..., _Service], status: int
) -> None:
    """By HTTP: no redirect is followed."""
    answering = service(status)
    with pytest.raises(DeployError, match=f"answered with status {status}, and 200 is wanted"):
        site.apply("1.1.0", more=_http(answering.url))
    assert _unchanged(site)
    assert answering.asked == ["/health?full=1"]


def test_a_service_that_is_not_there_returns_the_former_release(
    site: Isolated, service: Callable[..., _Service]
) -> None:
    """By HTTP, with nobody listening."""
    gone = service(200)
    gone.server.server_close()
    with pytest.raises(DeployError, match="did not answer"):
        site.apply("1.1.0", more=_http(gone.url))
    assert _unchanged(site)


def test_a_service_whose_answer_drips_returns_the_former_release(site: Isolated) -> None:
    """By HTTP: the head has the time of an answer, however many bytes it comes in."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
                    for _ in range(200):
                        connection.sendall(b"x")
                        time.sleep(0.05)

        serving_it = threading.Thread(target=drip)
        serving_it.start()
        began = time.monotonic()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        with pytest.raises(DeployError, match="did not answer: timed out"):
            site.apply("1.1.0", more=_http(url).replace("timeout: 5", "timeout: 1"))
        assert time.monotonic() - began < 6
        serving_it.join()
    assert _unchanged(site)


def test_the_environments_hooks_run_around_the_switch(
    site: Isolated, script: Callable[..., Path], tmp_path: Path
) -> None:
    """Before it the former release serves, after it the new one."""
    note = script(f'echo "$1 $(cat {site.srv}/current/version.txt) $SEALIFT_ACTION" >> {tmp_path}/notes')
    more = (
        f"hooks:\n  before-switch:\n    - run: [{note}, before]\n  after-switch:\n"
        f"    - run: [{note}, after]\n    - run: [{note}, last]\n"
    )
    site.apply("1.1.0", more=more)
    assert (tmp_path / "notes").read_text().splitlines() == [
        "before 1.0.0 apply",
        "after 1.1.0 apply",
        "last 1.1.0 apply",
    ]


def _release_with_hook(connected: Connected, moment: str, text: str) -> Path:
    """A bundle of 1.2.0 whose own program `bin/hook` is a hook."""
    spec = connected.spec(
        "1.2.0",
        {**shop("1.2.0"), "bin/hook": f"#!/bin/sh\n{text}\n".encode()},
        more=f"hooks:\n  {moment}:\n    - run: [bin/hook, word]\n",
    )
    (connected.root / "shop-1.2.0" / "bin" / "hook").chmod(0o755)
    return connected.export(spec)


@pytest.mark.parametrize("moment", ["before-switch", "after-switch"])
def test_the_releases_own_hooks_run_in_its_folder(
    connected: Connected, site: Isolated, tmp_path: Path, moment: str
) -> None:
    """They are part of what was signed, and get their arguments and the folder."""
    note = tmp_path / "note"
    text = f'echo "$1 $SEALIFT_VERSION" > {note}; cat version.txt >> {note}; test "$SEALIFT_FOLDER" = "$PWD"'
    site.admit(_release_with_hook(connected, moment, text))
    site.apply("1.2.0")
    assert (tmp_path / "note").read_text() == "word 1.2.0\n1.2.0\n"


@pytest.mark.parametrize("moment", ["before-switch", "after-switch"])
def test_a_hook_of_the_release_that_fails_leaves_the_former_one(
    connected: Connected, site: Isolated, moment: str
) -> None:
    """What it said is shown, its last lines at least."""
    site.admit(_release_with_hook(connected, moment, "echo the database is too old; exit 7"))
    with pytest.raises(DeployError, match=r"exit code 7\n  \| the database is too old"):
        site.apply("1.2.0")
    assert _unchanged(site)


@pytest.mark.parametrize("moment", ["before-switch", "after-switch"])
def test_a_hook_that_fails_leaves_the_former_release(site: Isolated, script: Callable[..., Path], moment: str) -> None:
    """The environment's own, before and after the switch."""
    with pytest.raises(DeployError, match="exit code 1"):
        site.apply("1.1.0", more=_hook(moment, script("exit 1")))
    assert _unchanged(site)
    assert events(site, "returned", "1.1.0") == 1


def test_a_hook_that_is_missing_leaves_the_former_release(site: Isolated, tmp_path: Path) -> None:
    """A program that cannot be run is a failure like another."""
    with pytest.raises(DeployError, match="cannot be run: no such file"):
        site.apply("1.1.0", more=_hook("before-switch", tmp_path / "missing"))
    assert _unchanged(site)


def test_a_hook_that_hangs_is_killed_with_its_children(
    site: Isolated, script: Callable[..., Path], tmp_path: Path
) -> None:
    """97: when its time is over."""
    hook = script(f"sleep 600 & echo $! > {tmp_path}/child; sleep 600")
    started = time.monotonic()
    with pytest.raises(DeployError, match="did not end within 1 second"):
        site.apply("1.1.0", more=_hook("after-switch", hook, timeout=1))
    assert time.monotonic() - started < 20
    assert _unchanged(site)
    _wait_for(lambda: _gone(int((tmp_path / "child").read_text())))


def test_children_that_a_hook_leaves_behind_are_killed(
    site: Isolated, script: Callable[..., Path], tmp_path: Path
) -> None:
    """97: and are not waited for, though they hold its output open."""
    hook = script(f"sleep 600 & echo $! > {tmp_path}/child")
    started = time.monotonic()
    site.apply("1.1.0", more=_hook("before-switch", hook))
    assert time.monotonic() - started < 20
    assert serving(site) == "1.1.0"
    _wait_for(lambda: _gone(int((tmp_path / "child").read_text())))


def test_a_hook_that_ignores_signals_is_killed(site: Isolated, script: Callable[..., Path]) -> None:
    """97: SIGTERM is not what ends it."""
    with pytest.raises(DeployError, match="did not end"):
        site.apply("1.1.0", more=_hook("before-switch", script("trap '' TERM INT HUP; sleep 600"), timeout=1))
    assert _unchanged(site)


def test_a_hook_that_floods_its_output_is_bounded(site: Isolated, script: Callable[..., Path]) -> None:
    """97: the last lines are kept, and no more."""
    with pytest.raises(DeployError) as caught:
        site.apply(
            "1.1.0", more=_hook("before-switch", script("yes flood | head -c 5000000; echo; echo the end; exit 1"))
        )
    assert caught.value.message.endswith("  | the end")
    assert len(caught.value.message) < commands.OUTPUT_MAX


def test_hooks_and_checks_get_nothing_of_our_environment(
    site: Isolated, script: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """97, 100: neither secrets nor what changes how programs are loaded."""
    for name in ("SEALIFT_PASSPHRASE", "AWS_SECRET_ACCESS_KEY", "LD_PRELOAD", "PYTHONPATH", "TMPDIR", "BASH_ENV"):
        monkeypatch.setenv(name, "planted")
    dump = script(f"/usr/bin/env >> {tmp_path}/environment")
    site.apply("1.1.0", more=_hook("before-switch", dump) + _check(dump))
    names = {line.partition("=")[0] for line in (tmp_path / "environment").read_text().splitlines()}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {
        "PATH",
        "LANG",
        "HOME",
        "SEALIFT_ACTION",
        "SEALIFT_ENVIRONMENT",
        "SEALIFT_RELEASE",
        "SEALIFT_VERSION",
        "SEALIFT_FORMER_VERSION",
    }
    assert "planted" not in (tmp_path / "environment").read_text()


def test_hooks_hold_no_file_of_ours_open(site: Isolated, script: Callable[..., Path], tmp_path: Path) -> None:
    """97: nor the lock, which a daemon that a hook starts would keep for ever."""
    site.apply("1.1.0", more=_hook("after-switch", script(f"ls -l /proc/$$/fd > {tmp_path}/open")))
    assert str(site.folder) not in (tmp_path / "open").read_text()


def test_a_releases_hook_outside_of_it_is_refused(connected: Connected, site: Isolated) -> None:
    """98: a signed hook names a program inside its release, and nothing else is run."""
    spec = connected.spec(
        "1.2.0", shop("1.2.0"), more="hooks:\n  before-switch:\n    - run: [../../../../../../bin/true]\n"
    )
    try:
        bundle = connected.export(spec)
    except SealiftError:
        return
    site.admit(bundle)
    with pytest.raises(DeployError, match="not inside the release"):
        site.apply("1.2.0")
    assert _unchanged(site)


@pytest.mark.parametrize("moment", ["before-switch", "after-switch"])
def test_ctrl_c_in_a_hook_leaves_everything_as_it_was(
    site: Isolated, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Before the switch and after it; the ledger says that it was interrupted."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        site.apply("1.1.0", more=_hook(moment, Path("/bin/true")))
    assert _unchanged(site)
    assert events(site, "returned", "1.1.0") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_service_that_is_stopped_kills_the_hook_and_returns(
    site: Isolated, script: Callable[..., Path], tmp_path: Path, number: signal.Signals
) -> None:
    """The real program, as a service manager or a lost terminal ends it: all of its processes hear the signal."""
    hook = script(f"echo $$ > {tmp_path}/part; mv {tmp_path}/part {tmp_path}/pid; sleep 600")
    environment = site.environment("1.1.0", more=_hook("after-switch", hook, timeout=500))
    program = [sys.executable, "-c", "from installer.cli import main; main()", "apply"]
    program += ["--site", str(site.folder), str(environment)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(program, stderr=subprocess.PIPE, start_new_session=True, cwd=root) as process:
        _wait_for(lambda: (tmp_path / "pid").exists())
        os.killpg(process.pid, number)
        told = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number
    assert b"error: stopped by " + number.name.encode() in told
    assert _unchanged(site)
    _wait_for(lambda: _gone(int((tmp_path / "pid").read_text())))


def test_a_signal_while_a_hook_runs_kills_the_hook(site: Isolated, script: Callable[..., Path], tmp_path: Path) -> None:
    """A real SIGINT to our process; the hook, in a session of its own, does not run on."""
    hook = script(f"echo $$ > {tmp_path}/pid; kill -INT $PPID; sleep 600")
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            site.apply("1.1.0", more=_hook("after-switch", hook))
    finally:
        signal.signal(signal.SIGINT, former)
    assert _unchanged(site)
    _wait_for(lambda: _gone(int((tmp_path / "pid").read_text())))


def test_a_signal_while_a_hook_starts_kills_the_hook(
    site: Isolated, script: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hook runs, and the call that started it has not returned: it is known all the same, and ended."""
    started: list[int] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self.pid)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            site.apply("1.1.0", more=_hook("after-switch", script("sleep 600")))
    finally:
        signal.signal(signal.SIGINT, former)
    assert _unchanged(site)
    assert _gone(started[0])


class _Interrupter(Silent):
    """Presses Ctrl-C when the first progress was made."""

    def advance(self, amount: int) -> None:
        """Interrupt."""
        raise KeyboardInterrupt


def test_ctrl_c_while_staging_leaves_everything_as_it_was(site: Isolated) -> None:
    """Half a release is removed at once."""
    work = Installation(site.site, workers=2, progress=_Interrupter(), clock=lambda: site.now)
    with pytest.raises(KeyboardInterrupt):
        work.apply(load(site.environment("1.1.0", target="    reuse: none\n")))
    assert _unchanged(site)
    assert not _leftovers(site)
    assert len(list((site.srv / "releases").iterdir())) == 1
    site.apply("1.1.0")
    assert serving(site) == "1.1.0"


def test_what_cannot_be_returned_needs_a_person(
    site: Isolated, script: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 10: the message names the place; once that is mended, the next command returns it first."""
    hook = script(f"rm {site.srv}/current; mkdir {site.srv}/current; exit 1")
    with pytest.raises(StrandedError) as caught:
        site.apply("1.1.0", more=_hook("after-switch", hook))
    assert caught.value.exit_code == 10
    assert f"{site.srv} should serve 1.0.0-" in caught.value.message
    assert interrupted(site)
    assert events(site, "stranded", "1.1.0") == 1
    with pytest.raises(StrandedError):
        site.apply("1.1.0")
    (site.srv / "current").rmdir()
    outcome = site.installation.apply(load(site.environment("1.0.0")))
    assert "shop@1.0.0 serves" in (outcome.recovered or "")
    assert _unchanged(site)


def test_a_target_that_fails_in_any_way_does_not_keep_the_others_from_returning(
    site: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """96: whatever the last one raises, the first is returned, and a person is told of the other."""
    other = site.root / "other"
    two = f"  - kind: directory\n    path: {other}\n"
    site.apply("1.0.0", target=two)
    activate = Directory.activate

    def broken(self: Directory, identity: str | None) -> None:
        if self.place == str(other) and identity and identity.startswith("1.0.0"):
            raise ValueError("no JSON")
        activate(self, identity)

    monkeypatch.setattr(Directory, "activate", broken)
    with pytest.raises(StrandedError, match="no JSON"):
        site.apply("1.1.0", target=two, more="health: [{command: [/bin/false], retries: 0}]\n")
    assert serving(site) == "1.0.0"
    monkeypatch.undo()
    site.apply("1.1.0", target=two)
    assert serving(site) == "1.1.0"


def test_two_targets_at_one_place_are_refused(site: Isolated) -> None:
    """The second would undo what the first did."""
    with pytest.raises(UsageError, match="two targets directory at"):
        site.apply("1.1.0", target=f"  - {{kind: directory, path: {site.srv}, reuse: none}}\n")
    assert _unchanged(site)


def test_a_journal_that_says_more_than_was_done_is_not_believed(
    site: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """96: a disk that fails for good can leave 'committing' behind where the former release serves."""
    advance = Installation._advance

    def fail(self: Installation, journal: Journal, phase: Phase) -> Journal:
        advanced = advance(self, journal, phase)
        if phase == "committing":
            raise StoreError("the journal: input/output error")
        return advanced

    with monkeypatch.context() as patch:
        patch.setattr(Installation, "_advance", fail)
        patch.setattr(type(site.installation.deployments), "end_journal", _refuse)
        with pytest.raises(StoreError):
            site.apply("1.1.0")
        journal = site.installation.deployments.journal("plant-7")
        assert journal is not None
        assert journal.phase == "committing"
        assert serving(site) == "1.0.0"
    outcome = site.installation.apply(load(site.environment("1.0.0")))
    assert "undid it" in (outcome.recovered or "")
    assert _unchanged(site)
    assert events(site, "deployed", "1.1.0") == 0


def _refuse(*_: object) -> None:
    raise StoreError("the disk: input/output error")


def test_a_second_apply_at_the_same_time_is_refused(
    site: Isolated, script: Callable[..., Path], tmp_path: Path
) -> None:
    """90: it changes nothing and says that another command is at work; the first one completes."""
    hook = script(f"touch {tmp_path}/begun; while ! test -e {tmp_path}/go; do sleep 0.05; done")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            site.apply("1.1.0", more=_hook("before-switch", hook))
            status = 0
        finally:
            os._exit(status)
    try:
        _wait_for((tmp_path / "begun").exists)
        with pytest.raises(StoreError, match="another sealift command"):
            site.installation.apply(load(site.environment("1.0.0")))
        assert serving(site) == "1.0.0"
    finally:
        (tmp_path / "go").touch()
        _, status = os.waitpid(child, 0)
    assert status == 0
    assert serving(site) == "1.1.0"


def test_an_import_during_an_apply_is_refused(connected: Connected, site: Isolated) -> None:
    """92: one command changes a site at a time."""
    bundle = connected.bundle("1.2.0", shop("1.2.0"))
    with site.site.lock(), pytest.raises(StoreError, match="another sealift command"):
        site.admit(bundle)
    assert site.admit(bundle).new == ("shop@1.2.0",)


def test_a_stale_lock_file_does_not_matter(site: Isolated) -> None:
    """91: the lock ends with the process that held it, whatever stands in the file."""
    (site.folder / "lock").write_text("1\n")
    site.apply("1.1.0")
    assert serving(site) == "1.1.0"


def test_a_planted_lock_is_not_followed(site: Isolated, tmp_path: Path) -> None:
    """99: a link in its place is an error."""
    (site.folder / "lock").unlink()
    (site.folder / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        site.apply("1.1.0")
    assert not (tmp_path / "elsewhere").exists()


def _several(site: Isolated, version: str, *places: Path, more: str = "") -> Path:
    path = site.root / "several.yaml"
    targets = "".join(f"  - kind: directory\n    path: {place}\n" for place in places)
    path.write_text(
        f'environment: plant-7\nrelease: shop\nversion: "{version}"\ntargets:\n{targets}policy: none\n{more}'
    )
    return path


def test_several_targets_are_switched_and_returned_together(site: Isolated) -> None:
    """What fails after the switch returns each of them to what it served, or to nothing."""
    other = site.root / "other"
    with pytest.raises(DeployError):
        site.installation.apply(load(_several(site, "1.1.0", site.srv, other, more=_check("/bin/false"))))
    assert _unchanged(site)
    assert not (other / "current").is_symlink()
    site.installation.apply(load(_several(site, "1.1.0", site.srv, other)))
    assert serving(site) == "1.1.0"
    assert (other / "current" / "version.txt").read_text() == "1.1.0\n"


def test_a_target_that_fails_keeps_the_others_as_they_were(site: Isolated) -> None:
    """Nothing is switched before all are staged."""
    file = site.root / "file"
    file.write_text("not a folder")
    with pytest.raises(UsageError, match="file is not a folder"):
        site.installation.apply(load(_several(site, "1.1.0", site.srv, file)))
    assert _unchanged(site)
    assert file.read_text() == "not a folder"


def test_a_release_of_several_artifacts_has_a_folder_for_each(connected: Connected, isolated: Isolated) -> None:
    """By the artifact's name."""
    write_tree(connected.root / "api", {"api.txt": b"api\n"})
    spec = connected.spec("1.0.0", SAME, more="  api:\n    source: path\n    path: api\n")
    isolated.admit(connected.export(spec))
    isolated.apply("1.0.0")
    current = isolated.srv / "current"
    assert sorted(path.name for path in current.iterdir()) == ["api", "web"]
    assert (current / "api" / "api.txt").read_bytes() == b"api\n"
    assert (current / "web" / "a" / "same.txt").read_bytes() == SAME["a/same.txt"]


def test_what_serves_is_never_removed_to_be_written_again(site: Isolated) -> None:
    """An application changed a file of it, and the environment gets a second target: it serves all the while."""
    changed = site.srv / "current" / "version.txt"
    changed.write_text("by the application\n")
    folder = (site.srv / "current").resolve()
    number = folder.stat().st_ino
    site.installation.apply(load(_several(site, "1.0.0", site.srv, site.root / "other")))
    assert folder.stat().st_ino == number
    assert changed.read_text() == "by the application\n"


def test_a_release_whose_folder_was_removed_is_deployed_again(site: Isolated) -> None:
    """A link to nothing is not taken for a release that serves."""
    shutil.rmtree((site.srv / "current").resolve())
    site.apply("1.0.0")
    assert _unchanged(site)


def test_a_release_that_serves_already_is_recorded(site: Isolated) -> None:
    """Another environment switched the same place, as older versions let it: the site must say what it runs now."""
    other = load(site.environment("1.1.0"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("installer.outlook.Outlook._check_apart", lambda *_, **__: None)
        site.installation.apply(_named(other, "plant-8"))
    site.apply("1.1.0")
    assert runs(site) == ("1.1.0", "1.0.0")


def _named(environment: Environment, name: str) -> Environment:
    """The same environment under another name."""
    return replace(environment, name=name, declared={**environment.declared, "environment": name})


def test_a_target_whose_kind_is_gone_is_an_error_that_says_so(site: Isolated) -> None:
    """What was deployed with a plug-in cannot be changed without it."""
    work = site.installation
    state = work.deployments.state("plant-7")
    assert state.current is not None
    declared = {**state.current.environment, "targets": [{"kind": "shelf", "path": "/srv"}]}
    gone = msgspec.structs.replace(state, current=msgspec.structs.replace(state.current, environment=declared))
    work.deployments.keep_state(gone)
    with pytest.raises(UsageError, match="unknown kind 'shelf'"):
        work.targets(gone.current.declared if gone.current else load(site.environment("1.0.0")))


def test_a_worker_that_is_killed_fails_the_apply(site: Isolated, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system does when memory runs out: an error that says so, and the former release serves."""
    import installer.folders.placing

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(installer.folders.placing, "_serve", die)
        with pytest.raises(SealiftError, match="a worker process was killed"):
            site.apply("1.1.0")
    assert _unchanged(site)
    assert not _leftovers(site)


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.parametrize("command", ["yes", "yes & exit 0"])
def test_a_program_that_never_stops_writing_ends_in_time(script: Callable[..., Path], command: str) -> None:
    """97: neither the program itself nor a child that it leaves can keep an apply waiting by its output."""
    started = time.monotonic()
    outcome = commands.run([str(script(command))], timeout=1, folder=None, variables={})
    assert time.monotonic() - started < 10
    assert (outcome.problem is None) == command.endswith("exit 0")


@pytest.mark.parametrize("host", ["[::1", "[zz]", "....", "a" * 300, "a:99999999"])
def test_a_url_that_names_no_host_is_an_unhealthy_answer(site: Isolated, host: str) -> None:
    """The schema cannot see all that is wrong with it; the former release returns."""
    with pytest.raises(DeployError, match="cannot be asked"):
        site.apply("1.1.0", more=f'health:\n  - http: "http://{host}/"\n    retries: 0\n')
    assert _unchanged(site)


def test_nothing_is_asked_for_before_the_former_release_serves(
    site: Isolated, script: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret may be long in coming: what masks an error comes after the return, not before it."""
    served = []
    masked = Masks.over

    def over(masks: Masks, error: SealiftError) -> None:
        served.append(serving(site))
        masked(masks, error)

    monkeypatch.setattr(Masks, "over", over)
    with pytest.raises(DeployError):
        site.apply("1.1.0", more=_check(script("exit 1")))
    assert served == ["1.0.0"]
