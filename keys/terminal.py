"""The passphrase options that the programs share, and the prompt behind them. Imports click and nothing heavier."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from .passphrase import VARIABLE, PassphraseSource

Function = TypeVar("Function", bound=Callable[..., Any])


def passphrase_options(function: Function) -> Function:
    """Give a command `--passphrase-file` and `--unsafe-no-passphrase`, as parameters of those names."""
    function = click.option(
        "--unsafe-no-passphrase",
        is_flag=True,
        help="Leave private keys in the clear: for trials only.",
    )(function)
    return click.option(
        "--passphrase-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=f"A private file whose first line is the passphrase; else {VARIABLE}, else a prompt.",
    )(function)


def terminal_source(file: Path | None) -> PassphraseSource:
    """The passphrase from `file`, else this process's environment, else its terminal.

    From here on the clients of key services keep their log records to themselves: what they mean is said once, as an
    error with a hint and without what a terminal would obey.
    """
    import logging

    logging.disable(logging.CRITICAL)
    return PassphraseSource(file=file, environ=os.environ, prompt=_prompt if sys.stdin.isatty() else None)


def _prompt(question: str) -> str:
    answer: str = click.prompt(question, prompt_suffix="", hide_input=True, default="", show_default=False, err=True)
    return answer
