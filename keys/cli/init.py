"""`sealift-keys init`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealift.cli import command, emit, json_option, safe, table, utc_now

from ..terminal import passphrase_options, terminal_source
from .options import scheme_option

if TYPE_CHECKING:
    from sealift.root_terms import Purpose

    from ..ceremony import Prepared, Summary
    from ..public import Public


@command(
    example="""
    sealift-keys init --depot depot
    sealift-keys init --depot depot --root-keys 3 --threshold 2 --passphrase-file passphrase.txt
    sealift-keys init --depot depot --root-key a.json --root-key b.json --root-key c.json --threshold 2
    """
)
@click.option(
    "--depot", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The new depot: missing or empty."
)
@click.option("--root-keys", type=int, metavar="N", help="How many root keys to make [default: 1].")
@click.option(
    "--root-key",
    "holders",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A holder's public key file; repeatable. No root key is made, and the first root waits for all their"
    " signatures.",
)
@click.option("--threshold", type=int, metavar="M", help="How many of them a new root needs [default: most].")
@click.option(
    "--online-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The public key file of an online key that lives elsewhere, such as in an HSM; with --root-key.",
)
@scheme_option
@click.option("--development", is_flag=True, help="Make a root for trials, which a site for production never admits.")
@passphrase_options
@json_option
def init(
    depot: Path,
    root_keys: int | None,
    holders: tuple[Path, ...],
    threshold: int | None,
    online_key: Path | None,
    scheme: str,
    development: bool,
    passphrase_file: Path | None,
    unsafe_no_passphrase: bool,
    as_json: bool,
) -> None:
    """Make a depot with its keys and its root of trust.

    Every root key signs the first root and nothing else; the online key signs what is published. All keys get
    the same passphrase. Nothing is ever overwritten.

    With --root-key the root keys stay with their holders, who never meet: the depot waits until all of them
    have signed its first root (sealift-keys sign, sealift-keys publish).
    """
    from sealift.errors import UsageError

    from ..ceremony import check_numbers, prepare, refuse_occupied
    from ..ceremony import init as run
    from ..public import read

    if holders and root_keys is not None:
        raise UsageError("--root-keys and --root-key exclude each other", hint="make root keys here, or name them")
    if online_key is not None and not holders:
        raise UsageError("--online-key needs --root-key", hint="name the holders' public keys too")
    number = len(holders) or (1 if root_keys is None else root_keys)
    threshold = number // 2 + 1 if threshold is None else threshold
    check_numbers(number, threshold)
    refuse_occupied(depot)
    if unsafe_no_passphrase and passphrase_file is not None:
        raise UsageError("--unsafe-no-passphrase and --passphrase-file exclude each other", hint="give one of them")
    publics = [read(path) for path in holders]
    online = None if online_key is None else read(online_key)
    asked = online is None and not unsafe_no_passphrase
    passphrase = terminal_source(passphrase_file).new(f"the keys of {depot}") if asked else None
    purpose: Purpose = "development" if development else "production"
    if holders:
        _prepared(
            prepare(
                depot,
                root_keys=publics,
                threshold=threshold,
                passphrase=passphrase,
                now=utc_now(),
                online=online,
                scheme=scheme,
                purpose=purpose,
                unsafe_unencrypted=unsafe_no_passphrase,
            ),
            publics,
            as_json,
        )
    else:
        summary = run(
            depot,
            root_keys=number,
            threshold=threshold,
            passphrase=passphrase,
            now=utc_now(),
            scheme=scheme,
            purpose=purpose,
            unsafe_unencrypted=unsafe_no_passphrase,
        )
        emit({**_document(summary), "purpose": purpose}, as_json, _made(summary, purpose))
    if unsafe_no_passphrase:
        click.echo("warning: the private keys lie in the clear: whoever reads them can sign releases", err=True)


def _prepared(made: Prepared, holders: list[Public], as_json: bool) -> None:
    document = {
        "depot": str(made.depot),
        "request": str(made.request),
        "digest": made.digest,
        "root_keys": list(made.root_keys),
        "threshold": made.threshold,
        "online_key": made.online_key,
    }
    from ..show import grouped

    rows = [(public.key.keyid, public.key.scheme) for public in holders]
    text = "\n".join(
        [
            f"made the depot {safe(str(made.depot))}, which waits for its first root",
            "",
            f"{made.threshold} of these {len(rows)} root keys will have to sign each later root:",
            table(rows),
            "",
            "compare each key id with its holder, then:",
            f"  1. carry {safe(str(made.request))} to every holder",
            f"  2. each signs it: sealift-keys sign {safe(made.request.name)} --key FILE",
            f"  3. here: sealift-keys publish --depot {safe(str(made.depot))} root-1.*.signature.json",
            "",
            "all holders must see the same digest:",
            f"  {grouped(made.digest)}",
        ]
    )
    emit(document, as_json, text)


def _document(summary: Summary) -> dict[str, object]:
    from dataclasses import asdict

    return {
        **asdict(summary),
        "depot": str(summary.depot),
        "root_keys": [str(path) for path in summary.root_keys],
        "online_key": str(summary.online_key),
        "root": str(summary.root),
        "root_expires": f"{summary.root_expires:%Y-%m-%dT%H:%M:%SZ}",
        "expires": f"{summary.expires:%Y-%m-%dT%H:%M:%SZ}",
    }


def _made(summary: Summary, purpose: str) -> str:
    from ..show import grouped

    several = len(summary.root_keys) > 1
    rows = [(str(path), "root key: signs roots of trust, and nothing else") for path in summary.root_keys]
    rows.append((str(summary.online_key), "online key: signs what sealift-bundle export publishes"))
    rows.append((str(summary.root), "root of trust: every site enrols with it"))
    quorum = (
        f"{summary.threshold} of {len(summary.root_keys)} root keys must sign the next root"
        if several
        else "there is one root key: if it is lost, every site must enrol again (--root-keys 3 survives one loss)"
    )
    return "\n".join(
        [
            f"made the depot {safe(str(summary.depot))}",
            *(
                ["its root is for development: a site for production never admits it"]
                if purpose != "production"
                else []
            ),
            "",
            table(rows),
            "",
            f"the root expires on {summary.root_expires:%Y-%m-%d}, all else on {summary.expires:%Y-%m-%d}"
            " unless an export renews it",
            quorum,
            "",
            "fingerprint of the root:",
            f"  {grouped(summary.fingerprint)}",
            f"  {summary.fingerprint}",
            "",
            "carry the fingerprint to each site by another way than the bundles:",
            "  1. write it down or print it",
            "  2. read it out by telephone, or let another person than the bundle's carry the paper",
            f"  3. at the site: sealift-install enroll --root {summary.root.name} --fingerprint …",
            "",
            f"now move the root {'keys, each to its own' if several else 'key to an'} offline medium"
            f"{', ' if several else ' '}and keep {'them' if several else 'it'} apart from the depot",
        ]
    )
