"""`sealift-keys waive`."""

from __future__ import annotations

from pathlib import Path

import click

from sealift.cli import command, json_option, utc_now

from .options import Opening, at_work, days_option, depot_option, signing_options


@command(
    example="""
    sealift-keys waive shop-1.0.0.sealift --depot depot --reason "the ship was held back" --site plant-7 --key w.pem
    """
)
@click.argument("late", type=click.Path(path_type=Path), metavar="BUNDLE")
@depot_option
@click.option("--reason", required=True, metavar="TEXT", help="Why, in up to 500 printable characters.")
@click.option("--site", metavar="NAME", help="The only site that it is for; every site where nothing is said.")
@days_option(30, "the waiver")
@signing_options
@json_option
def waive(
    late: Path,
    depot: Path,
    reason: str,
    site: str | None,
    days: int,
    keys: tuple[str, ...],
    passphrase_file: Path | None,
    unsafe_no_passphrase: bool,
    as_json: bool,
) -> None:
    """Let one late bundle pass although it has expired.

    BUNDLE is the bundle, or the metadata/timestamp.json that was taken out of it. The waiver names its timestamp
    by version and digest, and lets no other bundle pass. It is signed by the waiver role of the root, and the
    site's ledger records that it was used.
    """
    from ..proposing import next_waiver
    from ..repository import verify
    from ..waiving import timestamp_of
    from .concluding import conclude

    opening = Opening(passphrase_file, unsafe_no_passphrase)
    with at_work(depot):
        state, now = verify(depot), utc_now()
        content, version = timestamp_of(late, state)
        request = next_waiver(state, content, version, now=now, days=days, reason=reason, site=site)
        conclude(depot, request, keys=keys, opening=opening, now=now, as_json=as_json)
