"""The target `pypi-index`: real `pip` installs from what it deploys, and refuses what was changed."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from distributions import sdist, wheel
from enclave import URL, enclave, nginx, plain_server
from worlds import Connected, Isolated

ROOT = Path(__file__).parents[2]
SILENT = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
"""No setting of this machine, and no other index."""
APP = {
    **wheel("Shop.App", requires=["shop-lib>=1"]),
    **wheel("shop_lib", "1.2+local", python=">=3.8"),
    **sdist("other"),
}


@pytest.fixture
def index(connected: Connected, isolated: Isolated, tmp_path: Path) -> Path:
    """The folder of a deployed index."""
    isolated.admit(connected.packages("1.0", APP))
    isolated.deploy("1.0", f"{{kind: pypi-index, path: {tmp_path / 'pypi'}}}")
    return tmp_path / "pypi"


def pip(*words: str | Path) -> list[str | Path]:
    """A command."""
    return [sys.executable, "-m", "pip", *words]


def test_pip_installs_from_a_disk_and_from_any_server(index: Path, tmp_path: Path) -> None:
    """104: with what a package requires, and no other network to be had."""
    done = enclave(
        plain_server(index / "current"),
        pip("install", "-t", tmp_path / "disk", "--index-url", f"file://{index}/current/simple", "shop-app"),
        pip("install", "-t", tmp_path / "server", "--index-url", f"{URL}simple", "shop-app"),
        pip("download", "-d", tmp_path / "sdist", "--index-url", f"{URL}simple", "--no-deps", "shop_lib"),
        folder=tmp_path,
        variables=SILENT,
    )
    assert done.returncode == 0, done.stderr
    for place in ("disk", "server"):
        assert {path.name for path in (tmp_path / place).glob("*.py")} == {"shop_app.py", "shop_lib.py"}
    assert "shop_lib-1.2%2Blocal-py3-none-any.whl.metadata" in done.stderr + done.stdout


def test_pip_is_given_json_by_nginx(index: Path, tmp_path: Path) -> None:
    """With the settings that the documentation has: the page in JSON, the metadata, and then the wheel."""
    page = (ROOT / "docs/how-to/site-indexes.md").read_text()
    settings = re.findall(r"```nginx\n(.*?)```", page, re.DOTALL)[0].replace("/srv/pypi", str(index))
    done = enclave(
        nginx(settings, tmp_path),
        pip("download", "-d", tmp_path / "out", "--index-url", f"{URL}simple", "--only-binary", ":all:", "shop-lib"),
        folder=tmp_path,
        variables=SILENT,
    )
    assert done.returncode == 0, done.stderr
    wheel = "/simple/shop-lib/shop_lib-1.2+local-py3-none-any.whl"
    assert (tmp_path / "access.log").read_text().splitlines() == [
        "200 /simple/shop-lib/index.json",
        f"200 {wheel}.metadata",
        f"200 {wheel}",
    ]


def test_pip_refuses_what_was_changed(index: Path, tmp_path: Path) -> None:
    """94: a wheel that is no longer what the index says it is."""
    (wheel,) = (index / "current/simple/shop-lib").glob("*.whl")
    wheel.write_bytes(wheel.read_bytes()[:-1] + b"?")
    done = enclave(
        plain_server(index / "current"),
        pip("download", "-d", tmp_path / "out", "--index-url", f"{URL}simple", "--no-deps", "shop-lib"),
        folder=tmp_path,
        variables=SILENT,
    )
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not list((tmp_path / "out").glob("*"))
