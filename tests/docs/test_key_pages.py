"""The pages about ceremonies can be followed, one after the other, as they stand."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs/how-to"
PAGES = ("first-ceremony", "add-a-holder", "lost-key", "stolen-key", "yearly-renewal")
Shell = Callable[[str, Path], "subprocess.CompletedProcess[str]"]


@pytest.mark.slow
def test_the_life_of_a_key_can_be_followed(tmp_path: Path, shell: Shell) -> None:
    """A first ceremony, a new holder, a lost and a stolen key and a renewal, as the pages say, end with root 5."""
    for page in PAGES:
        text = (DOCS / f"{page}.md").read_text()
        script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
        ended = shell(script, tmp_path)
        assert ended.returncode == 0, f"{page}: {ended.stdout}{ended.stderr}"
    ended = shell("sealift-keys show --depot depot --json", tmp_path)
    shown = json.loads(ended.stdout)
    assert shown["root_version"] == 5
    assert (shown["roles"][0]["threshold"], len(shown["roles"][0]["keys"])) == (2, 4)
    assert (shown["warnings"], shown["waiting"]) == ([], [])
