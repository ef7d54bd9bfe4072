"""The target `command` with the program of the documentation, and with programs that do otherwise than they should."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from calls import Call
from example_program import example, shell
from molds import Molded
from worlds import Connected, Isolated

from installer.applying import Outcome
from installer.cli import PROGRAM
from installer.conforming import conform
from sealift.errors import DeployError, StoreError, StrandedError

FILES = {"index.html": b"<h1>shop</h1>\n"}


def deploy(site: Isolated, program: Path, version: str, more: str = "") -> Outcome:
    """Apply a version by a program, which is told to use the folder `srv`."""
    (site.root / "live").mkdir(exist_ok=True)
    return site.deploy(
        version, f"{{kind: command, command: [{program}, {site.root / 'live'}], path: {site.srv}{more}}}"
    )


@pytest.fixture
def site(connected: Connected, isolated: Isolated, molded: Molded) -> Isolated:
    """A site that holds two releases."""
    releases = {version: {**FILES, "version": version.encode()} for version in ("1.0", "1.1")}
    molded("command", lambda: isolated.bring(connected, releases))
    return isolated


def test_the_example_conforms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The program of the page meets every demand, as the command says."""
    (tmp_path / "trial").mkdir()
    call = Call(PROGRAM, capsys)
    assert call("conform", example(tmp_path), tmp_path / "trial") == 0
    assert call.out.endswith("the program conforms\n")
    assert len(call.document("conform", example(tmp_path), tmp_path / "trial")["demands"]) == 14


@pytest.mark.parametrize(
    ("fault", "demand"),
    [
        ("exit 0", "it describes itself"),
        ("echo no json; exit 0", "it describes itself"),
        ('echo \'{"protocol":1,"name":"a","name":"b","operations":[]}\'; exit 0', "it describes itself"),
        ('case $asked in *current*) echo \'{"protocol":1,"identity":"x"}\'; exit;; esac', "nothing serves at first"),
        (
            'case $asked in *\'"operation":"stage"\'*) asked=$(printf %s "$asked" | sed s/stage/activate/);; esac',
            "staging is invisible",
        ),
        (
            'case $asked in *\'"operation":"activate"\'*) echo \'{"protocol":1}\'; exit;; esac',
            "a staged release can be activated",
        ),
        ('case $asked in *check*) echo \'{"protocol":1,"problem":"bad"}\'; exit;; esac', "what serves is in order"),
        ("case $asked in *explode*) echo '{\"protocol\":1}'; exit;; esac", "an unknown operation is refused"),
        ("case $asked in *'\"protocol\":2'*) exit 3;; esac", "another protocol is refused"),
        (
            'case $asked in *bbbb*activate*) rm -f "$1/live"; sleep 0.2;; esac',
            "a kill leaves the one or the other",
        ),
    ],
)
def test_what_does_not_conform_is_named(tmp_path: Path, fault: str, demand: str) -> None:
    """Each demand can be failed, and is said to be."""
    (tmp_path / "trial").mkdir()
    (tmp_path / "work").mkdir()
    program = shell(tmp_path, fault)
    found = list(conform([str(program), str(tmp_path / "trial")], tmp_path / "work", timeout=20))
    assert [each.name for each in found if each.problem] == [demand]


def test_conform_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 9, and the program's own words; a program without its whole path is a usage error."""
    call = Call(PROGRAM, capsys)
    assert call("conform", shell(tmp_path, "echo it is broken >&2; exit 4")) == 9
    assert "failed with exit code 4: it is broken" in call.out
    assert call("conform", "publish") == 2


def test_the_request_says_what_is_deployed(site: Isolated, tmp_path: Path) -> None:
    """Names, folders and the operation are those of the ledger and of the disk."""
    program = shell(tmp_path, f'printf "%s\\n" "$asked" >> {tmp_path}/log')
    deploy(site, program, "1.0")
    deploy(site, program, "1.1")
    asked = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    (first, second) = [each for each in asked if each["operation"] == "stage"]
    entry = list(site.site.ledger.read())[-1].detail
    assert (first["former"], second["former"]) == (None, first["identity"])
    assert (second["environment"], second["entry"]) == ("plant-7", entry["operation"])
    assert second["release"] == {"name": "shop", "version": "1.1", "manifest": entry["manifest"]}
    assert (Path(second["folder"]) / "version").read_text() == "1.1"
    assert (site.root / "live/live/version").read_text() == "1.1"


def test_its_own_words_are_the_error(site: Isolated, tmp_path: Path) -> None:
    """51: what a program says when it fails is shown, made safe, with its hint; the former release serves."""
    deploy(site, example(tmp_path), "1.0")
    say = '{"protocol":1,"error":"the valve is stuck\\u001b[2J","hint":"turn it"}'
    program = shell(tmp_path, f"case $asked in *'\"operation\":\"stage\"'*) printf '%s' '{say}'; exit;; esac")
    with pytest.raises(DeployError, match=r"for stage: the valve is stuck\\x1b\[2J"):
        deploy(site, program, "1.1")
    assert (site.root / "live/live/version").read_text() == "1.0"


def test_one_that_hangs_is_killed(site: Isolated, tmp_path: Path) -> None:
    """97: with its children, when its time is over."""
    program = shell(tmp_path, 'case $asked in *\'"operation":"stage"\'*) sleep 600 & sleep 600;; esac')
    begun = time.monotonic()
    with pytest.raises(DeployError, match="did not end within 1 seconds"):
        deploy(site, program, "1.0", ", timeout: 1")
    assert time.monotonic() - begun < 30


def test_an_endless_reply_is_not_read(site: Isolated, tmp_path: Path) -> None:
    """A reply has a bound."""
    with pytest.raises(DeployError, match="answered with more than 65536 bytes"):
        deploy(site, shell(tmp_path, "yes"), "1.0")


def test_one_that_fails_to_return_needs_a_person(site: Isolated, tmp_path: Path) -> None:
    """96: exit code 10 says what should serve; mended, the same command returns it first."""
    program = shell(tmp_path, f"case $asked in *activate*) [ ! -e {tmp_path}/broken ] || exit 5;; esac")
    deploy(site, program, "1.0")
    breaks = shell(
        tmp_path,
        f"case $asked in *check*) touch {tmp_path}/broken; exit 6;; "
        f'*\'"operation":"activate"\'*) [ ! -e {tmp_path}/broken ] || exit 5;; esac',
    )
    with pytest.raises(StrandedError, match=r"should serve 1\.0-.* for activate failed with exit code 5"):
        deploy(site, breaks, "1.1")
    (tmp_path / "broken").unlink()
    shell(tmp_path, "")
    outcome = deploy(site, program, "1.1")
    assert outcome.recovered is not None
    assert (site.root / "live/live/version").read_text() == "1.1"


def test_a_folder_that_is_gone(site: Isolated, tmp_path: Path) -> None:
    """A program is never told to activate what is not there."""
    deploy(site, example(tmp_path), "1.0")
    from installer.environments.environment import load

    target = site.installation.targets(load(site.root / "environment.yaml"))[0]
    with pytest.raises(StoreError, match="is gone"):
        target.activate("0.9-cccccccccccc")
