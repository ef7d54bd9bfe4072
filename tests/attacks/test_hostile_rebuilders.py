"""Programs that compress at the site: a bundle names one of a closed list, and no more; what it gives is checked."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archives import edited, prose
from layers import compressed, tarred
from registries import need
from spoiling import Lines, refused, spoil
from worlds import NOW, Connected, Isolated

from bundler.depots import sites
from installer.receipting import receipt
from installer.storage import rebuilding
from sealift import difference as differences
from sealift import rebuilder
from sealift.errors import IntegrityError, MalformedError, SealiftError
from sealift.listing import decode_line
from sealift.recipe import Recipe, Required

Line = dict[str, Any]
REQUIRED, RECIPE, FRAME = 0, 1, 2


@pytest.fixture(scope="session")
def layers(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """A layer of umoci's, and its next version."""
    folder = tmp_path_factory.mktemp("layers")
    files = {f"{number}.py": prose(number, 60_000) for number in range(10)}
    newer = {name: edited(content) for name, content in files.items()}
    return compressed("umoci", tarred(files), folder / "1"), compressed("umoci", tarred(newer), folder / "2")


@pytest.fixture
def isolated(connected: Connected, enroll: Callable[[Connected, str], Isolated]) -> Isolated:
    """A site that trusts the depot of `connected`."""
    return enroll(connected, "site")


@pytest.fixture
def forged(
    connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch, layers: tuple[bytes, bytes]
) -> Callable[[int, Callable[[Line], object]], Path]:
    """Makes a difference with a newer layer, for the site's receipt, whose lines are changed before they are signed."""
    isolated.admit(connected.bundle("1.0.0", {"blob": layers[0], "same": b"same"}))
    statement, _ = receipt(isolated.site, NOW)
    with connected.depot.lock():
        sites.introduce(connected.depot, statement, statement.fingerprint)

    def make(which: int, change: Callable[[Line], object]) -> Path:
        def changed(lines: Lines) -> Lines:
            assert [next(iter(line)) for line in lines] == ["rebuilder", "makes", "pack"]
            change(lines[which])
            return lines

        spoil(monkeypatch, index=changed)
        return connected.bundle("1.1.0", {"blob": layers[1], "same": b"same"}, receipts=[statement])

    return make


Forged = Callable[[int, Callable[[Line], object]], Path]


def untouched(line: Line) -> None:
    """Change nothing."""


@pytest.mark.parametrize(
    ("which", "change", "match"),
    [
        (REQUIRED, lambda line: line.update(rebuilder="sh"), "a program to compress with that this reader does not"),
        (RECIPE, lambda line: line["pieces"][1].__setitem__(0, 9_999_999), "has a program compress less"),
        (RECIPE, lambda line: line["pieces"].extend([line["pieces"][1]] * 1000), "does not make the bytes of"),
    ],
    ids=["a shell", "a disk full", "again and again"],
)
def test_a_recipe_that_asks_for_more_than_a_program_of_the_list(
    isolated: Isolated, forged: Forged, monkeypatch: pytest.MonkeyPatch, which: int, change: Callable[[Line], object],
    match: str,
) -> None:  # fmt: skip
    """67: no name, path, word or number of a bundle makes a site run anything else, or more than it lets itself."""
    bundle = forged(which, change)

    def runs(*_: object) -> None:
        pytest.fail("a layer was rebuilt")

    monkeypatch.setattr(rebuilding, "remake", runs)
    refused(isolated, bundle, MalformedError, match)


PROBE = "0" * 64


@pytest.mark.parametrize(
    "said",
    [
        {"rebuilder": "/usr/bin/umoci", "probe": PROBE},
        {"rebuilder": "../umoci", "probe": PROBE},
        {"rebuilder": "", "probe": PROBE},
        {"rebuilder": "zlib", "probe": PROBE},
        {"rebuilder": ["umoci", "rm"], "probe": PROBE},
        {"rebuilder": "umoci", "probe": PROBE, "command": "rm"},
        {"rebuilder": "umoci", "probe": PROBE, "level": 9},
        {"rebuilder": "umoci", "probe": "x"},
        {"rebuilder": "umoci"},
    ],
    ids=["a path", "a path upwards", "nothing", "zlib", "a command line", "a command", "a level", "no probe",
         "without probe"],
)  # fmt: skip
def test_a_line_that_names_no_program_of_the_list(said: Line) -> None:
    """67: a name of the list and a digest is all that a bundle can say of a program."""
    with pytest.raises(MalformedError):
        decode_line(json.dumps(said).encode(), Required, "a line").check()


@pytest.mark.parametrize(
    ("piece", "match"),
    [
        ((100_000, 65_535, 0), "has a program compress less"),
        ((33 << 16, 1 << 16, 0), "has a program compress less, or to less"),
        ((1 << 50, 1 << 20, 0), "less than one part in 128"),
        ((1 << 20, 1 << 18, 1), "a piece of no known form"),
        ((1 << 20, 1 << 18, -1), "a piece of no known form"),
    ],
)
def test_a_piece_beyond_what_a_program_is_let(piece: tuple[int, ...], match: str) -> None:
    """67: neither a run for few bytes, nor a disk full of what they inflate to."""
    recipe = Recipe(makes=((0, 1),), frames=1, pieces=(piece,))
    with pytest.raises(MalformedError, match=match):
        recipe.check_form(1, {0})


def test_a_rebuilder_that_is_named_twice(
    connected: Connected, isolated: Isolated, forged: Forged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """67: each program is tried once at most, however many lines name it."""
    bundle = forged(REQUIRED, untouched)
    bundle.unlink()
    spoil(monkeypatch, index=lambda lines: [lines[0], *lines])
    again = connected.export(connected.root / "shop-1.1.0.yaml", receipts=[receipt(isolated.site, NOW)[0]])
    refused(isolated, again, MalformedError, "names a rebuilder twice")


def program(folder: Path, text: str) -> str:
    """A `umoci` of ours, and where it lies."""
    script = folder / "bin" / "umoci"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"#!{sys.executable} -I\nimport os, sys, time\n{text}\n")
    script.chmod(0o755)
    return str(script.parent)


OTHERWISE = """
os.makedirs('out/blobs/sha256', exist_ok=True)
import gzip
if sys.argv[1] == 'raw':
    open('out/blobs/sha256/a', 'wb').write(b'\\x1f\\x8b\\x08\\0' + gzip.compress(open('layer', 'rb').read(), 1)[4:])
"""


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (OTHERWISE, "only another umoci than that of this machine can rebuild"),
        ("time.sleep(100)", "only umoci rebuilds: umoci did not end within 1 seconds"),
    ],
    ids=["another version", "hangs"],
)
def test_a_program_that_is_another_at_the_site(
    isolated: Isolated, forged: Forged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, match: str
) -> None:
    """78: what is not what the receipt said is found out by the probe, before anything is written."""
    bundle = forged(REQUIRED, untouched)
    monkeypatch.setattr(rebuilder, "PATH", program(tmp_path, text))
    monkeypatch.setattr(rebuilder, "SECONDS", 1)
    monkeypatch.setattr(rebuilder, "RATE", 1 << 40)
    _refused_unwritten(isolated, bundle, match)


def test_a_program_that_is_gone_at_the_site(
    isolated: Isolated, forged: Forged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """78: nothing is written, and the error says which program, and how to get a bundle that needs none."""
    bundle = forged(REQUIRED, untouched)
    monkeypatch.setattr(rebuilder, "PATH", str(tmp_path))
    error = _refused_unwritten(isolated, bundle, "only umoci rebuilds: umoci, which is to compress .* is not on this")
    assert error.hint is not None
    assert "install the umoci" in error.hint
    assert "--since" in error.hint


def _refused_unwritten(isolated: Isolated, bundle: Path, match: str) -> SealiftError:
    before = isolated.fingerprint_of_everything()
    with pytest.raises(IntegrityError, match=match) as caught:
        isolated.admit(bundle)
    assert isolated.fingerprint_of_everything() == before
    return caught.value


def test_a_probe_that_agrees_where_the_layer_does_not(
    isolated: Isolated, forged: Forged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe is no proof: what comes out is checked against the signed digests all the same."""
    monkeypatch.setattr(rebuilder, "PATH", rebuilder.PATH)
    original = rebuilder.Rebuilder("umoci").probe()
    bundle = forged(REQUIRED, untouched)
    monkeypatch.setattr(rebuilder, "PATH", program(tmp_path, OTHERWISE))
    monkeypatch.setattr(rebuilder.Rebuilder, "probe", lambda _: original)
    refused(isolated, bundle, IntegrityError, "umoci deflates otherwise here|not what was signed")
    assert not list(isolated.folder.rglob(".tmp-remade*"))


def test_a_kill_while_a_layer_is_rebuilt(
    isolated: Isolated, forged: Forged, tmp_path: Path, layers: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program ends with the worker that waits for it; the site is as it was, and the next import clears up."""
    bundle = forged(REQUIRED, untouched)
    before = (isolated.folder / "state.json").read_bytes()
    running = tmp_path / "running"
    slow = "if sys.argv[1] == 'init':\n    open({!r}, 'w').write(str(os.getpid()))\n    time.sleep(60)"
    folder = program(tmp_path, slow.format(str(running)))
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(rebuilder, "PATH", folder)
        monkeypatch.setattr(differences, "_check_rebuilder", lambda _: None)
        try:
            isolated.admit(bundle)
        finally:
            os._exit(1)
    until = time.monotonic() + 30
    while not (running.exists() and running.read_text()) and time.monotonic() < until:
        time.sleep(0.01)
    pid = int(running.read_text())
    workers = Path(f"/proc/{child}/task/{child}/children").read_text().split()
    for each in (child, *map(int, workers)):
        os.kill(each, signal.SIGKILL)
    os.waitpid(child, 0)
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < until, "the program outlived who waited for it"
        time.sleep(0.01)
    assert (isolated.folder / "state.json").read_bytes() == before
    assert list(isolated.folder.glob("store/.tmp-remade.*"))
    isolated.admit(bundle)
    isolated.apply("1.1.0")
    assert (isolated.srv / "current" / "blob").read_bytes() == layers[1]
    assert not list(isolated.folder.rglob(".tmp-remade*"))


def test_a_receipt_cannot_make_a_program_that_fails_here_count(
    connected: Connected, isolated: Isolated, layers: tuple[bytes, bytes], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """An export whose own program is another than the one that the receipt proves does not rely on it."""
    need("umoci")
    isolated.admit(connected.bundle("1.0.0", {"blob": layers[0]}))
    statement, _ = receipt(isolated.site, NOW)
    with connected.depot.lock():
        sites.introduce(connected.depot, statement, statement.fingerprint)
    monkeypatch.setattr(rebuilder, "PATH", program(tmp_path, OTHERWISE))
    path = connected.bundle("1.1.0", {"blob": layers[1]}, receipts=[statement])
    made = connected.made[path.name].carried[0].difference
    assert made is not None
    assert made.inside.archives == 0
