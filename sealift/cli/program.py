"""The programs as click groups: their commands are imported only when they are called.

A module that defines a command is imported when the command runs or shows its own help; the program's help and
shell completion need its name and short help alone.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import click

from .. import __version__
from .output import PIPE_CLOSED, abandon_output


class Command(click.Command):
    """A command whose epilog is an example, shown as it stands."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example without wrapping it."""
        _write_example(self.epilog, formatter)


class Deferred(click.Command):
    """Stands for a command until it runs: its name and short help, and where it is defined.

    Args:
        name: what it is called on the command line.
        origin: `module:attribute` of the click command.
        short_help: its line in the program's help.
    """

    def __init__(self, name: str, origin: str, short_help: str) -> None:
        super().__init__(name, short_help=short_help, add_help_option=False)
        self.origin = origin

    def load(self) -> click.Command:
        """Import the command.

        Raises:
            TypeError: the origin names something else.
        """
        module, _, attribute = self.origin.partition(":")
        loaded = getattr(importlib.import_module(module), attribute)
        if not isinstance(loaded, click.Command):
            raise TypeError(f"{self.origin} is no click command")
        return loaded


class Program(click.Group):
    """One of the programs: a group of commands that are imported only when they are called.

    Args:
        name: the program's name, such as `sealift-bundle`.
        help: what it is for.
        commands: for each command, in the order of the help, `(module:attribute, short help)`.
        example: the example under the help, shown as it stands.
    """

    def __init__(self, name: str, *, help: str, commands: Mapping[str, tuple[str, str]], example: str) -> None:
        super().__init__(
            name,
            help=help,
            epilog=example,
            commands={key: Deferred(key, origin, short) for key, (origin, short) in commands.items()},
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
            params=[
                click.Option(
                    ["--version"],
                    is_flag=True,
                    is_eager=True,
                    expose_value=False,
                    callback=_show_version,
                    help="Show the version and exit.",
                )
            ],
        )

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which they were given."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that `args` call, imported now."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, found.load() if isinstance(found, Deferred) else found, rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was called; end quietly when nobody reads its output any more."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            abandon_output()
            ctx.exit(PIPE_CLOSED)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example without wrapping it."""
        _write_example(self.epilog, formatter)


class Family(click.Group):
    """Commands of a program that share their first word.

    Args:
        name: the word.
        help: what they are for.
        commands: each by its second word, in the order of the help.
        example: the example under the help, shown as it stands.
    """

    def __init__(self, name: str, *, help: str, commands: Mapping[str, click.Command], example: str) -> None:
        super().__init__(
            name, help=help, epilog=example, commands={key: _named(key, each) for key, each in commands.items()}
        )

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example without wrapping it."""
        _write_example(self.epilog, formatter)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which they were given."""
        return list(self.commands)


def _named(name: str, command: click.Command) -> click.Command:
    command.name = name
    return command


def command(*, example: str) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a `Command` whose help ends with `example`."""
    return click.command(cls=Command, epilog=example)


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        click.echo(f"{context.info_name} {__version__}")
        context.exit()


def _write_example(example: str | None, formatter: click.HelpFormatter) -> None:
    if example:
        formatter.write("\nExample:\n")
        for line in inspect.cleandoc(example).splitlines():
            formatter.write(f"  {line}\n" if line else "\n")
