"""`sealift-install gc`."""

from __future__ import annotations

from pathlib import Path

import click

from sealift.cli import Bar, command, count, emit, json_option, quiet_option, size, utc_now

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
@quiet_option
def gc(folder: Path, keep: int, dry_run: bool, as_json: bool, quiet: bool) -> None:
    """Remove releases and content that nothing uses.

    What an environment runs, ran before, or is being changed to always stays. A pack of which only a part is
    still needed, as after many differences, is packed anew.
    """
    from ..collecting import collect
    from ..records.site import Site

    site = Site.open(folder)
    with Bar(quiet=quiet) as bar:
        done = collect(site, installation(site), keep=keep, dry_run=dry_run, clock=utc_now, progress=bar)
    document = {
        "releases": list(done.releases),
        "files": done.files,
        "bytes": done.bytes,
        "folders": done.folders,
        "packed_anew": {"packs": done.packs, "bytes": done.saved},
        "dry_run": dry_run,
    }
    verb = "would remove" if dry_run else "removed"
    what = ", ".join(done.releases) or "no release"
    text = f"{verb} {what}, {count(done.files, 'file')} of the store, {size(done.bytes)}"
    if done.folders:
        text += f", and {count(done.folders, 'folder')} at targets"
    if done.packs:
        anew = "would pack" if dry_run else "packed"
        text += f"\n{anew} {count(done.packs, 'pack')} anew, of which {size(done.saved)} were of no use"
    emit(document, as_json, text)
