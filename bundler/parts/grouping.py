"""Groups: consecutive entries of an artifact whose files make about one frame, the unit of parallel work.

Small files go whole, many to a group. A large file goes window by window; where a window's last chunk
ends is known only after it was cut, so the next window waits for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ..source import Found

WINDOW = 4 << 20
"""Bytes of content in a group at most: one frame's worth (4 MiB frames are 3 to 6% smaller than 1 MiB ones)."""
ENTRIES_MAX = 4096
"""Entries of a group at most."""


class Window(NamedTuple):
    """A part of a large file."""

    file: Found
    offset: int
    """Bytes from the start of the file."""
    last: bool
    """Whether the file ends in it."""


@dataclass(slots=True)
class Group:
    """Entries in canonical order, or one window of a large file."""

    artifact: int
    """Which of the artifacts it belongs to, from 0."""
    entries: list[Found] = field(default_factory=list)
    files: int = 0
    """How many of the entries are files."""
    size: int = 0
    """Bytes of the files."""
    window: Window | None = None
    """In place of entries."""


class Grouper:
    """Turns artifacts' entries into groups, in order."""

    def __init__(self, artifacts: list[Iterator[Found]]) -> None:
        self._artifacts = artifacts
        self._current = -1
        self._entries: Iterator[Found] = iter(())
        self._held: Found | None = None
        self._large: Found | None = None
        self._offset: int | None = 0

    @property
    def waiting(self) -> bool:
        """Whether the next group depends on how far the last window was cut."""
        return self._large is not None and self._offset is None

    def take(self) -> Group | None:
        """The next group; None when there is none, or none yet (see `waiting`).

        Raises:
            SourceError: a source could not go on.
        """
        if self._large is not None:
            return self._window(self._large)
        while True:
            group = self._whole_files()
            if group.entries:
                return group
            if self._held is not None:
                self._large, self._offset, self._held = self._held, 0, None
                return self._window(self._large)
            if self._current + 1 >= len(self._artifacts):
                return None
            self._current += 1
            self._entries = iter(self._artifacts[self._current])

    def cut(self, end: int) -> None:
        """Learn where the last chunk of a window that is not a file's last ended, in bytes from the file's start."""
        self._offset = end

    def _whole_files(self) -> Group:
        """Entries up to a group's size, the end of the artifact, or a large file, which is then held."""
        group = Group(artifact=self._current)
        entries = group.entries
        entry = self._held or next(self._entries, None)
        self._held = None
        while entry is not None:
            size = entry.size
            if group.size + size > WINDOW:
                self._held = entry
                return group
            group.size += size
            group.files += entry.kind == "file"
            entries.append(entry)
            if len(entries) >= ENTRIES_MAX:
                return group
            entry = next(self._entries, None)
        return group

    def _window(self, entry: Found) -> Group | None:
        if self._offset is None:
            return None
        last = entry.size - self._offset <= WINDOW
        group = Group(artifact=self._current, window=Window(entry, self._offset, last))
        if last:
            group.files, group.size = 1, entry.size
            self._large = None
        else:
            self._offset = None
        return group
