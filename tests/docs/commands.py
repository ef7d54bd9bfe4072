"""Writes docs/reference/commands.md from the programs themselves: `python tests/docs/commands.py`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reference/commands.md"
HEAD = """\
# Commands

Every command and every option. `tests/docs/commands.py` writes this page from the programs; change their help instead.

Each has `--help`, and each program `--version`. Results go to standard output, all else to standard error. \
[Exit codes](exit-codes.md) say how a command ended.
"""


def text() -> str:
    """The whole page."""
    from bundler.cli import PROGRAM as BUNDLE
    from installer.cli import PROGRAM as INSTALL
    from keys.cli import PROGRAM as KEYS

    return "\n".join([HEAD, *(line for program in (KEYS, BUNDLE, INSTALL) for line in _program(program))])


def _program(program: click.Group) -> Iterator[str]:
    yield from (f"## {program.name}", "", _prose(program.help), "")
    context = click.Context(program, info_name=program.name)
    for name in program.list_commands(context):
        _, command, _ = program.resolve_command(context, [name])
        assert command is not None
        members = command.commands if isinstance(command, click.Group) else {"": command}
        for member, each in members.items():
            yield from _command(each, f"{program.name} {name} {member}".rstrip())


def _command(command: click.Command, path: str) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    usage = " ".join([path, *(piece for piece in command.collect_usage_pieces(context) if piece)])
    yield from (f"### {path}", "", _prose(command.help), "", "```", usage, "```", "")
    options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    yield from ("| option | what it does |", "| --- | --- |")
    for option in options:
        record = option.get_help_record(context)
        if record is not None:
            yield f"| `{record[0]}` | {' '.join(record[1].split()).replace('|', chr(92) + '|')} |"
    yield ""
    if command.epilog:
        yield from ("```console", *(f"$ {line}" for line in inspect.cleandoc(command.epilog).splitlines()), "```", "")


def _prose(help: str | None) -> str:
    return inspect.cleandoc(help or "")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(text())
