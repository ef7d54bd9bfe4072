"""What tests of the connected side share: the program, a second depot, and a server of one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from calls import Call
from served import Served, answering
from threaded import threaded
from worlds import NOW, Connected

from bundler.cli import PROGRAM
from bundler.depots.depot import Depot
from keys.ceremony import init


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs `sealift-bundle`, with nothing in the environment that it looks at."""
    monkeypatch.delenv("SEALIFT_PASSPHRASE", raising=False)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    return Call(PROGRAM, capsys)


@pytest.fixture
def another(tmp_path: Path) -> Callable[..., Connected]:
    """Makes further depots, each with keys of its own."""

    def make(name: str, now: datetime = NOW) -> Connected:
        root = tmp_path / name
        root.mkdir()
        made = init(root / "depot", root_keys=1, threshold=1, passphrase=None, now=now, unsafe_unencrypted=True)
        return Connected(root=root, depot=Depot(root / "depot"), fingerprint=made.fingerprint, now=now)

    return make


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A server of one file."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with answering() as server, threaded(server):
        yield server
