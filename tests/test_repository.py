"""What the repository and what is built from it must hold, whoever changes them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"sealift", "bundler", "installer", "keys"}
REGISTRIES = ["pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "deb.debian" + ".org"]
"""Put together here so that this file does not name them."""
MACHINE_PATHS = [r"(?<![\w.~/{}$-])/work/[a-z.]", "/var/tmp/" + r"v\b", "/root/" + r"\.pyenv", "/opt/" + "pypi"]
"""Patterns of folders in which this project was worked on."""


def locked() -> dict[str, list[str]]:
    """The lock's requirements, each with its hashes."""
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return {line.split()[0]: re.findall(r"--hash=sha256:([0-9a-f]{64})(?=\s|$)", line) for line in lines}


def committed() -> list[Path]:
    """The files that git holds or would add; none outside a clone."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("this is no git clone")
    found = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in found if path.is_file() and not path.is_symlink()]


def naming(patterns: list[str]) -> list[str]:
    """The committed files in which one of `patterns` is found, each with what was found first."""
    sought = re.compile("|".join(patterns).encode())
    return [
        f"{path.relative_to(ROOT)}: {found[0].decode()}"
        for path in committed()
        if (found := sought.search(path.read_bytes()))
    ]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built without a network."""
    folder = tmp_path_factory.mktemp("dist")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_wheel_holds_our_packages_alone(wheel: zipfile.ZipFile) -> None:
    """The wheel has the four packages and its own metadata, and no tests."""
    top = {name.partition("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == PACKAGES


def test_installer_in_wheel_is_ours(wheel: zipfile.ZipFile) -> None:
    """The package `installer` is this project's, and not the unrelated one of that name."""
    assert wheel.read("installer/__init__.py") == (ROOT / "installer/__init__.py").read_bytes()
    assert "installer/targets/__init__.py" in wheel.namelist()


def test_wheel_holds_package_data(wheel: zipfile.ZipFile) -> None:
    """What lies beside the modules, such as a JSON Schema, is in the wheel."""
    data = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert data - {name for name in wheel.namelist() if name.partition("/")[0] in PACKAGES} == set()


def test_wheel_refuses_upload(wheel: zipfile.ZipFile) -> None:
    """The classifier keeps a registry from taking the wheel."""
    (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    assert b"Classifier: Private :: Do Not Upload\n" in wheel.read(metadata)


def test_installer_needs_few_packages() -> None:
    """What crosses the gap with the installer stays small: anything else is an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[\[<>=~!; ]", line, maxsplit=1)[0] for line in project["dependencies"]}
    assert names == {"tuf", "securesystemslib", "cryptography", "zstandard", "msgspec", "pyyaml", "click", "tqdm"}


def test_lock_pins_every_requirement_by_hash() -> None:
    """Every requirement has one version and at least a hash."""
    requirements = locked()
    assert len(requirements) > 20
    assert [line for line in requirements if not re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", line)] == []
    assert [line for line, hashes in requirements.items() if not hashes] == []


def test_lock_covers_project() -> None:
    """Each direct dependency, of the extras and of the build too, is in the lock."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = document["project"]
    wanted = project["dependencies"] + document["build-system"]["requires"]
    wanted += [line for lines in project["optional-dependencies"].values() for line in lines]
    names = {re.split(r"[\[<>=~!; ]", line, maxsplit=1)[0].lower().replace("_", "-") for line in wanted}
    assert names <= {line.partition("==")[0] for line in locked()}


def test_lock_holds_no_address() -> None:
    """The lock installs from whatever index a machine is set up for."""
    text = (ROOT / "requirements.lock").read_text()
    assert re.findall(r"://|--(?:extra-)?index-url|--find-links|--trusted-host|file:|@ ", text) == []


def test_no_file_names_registry() -> None:
    """No committed file names a package registry's host."""
    assert naming([re.escape(host) for host in REGISTRIES]) == []


def test_no_file_names_path_of_one_machine() -> None:
    """No committed file depends on where somebody worked."""
    assert naming(MACHINE_PATHS) == []


def test_programs_are_declared() -> None:
    """The three programs are installed under their stable names."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {
        "sealift-keys": "keys.cli:main",
        "sealift-bundle": "bundler.cli:main",
        "sealift-install": "installer.cli:main",
    }


def test_no_property_has_a_deadline() -> None:
    """A machine that is busy makes no test fail."""
    assert settings().deadline is None
