"""The preview of a plan: which files a deployment adds, removes and changes, from the trees alone."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sealift.errors import UsageError
from sealift.hooks import Hook
from sealift.manifest import Release
from sealift.tree import Entry, side_by_side

from .environments.filling import masked
from .planning import Plan
from .records.site import Site
from .records.state import Admitted
from .storage.deployable import Deployable
from .storage.store import Store

LINES_MAX = 2000
"""Lines of a filled file up to which it is compared line by line."""


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
    difference: tuple[str, ...] = ()
    """Of the filled files, line by line, with a mask in place of each secret."""

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
        if self.difference:
            said["difference"] = "\n".join(self.difference)
        return said


def preview(plan: Plan, site: Site, *, with_difference: bool = False) -> Preview:
    """Compare the trees of what serves and of what will serve.

    Args:
        plan: what will be done.
        site: where.
        with_difference: whether to compare filled files line by line as well.

    Raises:
        IntegrityError: a tree in the store is damaged.
    """
    store = Store(site.store)
    release = store.held(plan.admitted.part)
    current = plan.before.current
    admitted = site.state.release(current.release, current.version) if current else None
    former = store.held(admitted.part) if admitted else None
    filled_before = _filled_before(plan, store, former, admitted)
    filled = {_path(release, place): content for place, content in plan.filling.masked.items()}
    changes = []
    same = 0
    for before, after in side_by_side(_entries(store, former), _entries(store, release)):
        path = (after or before or ("", None))[0]
        if before and after:
            if before[1] == after[1] and filled_before.get(path) == filled.get(path):
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
        difference=tuple(_difference(filled_before, filled)) if with_difference else (),
    )


def _filled_before(plan: Plan, store: Store, former: Release | None, admitted: Admitted | None) -> dict[str, bytes]:
    """What is filled in what serves, masked; nothing where that cannot be made again."""
    current = plan.before.current
    if former and admitted and current and current.variant:
        with contextlib.suppress(UsageError):
            found = masked(current.declared, Deployable(release=former, part=admitted.part), store)
            return {_path(former, place): content for place, content in found.items()}
    return {}


def _path(release: Release, place: tuple[str, str]) -> str:
    artifact, path = place
    return path if len(release.artifacts) == 1 else f"{artifact}/{path}"


def _difference(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> Iterator[str]:
    for path in sorted(before.keys() | after.keys()):
        old, new = (each.get(path, b"").decode(errors="replace").splitlines() for each in (before, after))
        if max(len(old), len(new)) > LINES_MAX:
            if old != new:
                yield f"{path}: more than {LINES_MAX} lines, and not the same"
            continue
        names = (path if path in before else "/dev/null", path if path in after else "/dev/null")
        yield from difflib.unified_diff(old, new, *names, lineterm="")


def _entries(store: Store, release: Release | None) -> Iterator[tuple[str, Entry]]:
    for artifact in release.artifacts if release else ():
        prefix = "" if release and len(release.artifacts) == 1 else f"{artifact.name}/"
        for entry in store.entries(artifact):
            yield prefix + entry.path, entry


def _programs(hooks: tuple[Hook, ...]) -> tuple[tuple[str, ...], ...]:
    return tuple(hook.run for hook in hooks)
