"""Groups: consecutive entries of an artifact whose files make about one frame, the unit of parallel work.

Small files go whole, many to a group. A large file goes window by window; where a window's last chunk
ends is known only after it was cut, so the next window waits for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from .sources import Found

WINDOW = 4 << 20
"""Bytes of content in a group at most: one frame's worth (4 MiB frames are 3 to 6% smaller than 1 MiB ones)."""


class Reading(NamedTuple):
    """What a worker is to read: one file, or one window of it."""

    origin: str
    stamp: tuple[int, int]
    size: int
    """Bytes of the whole file."""
    offset: int
    """Where the window starts."""


@dataclass(slots=True)
class Group:
    """Entries in canonical order, and what must be read for them."""

    artifact: int
    """Which of the artifacts it belongs to, from 0."""
    entries: list[Found] = field(default_factory=list)
    """Entries that are complete with this group."""
    readings: list[Reading] = field(default_factory=list)
    continued: bool = False
    """Whether the only reading is a window of a file that goes on in the next group."""


class Grouper:
    """Turns artifacts' entries into groups, in order."""

    def __init__(self, artifacts: list[Iterator[Found]]) -> None:
        self._artifacts = artifacts
        self._current = -1
        self._entries: Iterator[Found] = iter(())
        self._held: Found | None = None
        self._large: Found | None = None
        self._offset: int | None = 0

    def take(self) -> Group | None:
        """The next group; None when there is none, or none yet (see `waiting`).

        Raises:
            SourceError: a source could not go on.
        """
        if self._large is not None:
            return self._window()
        group = Group(artifact=self._current)
        total = 0
        while True:
            entry = self._held or next(self._entries, None)
            self._held = None
            if entry is None:
                if group.entries:
                    return group
                self._current += 1
                if self._current >= len(self._artifacts):
                    self._current = len(self._artifacts)
                    return None
                self._entries = iter(self._artifacts[self._current])
                group.artifact = self._current
                continue
            if entry.kind == "file" and entry.size:
                if total and total + entry.size > WINDOW:
                    self._held = entry
                    return group
                if entry.size > WINDOW:
                    if group.entries:
                        self._held = entry
                        return group
                    self._large, self._offset = entry, 0
                    return self._window()
                total += entry.size
                group.readings.append(Reading(entry.origin, entry.stamp, entry.size, 0))
            group.entries.append(entry)
            if len(group.entries) >= 4096:
                return group

    @property
    def waiting(self) -> bool:
        """Whether the next group depends on how far the last window was cut."""
        return self._large is not None and self._offset is None

    def _window(self) -> Group | None:
        entry = self._large
        if entry is None or self._offset is None:
            return None
        group = Group(artifact=self._current, readings=[Reading(entry.origin, entry.stamp, entry.size, self._offset)])
        if entry.size - self._offset > WINDOW:
            group.continued = True
            self._offset = None
        else:
            group.entries.append(entry)
            self._large = None
        return group

    def cut(self, end: int) -> None:
        """Learn where the last chunk of a continued window ended, in bytes from the start of the file."""
        self._offset = end
