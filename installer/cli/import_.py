"""`sealift-install import`."""

from __future__ import annotations

from pathlib import Path

import click

from sealift.cli import Bar, command, count, emit, json_option, quiet_option, size, threads_option, utc_now, workers

from .options import site_option


@command(
    example="""
    sealift-install import --site site /media/usb/shop-1.0.0.sealift
    sealift-install import --site site /media/usb/shop-1.0.0.sealift --waiver /media/usb/waiver-3.json
    """
)
@site_option
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--waiver",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The security team's waiver for a bundle that expired on its way; the ledger records it.",
)
@threads_option
@json_option
@quiet_option
def import_(folder: Path, bundle: Path, waiver: Path | None, threads: int | None, as_json: bool, quiet: bool) -> None:
    """Verify a bundle and take its releases into the site, all or nothing.

    Every byte is authenticated before it is looked at. The medium may be read-only. An interrupted import
    goes on where it stopped when the command is run again; one that was done already changes nothing.
    """
    from ..admitting import admit
    from ..records.site import Site

    site = Site.open(folder)
    with Bar(quiet=quiet) as bar:
        done = admit(site, bundle, now=utc_now(), workers=workers(threads), progress=bar, waiver=_waiver(waiver))
    document = {
        "bundle": done.identity,
        "releases": [each.label for each in done.admitted],
        "new": list(done.new),
        "written": done.written,
        "present": done.present,
        "repaired": list(done.repaired),
        "root_version": done.root,
        "timestamp_version": done.timestamp,
        "expires": f"{done.expires:%Y-%m-%dT%H:%M:%SZ}",
        "waived": done.waived,
    }
    held = ", ".join(each.label for each in done.admitted)
    lines = [f"admitted {', '.join(done.new)}" if done.new else f"the site holds {held} already"]
    lines.append(f"signatures hold under root {done.root}, timestamp {done.timestamp}, until {done.expires:%Y-%m-%d}")
    here = f", {size(done.present)} here already and checked again" if done.present else ""
    lines.append(f"content verified: {size(done.written)} written{here}")
    if done.repaired:
        lines.append(f"repaired {count(len(done.repaired), 'damaged pack')}")
    if done.waived:
        lines.append(f"late, and waived: {done.waived}")
    emit(document, as_json, "\n".join(lines))


def _waiver(path: Path | None) -> bytes | None:
    from sealift.errors import UsageError
    from sealift.reading import bounded
    from sealift.waiver import WAIVER_MAX

    if path is None:
        return None
    content = bounded(path, WAIVER_MAX, follow=True)
    if content is None:
        raise UsageError(f"there is no waiver {path}", hint="name the file that the security team gave you")
    return content
