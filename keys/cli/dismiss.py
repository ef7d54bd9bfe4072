"""`sealift-keys dismiss`."""

from __future__ import annotations

from pathlib import Path

import click

from sealift.cli import command, count, emit, json_option, safe, utc_now

from ..terminal import passphrase_options
from .options import Opening, at_work, depot_option


@command(
    example="""
    sealift-keys dismiss team-a --depot depot
    """
)
@click.argument("team", metavar="TEAM")
@depot_option
@passphrase_options
@json_option
def dismiss(team: str, depot: Path, passphrase_file: Path | None, unsafe_no_passphrase: bool, as_json: bool) -> None:
    """Let a team sign no more.

    From the next bundle on nothing vouches for its releases: no site admits them that has not done so already,
    and no bundle carries them. Where a site has admitted one it stays, and what runs goes on. The online key
    signs that this is so; no root changes. The name TEAM is not given again once it has released something.
    """
    from ..publishing import dismiss as run
    from ..repository import online_signer

    opening = Opening(passphrase_file, unsafe_no_passphrase)
    with at_work(depot):
        signer_for = online_signer(depot, opening.source, unsafe_unencrypted=unsafe_no_passphrase)
        number = run(depot, team, signer_for=signer_for, now=utc_now())
    emit(
        {"team": team, "releases": number, "published": True},
        as_json,
        f"{safe(team)} signs no more, and nothing vouches for {count(number, 'release')} of it\n"
        "every site follows with the next bundle: sealift-bundle export",
    )
