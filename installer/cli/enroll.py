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
@click.option(
    "--name", metavar="NAME", help="What the site is called, for bundles that are for certain sites; it stays."
)
@click.option("--development", is_flag=True, help="Enrol a root for development, which no other site admits.")
@click.option("--recover", is_flag=True, help="Begin trust anew at a site whose own files were lost or damaged.")
@json_option
def enroll(
    folder: Path, root: Path, fingerprint: str, name: str | None, development: bool, recover: bool, as_json: bool
) -> None:
    """Begin a site with a root of trust and its fingerprint.

    The fingerprint must come by another way than the root: on paper, or by telephone from whoever ran
    sealift-keys init. From then on, only what that root's keys signed is admitted.

    With --recover, a site that refuses to work because its state, marks or ledger were lost, damaged or restored
    from a backup begins to trust anew. What it still knows of versions and times keeps counting; the store and the
    deployments stay; releases must be imported again. The ledger records it.
    """
    from sealift import receipt as receipts
    from sealift.root_terms import Purpose

    from ..records.identity import public_key, site_key
    from ..records.site import Site
    from ..recovering import recover as begin_anew

    content = bounded(root, ROOT_MAX, follow=True)
    if content is None:
        raise UsageError(f"there is no root metadata {root}", hint="name the file that the security team gave you")
    purpose: Purpose = "development" if development else "production"
    begin = begin_anew if recover else Site.create
    site = begin(folder, content, fingerprint, utc_now(), name=name, purpose=purpose)
    with site.lock():
        key = receipts.fingerprint(public_key(site_key(folder)))
    state = site.state
    document = {
        "site": str(folder),
        "name": state.name,
        "named": state.named,
        "purpose": purpose,
        "root_version": state.versions.root,
        "key": key,
        "enrolled": f"{state.enrolled:%Y-%m-%dT%H:%M:%SZ}",
        "created": site.created and not recover,
        "recovered": recover,
    }
    if recover:
        text = (
            f"the site in {safe(str(folder))} trusts root {state.versions.root} anew; its ledger says so\n"
            f"it admits nothing older than {state.newest:%Y-%m-%d} and timestamp {state.versions.timestamp}\n"
            f"next: import again what its environments run, newest bundle first"
        )
        emit(document, as_json, text)
        return
    said = (
        f"enrolled the site in {safe(str(folder))}: name {state.name}, root {state.versions.root}\n"
        f"from now on it admits only what the keys of that root sign\n"
        f"its own key, which signs its receipts, has the fingerprint {key}\n"
        f"next: sealift-install import --site {safe(str(folder))} BUNDLE"
        if site.created
        else f"the site in {safe(str(folder))} is enrolled with this root already; "
        + (f"it is called {state.name} from now on" if site.just_named else "nothing was changed")
    )
    emit(document, as_json, said)
