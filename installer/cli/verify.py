"""`sealift-install verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
    threads_option,
    utc_now,
    workers,
)
from sealift.errors import IntegrityError, TrustError

from .options import site_option

if TYPE_CHECKING:
    from ..auditing import Audit


@command(
    example="""
    sealift-install verify --site site
    sealift-install verify --site site --repair /media/usb/shop-1.0.0.sealift
    """
)
@site_option
@click.option("--deep", is_flag=True, help="Also decompress everything and check every piece of every file.")
@click.option(
    "--repair",
    "bundle",
    type=click.Path(path_type=Path),
    metavar="BUNDLE",
    help="Replace what is damaged by what this bundle holds of it, whatever the bundle's age.",
)
@threads_option
@json_option
@quiet_option
def verify(folder: Path, deep: bool, bundle: Path | None, threads: int | None, as_json: bool, quiet: bool) -> int:
    """Re-check the whole store and the ledger, and name what is damaged."""
    from ..auditing import audit, broken_ledger, repair
    from ..records.site import Site

    try:
        site = Site.open(folder)
    except TrustError as error:
        if problem := broken_ledger(folder):
            raise TrustError(
                f"{error.message}; {problem}", hint="restore ledger.jsonl from a backup, or enrol a new site folder"
            ) from error
        raise
    with Bar(quiet=quiet) as bar:
        found = audit(site, deep=deep, workers=workers(threads), progress=bar)
        mended: tuple[Path, ...] = ()
        if bundle and found.damaged:
            mended = repair(site, bundle, found.damaged, now=utc_now(), progress=bar)
            found = audit(site, deep=deep, workers=workers(threads), progress=bar)
    document = {
        "sound": found.sound,
        "files": found.files,
        "bytes": found.bytes,
        "damaged": [{"path": str(each.path), "releases": list(each.releases)} for each in found.damaged],
        "repaired": [str(path) for path in mended],
        "ledger": {"entries": found.ledger_entries, "problem": found.ledger_problem},
    }
    emit(document, as_json, _text(found, mended, bundle))
    return _code(found)


def _code(found: Audit) -> int:
    if found.damaged:
        return IntegrityError.exit_code
    return TrustError.exit_code if found.ledger_problem else 0


def _text(found: Audit, mended: tuple[Path, ...], bundle: Path | None) -> str:
    lines = [f"repaired {safe(str(path))}" for path in mended]
    if bundle and found.damaged and not mended:
        lines.append(f"{safe(str(bundle))} holds nothing of what is damaged")
    lines += [f"damaged {safe(str(each.path))}: needed by {', '.join(each.releases)}" for each in found.damaged]
    if found.damaged:
        lines.append("import a bundle that holds it; if import refuses that as too old: verify --repair BUNDLE")
    else:
        lines.append(f"the store is whole: {count(found.files, 'file')}, {size(found.bytes)}")
    lines.append(
        f"the ledger is damaged: {found.ledger_problem}"
        if found.ledger_problem
        else f"the ledger is whole: {count(found.ledger_entries, 'entry', 'entries')}"
    )
    return "\n".join(lines)
