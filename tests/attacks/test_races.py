"""Two imports at the same time, over and over: attack 90, which left the older version in 20 of 120 runs of others."""

from __future__ import annotations

import random
import shutil
from functools import partial
from pathlib import Path

import pytest
from forge import Forge
from racing import at_once
from worlds import Isolated

from sealift.errors import StoreError, TrustError
from tests.tufmaker import NOW

ROUNDS = 300


@pytest.mark.slow
def test_two_imports_never_leave_the_older_state(forge: Forge, enrolled: Path, tmp_path: Path) -> None:
    """90: in each of 300 rounds one waits its turn or is refused, and what is left is the newer state, whole."""
    bundles = [forge.bundle(tmp_path / f"{n}", version=n, release=f"1.0.{n}") for n in (1, 2)]
    chance = random.Random(90)
    for number in range(ROUNDS):
        folder = tmp_path / "site"
        shutil.copytree(enrolled, folder)
        site = Isolated(root=tmp_path, folder=folder, srv=tmp_path / "srv", now=NOW)
        order = [0, 1] if chance.random() < 0.5 else [1, 0]
        codes = dict(zip(order, at_once([partial(site.admit, bundles[each]) for each in order]), strict=True))
        assert codes[1] == 0, (number, codes)
        assert codes[0] in (0, StoreError.exit_code, TrustError.exit_code), (number, codes)
        left = site.site
        assert left.state.versions.timestamp == 2, (number, codes)
        held = [each.version for each in left.state.admitted]
        assert held == (["1.0.1", "1.0.2"] if codes[0] == 0 else ["1.0.2"]), (number, codes)
        assert left.marks is not None
        assert left.ledger.verify(left.marks.ledger).sound
        with pytest.raises(TrustError):
            site.admit(bundles[0])
        shutil.rmtree(folder)
