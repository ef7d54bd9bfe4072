"""A shelf: a folder of releases, and a link `current` to the one that serves.

    /srv/shop/current -> releases/1.1.0-9f86d081884c
    /srv/shop/releases/1.0.0-2c26b46b68ff/ …

A release is made in a folder that only this user can enter, and renamed when it is whole; the switch is the rename
of a link. Nothing is removed that does not bear a name of ours.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from sealift.durable import TEMPORARY, make_folder, storing, sync_folder
from sealift.errors import UsageError
from sealift.names import VERSION

CURRENT, RELEASES = "current", "releases"
_HERE, _EXCHANGE = -100, 2
"""AT_FDCWD and RENAME_EXCHANGE of Linux."""
_IDENTITY = re.compile(f"(?:{VERSION.pattern})(?:-[0-9a-f]{{12}}){{1,2}}")
"""What `deployable.identity_of` gives: nothing else in the folder is ours to remove."""


class Shelf:
    """A folder of releases with the link to the one that serves."""

    def __init__(self, root: Path, folder: str = RELEASES) -> None:
        """Take where it is, and what the folder is called that `current` leads into."""
        self.root = root
        self.releases = root / folder

    def current(self) -> str | None:
        """The folder that `current` links to; None where there is no link, or the folder is gone.

        Raises:
            UsageError: `current` is no link of ours, or stands in no folder.
            StoreError: the folder cannot be read.
        """
        link = self.root / CURRENT
        with storing(link):
            if os.path.lexists(self.root) and not self.root.is_dir():
                raise UsageError(
                    f"{self.root} is not a folder", hint="move it away, or name another path in the environment"
                )
            if not os.path.lexists(link):
                return None
            if not link.is_symlink():
                raise UsageError(
                    f"{link} is not a link that sealift made",
                    hint="move it away, or name another path in the environment",
                )
            folder, name = os.path.split(os.readlink(link))
        if folder != self.releases.name or not name or name.startswith("."):
            raise UsageError(
                f"{link} links to something that sealift did not deploy",
                hint="move it away, or name another path in the environment",
            )
        return name if (self.releases / name).is_dir() else None

    def prepare(self) -> None:
        """Make the folders that are missing, with their mode whatever the umask is, and clear what a kill left.

        Raises:
            StoreError: the disk refuses.
        """
        with storing(self.root):
            missing = [folder for folder in (self.root, self.releases) if not folder.exists()]
            make_folder(self.releases)
            for folder in missing:
                os.chmod(folder, 0o755)
        self._sweep()

    @contextlib.contextmanager
    def making(self, identity: str) -> Iterator[Path]:
        """A new folder that becomes the release's at the end, in place of a former one; left with an error, it is gone.

        Raises:
            StoreError: the disk refuses.
        """
        folder = self.releases / identity
        temporary = self.releases / f"{TEMPORARY}{identity}"
        try:
            with storing(temporary):
                os.mkdir(temporary, 0o700)
            yield temporary
            with storing(folder):
                os.chmod(temporary, 0o755)
                if folder.is_dir():
                    exchange(temporary, folder)
                    shutil.rmtree(temporary)
                else:
                    os.rename(temporary, folder)
                sync_folder(self.releases)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    def switch(self, identity: str | None) -> None:
        """Turn the link `current` to a release's folder, or remove it.

        Raises:
            StoreError: the disk refuses; the link is as it was.
        """
        link, new = self.root / CURRENT, self.root / f"{TEMPORARY}{CURRENT}"
        with storing(link):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new)
            if identity is None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(link)
            else:
                (self.releases / identity).stat()
                try:
                    os.symlink(f"{self.releases.name}/{identity}", new)
                    os.replace(new, link)
                except BaseException:
                    with contextlib.suppress(OSError):
                        os.unlink(new)
                    raise
            if self.root.is_dir():
                sync_folder(self.root)

    def prune(self, keep: Collection[str]) -> int:
        """Remove the folders of releases other than `keep` and the one that serves; what else is there stays.

        Raises:
            StoreError: the disk refuses.
        """
        if not self.releases.is_dir():
            return 0
        self._sweep()
        stay = {*keep, self.current()}
        removed = 0
        with storing(self.releases):
            for name in sorted(os.listdir(self.releases)):
                folder = self.releases / name
                if name not in stay and _IDENTITY.fullmatch(name) and folder.is_dir() and not folder.is_symlink():
                    self.set_aside(folder)
                    removed += 1
        return removed

    def set_aside(self, folder: Path) -> None:
        """Remove a folder; killed half-way, it no longer has its name.

        Raises:
            StoreError: the disk refuses.
        """
        aside = folder.with_name(f"{TEMPORARY}{folder.name}")
        with storing(folder):
            os.rename(folder, aside)
            shutil.rmtree(aside)

    def _sweep(self) -> None:
        with storing(self.releases):
            for name in os.listdir(self.releases):
                if name.startswith(TEMPORARY):
                    path = self.releases / name
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path)
                    else:
                        path.unlink()


def exchange(one: Path, other: Path) -> None:
    """Let two names of a file system change places in one step (renameat2 with RENAME_EXCHANGE, Linux).

    Raises:
        OSError: the file system cannot.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(other))
