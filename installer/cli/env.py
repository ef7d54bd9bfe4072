"""`sealift-install env`: the site's environments as such."""

from __future__ import annotations

from pathlib import Path

import click

from sealift.cli import Command, Family, command, count, emit, json_option, quiet_option, table, threads_option, utc_now

from .options import approval_option, changes_option, installation, site_option


@command(
    example="""
    sealift-install env list --site site
    """
)
@site_option
@json_option
def list_(folder: Path, as_json: bool) -> None:
    """List the environments: what each runs, what governs it, and until when it is to last."""
    from ..declaring import told
    from ..records.site import Site

    deployments = installation(Site.open(folder)).deployments
    states = [deployments.state(name) for name in deployments.names()]
    document = [
        {
            "environment": state.environment,
            "current": state.current.label if state.current else None,
            "governed_by": state.source,
            "expires": f"{state.expires:%Y-%m-%dT%H:%M:%SZ}" if state.expires else None,
            "targets": len(state.current.declared.targets) if state.current else 0,
        }
        for state in states
    ]
    rows = [
        (
            state.environment,
            state.current.label if state.current else "nothing",
            count(len(state.current.declared.targets) if state.current else 0, "target"),
            told(state.source),
            f"until {state.expires:%Y-%m-%d %H:%M}" if state.expires else "",
        )
        for state in states
    ]
    emit({"environments": document}, as_json, table(rows) if rows else "this site has no environments")


@command(
    example="""
    sealift-install env copy prod hotfix --set version=1.4.2 --set targets[0].path=/srv/hotfix --expires 3d
    """
)
@site_option
@click.argument("original", metavar="NAME")
@click.argument("name", metavar="NEW")
@changes_option
@click.option("--expires", metavar="TIME", help="How long it is to last: 12h, 3d. Then status asks to remove it.")
@click.option("--dry-run", is_flag=True, help="Show the plan, and change nothing.")
@approval_option
@threads_option
@json_option
@quiet_option
def copy(
    folder: Path,
    original: str,
    name: str,
    changes: tuple[str, ...],
    expires: str | None,
    dry_run: bool,
    approvals: tuple[Path, ...],
    threads: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Deploy what another environment declares as a new one, with changes.

    Its targets must be other ones: give each its own place with --set. Called again, it changes the copy.
    """
    from ..declaring import copied
    from ..policies.duration import duration
    from ..records.site import Site
    from .apply import report
    from .plan import show

    site = Site.open(folder)
    work = installation(site, threads, quiet=quiet, approvals=approvals)
    until = site.reference(utc_now()) + duration(expires) if expires else None
    declared = copied(work.deployments, original, name, changes, until)
    if dry_run:
        show(work, declared, site, as_json=as_json)
        return
    report(work.apply(declared), as_json)


@command(
    example="""
    sealift-install env remove --site site hotfix
    """
)
@site_option
@click.argument("name", metavar="NAME")
@json_option
def remove(folder: Path, name: str, as_json: bool) -> None:
    """Let nothing of an environment serve any more, and forget it. Its release stays at the site."""
    from ..records.site import Site

    done = installation(Site.open(folder)).remove(name)
    lines = [done.recovered] if done.recovered else []
    lines.append(f"removed environment {name}" + (f", which ran {done.label}" if done.label else ""))
    lines += [f"  nothing serves at {place}" for place in done.places]
    document = {"environment": name, "ran": done.label, "places": list(done.places), "recovered": done.recovered}
    emit(document, as_json, "\n".join(lines))


_COMMANDS: dict[str, Command] = {"list": list_, "copy": copy, "remove": remove}
env = Family(
    "env",
    help="The site's environments: list them, copy one, remove one.",
    commands=_COMMANDS,
    example="""
    sealift-install env list
    sealift-install env copy prod hotfix --set version=1.4.2 --set targets[0].path=/srv/hotfix --expires 3d
    sealift-install env remove hotfix
    """,
)
