"""`sealift-bundle diff`."""

from __future__ import annotations

from pathlib import Path

import click

from sealift.cli import (
    Bar,
    command,
    count,
    emit,
    json_option,
    quiet_option,
    safe,
    size,
    table,
    threads_option,
    utc_now,
    workers,
)

from .inflated import inside_document, inside_lines
from .options import anchor_options

LEVEL = 9
"""zstd's level, as that of an export."""
_MARKS = {"added": "+", "removed": "-", "changed": "~"}


@command(
    example="""
    sealift-bundle diff shop-1.0.0.sealift shop-1.1.0.sealift
    sealift-bundle diff shop@1.0.0 shop@1.1.0 --depot depot
    sealift-bundle diff shop@1.0.0 shop@1.1.0 --depot depot --cost
    """
)
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@anchor_options
@click.option("--summary", is_flag=True, help="Show the sums alone, not each file.")
@click.option("--cost", is_flag=True, help="Also find out what each file costs to carry as a difference.")
@threads_option
@json_option
@quiet_option
def diff(
    old: str,
    new: str,
    depot: Path | None,
    root: Path | None,
    fingerprint: str | None,
    summary: bool,
    cost: bool,
    threads: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show what changed between two releases, file by file. OLD and NEW are bundles, or NAME@VERSION of a depot."""
    from dataclasses import asdict

    from ..depots.holding import Anchor, holdings, only
    from ..differences.difference import changes

    anchor, now = Anchor(root=root, fingerprint=fingerprint, depot=depot), utc_now()
    with holdings(old, anchor, now) as left, holdings(new, anchor, now) as right:
        before, after = only(left, old), only(right, new)
        found = list(changes(before, after))
        prices, carried = None, None
        if cost:
            from ..costs import costs

            with Bar(quiet=quiet) as bar:
                prices, carried = costs(before, after, level=LEVEL, workers=workers(threads), progress=bar)
    sums = {kind: sum(change.kind == kind for change in found) for kind in _MARKS}
    fresh = sum(change.new for change in found)
    document = {
        "old": before.release.label,
        "new": after.release.label,
        **sums,
        "new_bytes": fresh,
        "changes": [
            {**asdict(change), **({} if prices is None else {"cost": prices[change.artifact, change.path]})}
            for change in found
        ],
    }
    by_artifact = []
    if prices is not None and carried is not None:
        artifacts = sorted({artifact for artifact, _ in prices})
        totals = {name: sum(price for (artifact, _), price in prices.items() if artifact == name) for name in artifacts}
        document["difference"] = {
            "size": carried.size,
            "artifacts": totals,
            **inside_document(carried.inside),
        }
        by_artifact = [f"{name}: {size(total)} to carry" for name, total in totals.items()]
        by_artifact += inside_lines(carried.inside)
        by_artifact.append(f"{size(carried.size)} to carry in all, with the lists of what changed")
    rows = [
        (
            _MARKS[change.kind],
            size(change.after if change.kind != "removed" else change.before),
            *([] if prices is None else [size(prices[change.artifact, change.path])]),
            safe(f"{change.artifact}: {change.path}"),
        )
        for change in found
    ]
    said = (
        f"{before.release.label} -> {after.release.label}: {count(sums['added'], 'path')} added, "
        f"{sums['removed']} removed, {sums['changed']} changed; {size(fresh)} of new content before compression"
    )
    text = "\n".join([said, *by_artifact])
    numeric = (1,) if prices is None else (1, 2)
    emit(document, as_json, text if summary or not rows else f"{table(rows, right=numeric)}\n\n{text}")
