"""`sealift-bundle site`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealift.cli import command, count, emit, json_option, safe, size, table
from sealift.errors import UsageError

from .options import depot_option

if TYPE_CHECKING:
    from ..depots.sites import Known


@command(
    example="""
    sealift-bundle site plant-7.receipt --fingerprint 9f86d081884c7d65… --depot depot
    sealift-bundle site --depot depot
    """
)
@click.argument("path", required=False, type=click.Path(path_type=Path), metavar="[RECEIPT]")
@click.option(
    "--fingerprint",
    metavar="SHA256",
    help="The fingerprint of the site's key, as it came by another way; spaces, colons and dashes are passed over.",
)
@depot_option(required=True)
@json_option
def site(path: Path | None, fingerprint: str | None, depot: Path, as_json: bool) -> None:
    """Make a site known by its receipt and the fingerprint of its key; without a receipt, list the sites.

    What was made for a site with export --for is remembered here, and shown with it.
    """
    from ..depots import sites
    from ..depots.depot import Depot

    place = Depot(depot)
    if path is None:
        if fingerprint:
            raise UsageError("whose fingerprint is it?", hint="name the site's receipt as well")
        known = sites.all_known(place)
        emit({"sites": [_document(each) for each in known]}, as_json, "\n\n".join(map(_text, known)) or "no sites yet")
        return
    if fingerprint is None:
        raise UsageError(
            "a receipt alone does not say whose it is",
            hint="give --fingerprint as the site printed it, by another way than the receipt",
        )
    statement = sites.read(path)
    with place.lock():
        found = sites.introduce(place, statement, fingerprint)
    emit(_document(found), as_json, f"known from now on: {_text(found)}")


def _document(known: Known) -> dict[str, object]:
    return {
        "site": known.name,
        "fingerprint": _fingerprint(known),
        "receipt": known.made,
        "releases": [f"{each.name}@{each.version}" for each in known.releases],
        "sent": [
            {
                "bundle": each.bundle,
                "releases": list(each.releases),
                "base": list(each.base),
                "size": each.size,
                "time": each.time,
            }
            for each in known.sent
        ],
    }


def _text(known: Known) -> str:
    head = (
        f"{safe(known.name)}, key {_fingerprint(known)[:16]}…, held {count(len(known.releases), 'release')} "
        f"on {known.made[:10]}"
    )
    rows = [
        (
            each.time,
            safe(", ".join(each.releases)),
            f"since {', '.join(each.base)}" if each.base else "",
            size(each.size),
        )
        for each in known.sent
    ]
    return f"{head}\n{table(rows, right=(3,))}" if rows else head


def _fingerprint(known: Known) -> str:
    from sealift.receipt import fingerprint

    return fingerprint(bytes.fromhex(known.key))
