"""`sealift-bundle verify`."""

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
    threads_option,
    utc_now,
    workers,
)
from sealift.errors import UsageError

from .options import anchor_options


@command(
    example="""
    sealift-bundle verify shop-1.0.0.sealift --depot depot
    sealift-bundle verify shop-1.0.0.sealift --fingerprint 9f86d081884c7d65…
    """
)
@click.argument("path", type=click.Path(path_type=Path), metavar="BUNDLE")
@anchor_options
@threads_option
@json_option
@quiet_option
def verify(
    path: Path,
    depot: Path | None,
    root: Path | None,
    fingerprint: str | None,
    threads: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check every signature and digest of a bundle, as a site would, before it is carried."""
    from sealift.container import Reader
    from sealift.hashing import Hashing

    anchor_given = depot or root or fingerprint
    if not anchor_given:
        raise UsageError("whose signatures must it bear?", hint="give --depot DIR, --root FILE or --fingerprint SHA256")
    with Reader(path) as bundle, Bar(quiet=quiet) as bar:
        packs = bundle.of("pack")
        bar.start(f"verifying {path.name}", sum(pack.size for pack in packs))
        with Hashing(bundle, packs, workers=workers(threads), progress=bar) as hashing:
            from sealift.opening import authenticate, listings

            from ..depots.holding import Anchor

            now = utc_now()
            anchor = Anchor(root=root, fingerprint=fingerprint, depot=depot)
            opened = authenticate(bundle, anchor.trust(bundle, now), reference=now)
            for content in opened.contents:
                for _ in listings(bundle, content):
                    pass
            hashing.finish()
        bar.finish()
        document = {
            "bundle": str(path),
            "id": opened.identity,
            "size": bundle.size,
            "packs": len(packs),
            "releases": [content.release.label for content in opened.contents],
            "verified": True,
        }
        emit(
            document,
            as_json,
            f"{safe(str(path))} is authentic and whole: "
            f"{', '.join(content.release.label for content in opened.contents)}, {count(len(packs), 'pack')}, "
            f"{size(bundle.size)}",
        )
