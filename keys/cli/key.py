"""`sealift-keys key`."""

from __future__ import annotations

from pathlib import Path

import click

from sealift.cli import command, emit, json_option, safe

from ..terminal import passphrase_options
from .options import Opening, scheme_option


@command(
    example="""
    sealift-keys key root-a.pem --new --out root-a.json
    sealift-keys key 'hsm:2?label=root-a' --out root-a.json
    sealift-keys key 'awskms:alias/sealift' --public exported.pem --out online.json
    """
)
@click.argument("place", metavar="PLACE")
@click.option("--new", is_flag=True, help="Make the key: PLACE is a file that does not exist yet.")
@scheme_option
@click.option(
    "--public",
    "pem",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The public key in PEM, where PLACE is a service that is not asked for it.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The public key file.")
@passphrase_options
@json_option
def key(
    place: str,
    new: bool,
    scheme: str,
    pem: Path | None,
    out: Path,
    passphrase_file: Path | None,
    unsafe_no_passphrase: bool,
    as_json: bool,
) -> None:
    """Make a key, or write the public half of one.

    PLACE is a file, or a URI: hsm:ID?label=TOKEN for a PKCS#11 token, ssh-agent:SHA256:… for a key that gpg-agent
    or ssh-agent has, awskms:, azurekms:, gcpkms: or hv: for a service. The public key file is what a holder
    hands over: it holds no secret. Whoever makes a root from it compares the key id with its holder.
    """
    from sealift.errors import UsageError

    from ..keyfile import generate, write_new
    from ..places import FILE, path_of
    from ..places import scheme as scheme_of
    from ..public import Public, encode, from_pem

    if out.exists():
        raise UsageError(f"{out} is already there", hint="nothing is overwritten: name another file")
    kind = scheme_of(place)
    opening = Opening(passphrase_file, unsafe_no_passphrase)
    if new:
        if kind != FILE or pem is not None:
            raise UsageError(
                "--new makes a key in a file", hint="make a key in a device with the device's own tool, then name it"
            )
        path = path_of(place)
        passphrase = None if unsafe_no_passphrase else opening.source.new(str(path))
        made = generate(path, passphrase=passphrase, scheme=scheme, unsafe_unencrypted=unsafe_no_passphrase)
        public = Public(key=made.public_key)
    elif pem is not None:
        public = Public(key=from_pem(pem).key, place=place)
    else:
        found = opening.public(place)
        public = found if kind != FILE else Public(key=found.key)
    write_new(out, encode(public))
    document = {"keyid": public.key.keyid, "scheme": public.key.scheme, "place": public.place, "file": str(out)}
    text = "\n".join(
        [
            f"wrote {safe(str(out))}: hand it to whoever makes the root",
            "",
            f"key id ({public.key.scheme}), for them to compare with you:",
            f"  {public.key.keyid}",
        ]
    )
    emit(document, as_json, text)
    if new and unsafe_no_passphrase:
        click.echo("warning: the private key lies in the clear: whoever reads it can sign", err=True)
