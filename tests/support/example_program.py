"""The program that docs/how-to/write-a-target.md shows."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/how-to/write-a-target.md"


def example(folder: Path) -> Path:
    """The program that the page shows."""
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return script(folder / "publish", block)


def script(path: Path, text: str) -> Path:
    """A program."""
    path.write_text(text)
    path.chmod(0o755)
    return path


def shell(folder: Path, text: str) -> Path:
    """A program that ends with `text`, and is the example before that; `$asked` is the request."""
    words = f'#!/bin/sh\nasked=$(cat)\n{text}\nprintf %s "$asked" | {example(folder)} "$@"\n'
    return script(folder / "other", words)
