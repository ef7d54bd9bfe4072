"""`sealift-install apply`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealift.cli import command, emit, json_option, quiet_option, size, threads_option

from .options import approval_option, deep_option, installation, site_option, take_over_option

if TYPE_CHECKING:
    from ..applying import Outcome


@command(
    example="""
    sealift-install apply --site site environment.yaml
    """
)
@site_option
@click.argument("environment", metavar="FILE|NAME@VERSION:PATH")
@click.option("--dry-run", is_flag=True, help="Show the plan, and change nothing.")
@deep_option
@take_over_option
@approval_option
@threads_option
@json_option
@quiet_option
def apply(
    folder: Path,
    environment: str,
    dry_run: bool,
    deep: bool,
    take_over: bool,
    approvals: tuple[Path, ...],
    threads: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make an environment what its file declares.

    The release is written beside what serves and checked; then the switch is atomic. Where a hook or a
    health check fails, the former release returns. A killed apply is undone or finished by the next.
    """
    from ..declaring import declared as read
    from ..records.site import Site
    from .plan import show

    site = Site.open(folder)
    declared = read(environment, site)
    work = installation(site, threads, quiet=quiet, approvals=approvals, take_over=take_over, deep=deep)
    if dry_run:
        show(work, declared, site, as_json=as_json)
        return
    report(work.apply(declared), as_json)


def report(outcome: Outcome, as_json: bool) -> None:
    """Show what an operation did."""
    from .plan import text

    document: dict[str, Any] = {
        **outcome.plan.document(),
        "changed": outcome.changed,
        "written": outcome.written,
        "reused": outcome.reused,
        "recovered": outcome.recovered,
    }
    lines = [outcome.recovered] if outcome.recovered else []
    lines += text(outcome.plan, None)
    if outcome.changed:
        verb = "deployed" if outcome.plan.action == "apply" else "returned to"
        reused = f", {size(outcome.reused)} taken from the former release" if outcome.reused else ""
        wrote = f"{size(outcome.written)} written" if outcome.written or outcome.reused else "nothing had to be written"
        lines.append(f"{verb} {outcome.plan.admitted.label}: {wrote}{reused}")
    emit(document, as_json, "\n".join(lines))
