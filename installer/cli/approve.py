"""`sealift-install approve`."""

from __future__ import annotations

from pathlib import Path

import click

from sealift.cli import command, emit, json_option, safe, utc_now
from sealift.errors import UsageError

from .options import changes_option, installation, passphrase, site_option


@command(
    example="""
    sealift-install approve --site site environment.yaml --key alice.pem --out alice.approval
    sealift-install apply --site site environment.yaml --approval alice.approval --approval bob.approval
    sealift-install approve --site site hotfix --copy-of prod --set version=1.4.2 --key alice.pem --out alice.approval
    """
)
@site_option
@click.argument("environment", metavar="FILE|NAME@VERSION:PATH|NEW")
@click.option("--copy-of", "original", metavar="NAME", help="Approve NEW as `env copy NAME NEW` would make it.")
@changes_option
@click.option("--key", "key_file", type=click.Path(path_type=Path), metavar="FILE", required=True, help="Your key.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", required=True, help="The approval to write.")
@click.option("--expires", metavar="TIME", default="7d", show_default=True, help="How long it holds: 12h, 7d.")
@json_option
def approve(
    folder: Path,
    environment: str,
    original: str | None,
    changes: tuple[str, ...],
    key_file: Path,
    out: Path,
    expires: str,
    as_json: bool,
) -> None:
    """Sign that an environment may be made what its file declares, with the release that plan shows.

    The plan is shown first. The approval holds for this site, for exactly what the file declares, and for this
    release; it holds until it expires. Nothing at the site is changed. For a copy of an environment, say the same
    --set as env copy will be given.
    """
    from ..approval import approval, load_key, sign, write
    from ..declaring import copied
    from ..declaring import declared as read
    from ..policies.duration import duration
    from ..records.site import Site
    from .plan import text

    site = Site.open(folder)
    if changes and not original:
        raise UsageError("--set is for a copy of an environment", hint="say of which: --copy-of NAME")
    work = installation(site)
    declared = copied(work.deployments, original, environment, changes) if original else read(environment, site)
    planned = work.plan(declared)
    until = site.reference(utc_now()) + duration(expires)
    said = approval(declared, planned.admitted, site.state, until)
    key = load_key(key_file, passphrase(new=False))
    write(out, sign(said, key))
    lines = [*text(planned, None), f"approved until {said.expires}: {safe(str(out))}"]
    emit({**planned.document(), "approval": str(out), "expires": said.expires}, as_json, "\n".join(lines))
