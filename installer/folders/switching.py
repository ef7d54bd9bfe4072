"""A switch that cannot be atomic: a mark on the shelf says from what to what, until it is over.

While there is a mark no release counts as the one that serves, so the next command finishes the switch or goes back.
"""

from __future__ import annotations

import msgspec

from sealift.durable import TEMPORARY, storing, sync_folder, write_file
from sealift.errors import StoreError
from sealift.reading import bounded

from .shelf import Shelf

MARK = "switching"
MARK_MAX = 4096
"""Bytes of the mark."""


class Switch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A switch that is under way."""

    leaving: str | None
    """The release that served when it began."""
    to: str | None

    def left(self, identity: str | None) -> str | None:
        """The release that is left when the next switch leads to `identity`."""
        return self.leaving if self.to in (None, identity) else self.to


class Switching:
    """The mark of a shelf."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._mark = shelf.root / MARK

    def under_way(self) -> Switch | None:
        """The switch that did not end, if there is one.

        Raises:
            StoreError: the mark is damaged.
        """
        content = bounded(self._mark, MARK_MAX) if self._shelf.root.is_dir() else None
        if content is None:
            return None
        try:
            return msgspec.json.decode(content, type=Switch)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreError(f"{self._mark} is damaged", hint="remove it, and apply again") from error

    def current(self) -> str | None:
        """The release that serves; of a switch that did not end, what it is about, marked as such.

        Raises:
            UsageError: something else stands on the shelf.
            StoreError: the shelf cannot be read.
        """
        serving, found = self._shelf.current(), self.under_way()
        if found is None:
            return serving
        return f"{found.to or found.leaving or 'nothing'} (the switch did not end)"

    def leaving(self, identity: str | None) -> str | None:
        """The release that a switch to another, or to none, leaves.

        Raises:
            UsageError: something else stands on the shelf.
            StoreError: the shelf cannot be read.
        """
        found = self.under_way()
        return found.left(identity) if found else self._shelf.current()

    def begin(self, identity: str | None) -> None:
        """Mark that a switch to a release, or to none, is under way; what a kill left of a mark is removed.

        Raises:
            StoreError: the disk refuses.
        """
        if self._shelf.root.is_dir():
            with storing(self._mark):
                for left in self._shelf.root.glob(f"{TEMPORARY}{MARK}.*"):
                    left.unlink(missing_ok=True)
            switch = Switch(leaving=self.leaving(identity), to=identity)
            write_file(self._mark, msgspec.json.encode(switch))

    def end(self, identity: str | None) -> None:
        """Turn the link to the release, or remove it, and the mark.

        Raises:
            StoreError: the disk refuses.
        """
        self._shelf.switch(identity)
        with storing(self._mark):
            self._mark.unlink(missing_ok=True)
            if self._shelf.root.is_dir():
                sync_folder(self._shelf.root)
