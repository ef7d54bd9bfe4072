"""Options that commands of several programs share, and what they mean."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


def json_option(function: Function) -> Function:
    """Give a command `--json`, as its parameter `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(function)


def quiet_option(function: Function) -> Function:
    """Give a command `--quiet`, as its parameter `quiet`: for `Bar`."""
    return click.option("-q", "--quiet", is_flag=True, help="Show no progress.")(function)


def threads_option(function: Function) -> Function:
    """Give a command `--threads`, as its parameter `threads`: for `workers`."""
    return click.option(
        "--threads",
        type=click.IntRange(1, 256),
        metavar="N",
        help="How many workers; as many as there are processors where nothing is said.",
    )(function)


def workers(threads: int | None) -> int:
    """How many workers `--threads` means: without it, the processors that this process is allowed to use."""
    return threads or len(os.sched_getaffinity(0))


def utc_now() -> datetime:
    """The time of this machine's clock."""
    return datetime.now(UTC)
