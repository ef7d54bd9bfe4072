"""`sealift-install approvers`."""

from __future__ import annotations

import re
from pathlib import Path

import click

from sealift.cli import command, emit, json_option, safe, table, utc_now
from sealift.errors import UsageError

from .options import site_option


@command(
    example="""
    sealift-install approvers --site site
    sealift-install approvers --site site --role security --add alice=1f0c… --add bob=9e77…
    sealift-install approvers --site site --role security --remove bob
    """
)
@site_option
@click.option("--role", metavar="NAME", help="The role to change.")
@click.option("--add", multiple=True, metavar="NAME=KEY", help="An approver, with the public half of the key.")
@click.option("--remove", multiple=True, metavar="NAME", help="An approver who is one no more.")
@json_option
def approvers(folder: Path, role: str | None, add: tuple[str, ...], remove: tuple[str, ...], as_json: bool) -> None:
    """Show who approves deployments at this site, by role; with --role, change it. The ledger says so."""
    import msgspec

    from sealift.names import check_release

    from ..records.event import event
    from ..records.site import Site

    site = Site.open(folder)
    if role is None and (add or remove):
        raise UsageError("whose approvers are they?", hint="name the role: --role")
    if role is not None:
        check_release(role)
        new = dict(map(_approver, add))
        with site.lock():
            people = dict(site.state.approvers.get(role, {}))
            if unknown := sorted(set(remove) - people.keys()):
                raise UsageError(f"the role {role} has no approver {safe(unknown[0])}")
            people = {name: key for name, key in people.items() if name not in remove} | new
            if len(set(people.values())) != len(people):
                raise UsageError("two approvers of one role have the same key", hint="each needs a key of their own")
            others = {name: each for name, each in site.state.approvers.items() if name != role}
            changed = {**others, role: people} if people else others
            if changed != site.state.approvers:
                noted = event("approvers", {"role": role, "keys": people}, utc_now())
                site.commit(msgspec.structs.replace(site.state, approvers=changed), [noted])
    rows = [(name, who, key) for name, people in sorted(site.state.approvers.items()) for who, key in people.items()]
    emit({"approvers": site.state.approvers}, as_json, table(rows) if rows else "this site has no approvers")


def _approver(given: str) -> tuple[str, str]:
    name, _, key = given.partition("=")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", name) or not re.fullmatch("[0-9a-f]{64}", key):
        raise UsageError(
            f"{safe(given)[:100]} names no approver",
            hint="write NAME=KEY, where KEY is what sealift-install approver-key printed",
        )
    return name, key
