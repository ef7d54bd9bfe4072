"""`sealift-install plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealift.cli import command, count, emit, json_option, safe, size, table

from .options import approval_option, deep_option, installation, site_option, take_over_option

if TYPE_CHECKING:
    from ..applying import Installation
    from ..environments.environment import Environment
    from ..planning import Plan
    from ..preview import Preview
    from ..records.site import Site

PENDING = 11
_MARKS = {"added": "+", "removed": "-", "changed": "~"}


@command(
    example="""
    sealift-install plan --site site environment.yaml
    sealift-install plan --site site environment.yaml --exit-code
    sealift-install plan --site site environment.yaml --diff
    """
)
@site_option
@click.argument("environment", metavar="FILE|NAME@VERSION:PATH")
@click.option("--exit-code", "with_exit_code", is_flag=True, help=f"Exit with {PENDING} where changes are pending.")
@click.option("--files", "with_files", is_flag=True, help="List every file that changes.")
@click.option(
    "--diff",
    "with_difference",
    is_flag=True,
    help="Show what changes in filled files line by line; secrets are masked.",
)
@deep_option
@take_over_option
@approval_option
@json_option
def plan(
    folder: Path,
    environment: str,
    with_exit_code: bool,
    with_files: bool,
    with_difference: bool,
    deep: bool,
    take_over: bool,
    approvals: tuple[Path, ...],
    as_json: bool,
) -> int:
    """Show what apply would do, and change nothing."""
    from ..declaring import declared as read
    from ..records.site import Site

    site = Site.open(folder)
    planned = show(
        installation(site, approvals=approvals, take_over=take_over, deep=deep),
        read(environment, site),
        site,
        with_files=with_files,
        with_difference=with_difference,
        as_json=as_json,
    )
    return PENDING if with_exit_code and planned.pending else 0


def show(
    work: Installation,
    declared: Environment,
    site: Site,
    *,
    as_json: bool,
    with_files: bool = False,
    with_difference: bool = False,
) -> Plan:
    """Print what an apply would do, and return it."""
    from ..preview import preview

    planned = work.plan(declared)
    interrupted = work.deployments.journal(declared.name)
    shown = preview(planned, site, with_difference=with_difference)
    document = {**planned.document(), **shown.document(with_files), "interrupted": interrupted is not None}
    lines = text(planned, shown, with_files)
    if interrupted:
        what = f"the {interrupted.noun} of {interrupted.goal.label}"
        lines.insert(0, f"{what} that was interrupted will be finished or undone first")
    emit(document, as_json, "\n".join(lines))
    return planned


def text(planned: Plan, shown: Preview | None, with_files: bool = False) -> list[str]:
    """A plan in words, a line each."""
    former = planned.before.current
    if not planned.pending:
        return [f"environment {planned.environment.name} runs {planned.admitted.label}: nothing to do"]
    goal = planned.after.current
    if former and goal and former.identity == goal.identity:
        what = f"{planned.admitted.label} again: hooks run, health is checked, and the change is recorded"
    else:
        what = f"{former.label if former else 'nothing'} -> {planned.admitted.label}"
    lines = [f"environment {planned.environment.name}: {what}"]
    for step in planned.steps:
        if step.action == "none":
            lines.append(f"  {step.kind} {step.place}: serves it already")
        elif step.action == "repair":
            lines.append(f"  {step.kind} {step.place}: repair, since {step.problem}")
        else:
            lines.append(f"  {step.kind} {step.place}: switch from {step.before or 'nothing'} to {step.after}")
    if shown:
        lines.append(
            f"  paths: {shown.added:,} added, {shown.removed:,} removed, {shown.changed:,} changed; "
            f"{count(shown.same, 'file')} unchanged; {size(shown.bytes)} in all"
        )
        for moment, programs in shown.hooks:
            lines += [f"  hook {moment} the switch: {' '.join(program)}" for program in programs]
    if planned.filling.files:
        same = former is not None and former.variant == planned.filling.variant
        lines.append(f"  {count(len(planned.filling.files), 'file')} filled with values{', as before' if same else ''}")
    lines += [f"  policy {'' if rule.passes else 'REFUSES '}{safe(str(rule))}" for rule in planned.rules]
    if shown and with_files and shown.changes:
        rows: list[tuple[Any, ...]] = [(f"    {_MARKS[kind]}", path) for kind, path in shown.changes]
        lines.append(table(rows))
    if shown:
        lines += [safe(line) for line in shown.difference]
    return lines
