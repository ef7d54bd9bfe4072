"""`sealift-keys delegate`."""

from __future__ import annotations

from pathlib import Path

import click

from sealift.cli import command, emit, json_option, utc_now

from ..terminal import passphrase_options
from .options import Opening, at_work, change_options, depot_option, new_key, note_places


@command(
    example="""
    sealift-keys delegate team-a --depot depot --add a.json --add b.json --threshold 2
    sealift-keys delegate team-a --depot depot --new
    """
)
@click.argument("team", metavar="TEAM")
@depot_option
@change_options
@passphrase_options
@json_option
def delegate(
    team: str,
    depot: Path,
    add: tuple[str, ...],
    new: bool,
    scheme: str,
    threshold: int | None,
    passphrase_file: Path | None,
    unsafe_no_passphrase: bool,
    as_json: bool,
) -> None:
    """Let a team sign releases of its own.

    From then on releases whose names begin with TEAM/ need the team's signatures, and the team's keys sign
    nothing else. The online key signs that this is so; no root changes. Without --threshold most of the
    team's keys must sign.
    """
    from sealift.errors import UsageError
    from sealift.names import NAMESPACE, visible
    from sealift.tuf_rules import RESERVED

    from ..changes import team_rule
    from ..lineup import ROLES, changed
    from ..proposing import refuse_dismissed
    from ..publishing import delegate as run
    from ..repository import online_signer, verify
    from .team import team_document, team_text

    if not NAMESPACE.fullmatch(team) or team in RESERVED or team in ROLES:
        raise UsageError(
            f"{visible(team)[:40]!r} cannot be a team",
            hint="use up to 32 lower-case letters, digits and '-', and none of the names of other roles",
        )
    opening = Opening(passphrase_file, unsafe_no_passphrase)
    with at_work(depot):
        state, now = verify(depot), utc_now()
        refuse_dismissed(state, team)
        if team_rule(state.targets, team):
            raise UsageError(f"{team} is there already", hint=f"change it: sealift-keys rotate {team} --depot {depot}")
        added = [opening.public(named) for named in add]
        if new:
            added.append(
                new_key(depot, team, scheme, passphrase_file=passphrase_file, unsafe_no_passphrase=unsafe_no_passphrase)
            )
        if not added:
            raise UsageError(f"{team} needs a key", hint="give --add FILE for each holder, or --new")
        rule = changed(None, add=[public.key for public in added], remove=(), threshold=threshold, role=team)
        note_places(depot, added)
        signer_for = online_signer(depot, opening.source, unsafe_unencrypted=unsafe_no_passphrase)
        run(depot, team, rule, signer_for=signer_for, now=now)
    emit(team_document(team, rule), as_json, team_text(team, rule))
