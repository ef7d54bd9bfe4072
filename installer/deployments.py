"""What each environment runs, and what is being changed there: `environments/<name>/` of a site.

`state.json` says what serves and what served before. `journal.json` is there only while an operation is
under way, or was killed: it says from what to what, and how far it came.
"""

from __future__ import annotations

import contextlib
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from sealift.durable import TEMPORARY, make_folder, storing, sync_folder, write_file
from sealift.errors import TrustError
from sealift.names import check_release
from sealift.reading import bounded

from .environments.environment import Environment, of
from .storage.deployable import identity_of

FORMAT = 1
SIZE_MAX = 4 << 20
Phase = Literal["staging", "switching", "committing"]


class Deployed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A release as it was deployed."""

    release: str
    version: str
    manifest: str
    """Digest of the release manifest."""
    environment: dict[str, Any]
    """What the environment declared then, so that a return needs no file."""
    time: datetime
    variant: str = ""
    """What tells it from the same release with other values; empty where the release has no templates."""
    revision: str = ""
    """What tells it from the same release as it was deployed before, with other settings of its targets."""

    @property
    def label(self) -> str:
        """`name@version`."""
        return f"{self.release}@{self.version}"

    @property
    def identity(self) -> str:
        """What it is called at a target."""
        return identity_of(self.version, self.manifest, self.variant, self.revision)

    @property
    def declared(self) -> Environment:
        """The environment that was declared."""
        return of(self.environment, Path("environment"))


class State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an environment runs."""

    format: int = FORMAT
    environment: str
    current: Deployed | None = None
    previous: Deployed | None = None
    """What a rollback returns to."""
    source: str | None = None
    """What governs it (`Environment.source`); None where nothing was deployed yet."""
    expires: datetime | None = None
    """When it should be removed; None where it is to stay."""


class Journal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An operation that is under way."""

    format: int = FORMAT
    operation: str
    """Its identity, which the ledger bears as well."""
    action: Literal["apply", "rollback", "remove"]
    phase: Phase
    before: State
    """What the environment ran when it began."""
    after: State
    """What it runs once it is committed."""
    served: tuple[str | None, ...]
    """What served at each target of `goal` when it began."""

    @property
    def goal(self) -> Deployed:
        """What it deploys, or what it removes."""
        found = self.after.current or self.before.current
        assert found is not None
        return found

    @property
    def noun(self) -> str:
        """What it is, in a message."""
        return "removal" if self.action == "remove" else self.action


T = TypeVar("T", State, Journal)


class Deployments:
    """The folder `environments/` of a site."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> tuple[str, ...]:
        """The environments that ever were."""
        with storing(self.folder), contextlib.suppress(FileNotFoundError):
            return tuple(sorted(path.name for path in self.folder.iterdir() if not path.name.startswith(".")))
        return ()

    def state(self, name: str) -> State:
        """What an environment runs; nothing where it never was.

        Raises:
            TrustError: its state is damaged.
        """
        return self._read(name, "state.json", State) or State(environment=check_release(name))

    def journal(self, name: str) -> Journal | None:
        """The operation that is under way, or was killed.

        Raises:
            TrustError: its journal is damaged.
        """
        return self._read(name, "journal.json", Journal)

    def rooms(self, name: str) -> Path:
        """The folder where an environment's targets may keep what they need to know."""
        return self.folder / check_release(name) / "targets"

    def keep_state(self, state: State) -> None:
        """Make `state` the environment's, durably.

        Raises:
            StoreError: the disk refuses.
        """
        self._write(state.environment, "state.json", state)

    def keep_journal(self, journal: Journal) -> None:
        """Make `journal` the environment's, durably.

        Raises:
            StoreError: the disk refuses.
        """
        self._write(journal.after.environment, "journal.json", journal)

    def end_journal(self, name: str) -> None:
        """The operation is over.

        Raises:
            StoreError: the disk refuses.
        """
        path = self.folder / name / "journal.json"
        with storing(path):
            path.unlink(missing_ok=True)
            sync_folder(path.parent)

    def sweep(self, name: str) -> None:
        """Remove what a killed command left half-written; the site's lock is held.

        Raises:
            StoreError: the disk refuses.
        """
        folder = self.folder / check_release(name)
        with storing(folder):
            for left in folder.glob(f"{TEMPORARY}*"):
                left.unlink()
            for removed in self.folder.glob(f"{TEMPORARY}*"):
                shutil.rmtree(removed)

    def remove(self, name: str) -> None:
        """Forget an environment, and all that its targets keep at the site; the site's lock is held.

        Raises:
            StoreError: the disk refuses; the environment is as it was, or no more.
        """
        folder = self.folder / check_release(name)
        gone = self.folder / f"{TEMPORARY}{name}"
        with storing(folder):
            if gone.exists():
                shutil.rmtree(gone)
            folder.rename(gone)
            sync_folder(self.folder)
            shutil.rmtree(gone)

    def _write(self, name: str, file: str, value: msgspec.Struct) -> None:
        make_folder(self.folder / name, mode=0o700)
        write_file(self.folder / name / file, msgspec.json.encode(value), mode=0o600)

    def _read(self, name: str, file: str, kind: type[T]) -> T | None:
        path = self.folder / check_release(name) / file
        content = bounded(path, SIZE_MAX)
        if content is None:
            return None
        damaged = TrustError(
            f"{path} cannot be read: the file is damaged, or was written by a newer sealift",
            hint="restore the site folder from a backup, or install the newer sealift here",
        )
        try:
            value = msgspec.json.decode(content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise damaged from error
        if value.format != FORMAT:
            raise damaged
        return value
