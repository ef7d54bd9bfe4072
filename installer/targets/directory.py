"""Target `directory`: a folder for each release on a shelf (`installer.folders.shelf`).

A release is written and made durable before its folder has its name. A folder that is there already is checked
against its tree, file by file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..folders.imprints import Imprints
from ..folders.intact import intact
from ..folders.placing import Reuse, clones
from ..folders.shelf import CURRENT, Shelf
from ..folders.writing import Former, sealed_files, write
from ..storage.chosen import ARTIFACTS
from ..storage.deployable import Deployable
from ..target import Staged, Workplace

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "path": {
            "description": "The folder that holds the releases and the link 'current', as an absolute path.",
            "type": "string",
            "pattern": "^/[^\\u0000]*$",
            "maxLength": 3072,
        },
        "artifacts": {
            **ARTIFACTS,
            "description": "The artifacts that are deployed here, by name; all of the release where nothing is said. "
            "One alone has no folder of its name.",
            "minItems": 1,
        },
        "reuse": {
            "description": "How unchanged files are taken from the release before: 'reflink' clones them where the "
            "file system can, 'hardlink' shares them (what writes to one release then writes to both), 'none' writes "
            "every file anew. 'reflink' where nothing is said.",
            "enum": ["reflink", "hardlink", "none"],
            "default": "reflink",
        },
    },
    "required": ["path"],
    "additionalProperties": False,
}


class Directory:
    """A folder of releases with the link to the one that serves."""

    def __init__(
        self, root: Path, reuse: Reuse, workplace: Workplace, artifacts: Collection[str] | None = None
    ) -> None:
        self.place = str(root)
        self._shelf = Shelf(root)
        self._reuse: Reuse = reuse
        self._artifacts = artifacts
        self._workplace = workplace
        self._imprints = Imprints(workplace.room("directory", self.place))

    def current(self) -> str | None:
        """The folder that `current` links to; None where there is no link, or the folder is gone.

        Raises:
            UsageError: `current` is no link of ours, or stands in no folder.
            StoreError: the folder cannot be read.
        """
        return self._shelf.current()

    def stage(self, deployable: Deployable, former: Deployable | None) -> Staged:
        """Write the release's folder, unless it is there and intact. The one that serves is left as it is.

        Raises:
            IntegrityError: the store is damaged.
            StoreError: the disk refuses; nothing that served is touched.
        """
        deployable = deployable.taking(self._artifacts)
        identity = deployable.identity
        folder = self._shelf.releases / identity
        self._shelf.prepare()
        if folder.is_dir():
            if self.current() == identity or intact(deployable, self._workplace.store, folder, self._workplace.workers):
                return Staged(folder=folder)
            self._shelf.set_aside(folder)
        return self._write(deployable, former)

    def repair(self, deployable: Deployable) -> Staged:
        """Write the release's folder anew from the store; then it and the damaged one change places.

        Raises:
            IntegrityError: the store is damaged.
            StoreError: the disk refuses; what served serves on as it is.
        """
        self._shelf.prepare()
        return self._write(deployable.taking(self._artifacts), None)

    def _write(self, deployable: Deployable, former: Deployable | None) -> Staged:
        identity = deployable.identity
        folder = self._shelf.releases / identity
        total = sum(artifact.bytes for artifact in deployable.artifacts)
        with self._shelf.making(identity) as temporary:
            begun = temporary.stat().st_mtime_ns
            reused = write(
                deployable,
                self._workplace.store,
                temporary,
                former=self._former(former),
                workers=self._workplace.workers,
                progress=self._workplace.progress,
            )
            if self._reuse == "hardlink" or (self._reuse == "reflink" and clones(temporary, temporary)):
                files = sealed_files(deployable, self._workplace.store)
                self._imprints.take(temporary, files, identity, since=begun)
        return Staged(folder=folder, written=total - reused, reused=reused)

    def _former(self, former: Deployable | None) -> Former | None:
        if former is None or self._reuse == "none":
            return None
        releases = self._shelf.releases
        folder = releases / former.identity
        if not folder.is_dir() or (self._reuse == "reflink" and not clones(releases, releases)):
            return None
        names = {artifact.name for artifact in former.release.artifacts}
        if self._artifacts is not None:
            former = former.taking(names.intersection(self._artifacts))
        files = sum(artifact.files for artifact in former.artifacts)
        imprints = self._imprints.find(former.identity, files)
        return Former(deployable=former, folder=folder, reuse=self._reuse, imprints=imprints)

    def activate(self, identity: str | None) -> None:
        """Turn the link `current` to a staged release, or remove it.

        Raises:
            StoreError: the disk refuses; the link is as it was.
        """
        self._shelf.switch(identity)

    def check(self, deployable: Deployable, *, deep: bool) -> str | None:
        """Whether `current` leads to the release; with `deep`, whether its folder holds it, file by file."""
        deployable = deployable.taking(self._artifacts)
        identity = deployable.identity
        serving = self.current()
        if serving != identity:
            return f"{self._shelf.root / CURRENT} leads to {serving or 'nothing'}, not to {identity}"
        folder = self._shelf.releases / identity
        if deep and not intact(deployable, self._workplace.store, folder, self._workplace.workers):
            return f"{folder} no longer holds what was deployed; apply it again with --deep: it is written anew"
        return None

    def prune(self, keep: Collection[str]) -> int:
        """Remove the folders of releases other than `keep` and the one that serves; what else is there stays.

        Raises:
            StoreError: the disk refuses.
        """
        removed = self._shelf.prune(keep)
        self._imprints.sweep(self._shelf.releases)
        return removed


def target(settings: Mapping[str, Any], workplace: Workplace) -> Directory:
    """The directory target that `settings` names."""
    return Directory(Path(settings["path"]), settings.get("reuse", "reflink"), workplace, settings.get("artifacts"))
