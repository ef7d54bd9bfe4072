"""What changed between two releases, file by file: two trees in canonical order, walked in step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sealift.tree import Entry, side_by_side

from ..depots.holding import Holding

Kind = Literal["added", "removed", "changed"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One path that differs."""

    artifact: str
    path: str
    kind: Kind
    before: int
    """Bytes in the former release; 0 where it was not there."""
    after: int
    new: int
    """Bytes of its chunks that the former release has nowhere."""


def changes(old: Holding, new: Holding) -> Iterator[Change]:
    """Yield what differs, by artifact, in canonical order."""
    before = {artifact.name: artifact for artifact in old.release.artifacts}
    after = {artifact.name: artifact for artifact in new.release.artifacts}
    known = {
        bytes.fromhex(digest)
        for artifact in old.release.artifacts
        for entry in old.entries(artifact)
        for digest in entry.chunks
    }
    for name in sorted(before.keys() | after.keys()):
        olds = old.entries(before[name]) if name in before else iter(())
        news = new.entries(after[name]) if name in after else iter(())
        if name in before and name in after and before[name].digest == after[name].digest:
            continue
        for left, right in side_by_side(_paths(olds), _paths(news)):
            former, entry = left[1] if left else None, right[1] if right else None
            if former != entry:
                yield _change(name, former, entry, known)


def _paths(entries: Iterator[Entry]) -> Iterator[tuple[str, Entry]]:
    return ((entry.path, entry) for entry in entries)


def _change(artifact: str, former: Entry | None, entry: Entry | None, known: set[bytes]) -> Change:
    shown = entry or former
    assert shown is not None
    fresh = 0
    for digest, size in entry.pieces() if entry else ():
        key = bytes.fromhex(digest)
        if key not in known:
            known.add(key)
            fresh += size
    return Change(
        artifact=artifact,
        path=shown.path,
        kind="changed" if former and entry else "added" if entry else "removed",
        before=former.size if former else 0,
        after=entry.size if entry else 0,
        new=fresh,
    )
