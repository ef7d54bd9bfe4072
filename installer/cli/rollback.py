"""`sealift-install rollback`."""

from __future__ import annotations

from pathlib import Path

import click

from sealift.cli import command, emit, json_option, quiet_option, threads_option

from .options import environment_name, installation, site_option


@command(
    example="""
    sealift-install rollback --site site plant-7
    """
)
@site_option
@click.argument("environment", metavar="NAME|FILE")
@click.option("--dry-run", is_flag=True, help="Show the plan, and change nothing.")
@threads_option
@json_option
@quiet_option
def rollback(folder: Path, environment: str, dry_run: bool, threads: int | None, as_json: bool, quiet: bool) -> None:
    """Return an environment to the release that served before. No medium is needed."""
    from ..records.site import Site
    from .apply import report
    from .plan import text

    name = environment_name(environment)
    work = installation(Site.open(folder), threads, quiet=quiet)
    if dry_run:
        planned = work.plan_rollback(name)
        emit(planned.document(), as_json, "\n".join(text(planned, None)))
        return
    report(work.rollback(name), as_json)
