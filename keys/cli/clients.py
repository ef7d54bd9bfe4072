"""`sealift-keys clients`."""

from __future__ import annotations

from pathlib import Path

import click

from sealift.cli import command, emit, json_option, table

from .options import at_work, depot_option


@command(
    example="""
    sealift-keys clients --depot depot
    sealift-keys clients --depot depot plant-7=0.2.0 ship-3=0.1.0
    """
)
@click.argument("said", nargs=-1, metavar="[SITE=VERSION]...")
@depot_option
@click.option("--forget", multiple=True, metavar="SITE", help="A site that is gone; repeatable.")
@json_option
def clients(said: tuple[str, ...], depot: Path, forget: tuple[str, ...], as_json: bool) -> None:
    """Note which version of sealift each site runs.

    A site that meets a kind of key that it does not know can follow no further root. So a kind that is younger
    than the first sealift is refused in a root until every site that is noted here reads it.
    """
    from sealift.errors import UsageError
    from sealift.public_keys import SINCE

    from .. import depot as depots
    from ..clients import parse
    from ..proposing import clients as noted

    with at_work(depot):
        known = {**noted(depot), **parse(said)}
        for name in forget:
            if known.pop(name, None) is None:
                raise UsageError(f"no site {name[:64]!r} is noted", hint="sealift-keys clients lists them")
        if said or forget:
            depots.note(depot, clients=known)
    kinds = {scheme: since for (_, scheme), since in SINCE.items()}
    rows = table(sorted(known.items()), header=("site", "sealift"))
    read = table(sorted(kinds.items()), header=("kind of key", "since"))
    emit({"clients": known, "since": kinds}, as_json, f"{rows or 'no site is noted'}\n\n{read}")
