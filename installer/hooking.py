"""Hooks around a switch: those sealed in the release, run in each staged folder, then the environment's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from sealift.errors import DeployError
from sealift.hooks import Hook
from sealift.manifest import Release

from . import commands
from .planning import Plan
from .targets import Staged

_SHOWN = 20
"""Lines of a failed hook's output that are shown."""


def run_hooks(plan: Plan, release: Release, staged: Sequence[Staged], moment: Literal["before", "after"]) -> None:
    """Run the hooks of one moment, in order, until one fails.

    Raises:
        DeployError: one failed, or its program lies outside the release that it is sealed in.
    """
    sealed = release.hooks.before_switch if moment == "before" else release.hooks.after_switch
    declared = plan.environment.hooks
    own = declared.before_switch if moment == "before" else declared.after_switch
    for each in staged:
        for hook in sealed:
            if each.folder is not None:
                _run(hook, moment, each.folder, plan)
    for hook in own:
        _run(hook, moment, None, plan)


def variables(plan: Plan) -> dict[str, str]:
    """What the environment of hooks and health checks says about the deployment."""
    former = plan.before.current
    return {
        "SEALIFT_ACTION": plan.action,
        "SEALIFT_ENVIRONMENT": plan.environment.name,
        "SEALIFT_RELEASE": plan.admitted.name,
        "SEALIFT_VERSION": plan.admitted.version,
        "SEALIFT_FORMER_VERSION": former.version if former else "",
    }


def _run(hook: Hook, moment: str, folder: Path | None, plan: Plan) -> None:
    arguments: tuple[str, ...] = hook.run
    said = variables(plan)
    if folder is not None:
        program = folder / arguments[0]
        if not program.resolve().is_relative_to(folder.resolve()):
            raise DeployError(f"hook {arguments[0]!r} of the release is not inside the release")
        arguments = (str(program), *arguments[1:])
        said["SEALIFT_FOLDER"] = str(folder)
    outcome = commands.run(arguments, timeout=hook.timeout, folder=folder, variables=said)
    if outcome.problem:
        output = "\n".join(f"  | {line}" for line in outcome.output.strip().splitlines()[-_SHOWN:])
        raise DeployError(
            f"hook {hook.run[0]} {moment} the switch {outcome.problem}" + (f"\n{output}" if output else "")
        )
