"""Target `directory`: a folder for each release, and a link `current` to the one that serves.

    /srv/shop/current -> releases/1.1.0-9f86d081884c
    /srv/shop/releases/1.0.0-2c26b46b68ff/ …

A release is written into a folder that only this user can enter, made durable, and renamed; the switch
is the rename of a link. A folder that is there already is checked against its tree, file by file.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from sealift.durable import TEMPORARY, make_folder, storing, sync_folder
from sealift.errors import UsageError
from sealift.names import VERSION

from ..intact import intact
from ..placing import Reuse, clones
from ..writing import Deployable, Former, write
from . import Staged, Workplace, identity_of

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "path": {
            "description": "The folder that holds the releases and the link 'current', as an absolute path.",
            "type": "string",
            "pattern": "^/[^\\u0000]*$",
            "maxLength": 3072,
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
CURRENT, RELEASES = "current", "releases"
_IDENTITY = re.compile(f"(?:{VERSION.pattern})-[0-9a-f]{{12}}")
"""What `identity_of` gives: nothing else in the folder is ours to remove."""


class Directory:
    """A folder of releases with the link to the one that serves."""

    def __init__(self, root: Path, reuse: Reuse, workplace: Workplace) -> None:
        self.place = str(root)
        self._root = root
        self._releases = root / RELEASES
        self._reuse: Reuse = reuse
        self._workplace = workplace

    def current(self) -> str | None:
        """The folder that `current` links to; None where there is no link, or the folder is gone.

        Raises:
            UsageError: `current` is no link of ours, or stands in no folder.
            StoreError: the folder cannot be read.
        """
        link = self._root / CURRENT
        with storing(link):
            if os.path.lexists(self._root) and not self._root.is_dir():
                raise UsageError(
                    f"{self._root} is not a folder", hint="move it away, or name another path in the environment"
                )
            if not os.path.lexists(link):
                return None
            if not link.is_symlink():
                raise UsageError(
                    f"{link} is not a link that sealift made",
                    hint="move it away, or name another path in the environment",
                )
            folder, name = os.path.split(os.readlink(link))
        if folder != RELEASES or not name or name.startswith("."):
            raise UsageError(
                f"{link} links to something that sealift did not deploy",
                hint="move it away, or name another path in the environment",
            )
        return name if (self._releases / name).is_dir() else None

    def stage(self, deployable: Deployable, former: Deployable | None) -> Staged:
        """Write the release's folder, unless it is there and intact. The one that serves is left as it is.

        Raises:
            IntegrityError: the store is damaged.
            StoreError: the disk refuses; nothing that served is touched.
        """
        identity = identity_of(deployable.release.version, deployable.part.release.sha256)
        folder = self._releases / identity
        self._make_folders()
        self._sweep()
        if folder.is_dir():
            if self.current() == identity or intact(deployable, self._workplace.store, folder, self._workplace.workers):
                return Staged(folder=folder)
            self._set_aside(folder)
        temporary = self._releases / f"{TEMPORARY}{identity}"
        total = sum(artifact.bytes for artifact in deployable.release.artifacts)
        try:
            with storing(temporary):
                os.mkdir(temporary, 0o700)
            reused = write(
                deployable,
                self._workplace.store,
                temporary,
                former=self._former(former),
                workers=self._workplace.workers,
                progress=self._workplace.progress,
            )
            with storing(folder):
                os.chmod(temporary, 0o755)
                os.rename(temporary, folder)
                sync_folder(self._releases)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return Staged(folder=folder, written=total - reused, reused=reused)

    def _make_folders(self) -> None:
        """Make the folders that are missing, with their mode whatever the umask is."""
        with storing(self._root):
            missing = [folder for folder in (self._root, self._releases) if not folder.exists()]
            make_folder(self._releases)
            for folder in missing:
                os.chmod(folder, 0o755)

    def _former(self, former: Deployable | None) -> Former | None:
        if former is None or self._reuse == "none":
            return None
        folder = self._releases / identity_of(former.release.version, former.part.release.sha256)
        if not folder.is_dir() or (self._reuse == "reflink" and not clones(self._releases, self._releases)):
            return None
        return Former(deployable=former, folder=folder, reuse=self._reuse)

    def activate(self, identity: str | None) -> None:
        """Turn the link `current` to a staged release, or remove it.

        Raises:
            StoreError: the disk refuses; the link is as it was.
        """
        link, new = self._root / CURRENT, self._root / f"{TEMPORARY}{CURRENT}"
        with storing(link):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new)
            if identity is None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(link)
            else:
                (self._releases / identity).stat()
                try:
                    os.symlink(f"{RELEASES}/{identity}", new)
                    os.replace(new, link)
                except BaseException:
                    with contextlib.suppress(OSError):
                        os.unlink(new)
                    raise
            if self._root.is_dir():
                sync_folder(self._root)

    def check(self, deployable: Deployable, *, deep: bool) -> str | None:
        """Whether `current` leads to the release; with `deep`, whether its folder holds it, file by file."""
        identity = identity_of(deployable.release.version, deployable.part.release.sha256)
        serving = self.current()
        if serving != identity:
            return f"{self._root / CURRENT} leads to {serving or 'nothing'}, not to {identity}"
        folder = self._releases / identity
        if deep and not intact(deployable, self._workplace.store, folder, self._workplace.workers):
            return (
                f"{folder} no longer holds what was deployed; apply another version, and then this one again: "
                "its files are written anew"
            )
        return None

    def prune(self, keep: Collection[str]) -> int:
        """Remove the folders of releases other than `keep` and the one that serves; what else is there stays.

        Raises:
            StoreError: the disk refuses.
        """
        if not self._releases.is_dir():
            return 0
        self._sweep()
        stay = {*keep, self.current()}
        removed = 0
        with storing(self._releases):
            for name in sorted(os.listdir(self._releases)):
                folder = self._releases / name
                if name not in stay and _IDENTITY.fullmatch(name) and folder.is_dir() and not folder.is_symlink():
                    self._set_aside(folder)
                    removed += 1
        return removed

    def _set_aside(self, folder: Path) -> None:
        """Remove a folder; killed half-way, it no longer has its name."""
        aside = folder.with_name(f"{TEMPORARY}{folder.name}")
        with storing(folder):
            os.rename(folder, aside)
            shutil.rmtree(aside)

    def _sweep(self) -> None:
        with storing(self._releases):
            for name in os.listdir(self._releases):
                if name.startswith(TEMPORARY):
                    path = self._releases / name
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path)
                    else:
                        path.unlink()


def target(settings: Mapping[str, Any], workplace: Workplace) -> Directory:
    """The directory target that `settings` names."""
    return Directory(Path(settings["path"]), settings.get("reuse", "reflink"), workplace)
