"""`sealift-keys sign`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealift.cli import command, emit, json_option, safe

from ..terminal import passphrase_options
from .options import Opening

if TYPE_CHECKING:
    from ..request import Request


@command(
    example="""
    sealift-keys sign root-2.request.json --show
    sealift-keys sign root-2.request.json --key root-a.pem --fingerprint "9f86d081 884c7d65 …"
    sealift-keys sign root-2.request.json --key 'hsm:2?label=root-a' --fingerprint "9f86d081 884c7d65 …"
    """
)
@click.argument("file", type=click.Path(path_type=Path), metavar="REQUEST")
@click.option("--key", "named", metavar="KEY", help="The key that signs: a file, a URI, or a public key file.")
@click.option(
    "--fingerprint",
    metavar="SHA256",
    help="The fingerprint of the first root, or of any later one, as you have it on paper; asked for if not given.",
)
@click.option("--show", is_flag=True, help="Show what would be signed, and sign nothing.")
@click.option("--yes", is_flag=True, help="Do not ask: what changes was read before (--show).")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="The signature file; beside the request.")
@passphrase_options
@json_option
def sign(
    file: Path,
    named: str | None,
    fingerprint: str | None,
    show: bool,
    yes: bool,
    out: Path | None,
    passphrase_file: Path | None,
    unsafe_no_passphrase: bool,
    as_json: bool,
) -> None:
    """Sign a request on a machine of your own, once you have read it.

    The request is shown first: what changes, computed from the metadata itself, who must sign, and who has.
    Nothing in it is believed: the fingerprint says which chain of roots it must follow. The signature is
    verified right after it was made, and written to a small file to carry back. No network and no depot is
    needed.
    """
    from sealift.errors import UsageError

    from .. import request_file as requests
    from ..keyfile import write_new
    from .concluding import describe, document

    request = requests.read(file)
    if fingerprint is None and request.roots and not show:
        fingerprint = _asked("the fingerprint of a root that you know, as you have it on paper", "--fingerprint")
    if fingerprint is not None:
        request.check_fingerprint(fingerprint)
    if show:
        emit(document(request), as_json, describe(request))
        if fingerprint is None and request.roots:
            click.echo("warning: without --fingerprint it is not known whose roots these are", err=True)
        return
    if named is None:
        raise UsageError("no key is named", hint="give --key FILE or --key hsm:…, or only look with --show")
    click.echo(describe(request) + "\n", err=True)
    if not yes:
        _confirm(request)
    signer = Opening(passphrase_file, unsafe_no_passphrase).signer(named)
    keyid = signer.public_key.keyid
    signed = request.sign(signer)
    path = out or file.with_name(f"{request.name}.{keyid[:8]}.signature.json")
    if path.exists() and out is None:
        path.unlink()
    write_new(path, requests.encode_signature(signed, keyid))
    emit(
        {**document(signed), "keyid": keyid, "signature": str(path)},
        as_json,
        f"signed {request.name} with key {keyid[:8]}, and verified the signature\n"
        f"wrote {safe(str(path))}: carry it to the depot (sealift-keys publish)",
    )


def _confirm(request: Request) -> None:
    if _asked(f"sign {request.name}? type yes", "--yes").lower() != "yes":
        from sealift.errors import UsageError

        raise UsageError("nothing was signed", hint="tell whoever made the request what is wrong with it")


def _asked(question: str, option: str) -> str:
    from sealift.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError(
            f"{question}: standard input is no terminal to ask", hint=f"give {option}, or run it on a terminal"
        )
    answer: str = click.prompt(question, err=True, default="", show_default=False)
    return answer.strip()
