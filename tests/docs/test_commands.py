"""The reference of commands is what the programs say of themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_commands_page_is_current(tmp_path: Path) -> None:
    """Every command and every option stands in docs/reference/commands.md, with its help."""
    page = tmp_path / "commands.md"
    script = (
        "import sys; from pathlib import Path; sys.path[:0] = [sys.argv[1], sys.argv[1] + '/tests/docs']; "
        "import commands; Path(sys.argv[2]).write_text(commands.text())"
    )
    subprocess.run([sys.executable, "-c", script, str(ROOT), str(page)], check=True, timeout=60)
    said = (ROOT / "docs/reference/commands.md").read_text()
    assert said == page.read_text(), "run python tests/docs/commands.py"
