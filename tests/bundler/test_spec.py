"""A spec becomes a `Spec`, or a list of all that is wrong with it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from complaints import complaints

from bundler.spec import Spec, Wanted, load, schema
from sealift import hooks

ROOT = Path(__file__).parents[2]
SMALLEST = "release: shop\nversion: 1.0.0\nartifacts:\n  web:\n    source: path\n    path: dist\n"


def written(folder: Path, text: str) -> Path:
    """A spec with `text`."""
    path = folder / "sealift.yaml"
    path.write_text(text)
    return path


def refused(folder: Path, text: str) -> list[str]:
    """The lines of the message that refuses `text`, from the line number on."""
    path = written(folder, text)
    return complaints(path, lambda: load(path))


def test_the_smallest_spec_is_read(tmp_path: Path) -> None:
    """Its keys are stable."""
    path = written(tmp_path, SMALLEST)
    assert load(path) == Spec(
        name="shop",
        version="1.0.0",
        artifacts=(Wanted(name="web", source="path", want={"path": "dist"}),),
        hooks=hooks.NONE,
        path=path,
    )
    assert load(path).base == tmp_path


def test_artifacts_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    """The order in the file changes nothing in the release."""
    text = "release: s\nversion: '1'\nartifacts: {b: {source: path, path: x}, a: {source: path, path: y}}"
    assert [artifact.name for artifact in load(written(tmp_path, text)).artifacts] == ["a", "b"]


def test_hooks_are_read(tmp_path: Path) -> None:
    """Argument lists and seconds, with the default where nothing is said."""
    text = "hooks:\n  before-switch: [{run: [web/bin/migrate, --now]}, {run: [x], timeout: 5}]\n  after-switch: []"
    assert load(written(tmp_path, SMALLEST + text)).hooks == hooks.Hooks(
        before_switch=(hooks.Hook(run=("web/bin/migrate", "--now")), hooks.Hook(run=("x",), timeout=5))
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1.0.0", "1.0", '2:10: version: must be a string, not a number (write it in quotes: "1.0")'),
        ("1.0.0", "a b", "2:10: version: 'a b' is no valid version (use up to 64 letters"),
        ("1.0.0", "1..0", "2:10: version: '1..0' is no valid version"),
        ("shop", "../shop", "1:10: release: '../shop' is no valid name"),
        ("shop", "", "1:9: release: is empty, and must be a string"),
        ("  web:", "  Web:", "4:3: artifacts.Web: 'Web' is no valid name"),
        ("path: dist", "paht: dist", "6:5: artifacts.web.paht: unknown key (did you mean 'path'?)"),
        ("path: dist", "path: ''", "6:11: artifacts.web.path: is an empty string"),
        (
            "source: path",
            "source: pth",
            "5:13: artifacts.web.source: unknown source 'pth', known: 'bucket', 'deb', 'git'",
        ),
        (
            "    source: path\n",
            "",
            "5:5: artifacts.web: the key 'source' is missing (write one of 'bucket', 'deb', 'git'",
        ),
        ("  web:\n    source: path\n    path: dist", "  {}", "4:3: artifacts: must not be empty"),
        ("release: shop\n", "", "1:1: the key 'release' is missing (The release's name"),
        ("release: shop", "release: shop\nrelease: x", "2:1: release: duplicate key, first at 1:1"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    """File, line, column and path, and what to do."""
    lines = refused(tmp_path, SMALLEST.replace(old, new))
    assert any(line.startswith(message) for line in lines), lines


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        ("run: bin/x --now", "9:12: hooks.before-switch[0].run: must be a list, not a string (write each entry"),
        ("run: []", "9:12: hooks.before-switch[0].run: must not be an empty list"),
        (
            "run: [x, 1]",
            '9:16: hooks.before-switch[0].run[1]: must be a string, not a number (write it in quotes: "1")',
        ),
        ('run: ["a\\0"]', "9:13: hooks.before-switch[0].run[0]: 'a\\x00' does not have the form"),
        ("{run: [x], timeout: 0}", "9:27: hooks.before-switch[0].timeout: must be at least 1, not 0"),
        ("{run: [x], timeout: 86401}", "9:27: hooks.before-switch[0].timeout: must be at most 86400, not 86401"),
        ("{timeout: 1}", "9:7: hooks.before-switch[0]: the key 'run' is missing"),
    ],
)
def test_a_hook_is_checked(tmp_path: Path, hook: str, message: str) -> None:
    """A hook is a list of arguments with a bounded time."""
    lines = refused(tmp_path, f"{SMALLEST}hooks:\n  before-switch:\n    - {hook}\n")
    assert [line for line in lines if line.startswith(message)], lines


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """A person mends a spec in one round."""
    text = "release: Shop\nversion: 1\nartifact:\n  web: {}\nartifacts:\n  a: {source: path, path: x, path: y}\n  b:\n"
    assert [line.partition(" (")[0] for line in refused(tmp_path, text)] == [
        "1:10: release: 'Shop' is no valid name",
        "2:10: version: must be a string, not a number",
        "3:1: artifact: unknown key",
        "6:30: artifacts.a.path: duplicate key, first at 6:21",
        "7:5: artifacts.b: is empty, and must be a mapping",
    ]


def test_the_published_schema_is_the_one_that_is_checked() -> None:
    """Generated by `python -m bundler.spec > docs/reference/sealift.schema.json`."""
    program = [sys.executable, "-m", "bundler.spec"]
    printed = subprocess.run(program, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert printed == (ROOT / "docs/reference/sealift.schema.json").read_text()
    assert json.loads(printed) == schema()
