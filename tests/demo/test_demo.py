"""The demo holds what it says, as a reader would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).with_name("demo.py")


@pytest.mark.slow
def test_demo_holds_every_claim(tmp_path: Path) -> None:
    """The whole demo runs on real packages, ends with 0, and keeps to 100 columns."""
    command = [sys.executable, str(DEMO), "--folder", str(tmp_path / "demo")]
    environment = {**os.environ, "PYTHONWARNINGS": "default"}
    told = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert told.returncode == 0, told.stdout[-4000:] + told.stderr
    assert "claims above were checked" in told.stdout
    place = str(tmp_path)
    assert [line for line in told.stdout.splitlines() if len(line) > 100 and place not in line] == []
    assert "\x1b" not in told.stdout
