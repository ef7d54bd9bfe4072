"""Targets: the places that a release is deployed to. One module here, or one entry point, is one kind.

A target module offers two names:

- `SCHEMA`: the JSON Schema of the keys that an environment gives a target of this kind.
- `target(settings, workplace)`: the `Target` that these settings name.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from sealift.digest import sha256
from sealift.progress import Progress

from .storage.deployable import Deployable
from .storage.store import Store


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """What a target may use besides its settings."""

    store: Store
    workers: int
    progress: Progress
    environment: str
    """The name of the environment that the target belongs to."""
    rooms: Path
    """A folder of the environment, in the site's, where targets may keep what they need to know; see `room`."""
    operation: str | None = None
    """The identity of the operation that is under way, which the ledger bears as well; None where none is."""

    def room(self, kind: str, place: str) -> Path:
        """The folder that a target of this kind and place has for its own at the site; nobody has made it yet."""
        return self.rooms / f"{kind}-{sha256(place.encode())[:16]}"


@dataclass(frozen=True, kw_only=True)
class Staged:
    """What staging did."""

    folder: Path | None
    """Where hooks of the release run."""
    written: int = 0
    """Bytes of files that were written."""
    reused: int = 0
    """Bytes of files that were taken from the former release."""


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What is seen at a target."""

    kind: str
    place: str
    serving: str | None
    """The identity (`Deployable.identity`) of the release that serves there."""
    problem: str | None = None
    """What is wrong with the release that should serve there and does."""


class Target(Protocol):
    """A place that a release is deployed to. Return to a former release is `activate` of it."""

    place: str
    """Where it is, for people."""

    def current(self) -> str | None:
        """The identity (`Deployable.identity`) of the release that serves there, or None.

        Raises:
            UsageError: something else than Sealift's own stands there.
        """

    def stage(self, deployable: Deployable, former: Deployable | None) -> Staged:
        """Make a release ready, invisibly and repeatably.

        Raises:
            IntegrityError: the store is damaged.
            StoreError: the disk refuses.
        """

    def activate(self, identity: str | None) -> None:
        """Let a staged release serve, atomically; with None, nothing.

        Raises:
            StoreError: the disk refuses; what served before serves on.
        """

    def check(self, deployable: Deployable, *, deep: bool) -> str | None:
        """What is wrong with a release that should serve there, in one sentence; None where nothing is.

        Args:
            deployable: the release.
            deep: also compare all that it holds.

        Raises:
            UsageError: something else than Sealift's own stands there.
        """


@runtime_checkable
class Located(Protocol):
    """A target that is called shortly: what it is called, others may be called too."""

    owns: str
    """What tells its place from all others."""


def owned_place(target: Target) -> str:
    """What tells a target's place from all others: what it is called, where it says no more."""
    return target.owns if isinstance(target, Located) else target.place


@runtime_checkable
class Prunable(Protocol):
    """A target that keeps former releases, and can let go of them."""

    def prune(self, keep: Collection[str]) -> int:
        """Remove staged releases other than these identities and the one that serves; return how many.

        Raises:
            StoreError: the disk refuses.
        """


@runtime_checkable
class Repairable(Protocol):
    """A target whose release can be made anew while it serves; at any other, staging and activating it again does."""

    def repair(self, deployable: Deployable) -> Staged:
        """Make the release that serves what it should be, in one step for whoever uses it.

        Raises:
            IntegrityError: the store is damaged.
            StoreError: the disk refuses; what served before serves on.
        """


@runtime_checkable
class Shared(Protocol):
    """A target whose place several environments may name: each of them changes its own part there alone."""

    shared: bool
    """Always true."""
