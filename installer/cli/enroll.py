"""`sealift-install enroll`."""

from __future__ import annotations

from pathlib import Path

import click

from sealift.cli import command, emit, json_option, safe, utc_now
from sealift.errors import UsageError
from sealift.reading import bounded

from .options import site_option

ROOT_MAX = 512_000


@command(
    example="""
    sealift-install enroll --site site --root 1.root.json --fingerprint "9f86d081 884c7d65 …"
    """
)
@site_option
@click.option("--root", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The root metadata.")
@click.option(
    "--fingerprint",
    required=True,
    metavar="SHA256",
    help="Its fingerprint, as it came by another way; spaces, colons and dashes are passed over.",
)
@click.option("--name", metavar="NAME", help="What the site is called; the folder's name where nothing is said.")
@json_option
def enroll(folder: Path, root: Path, fingerprint: str, name: str | None, as_json: bool) -> None:
    """Begin a site with a root of trust and its fingerprint.

    The fingerprint must come by another way than the root: on paper, or by telephone from whoever ran
    sealift-keys init. From then on, only what that root's keys signed is admitted.
    """
    from sealift import receipt as receipts

    from ..identity import public_key, site_key
    from ..site import Site

    content = bounded(root, ROOT_MAX, follow=True)
    if content is None:
        raise UsageError(f"there is no root metadata {root}", hint="name the file that the security team gave you")
    site = Site.create(folder, content, fingerprint, utc_now(), name=name)
    with site.lock():
        key = receipts.fingerprint(public_key(site_key(folder)))
    state = site.state
    document = {
        "site": str(folder),
        "name": state.name,
        "root_version": state.versions.root,
        "key": key,
        "enrolled": f"{state.enrolled:%Y-%m-%dT%H:%M:%SZ}",
        "created": site.created,
    }
    said = (
        f"enrolled the site in {safe(str(folder))}: name {state.name}, root {state.versions.root}\n"
        f"from now on it admits only what the keys of that root sign\n"
        f"its own key, which signs its receipts, has the fingerprint {key}\n"
        f"next: sealift-install import --site {safe(str(folder))} BUNDLE"
        if site.created
        else f"the site in {safe(str(folder))} is enrolled with this root already; nothing was changed"
    )
    emit(document, as_json, said)
