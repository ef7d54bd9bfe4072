"""`sealift-bundle diff`."""

from __future__ import annotations

from pathlib import Path

import click

from sealift.cli import command, count, emit, json_option, safe, size, table, utc_now

from .options import anchor_options

_MARKS = {"added": "+", "removed": "-", "changed": "~"}


@command(
    example="""
    sealift-bundle diff shop-1.0.0.sealift shop-1.1.0.sealift
    sealift-bundle diff shop@1.0.0 shop@1.1.0 --depot depot
    """
)
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@anchor_options
@click.option("--summary", is_flag=True, help="Show the sums alone, not each file.")
@json_option
def diff(
    old: str,
    new: str,
    depot: Path | None,
    root: Path | None,
    fingerprint: str | None,
    summary: bool,
    as_json: bool,
) -> None:
    """Show what changed between two releases, file by file. OLD and NEW are bundles, or NAME@VERSION of a depot."""
    from dataclasses import asdict

    from ..difference import changes
    from ..holding import Anchor, holdings, only

    anchor, now = Anchor(root=root, fingerprint=fingerprint, depot=depot), utc_now()
    with holdings(old, anchor, now) as left, holdings(new, anchor, now) as right:
        before, after = only(left, old), only(right, new)
        found = list(changes(before, after))
    sums = {kind: sum(change.kind == kind for change in found) for kind in _MARKS}
    fresh = sum(change.new for change in found)
    document = {
        "old": before.release.label,
        "new": after.release.label,
        **sums,
        "new_bytes": fresh,
        "changes": [asdict(change) for change in found],
    }
    rows = [
        (
            _MARKS[change.kind],
            size(change.after if change.kind != "removed" else change.before),
            safe(f"{change.artifact}: {change.path}"),
        )
        for change in found
    ]
    said = (
        f"{before.release.label} -> {after.release.label}: {count(sums['added'], 'path')} added, "
        f"{sums['removed']} removed, {sums['changed']} changed; {size(fresh)} of new content before compression"
    )
    emit(document, as_json, said if summary or not rows else f"{table(rows, right=(1,))}\n\n{said}")
