"""`sealift-install status`."""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealift.cli import command, count, emit, json_option, table, utc_now
from sealift.errors import SealiftError

from .options import installation, site_option

if TYPE_CHECKING:
    from ..applying import Installation


@command(
    example="""
    sealift-install status --site site
    sealift-install status --site site --deep
    """
)
@site_option
@click.option("--deep", is_flag=True, help="Also compare every deployed file with the release.")
@json_option
def status(folder: Path, deep: bool, as_json: bool) -> None:
    """Show what each environment runs, what its targets serve, and what the site trusts."""
    from ..records.site import Site

    site = Site.open(folder)
    work = installation(site)
    now = site.reference(utc_now())
    found = [_environment(work, name, deep, now) for name in work.deployments.names()]
    state = site.state
    document = {
        "site": state.name,
        "generation": state.generation,
        "root_version": state.versions.root,
        "timestamp_version": state.versions.timestamp,
        "not_before": f"{state.newest:%Y-%m-%dT%H:%M:%SZ}",
        "releases": len(state.admitted),
        "environments": found,
    }
    lines = [
        f"site {state.name}: root {state.versions.root}, "
        + (f"timestamp {state.versions.timestamp}, " if state.versions.timestamp else "no bundle was imported yet, ")
        + f"{count(len(state.admitted), 'release')} admitted"
    ]
    rows = []
    for each in found:
        for target in each["targets"]:
            served = target["serving"] or "nothing"
            rows.append(
                (each["environment"], each["current"] or "nothing", each["previous"] or "-", target["place"], served)
            )
    if rows:
        lines += ["", table(rows, header=("environment", "runs", "before", "target", "serves"))]
    for each in found:
        if each["interrupted"]:
            lines.append(
                f"environment {each['environment']}: the {each['interrupted']} of {each['goal']} was interrupted, "
                "and is finished or undone by the next apply or rollback"
            )
        if each["expired"]:
            lines.append(
                f"environment {each['environment']} was to last until {each['expires']}: remove it with "
                f"sealift-install env remove {each['environment']}"
            )
        lines += [
            f"environment {each['environment']} is not as it was deployed: {target['problem']}"
            for target in each["targets"]
            if target["drift"]
        ]
    emit(document, as_json, "\n".join(lines))


def _environment(work: Installation, name: str, deep: bool, now: datetime) -> dict[str, Any]:
    state, journal = work.deployments.state(name), work.deployments.journal(name)
    current = state.current
    targets = []
    for target, problem in work.inspect(current, deep=deep) if current else []:
        serving = None
        with contextlib.suppress(SealiftError):
            serving = target.current()
        targets.append(
            {
                "place": target.place,
                "serving": serving,
                "problem": problem,
                "drift": problem is not None and not journal,
            }
        )
    return {
        "environment": name,
        "current": current.label if current else None,
        "previous": state.previous.label if state.previous else None,
        "deployed": f"{current.time:%Y-%m-%dT%H:%M:%SZ}" if current else None,
        "interrupted": journal.noun if journal else None,
        "goal": journal.goal.label if journal else None,
        "expired": state.expires is not None and state.expires <= now,
        "governed_by": state.source,
        "expires": f"{state.expires:%Y-%m-%dT%H:%M:%SZ}" if state.expires else None,
        "targets": targets,
    }
