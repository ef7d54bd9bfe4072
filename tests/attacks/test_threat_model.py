"""The table of the threat model is complete, and names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| ([0-9]+) \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)


def test_every_attack_has_a_test_or_says_not_yet() -> None:
    """Each number stands once, in order, with files that exist or with the feature that it waits for."""
    rows = ROW.findall((ROOT / "docs/explanation/threat-model.md").read_text())
    assert [int(number) for number, _ in rows] == list(range(1, 105))
    for number, held in rows:
        files = re.findall(r"`(tests/[^`]+)`", held)
        assert files or held.startswith("not yet: "), number
        for file in files:
            assert (ROOT / file).is_file(), (number, file)
