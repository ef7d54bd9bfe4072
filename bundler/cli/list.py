"""`sealift-bundle list`."""

from __future__ import annotations

from pathlib import Path

from sealift.cli import command, emit, json_option, size, table

from .options import depot_option


@command(
    example="""
    sealift-bundle list --depot depot
    sealift-bundle list --depot depot --json
    """
)
@depot_option(required=True)
@json_option
def list_(depot: Path, as_json: bool) -> None:
    """List the releases that a depot published, once its signatures verify."""
    from keys.repository import verify
    from sealift.listing import Blob

    from ..depots.depot import Depot

    held = Depot(depot)
    found = []
    for entry in verify(depot).entries:
        if entry.kind == "release" and entry.name and entry.version:
            release = held.release(Blob(sha256=entry.sha256, length=entry.length))
            part = held.part(entry.name, entry.version)
            found.append(
                {
                    "name": entry.name,
                    "version": entry.version,
                    "published": entry.published,
                    "manifest": entry.sha256,
                    "artifacts": len(release.artifacts),
                    "files": sum(artifact.files for artifact in release.artifacts),
                    "bytes": sum(artifact.bytes for artifact in release.artifacts),
                    "packed": sum(pack.length for pack in part.packs),
                }
            )
    rows = [
        (
            f"{each['name']}@{each['version']}",
            str(each["published"]),
            f"{each['files']:,}",
            size(int(str(each["bytes"]))),
            size(int(str(each["packed"]))),
        )
        for each in found
    ]
    header = ("release", "published", "files", "size", "packed")
    emit(
        {"releases": found},
        as_json,
        table(rows, header=header, right=(2, 3, 4)) if rows else "nothing was published yet",
    )
