"""`sealift-install list`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sealift.cli import command, emit, json_option, size, table

from .options import site_option


@command(
    example="""
    sealift-install list --site site
    sealift-install list --site site --provenance
    """
)
@site_option
@click.option("--provenance", "with_provenance", is_flag=True, help="Show where each artifact came from.")
@json_option
def list_(folder: Path, with_provenance: bool, as_json: bool) -> None:
    """List the releases that the site holds, and which environments run them."""
    from sealift import provenance

    from ..deployments import Deployments
    from ..records.site import Site
    from ..storage.store import Store

    site = Site.open(folder)
    store, deployments = Store(site.store), Deployments(site.environments)
    running: dict[str, list[str]] = {}
    for name in deployments.names():
        current = deployments.state(name).current
        if current:
            running.setdefault(current.label, []).append(name)
    found: list[dict[str, Any]] = []
    origins: list[str] = []
    for admitted in site.state.admitted:
        release = store.release(admitted.part.release)
        found.append(
            {
                "name": admitted.name,
                "version": admitted.version,
                "manifest": admitted.part.release.sha256,
                "published": admitted.published,
                "admitted": f"{admitted.time:%Y-%m-%dT%H:%M:%SZ}",
                "files": sum(artifact.files for artifact in release.artifacts),
                "bytes": sum(artifact.bytes for artifact in release.artifacts),
                "packed": sum(pack.length for pack in admitted.part.packs),
                "environments": running.get(admitted.label, []),
            }
        )
        if with_provenance:
            statement = store.provenance(release)
            found[-1]["provenance"] = statement and provenance.document(statement)
            origins.append(f"\n\nwhere {admitted.label} came from:\n{provenance.text(statement)}")
    rows = [
        (
            f"{each['name']}@{each['version']}",
            str(each["admitted"]),
            f"{each['files']:,}",
            size(int(str(each["bytes"]))),
            size(int(str(each["packed"]))),
            ", ".join(running.get(f"{each['name']}@{each['version']}", [])) or "-",
        )
        for each in found
    ]
    header = ("release", "admitted", "files", "size", "packed", "runs in")
    text = table(rows, header=header, right=(2, 3, 4)) if rows else "the site holds no release yet"
    emit({"releases": found}, as_json, text + "".join(origins))
