"""The isolated side needs no network: every command runs with sockets refused, and in a namespace without any."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from enclave import without_network
from shop import shop
from worlds import Connected

import sealift

GUARD = """
import os, sys
def guard(event, arguments):
    if event.startswith("socket."):
        os.write(2, b"A SOCKET WAS ASKED FOR: " + event.encode() + b"\\n")
        os._exit(99)
sys.addaudithook(guard)
"""
PROJECT = Path(sealift.__file__).parents[1]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a Python program that ends at once where it, or a worker of it, asks for a socket."""
    guard = tmp_path / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(GUARD)
    prefix = without_network()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{guard}:{PROJECT}",
        "HOME": str(tmp_path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    def program(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*prefix, sys.executable, *map(str, arguments)],
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
            timeout=120,
            check=False,
        )

    return program


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.socket()",
        "import socket; socket.getaddrinfo('localhost', 80)",
        "import os, socket\nif os.fork(): os._exit(os.waitstatus_to_exitcode(os.wait()[1]))\nsocket.socket()",
    ],
    ids=["a socket", "a look-up", "a socket in a worker"],
)
def test_the_guard_catches_sockets(run: Run, code: str) -> None:
    """Else the test below would show nothing."""
    done = run("-c", code)
    assert done.returncode == 99
    assert "A SOCKET WAS ASKED FOR" in done.stderr


def test_every_command_runs_without_sockets(connected: Connected, run: Run, tmp_path: Path) -> None:
    """104: from enrolment to gc, refusals included."""
    bundles = [connected.bundle(version, shop(version)) for version in ("1.0.0", "1.1.0")]
    bad = tmp_path / "bad.sealift"
    bad.write_bytes(bundles[1].read_bytes()[:-600])
    environments = []
    for version in ("1.0.0", "1.1.0"):
        path = tmp_path / f"{version}.yaml"
        path.write_text(
            f'environment: plant-7\nrelease: shop\nversion: "{version}"\ntargets:\n  - kind: directory\n'
            f"    path: {tmp_path}/srv\npolicy: none\nhealth:\n  - command: [/bin/true]\n"
        )
        environments.append(path)
    now = _after(connected)
    root = ("--root", connected.first_root, "--fingerprint", connected.fingerprint)
    for code, *arguments in (
        (0, "enroll", *root),
        (0, "import", bundles[0]),
        (4, "import", bad),
        (0, "list"),
        (11, "plan", environments[0], "--exit-code"),
        (0, "apply", environments[0]),
        (0, "import", bundles[1]),
        (6, "import", bundles[0]),
        (0, "apply", environments[1]),
        (0, "status"),
        (0, "rollback", "plant-7"),
        (0, "history"),
        (0, "verify", "--deep"),
        (0, "gc", "--keep", "0"),
    ):
        done = run("-c", now, arguments[0], "--site", tmp_path / "site", *arguments[1:], "--json")
        assert done.returncode == code, (arguments, done.stderr)
        assert json.loads(done.stdout)
    assert (tmp_path / "srv" / "current" / "version.txt").read_text() == "1.0.0\n"


def _after(connected: Connected) -> str:
    """A program that is `sealift-install` at the time for which the depot's metadata was signed."""
    moment = connected.now.isoformat()
    return (
        "from datetime import datetime\n"
        "import sealift.cli\n"
        f"sealift.cli.utc_now = lambda: datetime.fromisoformat({moment!r})\n"
        "from installer.cli import main\n"
        "main()\n"
    )
