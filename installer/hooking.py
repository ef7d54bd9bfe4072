"""Hooks around a switch: those sealed in the release, run in each staged folder that has them, then the site's own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from sealift.errors import DeployError
from sealift.hooks import Hook
from sealift.manifest import Release

from .planning import Plan
from .programs import commands
from .target import Staged

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
    folders = [each.folder for each in staged if each.folder is not None]
    for hook in sealed:
        there = [folder for folder in folders if os.path.lexists(_inside(folder, hook))]
        if folders and not there:
            raise DeployError(f"hook {hook.run[0]} of the release is in no folder that is deployed")
        for folder in there:
            _run(hook, moment, folder, plan)
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


def _inside(folder: Path, hook: Hook) -> Path:
    """The program of a hook in a folder of its release; no program elsewhere is run."""
    program = folder / hook.run[0]
    if not program.resolve().is_relative_to(folder.resolve()):
        raise DeployError(f"hook {hook.run[0]!r} of the release is not inside the release")
    return program


def _run(hook: Hook, moment: str, folder: Path | None, plan: Plan) -> None:
    arguments: tuple[str, ...] = hook.run
    said = variables(plan)
    if folder is not None:
        arguments = (str(_inside(folder, hook)), *arguments[1:])
        said["SEALIFT_FOLDER"] = str(folder)
    outcome = commands.run(arguments, timeout=hook.timeout, folder=folder, variables=said)
    if outcome.problem:
        output = "\n".join(f"  | {line}" for line in outcome.output.strip().splitlines()[-_SHOWN:])
        raise DeployError(
            f"hook {hook.run[0]} {moment} the switch {outcome.problem}" + (f"\n{output}" if output else "")
        )
