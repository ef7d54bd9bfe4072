"""`sealift-keys publish`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealift.cli import command, emit, json_option, utc_now

from ..terminal import passphrase_options
from .options import Opening, at_work, depot_option

if TYPE_CHECKING:
    from ..request import Request


@command(
    example="""
    sealift-keys publish --depot depot root-2.1a2b3c4d.signature.json root-2.5e6f7a8b.signature.json
    sealift-keys publish --depot depot
    """
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[SIGNATURE]...")
@depot_option
@passphrase_options
@json_option
def publish(
    files: tuple[Path, ...],
    depot: Path,
    passphrase_file: Path | None,
    unsafe_no_passphrase: bool,
    as_json: bool,
) -> None:
    """Collect signatures, and publish what has enough of them.

    Each signature is verified and kept with its request. A request is published once every quorum is met: a
    root needs the former root's, its own, and the signature of each root key that is new. What a request changes
    is shown first: which keys are to be a team's stands in no signature but the online key's. Where that changes
    what the online key signs, its passphrase is asked for, and all becomes visible at once.
    """
    from sealift.errors import TrustError, UsageError

    from .. import request_file as requests
    from ..changes import required
    from ..pending import held, merge, save
    from .concluding import describe, document, publish_one, published_document, published_text, tell

    now = utc_now()
    opening = Opening(passphrase_file, unsafe_no_passphrase)
    handed = [requests.read_signature(file) for file in files]
    with at_work(depot):
        waiting = held(depot)
        if not waiting:
            raise UsageError("nothing waits for signatures here", hint="sealift-keys rotate, renew and others ask")
        touched: dict[str, Request] = {}
        for each in handed:
            request = merge(tuple({**{one.name: one for one in waiting}, **touched}.values()), each)
            touched[request.name] = request
        for request in touched.values():
            save(depot, request)
        ready = [request for request in touched.values() or waiting if request.complete]
        if not ready:
            short = [line for request in touched.values() or waiting for line in (request.name, *required(request))]
            raise TrustError(
                f"nothing is published yet: signatures are missing{' (those that came are kept)' if handed else ''}",
                hint="; ".join(short),
            )
        for request in ready:
            tell(describe(request))
        done = [(request, publish_one(depot, request, opening, now)) for request in ready]
    emit(
        [{**document(request), **published_document(outcome)} for request, outcome in done],
        as_json,
        "\n".join(published_text(outcome) for _, outcome in done),
    )
