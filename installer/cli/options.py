"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ..applying import Installation
    from ..site import Site

Function = TypeVar("Function", bound=Callable[..., Any])
DEFAULT_SITE = "/var/lib/sealift"


def site_option(function: Function) -> Function:
    """Give a command `--site`."""
    return click.option(
        "--site",
        "folder",
        type=click.Path(path_type=Path),
        metavar="DIR",
        default=DEFAULT_SITE,
        envvar="SEALIFT_SITE",
        show_default=True,
        show_envvar=True,
        help="The site's folder.",
    )(function)


def threads_option(function: Function) -> Function:
    """Give a command `--threads`."""
    return click.option(
        "--threads",
        type=click.IntRange(1, 256),
        metavar="N",
        help="How many workers; as many as there are processors where nothing is said.",
    )(function)


def workers(threads: int | None) -> int:
    """How many workers `--threads` means."""
    return threads or len(os.sched_getaffinity(0))


def utc_now() -> datetime:
    """The time of this machine's clock."""
    return datetime.now(UTC)


def installation(site: Site, threads: int | None = None, *, quiet: bool = True) -> Installation:
    """The site's environments, with progress on the terminal."""
    from sealift.cli import Bar

    from ..applying import Installation

    return Installation(site, workers=workers(threads), progress=Bar(quiet=quiet), clock=utc_now)


def environment_name(given: str) -> str:
    """The name of the environment that `given` is, or that the file `given` declares."""
    if given.endswith((".yaml", ".yml")) or "/" in given:
        from ..environment import load

        return load(Path(given)).name
    from sealift.names import check_release

    return check_release(given)
