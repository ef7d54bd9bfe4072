"""`sealift-keys revoke`."""

from __future__ import annotations

from pathlib import Path

import click

from sealift.cli import command, json_option, utc_now

from .options import Opening, at_work, change_options, days_option, depot_option, new_key, note_places, signing_options


@command(
    example="""
    sealift-keys revoke 1a2b3c4d --depot depot --key /media/b/root-2.pem --key /media/c/root-3.pem
    sealift-keys revoke 1a2b3c4d --depot depot --add d.json
    """
)
@click.argument("keyid", metavar="ID")
@depot_option
@change_options
@days_option(730, "the new root")
@signing_options
@json_option
def revoke(
    keyid: str,
    depot: Path,
    add: tuple[str, ...],
    new: bool,
    scheme: str,
    threshold: int | None,
    days: int,
    keys: tuple[str, ...],
    passphrase_file: Path | None,
    unsafe_no_passphrase: bool,
    as_json: bool,
) -> None:
    """Take a lost or stolen key out of every role.

    ID is the beginning of its key id. The threshold stays what it is: where too few keys would be left, name
    another with --add, or another --threshold. A lone online key is replaced by one that is made here, and all
    that it signed is signed anew.
    """
    from ..lineup import ONLINE, changed, find_key, lineup
    from ..proposing import next_root, team_rules
    from ..repository import verify
    from .concluding import conclude
    from .team import change_team

    opening = Opening(passphrase_file, unsafe_no_passphrase)
    with at_work(depot):
        state, now = verify(depot), utc_now()
        line, teams = lineup(state.root), team_rules(state.targets)
        everywhere = {**line.keys, **{key.keyid: key for rule in teams.values() for key in rule.keys}}
        whole = find_key(everywhere.values(), keyid, "this depot").keyid
        added = [opening.public(named) for named in add]
        roles = line.roles_of(whole)
        team = next((name for name, rule in teams.items() if whole in rule.ids), None)
        role = roles[0] if roles else team or ""
        lone = role == ONLINE and len(line.online.keys) == 1 and not added
        if new or lone:
            added.append(
                new_key(depot, role, scheme, passphrase_file=passphrase_file, unsafe_no_passphrase=unsafe_no_passphrase)
            )
        if not roles:
            change_team(
                depot,
                state,
                role,
                add=added,
                remove=[whole],
                threshold=threshold,
                opening=opening,
                keys=keys,
                now=now,
                as_json=as_json,
            )
            return
        rule = changed(
            line.rule(role), add=[public.key for public in added], remove=[whole], threshold=threshold, role=role
        )
        request = next_root(depot, state, line.having(role, rule), now=now, days=days)
        note_places(depot, added)
        conclude(depot, request, keys=keys, opening=opening, now=now, as_json=as_json)
