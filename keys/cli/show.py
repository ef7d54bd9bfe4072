"""`sealift-keys show`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealift.cli import command, count, emit, json_option, safe, table, utc_now

if TYPE_CHECKING:
    from ..show import Description


@command(
    example="""
    sealift-keys show --depot depot
    sealift-keys show --root 1.root.json --json
    """
)
@click.option("--depot", type=click.Path(path_type=Path), metavar="DIR", help="The depot to show.")
@click.option("--root", type=click.Path(path_type=Path), metavar="FILE", help="A root of trust to show instead.")
@json_option
def show(depot: Path | None, root: Path | None, as_json: bool) -> None:
    """Show who may sign what, with which threshold, until when, once its signatures verify.

    What expires within 90 days is warned of, on standard error.
    """
    from dataclasses import asdict

    from sealift.errors import UsageError

    from ..show import describe, describe_root

    if (depot is None) == (root is None):
        raise UsageError("give either --depot or --root", hint="see sealift-keys show --help")
    now = utc_now()
    described = describe(depot, now) if depot is not None else describe_root(root or Path(), now)
    emit(asdict(described), as_json, _shown(described))
    for warning in described.warnings:
        click.echo(f"warning: {warning}", err=True)


def _shown(described: Description) -> str:
    from ..show import grouped

    rows = []
    for role in described.roles:
        rows.append(
            (
                role.name,
                "-" if role.version is None else str(role.version),
                f"{role.threshold} of {len(role.keys)}",
                ", ".join(role.schemes),
                "-" if role.expires is None else role.expires[:10],
                "-" if role.days_left is None else count(role.days_left, "day"),
                " ".join(role.keys),
                role.signs,
            )
        )
    header = ("role", "version", "threshold", "scheme", "expires", "left", "keys", "signs")
    holds = []
    if described.releases is not None and described.bundles is not None:
        holds = [f"{count(described.releases, 'release')} and {count(described.bundles, 'bundle')} published", ""]
    if described.purpose != "production":
        holds = [f"for {described.purpose}: a site for production never admits what it signs", *holds]
    if described.dismissed:
        holds = [f"dismissed: {' '.join(described.dismissed)}", *holds]
    for name in described.waiting:
        holds = [f"{name} waits for signatures: sealift-keys sign, sealift-keys publish", *holds]
    where = {
        key: place for role in described.roles for key, place in zip(role.keys, role.places, strict=False) if place
    }
    places = ["", "keys that this machine can use:", table(sorted(where.items()))] if where else []
    first = "the first root" if described.kind == "depot" else "this root"
    return "\n".join(
        [
            f"{described.kind} {safe(described.subject)}",
            *holds,
            table(rows, header=header, right=(1,)),
            *places,
            "",
            f"fingerprint of {first}:",
            f"  {grouped(described.fingerprint)}",
            f"  {described.fingerprint}",
        ]
    )
