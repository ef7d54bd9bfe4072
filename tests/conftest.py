"""Fixtures that tests of several areas share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from worlds import NOW, Connected, Isolated

from bundler.depot import Depot
from installer.site import Site
from keys.ceremony import init


@pytest.fixture
def connected(tmp_path: Path) -> Connected:
    """A depot with unencrypted keys, valid from `NOW`."""
    root = tmp_path / "connected"
    root.mkdir()
    summary = init(
        root / "depot",
        root_keys=1,
        threshold=1,
        passphrase=None,
        now=NOW,
        unsafe_unencrypted=True,
    )
    return Connected(root=root, depot=Depot(root / "depot"), fingerprint=summary.fingerprint)


@pytest.fixture
def enroll(tmp_path: Path) -> Callable[[Connected, str], Isolated]:
    """Makes sites that trust a depot's root."""

    def make(connected: Connected, name: str = "site") -> Isolated:
        root = tmp_path / f"isolated-{name}"
        root.mkdir()
        Site.create(root / name, connected.first_root.read_bytes(), connected.fingerprint, NOW)
        return Isolated(root=root, folder=root / name, srv=root / "srv")

    return make


@pytest.fixture
def isolated(connected: Connected, enroll: Callable[[Connected, str], Isolated]) -> Isolated:
    """A site that trusts the depot of `connected`."""
    return enroll(connected, "site")
