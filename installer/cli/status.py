"""`sealift-install status`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealift.cli import command, count, emit, json_option, table

from .options import installation, site_option

if TYPE_CHECKING:
    from ..applying import Installation


@command(
    example="""
    sealift-install status --site site
    """
)
@site_option
@json_option
def status(folder: Path, as_json: bool) -> None:
    """Show what each environment runs, what its targets serve, and what the site trusts."""
    from ..site import Site

    site = Site.open(folder)
    work = installation(site)
    found = [_environment(work, name) for name in work.deployments.names()]
    state = site.state
    document = {
        "site": state.name,
        "generation": state.generation,
        "root_version": state.versions.root,
        "timestamp_version": state.versions.timestamp,
        "releases": len(state.admitted),
        "environments": found,
    }
    lines = [
        f"site {state.name}: root {state.versions.root}, timestamp {state.versions.timestamp}, "
        f"{count(len(state.admitted), 'release')} admitted"
    ]
    rows = []
    for each in found:
        for target in each["targets"]:
            served = target["problem"] or target["serving"] or "nothing"
            rows.append(
                (each["environment"], each["current"] or "nothing", each["previous"] or "-", target["place"], served)
            )
    if rows:
        lines += ["", table(rows, header=("environment", "runs", "before", "target", "serves"))]
    for each in found:
        if each["interrupted"]:
            lines.append(
                f"environment {each['environment']}: an interrupted {each['interrupted']} is finished or undone "
                "by the next apply or rollback"
            )
        lines += [
            f"environment {each['environment']}: {target['place']} does not serve what was deployed"
            for target in each["targets"]
            if target["drift"]
        ]
    emit(document, as_json, "\n".join(lines))


def _environment(work: Installation, name: str) -> dict[str, Any]:
    from sealift.errors import SealiftError

    from ..targets import identity_of

    state, journal = work.deployments.state(name), work.deployments.journal(name)
    current = state.current
    wanted = identity_of(current.version, current.manifest) if current else None
    targets = []
    for target in work.targets(current.declared) if current else []:
        serving = problem = None
        try:
            serving = target.current()
        except SealiftError as error:
            problem = error.message
        targets.append(
            {"place": target.place, "serving": serving, "problem": problem, "drift": serving != wanted and not journal}
        )
    return {
        "environment": name,
        "current": current.label if current else None,
        "previous": state.previous.label if state.previous else None,
        "deployed": f"{current.time:%Y-%m-%dT%H:%M:%SZ}" if current else None,
        "interrupted": journal.action if journal else None,
        "targets": targets,
    }
