"""What a run leaves on standard output: text, or with `--json` exactly one document."""

from __future__ import annotations

import os
import sys

import click

from ..durable import disk_error

PIPE_CLOSED = 141
"""The exit code when the reader of standard output went away: 128 and SIGPIPE's number."""


class Output:
    """The `obj` of a run's context: whether the one document has gone to standard output."""

    def __init__(self) -> None:
        self.emitted = False


def emit(document: object, as_json: bool, text: str) -> None:
    """Write a command's result to standard output: `document` as JSON, or `text`.

    Args:
        document: what `json` can encode.
        as_json: whether `--json` was given.
        text: the same for a person; nothing is written where it is empty.

    Raises:
        StoreError: standard output cannot be written, on a full disk for example.
    """
    if as_json:
        text = encode(document)
    if text:
        try:
            click.echo(text)
        except BrokenPipeError:
            raise
        except OSError as error:
            abandon_output()
            raise disk_error(error, "standard output") from error
    context = click.get_current_context(silent=True)
    output = context.find_object(Output) if context else None
    if output is not None:
        output.emitted = True


def encode(document: object) -> str:
    """`document` as JSON: ASCII, sorted keys, two spaces of indent."""
    import json

    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False)


def abandon_output() -> None:
    """Let what is left in standard output go nowhere, so that the interpreter's own flush at exit succeeds."""
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
