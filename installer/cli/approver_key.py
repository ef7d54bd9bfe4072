"""`sealift-install approver-key`."""

from __future__ import annotations

from pathlib import Path

import click

from sealift.cli import command, emit, json_option, safe

from .options import passphrase


@command(
    example="""
    sealift-install approver-key alice.pem
    """
)
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE")
@json_option
def approver_key(path: Path, as_json: bool) -> None:
    """Make a key for an approver, and print its public half.

    The key is Ed25519, encrypted with the passphrase in SEALIFT_PASSPHRASE or asked for. The approver keeps the
    file; whoever runs the site gets the public half, and compares it over another way.
    """
    from ..approval import make_key

    public = make_key(path, passphrase(new=True)).hex()
    emit({"key": str(path), "public": public}, as_json, f"wrote {safe(str(path))}; its public half is\n{public}")
