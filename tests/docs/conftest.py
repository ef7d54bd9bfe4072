"""The programs and a bundle, as the pages of the documentation need them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Shell = Callable[[str, Path], "subprocess.CompletedProcess[str]"]
_PROGRAMS = {"sealift-keys": "keys", "sealift-bundle": "bundler", "sealift-install": "installer"}


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Runs a script with `bash -eu` in a folder; the three programs are on its PATH, from this source tree."""
    programs = tmp_path_factory.mktemp("programs")
    for name, package in _PROGRAMS.items():
        path = programs / name
        path.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path[0] = {str(ROOT)!r}\nfrom {package}.cli import main\nmain()\n"
        )
        path.chmod(0o755)

    def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "SEALIFT_PASSPHRASE": "a passphrase for a test",
        }
        return subprocess.run(
            ["bash", "-eu"],
            input=script,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return run
