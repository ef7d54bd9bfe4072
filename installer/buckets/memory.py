"""What a site remembers of a bucket: a document of each release that it staged there, and the tags of its objects.

    <room>/<identity>.json    what `activate` needs, also without a medium, and `prune`, to know what is ours
    <room>/tags               a line for each object that was put or read whole: its key and the tag it had then

A document is written before the first object goes out, so that whatever a killed command left is known. Of the tags
no more than speed depends: an object without one, or with another, is read again before it is believed.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from pathlib import Path

from sealift.durable import make_folder, storing, sync_folder, write_file
from sealift.errors import StoreError
from sealift.reading import bounded

from .pointer import is_identity

_SUFFIX = ".json"
TAGS_MAX = 256 << 20
"""Bytes of the tags that are read."""


class Memory:
    """The room of a bucket at the site."""

    def __init__(self, room: Path) -> None:
        self._room = room
        self._log = room / "tags"
        self._lock = threading.Lock()

    def keep(self, identity: str, content: bytes) -> None:
        """Remember the document of a release, durably.

        Raises:
            StoreError: the disk refuses.
        """
        make_folder(self._room, mode=0o700)
        write_file(self._room / f"{identity}{_SUFFIX}", content, mode=0o600)

    def document(self, identity: str, limit: int) -> bytes | None:
        """The document of a release, if it was staged; of up to `limit` bytes.

        Raises:
            StoreError: it cannot be read.
        """
        if not self._room.is_dir():
            return None
        content = bounded(self._room / f"{identity}{_SUFFIX}", limit)
        if content is not None and len(content) > limit:
            raise StoreError(f"{self._room / identity}{_SUFFIX} is damaged", hint="remove it, and apply again")
        return content

    def required(self, identity: str, limit: int) -> bytes:
        """The document of a release that was staged.

        Raises:
            StoreError: it is not there, or cannot be read.
        """
        content = self.document(identity, limit)
        if content is None:
            raise StoreError(
                f"the site does not remember that it brought {identity} to the bucket",
                hint="apply that version: it is brought there again, as far as anything lacks",
            )
        return content

    def identities(self) -> Collection[str]:
        """Every release that was staged and not forgotten since, sorted."""
        if not self._room.is_dir():
            return []
        with storing(self._room):
            names = [path.name.removesuffix(_SUFFIX) for path in self._room.iterdir() if path.name.endswith(_SUFFIX)]
        return sorted(name for name in names if is_identity(name))

    def forget(self, identity: str) -> None:
        """Let go of the document of a release.

        Raises:
            StoreError: the disk refuses.
        """
        with storing(self._room):
            (self._room / f"{identity}{_SUFFIX}").unlink(missing_ok=True)
            sync_folder(self._room)

    def tags(self) -> dict[str, str]:
        """The tag that each object had when it was last put or read whole, by its key."""
        found: dict[str, str] = {}
        content = bounded(self._log, TAGS_MAX) if self._room.is_dir() else None
        for line in (content or b"").decode(errors="replace").splitlines():
            key, space, tag = line.partition(" ")
            if space and tag.endswith("."):
                found[key] = tag[:-1]
        return found

    def note(self, key: str, tag: str) -> None:
        """Remember the tag of an object, for as long as no disk fails."""
        with self._lock, storing(self._log), self._log.open("a", encoding="utf-8") as log:
            log.write(f"{key} {tag}.\n")

    def note_only(self, tags: dict[str, str]) -> None:
        """Remember these tags and no others.

        Raises:
            StoreError: the disk refuses.
        """
        if self._room.is_dir():
            write_file(self._log, "".join(f"{key} {tag}.\n" for key, tag in tags.items()).encode(), mode=0o600)
