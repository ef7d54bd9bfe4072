"""The conformance client itself: what it keeps, asks for and refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from teams import Team, offer

from tests.tufmaker import FUTURE, Depot, Tree, target

CLIENT = Path(__file__).resolve().parent / "client"
CONTENT = b"a release manifest"
PATH = "releases/shop/1.0.0.json"
FILES = {PATH: target(CONTENT)}


class Server(ThreadingHTTPServer):
    """Serves what is in `files`, and remembers what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []

    def show(self, metadata: Mapping[str, bytes], targets: Mapping[str, bytes] | None = None) -> None:
        """Serve these metadata files and targets."""
        self.files = {f"/metadata/{name}": content for name, content in metadata.items()}
        for path, content in (targets or {}).items():
            above, slash, own = path.rpartition("/")
            self.files[f"/targets/{above}{slash}{sha256(content).hexdigest()}.{own}"] = content


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        self.server.asked.append(self.path.rpartition("/")[2])
        content = self.server.files.get(self.path)
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on a free port."""
    with Server() as made:
        thread = Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def depot() -> Depot:
    """A depot with one key a role."""
    return Depot()


@pytest.fixture
def folder(tmp_path: Path, depot: Depot) -> Path:
    """A folder that trusts the depot's first root."""
    (tmp_path / "metadata").mkdir()
    (tmp_path / "root.json").write_bytes(depot.root(expires=FUTURE))
    assert _client(tmp_path, "init", str(tmp_path / "root.json")) == 0
    return tmp_path


def _client(folder: Path, *words: str) -> int:
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        [CLIENT, "--metadata-dir", folder / "metadata", *words], env=env, check=False, capture_output=True, timeout=60
    ).returncode


def _refresh(folder: Path, server: Server) -> int:
    return _client(folder, "--metadata-url", f"http://127.0.0.1:{server.server_port}/metadata/", "refresh")


def _download(folder: Path, server: Server, *paths: str) -> int:
    address = f"http://127.0.0.1:{server.server_port}"
    (folder / "targets").mkdir(exist_ok=True)
    names = [word for path in paths for word in ("--target-name", path)]
    return _client(
        folder,
        *("--metadata-url", f"{address}/metadata", "--target-base-url", f"{address}/targets"),
        *(*names, "--target-dir", str(folder / "targets"), "download"),
    )


def _kept(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "metadata").iterdir()}


def test_init_asks_nobody_and_keeps_the_root(folder: Path, server: Server) -> None:
    """Trust begins with a file, and without a network."""
    assert _kept(folder) == {"root.json": (folder / "root.json").read_bytes()}
    assert server.asked == []


def test_init_refuses_what_is_no_root(tmp_path: Path) -> None:
    """A root that its own keys did not sign is not kept."""
    (tmp_path / "metadata").mkdir()
    (tmp_path / "root.json").write_bytes(b"{}")
    assert _client(tmp_path, "init", str(tmp_path / "root.json")) == 1
    assert _kept(tmp_path) == {}


def test_a_refresh_keeps_the_four_roles_byte_for_byte(folder: Path, server: Server, depot: Depot) -> None:
    """What was verified is what is kept, under names without versions."""
    made = depot.offer(7, files=FILES)
    server.show(made)
    assert _refresh(folder, server) == 0
    assert server.asked == ["2.root.json", "timestamp.json", "7.snapshot.json", "7.targets.json"]
    kept = _kept(folder)
    assert {name: kept[f"{name}.json"] for name in ("timestamp", "snapshot", "targets")} == {
        "timestamp": made["timestamp.json"],
        "snapshot": made["7.snapshot.json"],
        "targets": made["7.targets.json"],
    }


def test_a_rollback_is_refused_and_keeps_what_was(folder: Path, server: Server, depot: Depot) -> None:
    """19: after version 7 no version 6 is followed."""
    server.show(depot.offer(7))
    assert _refresh(folder, server) == 0
    before = _kept(folder)
    server.show(depot.offer(6))
    assert _refresh(folder, server) == 1
    assert _kept(folder) == before


def test_a_rotation_and_a_fast_forward_are_recovered_from(folder: Path, server: Server, depot: Depot) -> None:
    """21: new online keys let the versions begin again, also where the roots were kept by a run that failed."""
    server.show(depot.offer(2**40))
    assert _refresh(folder, server) == 0
    after = depot.rotated("timestamp", "snapshot", "targets")
    fresh = after.offer(8, roots={2: after.root(2, former=depot)})
    server.show({name: content for name, content in fresh.items() if name != "timestamp.json"})
    assert _refresh(folder, server) == 1
    server.show(fresh)
    assert _refresh(folder, server) == 0
    assert _kept(folder)["timestamp.json"] == fresh["timestamp.json"]


def test_a_target_is_downloaded_once(folder: Path, server: Server, depot: Depot) -> None:
    """What lies there with the signed digest is not fetched again."""
    server.show(depot.offer(7, files=FILES), {PATH: CONTENT})
    assert _download(folder, server, PATH) == 0
    (kept,) = (folder / "targets").iterdir()
    assert kept.read_bytes() == CONTENT
    server.asked.clear()
    assert _download(folder, server, PATH) == 0
    assert server.asked == ["2.root.json", "timestamp.json"]


@pytest.mark.parametrize("files", [{}, {PATH: target(b"something else")}], ids=["unlisted", "exchanged"])
def test_a_target_that_nobody_signed_is_not_kept(
    folder: Path, server: Server, depot: Depot, files: dict[str, Tree]
) -> None:
    """A file is kept only under the digest that was signed."""
    server.show(depot.offer(7, files=files), {PATH: CONTENT})
    for name in [name for name in server.files if name.startswith("/targets")]:
        digest = sha256(b"something else").hexdigest()
        server.files[f"/targets/releases/shop/{digest}.1.0.0.json"] = server.files.pop(name)
    assert _download(folder, server, PATH) == 1
    assert list((folder / "targets").iterdir()) == []


def test_a_teams_target_is_found_by_its_role(folder: Path, server: Server, depot: Depot) -> None:
    """32: a delegated role is asked for its own namespace."""
    team, path = Team(), "releases/team-a/shop/1.0.0.json"
    server.show(offer(depot, 7, teams={team: team.targets(3, {path: target(CONTENT)})}), {path: CONTENT})
    assert _download(folder, server, path) == 0
    assert "3.team-a.json" in server.asked
    assert _download(folder, server, "releases/team-b/shop/1.0.0.json") == 1
