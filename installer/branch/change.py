"""What lets another release serve in a branch: the paths that are set and removed, and the values that are pinned.

The rule for what people did: a path that the footprint does not name is theirs, and never touched. One that it
names, and that is not as it says, was edited: then nothing is done, or the edit is overwritten, as the site wishes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import msgspec

from sealift.errors import DeployError
from sealift.names import visible

from . import pins
from .footprint import Footprint, Pin
from .repository import Repository, Spot


@dataclass(frozen=True, kw_only=True)
class Change:
    """From one release to another, or to none."""

    spots: Mapping[str, Spot | None]
    """What each path is to be; None where it is to go."""
    pins: tuple[Pin, ...]
    """Those of the release, each with what was there before Sealift."""
    edited: tuple[str, ...]
    """What people did to something of ours that is set back by this."""


def change(
    repository: Repository, head: str | None, path: str, before: Footprint | None, goal: Footprint | None
) -> Change:
    """What is to be done.

    Args:
        repository: whose branch it is.
        head: the commit that the branch stands for.
        path: the folder of the files.
        before: what is ours there.
        goal: what is to be.

    Raises:
        DeployError: something that is not ours is in the way, or a pinned value is not there.
    """
    there = repository.listed(head, path) if head else {}
    old, new = before.spots if before else {}, goal.spots if goal else {}
    spots: dict[str, Spot | None] = {name: None for name in sorted(old.keys() - new.keys()) if name in there}
    spots |= {name: spot for name, spot in new.items() if there.get(name) != spot}
    foreign = [name for name in sorted(spots) if name in there and name not in old]
    foreign += in_the_way(there.keys() - old.keys(), new) + (repository.files_above(head, path) if head else [])
    if foreign:
        raise DeployError(
            f"{some(foreign)} in {repository.url} was not written by sealift",
            hint="move it away there, or name another `path` in the environment",
        )
    edited = [name for name, spot in sorted(old.items()) if there.get(name) not in (spot, new.get(name))]
    pinning = _Pinning(repository, head)
    pinning.run(before.pins if before else (), goal.pins if goal else ())
    return Change(spots={**spots, **pinning.spots()}, pins=tuple(pinning.pins), edited=(*edited, *pinning.edited))


class _Pinning:
    """Sets and restores the values in files of people."""

    def __init__(self, repository: Repository, head: str | None) -> None:
        self._repository = repository
        self._head = head
        self._contents: dict[str, bytes] = {}
        self.pins: list[Pin] = []
        self.edited: list[str] = []

    def run(self, old: Iterable[Pin], new: Iterable[Pin]) -> None:
        known = {pin.where: pin for pin in old}
        for pin in new:
            self._set(pin, known.pop(pin.where, None))
        for pin in known.values():
            self._restore(pin)

    def _content(self, path: str) -> bytes | None:
        if path in self._contents:
            return self._contents[path]
        return self._repository.read(self._head, path, pins.SIZE_MAX) if self._head else None

    def _name(self, pin: Pin) -> str:
        return f"{visible(pin.file)} in {self._repository.url}"

    def _set(self, pin: Pin, known: Pin | None) -> None:
        name = self._name(pin)
        content = self._content(pin.file)
        if content is None:
            raise DeployError(f"there is no file {name}", hint="correct `pins`, or make the file there")
        now = pins.value_at(content, pin.at, name)
        if known and now not in (known.value, pin.value):
            self.edited.append(shown(pin))
        written = known.before if known else pins.written_at(content, pin.at, name)
        self.pins.append(msgspec.structs.replace(pin, before=written))
        if now != pin.value:
            self._contents[pin.file] = pins.pinned(content, pin.at, name, pin.value)

    def _restore(self, pin: Pin) -> None:
        """Give a value back what it was, unless people have given it another or have taken it away."""
        content = self._content(pin.file)
        if content is None or pin.before is None or not pins.stands(content, pin.at, pin.value):
            return
        self._contents[pin.file] = pins.restored(content, pin.at, self._name(pin), pin.before)

    def spots(self) -> dict[str, Spot]:
        """The files with their new content, and the mode that they have."""
        assert self._head is not None or not self._contents
        return {
            path: Spot(mode=self._repository.listed(self._head, path)[path].mode, id=self._repository.blob(content))
            for path, content in self._contents.items()
            if self._head
        }


def in_the_way(others: Collection[str], names: Collection[str]) -> list[str]:
    """The files that stand where a name needs a folder, or under a folder where a name needs a file."""
    folders = {str(folder) for name in names for folder in PurePosixPath(name).parents}
    return [
        other
        for other in sorted(others)
        if other in folders or any(str(folder) in names for folder in PurePosixPath(other).parents)
    ]


def edits(repository: Repository, head: str, path: str, footprint: Footprint) -> list[str]:
    """What people did to what is ours.

    Raises:
        DeployError: the repository cannot be read.
    """
    there = repository.listed(head, path)
    wrong = [name for name, spot in sorted(footprint.spots.items()) if there.get(name) != spot]
    for pin in footprint.pins:
        content = repository.read(head, pin.file, pins.SIZE_MAX)
        if content is None or not pins.stands(content, pin.at, pin.value):
            wrong.append(shown(pin))
    return wrong


def shown(pin: Pin) -> str:
    """A pin as a person reads it."""
    return f"{visible(pin.file)} at {pins.shown(pin.at)}"


def some(names: Iterable[str]) -> str:
    """A few of many names."""
    found = [visible(name) for name in names]
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
