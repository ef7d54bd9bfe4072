"""The public suite `tuf-conformance`, against the workflow that a site runs.

The suite is published as a repository and no package: `TUF_CONFORMANCE` names a clone of it (commit eec841c1 was
used). Without one these tests are skipped; those beside them are not.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SUITE = Path(os.environ.get("TUF_CONFORMANCE", "/nowhere"))
TESTS = 113
REFUSED = 33
"""How many tests are of what Sealift refuses on purpose: see `client.xfails`."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (SUITE / "tuf_conformance").is_dir(), reason="TUF_CONFORMANCE names no clone of tuf-conformance"
    ),
    pytest.mark.skipif(shutil.which("faketime") is None, reason="no faketime: make tools installs it"),
]


def _results(client: str) -> dict[str, int]:
    """How many tests of the suite had each outcome."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tuf_conformance"),
            f"--entrypoint={client}",
        ],
        cwd=SUITE,
        env={**env, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    *_, last = done.stdout.strip().splitlines()
    found = {what: int(number) for number, what in re.findall(r"(\d+) (\w+)", last.partition(" in ")[0])}
    assert done.returncode == 0, done.stdout[-4000:]
    return found


def test_the_workflow_passes_the_whole_suite() -> None:
    """With TUF's own rules and no others, no test of the suite fails, and none is expected to."""
    assert _results(f"{HERE / 'client'} --plain") == {"passed": TESTS}


def test_a_sites_own_rules_fail_no_test_but_the_listed_ones() -> None:
    """With all that Sealift refuses beyond TUF, exactly the tests of those refusals fail."""
    assert _results(str(HERE / "client")) == {"passed": TESTS - REFUSED, "xfailed": REFUSED}
