"""The three programs on bad input: one `error:`, one `hint:`, the exit code, and one JSON document where asked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from worlds import Connected, Isolated

SPEC = 'release: shop\nversion: "1.0.0"\nartifacts:\n  web:\n    source: path\n    path: dist\n'


def sealift(program: str, *args: object, now: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program."""
    package = {"sealift-bundle": "bundler", "sealift-install": "installer", "sealift-keys": "keys"}[program]
    repository = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-c", f"from {package}.cli import main; main()", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": repository, "LC_ALL": "C.UTF-8"},
    )


@pytest.mark.parametrize(
    ("content", "exit_code", "said"),
    [
        pytest.param(b"", 4, "is no sealift bundle, or is cut off at byte 0", id="73 nothing"),
        pytest.param(b"\0" * 4096, 4, "does not end where a bundle ends", id="zeros"),
        pytest.param(b"PK\3\4" * 999, 4, "is no sealift bundle", id="a zip file"),
    ],
)
def test_an_import_says_what_is_wrong(content: bytes, exit_code: int, said: str, isolated: Isolated) -> None:
    """Two lines on standard error, none on standard output, and a line in the ledger."""
    path = isolated.root / "bad.sealift"
    path.write_bytes(content)
    done = sealift("sealift-install", "import", "--site", isolated.folder, path)
    assert (done.returncode, done.stdout) == (exit_code, "")
    error, hint = done.stderr.splitlines() if done.stderr.count("\n") == 2 else (done.stderr, "hint: ")
    assert error.startswith("error: ")
    assert said in error
    assert hint.startswith("hint: ")
    assert "Traceback" not in done.stderr
    assert list(isolated.site.ledger.read())[-1].event == "refused"


def test_an_import_says_it_in_json(isolated: Isolated) -> None:
    """`--json` gives one document with the message, the hint and the exit code."""
    path = isolated.root / "bad.sealift"
    path.write_bytes(b"x" * 2000)
    done = sealift("sealift-install", "import", "--json", "--site", isolated.folder, path)
    document = json.loads(done.stdout)
    assert document["error"]["exit_code"] == done.returncode == 4
    assert "no sealift bundle" in document["error"]["message"]


def test_a_wrong_fingerprint_says_what_to_compare(connected: Connected, tmp_path: Path) -> None:
    """Exit 6, and no site is made."""
    site = tmp_path / "never"
    args = ("enroll", "--site", site, "--root", connected.first_root, "--fingerprint", "0" * 64)
    done = sealift("sealift-install", *args)
    assert done.returncode == 6
    assert "another fingerprint than the one given" in done.stderr
    assert not site.exists()


def test_a_name_of_a_file_cannot_draw_on_the_terminal(isolated: Isolated) -> None:
    """51: escapes in a bundle's name are shown as text."""
    path = isolated.root / "a\x1b[2J\u202eb.sealift"
    path.write_bytes(b"x")
    done = sealift("sealift-install", "import", "--site", isolated.folder, path)
    assert done.returncode == 4
    assert "\x1b" not in done.stderr
    assert "\u202e" not in done.stderr


SPECS: dict[str, tuple[str, list[str]]] = {
    "unknown keys": (SPEC + "extra: 1\nanother: 2\n", [":7:1: ", ":8:1: ", "extra", "another"]),
    "a duplicate key": (SPEC + "release: other\n", [":7:1: ", "duplicate key, first at 1:1"]),
    "46 an alias bomb": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{c}: &{c} [{','.join(['*' + p] * 9)}]\n" for p, c in zip("abcdef", "bcdefg", strict=True)),
        ["aliases make the document hold more than"],
    ),
    "46 an alias of itself": ("a: &a [*a]\n", ["aliases nest deeper"]),
    "46 a python tag": (SPEC.replace("dist", "!!python/object/apply:os.system [id]"), [":6:", "tag"]),
    "39 deep nesting": ("a: " + "[" * 500, ["nested deeper than 32 levels"]),
    "52 a name that climbs": (SPEC.replace("shop", "../shop"), [":1:10: release"]),
    "52 a version that climbs": (SPEC.replace("1.0.0", "1/../2"), [":2:10: version"]),
    "51 NUL": (SPEC.replace("dist", '"a\\0b"'), [":6:11: "]),
    "58 an artifact in capitals": (SPEC.replace("web", "WEB"), [":4:3: "]),
    "all errors at once": (
        'release: Shop!\nversion: ""\nartifacts:\n  web:\n    source: nowhere\n  "..":\n    source: path\nmore: 1\n',
        [":1:10: ", ":2:10: ", ":5:13: ", ":6:3: ", ":8:1: "],
    ),
    "not UTF-8": ("release: caf\udce9\n", ["is not utf-8"]),
    "nothing": ("", ["the document is empty"]),
}


@pytest.mark.parametrize(("text", "said"), SPECS.values(), ids=SPECS)
def test_a_bad_spec_is_refused_with_its_places(text: str, said: list[str], tmp_path: Path) -> None:
    """39, 46, 51, 52, 58: all errors of a file at once, each with line and column; exit 2."""
    from bundler.spec import load
    from sealift.errors import UsageError

    path = tmp_path / "sealift.yaml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError) as caught:
        load(path)
    assert caught.value.exit_code == 2
    for words in said:
        assert words in caught.value.message, caught.value.message


def test_a_lint_lists_every_error(tmp_path: Path) -> None:
    """Exit 2 with one line for each."""
    path = tmp_path / "sealift.yaml"
    path.write_text(SPECS["all errors at once"][0])
    done = sealift("sealift-bundle", "lint", path)
    assert done.returncode == 2
    assert done.stderr.count("sealift.yaml:") >= 5


def test_a_missing_folder_is_shown_in_its_spec(connected: Connected) -> None:
    """Exit 2 with line and column, and a hint; nothing is written."""
    spec = connected.spec("1.0.0")
    out = connected.root / "out.sealift"
    args = ("export", spec, "--depot", connected.depot.folder, "--out", out, "--unsafe-no-passphrase")
    done = sealift("sealift-bundle", *args)
    assert done.returncode == 2
    assert re.search(r"error: .*/shop-1.0.0.yaml:6:11: .*no such file or directory\n", done.stderr)
    assert "hint: check `path`" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    "args",
    [
        ("inspect", "LONG"),
        ("diff", "LONG", "LONG"),
        ("list", "--depot", "LONG"),
        ("export", "x@LONG", "--depot", "LONG"),
        ("export", "shop@1.0.0", "--depot", "DEPOT", "--out", "LONG/x"),
    ],
    ids=lambda args: args[0],
)
def test_a_name_that_the_system_cannot_take_is_bad_input(args: tuple[str, ...], connected: Connected) -> None:
    """60: a name longer than any file's is no bug of ours."""
    said = [arg.replace("LONG", "a" * 300).replace("DEPOT", str(connected.depot.folder)) for arg in args]
    done = sealift("sealift-bundle", *said)
    assert done.returncode in range(2, 9), done.stderr
    assert done.stderr.startswith("error: ")
