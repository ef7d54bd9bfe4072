"""`sealift-install gc`."""

from __future__ import annotations

from pathlib import Path

import click

from sealift.cli import command, count, emit, json_option, size, utc_now

from .options import installation, site_option


@command(
    example="""
    sealift-install gc --site site --keep 3
    sealift-install gc --site site --dry-run
    """
)
@site_option
@click.option(
    "--keep",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    metavar="N",
    help="How many releases of each name stay, the newest ones.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@json_option
def gc(folder: Path, keep: int, dry_run: bool, as_json: bool) -> None:
    """Remove releases and content that nothing uses.

    What an environment runs, ran before, or is being changed to always stays.
    """
    from ..collecting import collect
    from ..site import Site

    site = Site.open(folder)
    done = collect(site, installation(site), keep=keep, dry_run=dry_run, clock=utc_now)
    document = {
        "releases": list(done.releases),
        "files": done.files,
        "bytes": done.bytes,
        "folders": done.folders,
        "dry_run": dry_run,
    }
    verb = "would remove" if dry_run else "removed"
    what = ", ".join(done.releases) or "no release"
    text = f"{verb} {what}, {count(done.files, 'file')} of the store, {size(done.bytes)}"
    if done.folders:
        text += f", and {count(done.folders, 'folder')} at targets"
    emit(document, as_json, text)
