"""The preview of a plan: which files a deployment adds, removes and changes, from the trees alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sealift.hooks import Hook
from sealift.manifest import Release
from sealift.tree import Entry, side_by_side

from .planning import Plan
from .site import Site
from .store import Store


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a deployment changes."""

    added: int
    removed: int
    changed: int
    same: int
    """Files that stay as they are."""
    bytes: int
    """Of all files of the release."""
    changes: tuple[tuple[str, str], ...]
    """Each path that differs, with `added`, `removed` or `changed`."""
    hooks: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]
    """The programs before and after the switch."""

    def document(self, with_files: bool) -> dict[str, Any]:
        """The preview as plain values."""
        said: dict[str, Any] = {
            "files": {
                "added": self.added,
                "removed": self.removed,
                "changed": self.changed,
                "same": self.same,
                "bytes": self.bytes,
            },
            "hooks": {moment: [list(program) for program in programs] for moment, programs in self.hooks},
        }
        if with_files:
            said["changes"] = [{"path": path, "kind": kind} for kind, path in self.changes]
        return said


def preview(plan: Plan, site: Site) -> Preview:
    """Compare the trees of what serves and of what will serve.

    Raises:
        IntegrityError: a tree in the store is damaged.
    """
    store = Store(site.store)
    release = store.held(plan.admitted.part)
    current = plan.before.current
    admitted = site.state.release(current.release, current.version) if current else None
    former = store.held(admitted.part) if admitted else None
    changes = []
    same = 0
    for before, after in side_by_side(_entries(store, former), _entries(store, release)):
        path = (after or before or ("", None))[0]
        if before and after:
            if before[1] == after[1]:
                same += after[1].type == "file"
            else:
                changes.append(("changed", path))
        else:
            changes.append(("added" if after else "removed", path))
    hooks = plan.environment.hooks
    return Preview(
        added=sum(kind == "added" for kind, _ in changes),
        removed=sum(kind == "removed" for kind, _ in changes),
        changed=sum(kind == "changed" for kind, _ in changes),
        same=same,
        bytes=sum(artifact.bytes for artifact in release.artifacts),
        changes=tuple(changes),
        hooks=(
            ("before", _programs(release.hooks.before_switch + hooks.before_switch)),
            ("after", _programs(release.hooks.after_switch + hooks.after_switch)),
        ),
    )


def _entries(store: Store, release: Release | None) -> Iterator[tuple[str, Entry]]:
    for artifact in release.artifacts if release else ():
        prefix = "" if release and len(release.artifacts) == 1 else f"{artifact.name}/"
        for entry in store.entries(artifact):
            yield prefix + entry.path, entry


def _programs(hooks: tuple[Hook, ...]) -> tuple[tuple[str, ...], ...]:
    return tuple(hook.run for hook in hooks)
