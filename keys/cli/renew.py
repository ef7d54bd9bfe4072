"""`sealift-keys renew`."""

from __future__ import annotations

from pathlib import Path

import click

from sealift.cli import command, emit, json_option, utc_now

from .options import Opening, at_work, depot_option, signing_options


@command(
    example="""
    sealift-keys renew online --depot depot
    sealift-keys renew root --depot depot --key /media/a/root-1.pem --key /media/b/root-2.pem
    """
)
@click.argument("role", metavar="root|online|TEAM")
@depot_option
@click.option("--days", type=int, metavar="N", help="How long it lives from now on [default: root 730, others 180].")
@signing_options
@json_option
def renew(
    role: str,
    depot: Path,
    days: int | None,
    keys: tuple[str, ...],
    passphrase_file: Path | None,
    unsafe_no_passphrase: bool,
    as_json: bool,
) -> None:
    """Give a root, the online metadata or a team's a new expiry, and change nothing else.

    A root is renewed by a signing request, as every root; so is what a team published. Targets, snapshot and
    timestamp are signed anew by the online key, at once; every export does that too, once half of their life
    is gone.
    """
    from ..lineup import ROOT, lineup
    from ..proposing import ROOT_DAYS, next_root, next_team
    from ..publishing import renew_online
    from ..repository import ROLE_DAYS, online_signer, verify
    from .concluding import conclude

    opening = Opening(passphrase_file, unsafe_no_passphrase)
    with at_work(depot):
        state, now = verify(depot), utc_now()
        if role == "online":
            signer_for = online_signer(depot, opening.source, unsafe_unencrypted=unsafe_no_passphrase)
            ends = renew_online(depot, signer_for=signer_for, now=now, days=ROLE_DAYS if days is None else days)
            document = {"role": role, "expires": f"{ends:%Y-%m-%dT%H:%M:%SZ}", "published": True}
            emit(document, as_json, f"targets, snapshot and timestamp are signed anew, and expire on {ends:%Y-%m-%d}")
            return
        if role == ROOT:
            request = next_root(depot, state, lineup(state.root), now=now, days=ROOT_DAYS if days is None else days)
        else:
            request = next_team(state, role, now=now, days=ROLE_DAYS if days is None else days)
        conclude(depot, request, keys=keys, opening=opening, now=now, as_json=as_json)
