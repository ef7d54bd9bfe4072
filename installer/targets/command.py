"""Target `command`: what a program of the site does with a release, by a protocol (`installer.programs.program`).

The release's folder is written by us, on a shelf as of the target `directory`; the program says what serves.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from sealift import hooks
from sealift.errors import StoreError

from ..folders.intact import intact
from ..folders.shelf import RELEASES
from ..programs.program import Program
from ..storage.deployable import Deployable
from ..target import Staged, Workplace
from .directory import Directory

TIMEOUT = 60
"""Seconds for one operation, where nothing is said."""
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "command": hooks.command(
            "The program that speaks the target protocol, and its arguments; no shell reads them.", absolute=True
        ),
        "path": {
            "description": "The folder that holds the releases' folders for the program, as an absolute path.",
            "type": "string",
            "pattern": "^/[^\\u0000]*$",
            "maxLength": 3072,
        },
        "timeout": hooks.seconds("For one operation, before the program is killed.", default=TIMEOUT),
    },
    "required": ["command", "path"],
    "additionalProperties": False,
}


class Command:
    """A program, and the folders that it is given."""

    def __init__(self, settings: Mapping[str, Any], workplace: Workplace) -> None:
        words = settings["command"]
        self.place = f"{' '.join(words)} ({settings['path']})"
        self._root = Path(settings["path"])
        self._folders = Directory(self._root, "reflink", workplace)
        self._workplace = workplace
        self._program = Program(
            words,
            timeout=int(settings.get("timeout", TIMEOUT)),
            environment=workplace.environment,
            entry=workplace.operation,
            room=workplace.room("command", self.place),
        )

    def current(self) -> str | None:
        """The release that the program says serves.

        Raises:
            DeployError: the program fails.
        """
        return self._program.current()

    def _folder(self, identity: str) -> Path:
        return self._root / RELEASES / identity

    def stage(self, deployable: Deployable, former: Deployable | None) -> Staged:
        """Write the release's folder, and let the program make it ready.

        Raises:
            DeployError: the program fails.
            IntegrityError: the store is damaged.
            StoreError: the disk refuses; nothing that served is touched.
        """
        self._program.describe()
        staged = self._folders.stage(deployable, former)
        self._program.ask("stage", **self._about(deployable), former=former.identity if former else None)
        return staged

    def repair(self, deployable: Deployable) -> Staged:
        """Write the release's folder anew, and let the program make it ready again.

        Raises:
            DeployError: the program fails.
            IntegrityError: the store is damaged.
            StoreError: the disk refuses; the folder is as it was.
        """
        staged = self._folders.repair(deployable)
        self._program.ask("stage", **self._about(deployable), former=deployable.identity)
        return staged

    def _about(self, deployable: Deployable) -> dict[str, Any]:
        release = deployable.release
        return {
            "identity": deployable.identity,
            "folder": str(self._folder(deployable.identity)),
            "release": {
                "name": release.name,
                "version": release.version,
                "manifest": deployable.part.release.sha256,
            },
        }

    def activate(self, identity: str | None) -> None:
        """Let the program make a staged release serve, or nothing.

        Raises:
            DeployError: the program fails.
            StoreError: the release's folder is gone.
        """
        folder = self._folder(identity) if identity else None
        if folder is not None and not folder.is_dir():
            raise StoreError(f"{folder} is gone", hint="apply another version, and then this one again")
        self._program.ask("activate", identity=identity, folder=str(folder) if folder else None)

    def check(self, deployable: Deployable, *, deep: bool) -> str | None:
        """What the program finds wrong; with `deep`, whether the folder that it was given is as it was written."""
        identity = deployable.identity
        serving = self.current()
        if serving != identity:
            return f"{self.place} says that {serving or 'nothing'} serves, not {identity}"
        folder = self._folder(identity)
        if deep and not intact(deployable, self._workplace.store, folder, self._workplace.workers):
            return f"{folder} no longer holds what was deployed; apply it again with --deep: it is written anew"
        return self._program.check(**self._about(deployable), deep=deep)

    def prune(self, keep: Collection[str]) -> int:
        """Remove the folders of releases other than `keep` and the one that serves, the program's own things first.

        Raises:
            DeployError: the program fails.
            StoreError: the disk refuses.
        """
        serving = self.current()
        stay = sorted({*keep, *([serving] if serving else ())})
        if "prune" in self._program.describe().operations:
            self._program.ask("prune", keep=stay)
        return self._folders.prune(stay)


def target(settings: Mapping[str, Any], workplace: Workplace) -> Command:
    """The program that `settings` names."""
    return Command(settings, workplace)
