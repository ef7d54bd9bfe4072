"""`sealift-install receipt`."""

from __future__ import annotations

from pathlib import Path

import click

from sealift.cli import command, count, emit, json_option, safe, utc_now
from sealift.durable import write_file

from .options import site_option


@command(
    example="""
    sealift-install receipt --site site --out /media/usb/plant-7.receipt
    """
)
@site_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The receipt to write; <name of the site>.receipt where nothing is said.",
)
@json_option
def receipt(folder: Path, out: Path | None, as_json: bool) -> None:
    """Write what the site holds and runs, signed by its own key, to be carried back over the gap.

    With it, sealift-bundle export --for makes a bundle of what the site lacks. The first time, the fingerprint of the
    site's key must be told to the connected side by another way.
    """
    from ..receipting import receipt as make
    from ..records.site import Site

    site = Site.open(folder)
    statement, content = make(site, utc_now())
    name = "".join(each if each.isalnum() or each in "-_." else "-" for each in statement.site).lstrip(".-") or "site"
    path = out or Path(f"{name}.receipt")
    write_file(path, content)
    document = {
        "receipt": str(path),
        "site": statement.site,
        "fingerprint": statement.fingerprint,
        "generation": statement.generation,
        "releases": [f"{each.name}@{each.version}" for each in statement.releases],
        "rebuilders": [{"name": each.name, "probe": each.probe} for each in statement.rebuilders],
    }
    text = (
        f"wrote {safe(str(path))}: {safe(statement.site)} holds {count(len(statement.releases), 'release')}\n"
        f"it compresses with {', '.join(each.name for each in statement.rebuilders)}\n"
        f"fingerprint of the site's key {statement.fingerprint}"
    )
    emit(document, as_json, text)
