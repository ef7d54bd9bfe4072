"""`sealift-install history`."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import click

from sealift.cli import command, emit, json_option, table
from sealift.digest import HEX

from .options import site_option

_SHOWN = (
    "environment",
    "release",
    "former",
    "releases",
    "bundle",
    "reason",
    "error",
    "what",
    "fingerprint",
    "packs",
    "unsafe_http",
)


@command(
    example="""
    sealift-install history --site site --last 20
    sealift-install history --site site --event refused --json
    """
)
@site_option
@click.option("--last", type=click.IntRange(1), metavar="N", help="Show the newest N entries alone.")
@click.option("--event", metavar="NAME", help="Show entries of one kind, such as deployed or refused.")
@click.option("--environment", metavar="NAME", help="Show entries of one environment.")
@json_option
def history(folder: Path, last: int | None, event: str | None, environment: str | None, as_json: bool) -> None:
    """Read the ledger: what was admitted, refused, deployed, returned and rolled back, and when."""
    from ..records.site import Site

    site = Site.open(folder)
    found: deque[dict[str, Any]] = deque(maxlen=last)
    for entry in site.ledger.read():
        if (event is None or entry.event == event) and (
            environment is None or entry.detail.get("environment") == environment
        ):
            found.append({"seq": entry.seq, "time": entry.time, "event": entry.event, "detail": entry.detail})
    rows = [(str(each["seq"]), each["time"], each["event"], _said(each["detail"])) for each in found]
    emit(
        {"entries": list(found)},
        as_json,
        table(rows, header=("no", "time", "event", "what"), right=(0,)) if rows else "nothing is recorded of that",
    )


def _short(value: object) -> str:
    """Digests by their first digits, which are enough to recognise them; `--json` has all of them."""
    return HEX.sub(lambda found: f"{found[0][:16]}…", str(value))


def _said(detail: dict[str, Any]) -> str:
    parts = []
    for key in _SHOWN:
        value = detail.get(key)
        if value:
            shown = ", ".join(map(_short, value)) if isinstance(value, list) else _short(value)
            parts.append(f"{key} {shown if len(shown) <= 120 else shown[:117] + '…'}")
    return "; ".join(parts)
