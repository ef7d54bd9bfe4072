"""Options and arguments that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sealift.cli import safe
from sealift.errors import UsageError

if TYPE_CHECKING:
    from ..spec import Spec

Function = TypeVar("Function", bound=Callable[..., Any])


def depot_option(
    *, required: bool, help: str = "The depot that sealift-keys init made."
) -> Callable[[Function], Function]:
    """Give a command `--depot`."""
    return click.option(
        "--depot",
        type=click.Path(path_type=Path),
        metavar="DIR",
        required=required,
        help=help,
    )


def anchor_options(function: Function) -> Function:
    """Give a command `--depot`, `--root` and `--fingerprint`: whom a bundle's signatures are checked against."""
    function = click.option(
        "--fingerprint", metavar="SHA256", help="The fingerprint that the bundle's first root must have."
    )(function)
    function = click.option(
        "--root",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The root metadata to check signatures against.",
    )(function)
    return depot_option(required=False)(function)


def warn_of_unsafe(spec: Spec) -> None:
    """Say on standard error which artifacts come without TLS."""
    for wanted in spec.artifacts:
        if wanted.without_tls:
            click.echo(
                f"warning: artifact {safe(wanted.name)} of {safe(spec.name)}@{safe(spec.version)} is asked for without "
                "TLS (unsafe_http): whoever is on the way can read it, and decides what a tag or branch stands for",
                err=True,
            )


def source_date_epoch() -> int | None:
    """SOURCE_DATE_EPOCH of the environment (reproducible-builds.org), in seconds since 1970.

    Raises:
        UsageError: it is no such number.
    """
    value = os.environ.get("SOURCE_DATE_EPOCH")
    if value is None or not value:
        return None
    if not value.isascii() or not value.isdigit() or len(value) > 10:
        raise UsageError(
            "SOURCE_DATE_EPOCH is not a number of seconds", hint="give seconds since 1970, such as 1767225600"
        )
    return int(value)
