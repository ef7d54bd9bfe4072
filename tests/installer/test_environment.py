"""An environment becomes an `Environment`, or a list of all that is wrong with it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from complaints import complaints

from installer.environments.environment import CommandCheck, Environment, HttpCheck, TargetWanted, load, of, schema
from sealift import hooks

ROOT = Path(__file__).parents[2]
SMALLEST = """\
environment: plant-7
release: shop
version: 1.0.0
targets:
  - kind: directory
    path: /srv/shop
policy: none
"""


def written(folder: Path, text: str) -> Path:
    """An environment with `text`."""
    path = folder / "environment.yaml"
    path.write_text(text)
    return path


def refused(folder: Path, text: str) -> list[str]:
    """The lines of the message that refuses `text`, from the line number on."""
    path = written(folder, text)
    return complaints(path, lambda: load(path))


def test_the_smallest_environment_is_read(tmp_path: Path) -> None:
    """Its keys are stable."""
    path = written(tmp_path, SMALLEST)
    assert load(path) == Environment(
        name="plant-7",
        release="shop",
        version="1.0.0",
        targets=(TargetWanted(kind="directory", settings={"path": "/srv/shop"}),),
        health=(),
        hooks=hooks.NONE,
        policy="none",
        path=path,
        declared={
            "environment": "plant-7",
            "release": "shop",
            "version": "1.0.0",
            "targets": [{"kind": "directory", "path": "/srv/shop"}],
            "policy": "none",
        },
    )


def test_what_was_declared_is_the_environment_again(tmp_path: Path) -> None:
    """A site keeps the plain values, and needs no file to return."""
    text = "health: [{command: [/bin/true], retries: 0}]\nhooks: {before-switch: [{run: [/bin/true]}]}\n"
    found = load(written(tmp_path, SMALLEST + text))
    assert of(json.loads(json.dumps(found.declared)), found.path) == found


def test_health_checks_have_their_types_and_defaults(tmp_path: Path) -> None:
    """A command and a URL, in the order of the file."""
    text = (
        "health:\n  - command: [/usr/local/bin/check, --fast]\n"
        "  - http: http://127.0.0.1:8080/health\n    status: 204\n    timeout: 1\n    retries: 0\n    interval: 0\n"
        "  - http: https://[::1]/\n"
    )
    assert load(written(tmp_path, SMALLEST + text)).health == (
        CommandCheck(command=("/usr/local/bin/check", "--fast"), timeout=10, retries=3, interval=2),
        HttpCheck(url="http://127.0.0.1:8080/health", status=204, timeout=1, retries=0, interval=0),
        HttpCheck(url="https://[::1]/", status=200),
    )


def test_the_sites_own_hooks_are_read(tmp_path: Path) -> None:
    """They have the shape of a release's."""
    text = "hooks: {after-switch: [{run: [/bin/systemctl, reload, shop]}]}"
    assert load(written(tmp_path, SMALLEST + text)).hooks == hooks.Hooks(
        after_switch=(hooks.Hook(run=("/bin/systemctl", "reload", "shop")),)
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("policy: none\n", "", "1:1: the key 'policy' is missing (Which rules a release must meet"),
        ("policy: none", "policy:", "7:8: policy: is empty, and must be a mapping or a string (Which rules"),
        ("policy: none", "policy: []", "7:9: policy: must be a mapping or a string, not a list"),
        ("policy: none", "policy: strict", "7:9: policy: 'strict' does not have the form"),
        ("plant-7", "Plant 7", "1:14: environment: 'Plant 7' is no valid name"),
        ("shop\n", "-shop\n", "2:10: release: '-shop' is no valid name"),
        ("1.0.0", "1", '3:10: version: must be a string, not a number (write it in quotes: "1")'),
        ("  - kind: directory\n    path: /srv/shop", "  []", "5:3: targets: must not be an empty list"),
        ("directory", "folder", "5:11: targets[0].kind: unknown kind 'folder', known: 'apt-repository', "),
        ("/srv/shop", "srv/shop", "6:11: targets[0].path: 'srv/shop' does not have the form"),
        ("1.0.0", "'^^1'", "3:10: version: '^^1' is no version and no range of versions (write a version, or '^1.4'"),
        ("policy", "values: [1]\npolicy", "7:9: values: must be a mapping, not a list"),
        ("policy", "secrets: {a-b: {env: X}}\npolicy", "7:11: secrets.a-b: 'a-b' does not have the form"),
        ("policy", "secrets: {a: {file: x}}\npolicy", "7:21: secrets.a.file: 'x' does not have the form"),
        ("policy", "secrets: {a: {env: X, file: /x}}\npolicy", "7:15: secrets.a.env: cannot stand beside 'file'"),
        ("policy", "secrets: {a: hunter2}\npolicy", "7:14: secrets.a: must be a mapping, not a string"),
        ("policy", "polcy", "7:1: polcy: unknown key (did you mean 'policy'?)"),
        ("policy", "health: [{}]\npolicy", "7:10: health[0]: needs one of the keys 'command', 'http'"),
        ("policy", "health: [{command: [x]}]\npolicy", "7:21: health[0].command[0]: 'x' does not have the form"),
        ("policy", "health: [{http: 'ftp://a'}]\npolicy", "7:17: health[0].http: 'ftp://a' does not have the form"),
        ("policy", "health: [{http: 'http://u:p@a/'}]\npolicy", "7:17: health[0].http: "),
        ("policy", "health: [{command: [/x], status: 1}]\npolicy", "7:26: health[0].status: unknown key"),
        ("policy", "hooks: {before-switch: [{run: [x]}]}\npolicy", "7:32: hooks.before-switch[0].run[0]: 'x' does not"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    """File, line, column and path, and what to do."""
    lines = refused(tmp_path, SMALLEST.replace(old, new))
    assert any(line.startswith(message) for line in lines), lines


def test_a_target_cannot_stand_twice(tmp_path: Path) -> None:
    """A release is not deployed twice to one place."""
    target = "  - {path: /srv/shop, kind: directory}\n"
    lines = refused(tmp_path, SMALLEST.replace("policy", target + "policy"))
    assert lines == ["7:5: targets[1]: is the same as entry [0]"]


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """A person mends an environment in one round."""
    text = "environment: A\nrelease: b\nrelease: b\nversion: 2\ntargets: {}\npolicy:\n"
    assert [line.partition(" (")[0] for line in refused(tmp_path, text)] == [
        "1:14: environment: 'A' is no valid name",
        "3:1: release: duplicate key, first at 2:1",
        "4:10: version: must be a string, not a number",
        "5:10: targets: must be a list, not a mapping",
        "6:8: policy: is empty, and must be a mapping or a string",
    ]


def test_the_published_schema_is_the_one_that_is_checked() -> None:
    """Generated by `python -m installer.environments.environment > docs/reference/environment.schema.json`."""
    program = [sys.executable, "-m", "installer.environments.environment"]
    printed = subprocess.run(program, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert printed == (ROOT / "docs/reference/environment.schema.json").read_text()
    assert json.loads(printed) == schema()
