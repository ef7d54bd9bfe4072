"""`sealift-bundle lock`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from sealift.cli import Bar, command, emit, json_option, quiet_option, safe, table, threads_option, utc_now, workers

from .options import depot_option, source_date_epoch, warn_of_unsafe


@command(
    example="""
    sealift-bundle lock sealift.yaml
    sealift-bundle lock sealift.yaml --depot depot
    sealift-bundle lock sealift.yaml --check
    """
)
@click.argument("file", type=click.Path(path_type=Path), default="sealift.yaml", metavar="[SPEC]")
@click.option("--check", "only_check", is_flag=True, help="Write nothing; fail where the sources differ from the lock.")
@depot_option(required=False, help="The depot whose cache keeps what is fetched, for the export.")
@threads_option
@json_option
@quiet_option
def lock(file: Path, only_check: bool, depot: Path | None, threads: int | None, as_json: bool, quiet: bool) -> None:
    """Write the digests that a spec resolves to, into a lock beside it.

    An export follows the lock where there is one: content that differs from it is refused, and so is a lock that was
    made for another version of the spec. Without --depot, what is fetched is not kept.
    """
    from ..depots.depot import Depot
    from ..locking import check, resolve
    from ..sealing import Effort
    from ..spec import load

    epoch = source_date_epoch()
    now = utc_now() if epoch is None else datetime.fromtimestamp(epoch, UTC)
    spec = load(file, lint=True, pinned=only_check)
    warn_of_unsafe(spec)
    held = Depot(depot) if depot else None
    with Bar(quiet=quiet) as bar:
        effort = Effort(level=1, threads=workers(threads))
        if only_check:
            path, locked = check(spec, effort=effort, progress=bar, depot=held)
        else:
            path, locked = resolve(spec, effort=effort, progress=bar, now=now, depot=held)
    rows = [(name, artifact.source, f"sha256:{artifact.digest}") for name, artifact in sorted(locked.artifacts.items())]
    document = {
        "lock": str(path),
        "artifacts": {name: {"source": source, "digest": digest[7:]} for name, source, digest in rows},
    }
    verb = "matches" if only_check else "wrote"
    emit(document, as_json, f"{table(rows)}\n\n{verb} {safe(str(path))}")
