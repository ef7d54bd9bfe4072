"""From the command line to the exit code: the only place where an exception becomes text."""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from ..errors import SealiftError
from ..interrupt import Stopped, stoppable
from ..key_services import keep_out
from .formats import safe
from .output import PIPE_CLOSED, Output, abandon_output, encode

_COLLECTED = 50_000
"""Objects that are made between two collections of garbage. A start makes twice as many, and all of them stay."""
INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 and SIGINT's number, as a shell counts; other signals have theirs."""


def run(program: click.Command, args: Sequence[str] | None = None) -> NoReturn:
    """Run a program to its exit: what a console script calls.

    A command returns None, or an exit code; it may also call `Context.exit(code)`. A `SealiftError` exits
    with its own code, wrong usage with 2, anything unforeseen with 1.

    Args:
        program: what to run.
        args: the arguments; the process's own where None.
    """
    keep_out()
    gc.set_threshold(_COLLECTED)
    atexit.register(gc.freeze)  # so that no time goes into collecting what goes away with the process
    given = list(sys.argv[1:] if args is None else args)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    output = Output()
    try:
        sys.exit(_run(program, given, output))
    except BrokenPipeError:
        abandon_output()
        sys.exit(PIPE_CLOSED)


def _run(program: click.Command, args: list[str], output: Output) -> int:
    caught: BaseException
    message: str
    hint: str | None
    try:
        with stoppable():
            result = program.main(args, prog_name=program.name, standalone_mode=False, obj=output)
        return result if isinstance(result, int) else 0
    except SealiftError as error:
        caught, message, hint, code = error, error.message, error.hint, error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.message, err=True)
        return error.exit_code
    except click.ClickException as error:
        caught, code = error, 2
        message, hint = _explain(error)
    except click.Abort as error:
        caught, reason = error, error.__cause__ or error.__context__
        if isinstance(reason, EOFError):
            message, hint, code = "the input ended where an answer was expected", "run it on a terminal", 2
        else:
            message, code = "interrupted", INTERRUPTED
            if isinstance(reason, Stopped):
                message, code = f"stopped by {reason.signal.name}", 128 + reason.signal
            hint = "nothing was changed that a further run does not continue or undo"
    except Exception as error:  # the end of the program: nothing goes on after it
        caught, code = error, 1
        message = f"unexpected failure: {type(error).__name__}: {error}"
        hint = "this is a bug: run it again with SEALIFT_DEBUG=1 for a traceback, and report that"
    if os.environ.get("SEALIFT_DEBUG"):
        import traceback

        click.echo("".join(traceback.format_exception(caught)), err=True, nl=False)
    if "--json" in args[: args.index("--") if "--" in args else None] and not output.emitted:
        click.echo(encode({"error": {"message": message, "hint": hint, "exit_code": code}}))
    _tell("error:", "31", message)
    if hint:
        _tell("hint:", "33", hint)
    return code


def _explain(error: click.ClickException) -> tuple[str, str | None]:
    """A click error's message and hint, in this project's form."""
    message, hint = error.format_message(), None
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f"see {error.ctx.command_path} --help"
    if isinstance(error, (click.NoSuchOption, click.exceptions.NoSuchCommand)) and error.possibilities:
        message, hint = error.message, "did you mean " + " or ".join(error.possibilities) + "?"
    message = message.removesuffix(".")
    return message[:1].lower() + message[1:], hint


def _tell(label: str, colour: str, message: str) -> None:
    """Write a labelled message to standard error, coloured where that is wanted."""
    coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    text = "\n".join(safe(line) for line in message.split("\n"))
    click.echo(f"\x1b[{colour}m{label}\x1b[0m {text}" if coloured else f"{label} {text}", err=True, color=coloured)
