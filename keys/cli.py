"""`sealift-keys`: the security team's program. Importing it imports click and nothing heavier."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from sealift.cli import Program, command, count, emit, json_option, run, safe, table

from .terminal import passphrase_options, terminal_source

if TYPE_CHECKING:
    from .ceremony import Summary
    from .show import Description

PROGRAM = Program(
    "sealift-keys",
    help="Make and look after the keys that releases are signed with.",
    commands={
        "init": ("keys.cli:init", "Make a depot with its keys and its root of trust."),
        "show": ("keys.cli:show", "Show a depot's or a root's keys, thresholds and expiry."),
    },
    example="sealift-keys init --depot depot",
)


def main() -> NoReturn:
    """Run `sealift-keys`."""
    run(PROGRAM)


@command(
    example="""
    sealift-keys init --depot depot
    sealift-keys init --depot depot --root-keys 3 --threshold 2 --passphrase-file passphrase.txt
    """
)
@click.option(
    "--depot", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The new depot: missing or empty."
)
@click.option("--root-keys", default=1, show_default=True, metavar="N", help="How many root keys to make.")
@click.option("--threshold", type=int, metavar="M", help="How many of them a new root needs [default: most].")
@passphrase_options
@json_option
def init(
    depot: Path,
    root_keys: int,
    threshold: int | None,
    passphrase_file: Path | None,
    unsafe_no_passphrase: bool,
    as_json: bool,
) -> None:
    """Make a depot with its keys and its root of trust.

    Every root key signs the first root and nothing else; the online key signs what is published. All keys get
    the same passphrase. Nothing is ever overwritten.
    """
    from dataclasses import asdict
    from datetime import UTC, datetime

    from sealift.errors import UsageError

    from .ceremony import check_numbers, init, refuse_occupied

    threshold = root_keys // 2 + 1 if threshold is None else threshold
    check_numbers(root_keys, threshold)
    refuse_occupied(depot)
    if unsafe_no_passphrase and passphrase_file is not None:
        raise UsageError("--unsafe-no-passphrase and --passphrase-file exclude each other", hint="give one of them")
    passphrase = None if unsafe_no_passphrase else terminal_source(passphrase_file).new(f"the keys of {depot}")
    summary = init(
        depot,
        root_keys=root_keys,
        threshold=threshold,
        passphrase=passphrase,
        now=datetime.now(UTC),
        unsafe_unencrypted=unsafe_no_passphrase,
    )
    document = {
        **asdict(summary),
        "depot": str(summary.depot),
        "root_keys": [str(path) for path in summary.root_keys],
        "online_key": str(summary.online_key),
        "root": str(summary.root),
        "root_expires": f"{summary.root_expires:%Y-%m-%dT%H:%M:%SZ}",
        "expires": f"{summary.expires:%Y-%m-%dT%H:%M:%SZ}",
    }
    emit(document, as_json, _made(summary))
    if unsafe_no_passphrase:
        click.echo("warning: the private keys lie in the clear: whoever reads them can sign releases", err=True)


@command(
    example="""
    sealift-keys show --depot depot
    sealift-keys show --root 1.root.json --json
    """
)
@click.option("--depot", type=click.Path(path_type=Path), metavar="DIR", help="The depot to show.")
@click.option("--root", type=click.Path(path_type=Path), metavar="FILE", help="A root of trust to show instead.")
@json_option
def show(depot: Path | None, root: Path | None, as_json: bool) -> None:
    """Show a depot's or a root's keys, thresholds and expiry, once its signatures verify."""
    from dataclasses import asdict
    from datetime import UTC, datetime

    from sealift.errors import UsageError

    from .show import describe, describe_root

    if (depot is None) == (root is None):
        raise UsageError("give either --depot or --root", hint="see sealift-keys show --help")
    now = datetime.now(UTC)
    described = describe(depot, now) if depot is not None else describe_root(root or Path(), now)
    emit(asdict(described), as_json, _shown(described))
    for warning in described.warnings:
        click.echo(f"warning: {warning}", err=True)


def _made(summary: Summary) -> str:
    from .show import grouped

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


def _shown(described: Description) -> str:
    from .show import grouped

    rows = []
    for role in described.roles:
        rows.append(
            (
                role.name,
                "-" if role.version is None else str(role.version),
                f"{role.threshold} of {len(role.keys)}",
                ", ".join(role.schemes),
                "-" if role.expires is None else role.expires[:10],
                "-" if role.days_left is None else count(role.days_left, "day"),
                " ".join(role.keys),
            )
        )
    header = ("role", "version", "threshold", "scheme", "expires", "left", "keys")
    holds = []
    if described.releases is not None and described.bundles is not None:
        holds = [f"{count(described.releases, 'release')} and {count(described.bundles, 'bundle')} published", ""]
    first = "the first root" if described.kind == "depot" else "this root"
    return "\n".join(
        [
            f"{described.kind} {safe(described.subject)}",
            *holds,
            table(rows, header=header, right=(1,)),
            "",
            f"fingerprint of {first}:",
            f"  {grouped(described.fingerprint)}",
            f"  {described.fingerprint}",
        ]
    )
