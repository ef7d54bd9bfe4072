"""`sealift-keys rotate`."""

from __future__ import annotations

from pathlib import Path

import click

from sealift.cli import command, json_option, utc_now

from .options import Opening, at_work, change_options, days_option, depot_option, new_key, note_places, signing_options

ONLINE, WAIVER, ROOT = "online", "waiver", "root"


@command(
    example="""
    sealift-keys rotate online --depot depot --key /media/a/root-1.pem --key /media/b/root-2.pem
    sealift-keys rotate root --depot depot --add d.json --remove 1a2b3c4d --threshold 2
    sealift-keys rotate waiver --depot depot --add e.json --add f.json --threshold 2
    sealift-keys rotate team-a --depot depot --add g.json
    """
)
@click.argument("role", metavar="root|online|waiver|TEAM")
@depot_option
@change_options
@click.option("--remove", multiple=True, metavar="ID", help="The beginning of the id of a key to remove; repeatable.")
@days_option(730, "the new root")
@signing_options
@json_option
def rotate(
    role: str,
    depot: Path,
    add: tuple[str, ...],
    new: bool,
    scheme: str,
    threshold: int | None,
    remove: tuple[str, ...],
    days: int,
    keys: tuple[str, ...],
    passphrase_file: Path | None,
    unsafe_no_passphrase: bool,
    as_json: bool,
) -> None:
    """Change the keys or the threshold of a role.

    The result is a signing request, which names every change. It is published at once where --key names
    enough keys, and waits for signatures otherwise. The online role is replaced as a whole: without --add,
    one new key is made here, and the former ones go; all that they signed is signed anew with it.
    """
    from sealift.errors import UsageError

    from ..lineup import ROLES, changed, lineup
    from ..proposing import next_root
    from ..repository import verify
    from .concluding import conclude
    from .team import change_team

    opening = Opening(passphrase_file, unsafe_no_passphrase)
    with at_work(depot):
        state, now = verify(depot), utc_now()
        added = [opening.public(named) for named in add]
        if new or (role == ONLINE and not add):
            added.append(
                new_key(depot, role, scheme, passphrase_file=passphrase_file, unsafe_no_passphrase=unsafe_no_passphrase)
            )
        if not added and not remove and threshold is None:
            raise UsageError("nothing would change", hint="give --add, --new, --remove or --threshold")
        publics = [public.key for public in added]
        if role not in ROLES:
            change_team(
                depot,
                state,
                role,
                add=added,
                remove=remove,
                threshold=threshold,
                opening=opening,
                keys=keys,
                now=now,
                as_json=as_json,
            )
            return
        line = lineup(state.root)
        rule = line.rule(role)
        gone = list(rule.ids) if role == ONLINE and rule and not remove else list(remove)
        if role == WAIVER and rule and not publics and set(rule.ids) <= {_whole(rule.ids, each) for each in gone}:
            after = line.having(WAIVER, None)
        else:
            after = line.having(role, changed(rule, add=publics, remove=gone, threshold=threshold, role=role))
        request = next_root(depot, state, after, now=now, days=days)
        note_places(depot, added)
        conclude(depot, request, keys=keys, opening=opening, now=now, as_json=as_json)


def _whole(ids: tuple[str, ...], prefix: str) -> str:
    found = [keyid for keyid in ids if len(prefix) >= 4 and keyid.startswith(prefix.lower())]
    return found[0] if len(found) == 1 else ""
