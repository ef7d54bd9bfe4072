"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sealift.cli import Bar, utc_now, workers

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


def installation(site: Site, threads: int | None = None, *, quiet: bool = True) -> Installation:
    """The site's environments, with progress on the terminal."""
    from ..applying import Installation

    return Installation(site, workers=workers(threads), progress=Bar(quiet=quiet), clock=utc_now)


def environment_name(given: str) -> str:
    """The name of the environment that `given` is, or that the file `given` declares."""
    if given.endswith((".yaml", ".yml")) or "/" in given:
        from ..environment import load

        return load(Path(given)).name
    from sealift.names import check_release

    return check_release(given)
