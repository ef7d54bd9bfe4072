"""A site's folder: what lies in it, whose it is, and what a killed command left there."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from sealift.durable import TEMPORARY, storing
from sealift.errors import StoreError, TrustError
from sealift.names import visible

from .state import missing_state, read_marks

STORE = ("packs", "trees", "index", "manifests")
"""The folders of the store, each for one kind of content file."""

_OWN = {"lock", "store", "environments"}
_PARTIAL = (f"{TEMPORARY}state.json.", f"{TEMPORARY}marks.json.")


def folders(path: Path) -> tuple[Path, ...]:
    """The folders that an enrolled site has below `path`, for content and for environments."""
    return (*(path / "store" / kind for kind in STORE), path / "environments")


def is_there(path: Path) -> bool:
    """Whether something bears the name `path`, a dangling link included.

    Raises:
        StoreError: its folder cannot be searched.
    """
    with storing(path):
        return os.path.lexists(path)


def check_owner(path: Path) -> None:
    """Refuse a site folder that somebody else owns or may write.

    Raises:
        TrustError: somebody does.
        OSError: there is none.
    """
    found = os.stat(path)
    if found.st_uid != os.geteuid():
        raise TrustError(
            f"{path} belongs to another user (uid {found.st_uid})",
            hint="run as that user, or name your own site folder",
        )
    if found.st_mode & 0o022:
        raise TrustError(
            f"{path} can be written by others (mode {found.st_mode & 0o7777:04o})",
            hint=f"make sure that nobody changed it, then: chmod go-w {path}",
        )


def check_vacant(path: Path) -> None:
    """Refuse to enrol a folder that holds something already.

    Raises:
        TrustError: it holds what is left of a site.
        StoreError: it holds something else, or cannot be read.
    """
    with storing(path):
        if not os.path.lexists(path):
            return
        names = {name for name in os.listdir(path) if not name.startswith(TEMPORARY)}
    if names & {"marks.json", "ledger.jsonl"} or has_files(path):
        raise missing_state(read_marks(path / "marks.json"))
    if others := sorted(names - _OWN):
        raise StoreError(
            f"{path} is not empty and is no site: it holds {visible(others[0])!r}", hint="name an empty or a new folder"
        )


def has_content(path: Path) -> bool:
    """Whether the ledger, the store or an environment shows that there was a site.

    Raises:
        StoreError: the folder cannot be read.
    """
    return is_there(path / "ledger.jsonl") or has_files(path)


def has_files(path: Path) -> bool:
    """Whether the store or an environment holds anything that is complete.

    Raises:
        StoreError: the folder cannot be read.
    """
    for folder in folders(path):
        with storing(folder), contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            if any(not entry.name.startswith(TEMPORARY) for entry in entries):
                return True
    return False


def sweep(path: Path) -> None:
    """Remove what a killed command left half-written beside the state; the lock is held.

    Raises:
        StoreError: the disk refuses.
    """
    with storing(path):
        for name in os.listdir(path):
            if name.startswith(_PARTIAL):
                os.unlink(path / name)
