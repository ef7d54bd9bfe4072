"""An export onto a real disk that is full: nothing half-made stays, and the same command succeeds with room."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import mounts
import pytest
from worlds import Connected

from bundler.depots.depot import Depot
from sealift.errors import StoreError

FILES = {"noise.bin": random.Random(7).randbytes(2 << 20), "index.html": b"<h1>shop</h1>\n"}


def test_a_full_depot_publishes_nothing(connected: Connected, tmp_path: Path) -> None:
    """81: exit 8 with what helps; after making room, the same export is whole."""
    spec = connected.spec("1.0.0", FILES)
    with mounts.tmpfs(tmp_path / "disk", "size=4m") as disk:
        shutil.copytree(connected.depot.folder, disk / "depot")
        there = replace(connected, depot=Depot(disk / "depot"))
        before = {path: path.read_bytes() for path in (disk / "depot").rglob("*.json")}
        filler = disk / "filler"
        filler.write_bytes(bytes(3 << 20))
        out = connected.root / "out.sealift"
        with pytest.raises(StoreError, match="no space left") as caught:
            there.export(spec, out)
        assert caught.value.exit_code == 8
        assert "free some space" in (caught.value.hint or "")
        assert {path: path.read_bytes() for path in (disk / "depot").rglob("*.json")} == before
        assert not list(connected.root.glob("*out.sealift*"))
        filler.unlink()
        assert there.export(spec, out).is_file()


def test_a_full_folder_for_the_bundle_keeps_no_half_of_it(connected: Connected, tmp_path: Path) -> None:
    """81: at `--out`; the release is published, and a further export writes the bundle."""
    spec = connected.spec("1.0.0", FILES)
    with mounts.tmpfs(tmp_path / "disk", "size=1m") as disk:
        with pytest.raises(StoreError, match="no space left"):
            connected.export(spec, disk / "out.sealift")
        assert list(disk.iterdir()) == []
    assert connected.export(spec, connected.root / "out.sealift").is_file()
