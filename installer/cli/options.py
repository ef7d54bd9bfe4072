"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sealift.cli import Bar, utc_now, workers
from sealift.errors import UsageError

if TYPE_CHECKING:
    from ..applying import Installation
    from ..records.site import Site

Function = TypeVar("Function", bound=Callable[..., Any])
PASSPHRASE_MIN = 12
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


def approval_option(function: Function) -> Function:
    """Give a command `--approval`."""
    return click.option(
        "--approval",
        "approvals",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A signed approval of this deployment, from approve. May be given several times.",
    )(function)


def changes_option(function: Function) -> Function:
    """Give a command `--set`."""
    return click.option(
        "--set", "changes", multiple=True, metavar="PATH=VALUE", help="What differs. May be given several times."
    )(function)


def deep_option(function: Function) -> Function:
    """Give a command `--deep`."""
    return click.option(
        "--deep", is_flag=True, help="Also compare all that serves with its release, and repair what is not as it was."
    )(function)


def take_over_option(function: Function) -> Function:
    """Give a command `--take-over`."""
    return click.option(
        "--take-over",
        is_flag=True,
        help="Let this and its policy govern the environment from now on, whatever did before.",
    )(function)


def installation(
    site: Site,
    threads: int | None = None,
    *,
    quiet: bool = True,
    approvals: Sequence[Path] = (),
    take_over: bool = False,
    deep: bool = False,
) -> Installation:
    """The site's environments, with progress on the terminal."""
    from ..applying import Installation

    given = []
    if approvals:
        from ..approval import read

        given = [read(path) for path in approvals]
    return Installation(
        site,
        workers=workers(threads),
        progress=Bar(quiet=quiet),
        clock=utc_now,
        approvals=given,
        take_over=take_over,
        deep=deep,
    )


def passphrase(*, new: bool) -> bytes:
    """The passphrase of an approver's key, from SEALIFT_PASSPHRASE or from a person at a terminal.

    Args:
        new: whether it is asked for twice.
    """
    given = os.environ.get("SEALIFT_PASSPHRASE")
    if given is None:
        given = click.prompt("passphrase of the approver's key", hide_input=True, confirmation_prompt=new, err=True)
    if new and len(given) < PASSPHRASE_MIN:
        raise UsageError(f"a passphrase has at least {PASSPHRASE_MIN} characters")
    return given.encode()


def environment_name(given: str) -> str:
    """The name of the environment that `given` is, or that the file `given` declares."""
    if given.endswith((".yaml", ".yml")) or "/" in given:
        from ..environments.environment import load

        return load(Path(given)).name
    from sealift.names import check_release

    return check_release(given)
