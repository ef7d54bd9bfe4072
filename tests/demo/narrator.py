"""Tells a story on the terminal: what happens next and why, the command as one types it, and what it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

WIDTH = 100
"""Columns that the story keeps to."""
_BOLD, _DIM, _GREEN, _CYAN = "1", "2", "32", "36"


class ClaimError(Exception):
    """Something is not as the story says."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """How a command ended."""

    output: str
    """Standard output."""
    errors: str
    code: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Place:
    """One side of the gap, where commands run."""

    name: str
    folder: Path


class Narrator:
    """Runs the commands of a story and shows them.

    Args:
        programs: the folder that holds the programs.
        variables: what the commands' environment holds besides this process's own.
    """

    def __init__(self, programs: Path, variables: Mapping[str, str]) -> None:
        path = f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        self._environment = {**os.environ, **variables, "PATH": path}
        self._coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._chapters = 0
        self.claims = 0

    def title(self, text: str) -> None:
        """The story's name."""
        print(self._paint(text, _BOLD))

    def chapter(self, text: str) -> None:
        """Begin a chapter."""
        self._chapters += 1
        print(f"\n{self._paint(f'{self._chapters}. {text}', _BOLD)}")

    def say(self, text: str) -> None:
        """A sentence for the reader."""
        print(f"\n{textwrap.fill(text, WIDTH)}")

    def show(self, text: str) -> None:
        """Text as it stands, set in."""
        for line in text.splitlines():
            self._line(line)

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Rows in aligned columns."""
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            self._line("  ".join(cells).rstrip(), hang=sum(widths[:-1]) + 2 * len(widths) - 2)

    def claim(self, holds: bool, text: str) -> None:
        """Check a claim of the story, and say that it holds.

        Raises:
            ClaimError: it does not.
        """
        if not holds:
            raise ClaimError(text)
        self.claims += 1
        wrapped = textwrap.fill(text, WIDTH - 4, subsequent_indent="    ")
        print(f"  {self._paint('✓', _GREEN)} {wrapped}")

    def run(
        self,
        place: Place,
        *command: str,
        code: int = 0,
        shown: bool = True,
        only: str | None = None,
    ) -> Said:
        """Run a command at a place, and show it with what it says.

        Args:
            place: where it runs.
            command: the program and its arguments.
            code: the exit code that the story expects.
            shown: whether the command and its output are shown.
            only: a pattern of the lines that are shown; all by default.

        Raises:
            ClaimError: it ends with another exit code.
        """
        if shown:
            typed = f"{place.name}$ {shlex.join(command)}"
            print()
            lines = textwrap.wrap(typed, WIDTH - 4, break_long_words=False, break_on_hyphens=False)
            for number, line in enumerate(lines):
                more = " \\" if number + 1 < len(lines) else ""
                print(f"{'    ' if number else ''}{self._paint(line + more, _CYAN)}")
        begun = time.monotonic()
        ended = subprocess.run(
            command, cwd=place.folder, env=self._environment, capture_output=True, text=True, check=False
        )
        said = Said(output=ended.stdout, errors=ended.stderr, code=ended.returncode, seconds=time.monotonic() - begun)
        if shown or said.code != code:
            for line in (said.output + said.errors).splitlines():
                if only is None or re.search(only, line):
                    self._line(line, _DIM)
        if said.code != code:
            raise ClaimError(f"{shlex.join(command)} ended with exit code {said.code}, and {code} is expected")
        return said

    def _line(self, line: str, colour: str | None = None, *, hang: int = 0) -> None:
        hanging = " " * (hang or len(line) - len(line.lstrip()) + 2)
        pieces = textwrap.wrap(line, WIDTH - 4, subsequent_indent=hanging, break_on_hyphens=False) or [""]
        if line.startswith(" ") and pieces[0]:
            pieces[0] = line[: len(line) - len(line.lstrip())] + pieces[0].lstrip()
        for piece in pieces:
            print(f"    {self._paint(piece, colour) if colour else piece}".rstrip())

    def _paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._coloured else text
