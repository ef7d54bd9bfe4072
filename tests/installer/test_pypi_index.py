"""The target `pypi-index`: real `pip` installs from what it deploys, and several releases share one index."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from distributions import sdist, wheel
from worlds import Connected, Isolated


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """The folder of an index."""
    return tmp_path / "pypi"


def settings(index: Path) -> str:
    """A target of that index."""
    return f"{{kind: pypi-index, path: {index}}}"


def pip(index: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run pip with this index and no other, in a namespace without a network."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(index.parent), "PIP_CONFIG_FILE": os.devnull}
    url = f"file://{index}/current/simple"
    return subprocess.run(
        [sys.executable, "-m", "pip", *words, "--index-url", url, "--no-cache-dir", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def test_pip_installs_from_it(connected: Connected, isolated: Isolated, index: Path, tmp_path: Path) -> None:
    """With what a package requires, by `file://`."""
    files = {
        **wheel("Shop.App", requires=["shop-lib>=1"]),
        **wheel("shop_lib", "1.2", python=">=3.8"),
        **sdist("other"),
    }
    isolated.admit(connected.packages("1.0", files))
    isolated.deploy("1.0", settings(index))
    done = pip(index, "install", "--target", tmp_path / "out", "shop-app")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").glob("*.py")} == {"shop_app.py", "shop_lib.py"}
