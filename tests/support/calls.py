"""A program as a person or a script calls it, in this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pytest

from sealift.cli import run


class Call:
    """Calls a program and keeps what it said."""

    def __init__(self, program: click.Command, capsys: pytest.CaptureFixture[str]) -> None:
        self.program, self.capsys = program, capsys
        self.out = self.err = ""

    def __call__(self, *args: str | Path) -> int:
        """The exit code; `out` and `err` hold what was written."""
        words: Sequence[str] = [str(arg) for arg in args]
        with pytest.raises(SystemExit) as caught:
            run(self.program, words)
        self.out, self.err = self.capsys.readouterr()
        return int(caught.value.code or 0)

    def document(self, *args: str | Path, code: int = 0) -> Any:
        """What the program prints with `--json`, which must be one document, when it ends with `code`."""
        assert self(*args, "--json") == code, self.err
        return json.loads(self.out)
