"""`sealift-bundle export`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keys.terminal import passphrase_options, terminal_source
from sealift.cli import (
    Bar,
    command,
    count,
    emit,
    json_option,
    quiet_option,
    safe,
    size,
    table,
    threads_option,
    utc_now,
    workers,
)
from sealift.errors import UsageError
from sealift.names import file_stem, label_in

from .inflated import inflated_line, inside_document, inside_lines, left_line
from .options import depot_option, source_date_epoch, warn_of_unsafe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securesystemslib.signer import Signer
    from tuf.api.metadata import Root

    from keys.lineup import Rule
    from sealift.manifest import Release

    from ..depots.published import Reference
    from ..differences.patching import Difference
    from ..exporting import Exported
    from ..rehearsing import Choice, Rehearsed
    from ..spec import Spec

FAST_DIFFERENCE, LEAST_DIFFERENCE = 1, 3
"""zstd's levels of a difference, with `--fast`, and without it at least."""


@command(
    example="""
    sealift-bundle export sealift.yaml --depot depot --out shop-1.0.0.sealift
    sealift-bundle export sealift.yaml --depot depot --dry-run
    sealift-bundle export shop@1.0.0 --depot depot --out again.sealift
    sealift-bundle export sealift.yaml --depot depot --since shop@1.0.0
    sealift-bundle export sealift.yaml --depot depot --for plant-7.receipt --for plant-9.receipt
    """
)
@click.argument("wanted", nargs=-1, required=True, metavar="SPEC|NAME@VERSION...")
@depot_option(required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The bundle to write; <name>-<version>.sealift where nothing is said.",
)
@click.option(
    "--audience",
    multiple=True,
    metavar="SITE",
    help="A site that may import the bundle; every site where none is named. May be given several times.",
)
@click.option(
    "--since",
    multiple=True,
    metavar="NAME@VERSION",
    help="A release that the sites hold: carry only the difference to it. May be given several times.",
)
@click.option(
    "--for",
    "receipts",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="RECEIPT",
    help="The receipt of a site that the bundle is for: carry only what it lacks. May be given several times.",
)
@click.option("--fast", is_flag=True, help="Make a difference quickly rather than small.")
@click.option(
    "--small",
    is_flag=True,
    help="Take archives apart in a difference that nothing here rebuilds: much smaller, and slow here and at the site.",
)
@click.option(
    "--no-inflate",
    is_flag=True,
    help="Carry wheels, zips and gzip files in a difference as they are: for sites whose zlib is another one.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be sealed; write nothing in the depot, and no bundle.")
@click.option("--level", type=click.IntRange(1, 22), default=3, show_default=True, help="The compression level (zstd).")
@threads_option
@passphrase_options
@json_option
@quiet_option
def export(
    wanted: tuple[str, ...],
    depot: Path,
    out: Path | None,
    audience: tuple[str, ...],
    since: tuple[str, ...],
    receipts: tuple[Path, ...],
    fast: bool,
    small: bool,
    no_inflate: bool,
    dry_run: bool,
    level: int,
    threads: int | None,
    passphrase_file: Path | None,
    unsafe_no_passphrase: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Seal releases and write them as one bundle.

    Each argument is a spec, or a release NAME@VERSION that the depot published before. A release that was
    published with the same content is not made again, and gives the same manifests; other content under its
    name and version is refused. The same inputs give the same packs, trees and manifests, byte for byte.
    """
    from ..depots.depot import Depot
    from ..depots.sites import read as read_receipt
    from ..exporting import Times
    from ..exporting import export as run
    from ..sealing import Effort

    now, epoch = utc_now(), source_date_epoch()
    requests = [_request(each) for each in wanted]
    path = out or Path(f"{file_stem(requests[0].name)}-{requests[0].version}.sealift")
    effort = Effort(
        level=level,
        threads=workers(threads),
        difference_level=FAST_DIFFERENCE if fast else max(level, LEAST_DIFFERENCE),
        inflate=not no_inflate,
        small=small,
    )
    if small and (fast or no_inflate):
        other = "--fast saves that time" if fast else "--no-inflate leaves them whole"
        raise UsageError(f"--small takes archives apart, and {other}", hint="give one of them")
    if since and receipts:
        raise UsageError("--since and --for both say what the sites hold", hint="give one of them")
    bases = tuple(_reference(each) for each in since)
    statements = tuple(read_receipt(each) for each in receipts)
    if dry_run:
        from ..rehearsing import rehearse

        with Bar(quiet=quiet) as bar:
            rehearsed = rehearse(
                requests, Depot(depot), path, effort=effort, progress=bar, since=bases, receipts=statements
            )
        emit(_rehearsed_document(rehearsed), as_json, _rehearsed_text(rehearsed))
        return
    source = terminal_source(passphrase_file)

    def signer_for(root: Root) -> Signer:
        from keys.repository import online_signer

        return online_signer(depot, source, unsafe_unencrypted=unsafe_no_passphrase)(root)

    def team_signers(rule: Rule) -> Sequence[Signer]:
        from keys.repository import team_signers

        return team_signers(depot, source, unsafe_unencrypted=unsafe_no_passphrase)(rule)

    with Bar(quiet=quiet) as bar:
        made = run(
            requests,
            Depot(depot),
            path,
            effort=effort,
            signer_for=signer_for,
            times=Times(
                now=now, published=now if epoch is None else datetime.fromtimestamp(epoch, UTC), epoch=epoch or 0
            ),
            progress=bar,
            audience=audience,
            team_signers=team_signers,
            since=bases,
            receipts=statements,
        )
    emit(_document(made), as_json, _text(made))


def _request(wanted: str) -> Spec | Reference:
    from ..depots.published import Reference
    from ..spec import load

    if not os.path.exists(wanted) and (label := label_in(wanted)):
        return Reference(name=label[0], version=label[1])
    spec = load(Path(wanted), lint=True)
    warn_of_unsafe(spec)
    return spec


def _reference(wanted: str) -> Reference:
    from ..depots.published import Reference

    label = label_in(wanted)
    if label is None:
        raise UsageError(f"{safe(wanted)} names no release", hint="write --since NAME@VERSION")
    return Reference(name=label[0], version=label[1])


def _document(made: Exported) -> dict[str, object]:
    return {
        "bundle": str(made.path),
        "id": made.identity,
        "size": made.size,
        "signed": made.signed,
        "audience": list(made.audience),
        "inflates": made.inflates,
        "root_fingerprint": made.root_fingerprint,
        "releases": [
            {
                **_release_document(each.release, each.part.release.sha256, new=each.sealed.new),
                **_difference_document(each.difference),
            }
            for each in made.carried
        ],
    }


def _difference_document(difference: Difference | None) -> dict[str, object]:
    if difference is None:
        return {}
    return {
        "difference": {
            "base": [f"{base.name}@{base.version}" for base in difference.part.base],
            "size": difference.size,
            "left_out_bytes": difference.left_out,
            "new_bytes": difference.carried,
            "referring_bytes": difference.referring,
            **inside_document(difference.inside),
        }
    }


def _rehearsed_document(rehearsed: Sequence[Rehearsed]) -> dict[str, object]:
    return {
        "dry_run": True,
        "releases": [
            {
                **_release_document(each.release, each.manifest, new=each.new),
                "choices": [
                    {
                        "base": list(choice.base),
                        "size": choice.size,
                        **(inside_document(choice.inside) if choice.base else {}),
                        **({"needs": list(choice.needs)} if choice.needs else {}),
                    }
                    for choice in each.choices
                ],
            }
            for each in rehearsed
        ],
    }


def _release_document(release: Release, manifest: str, *, new: bool) -> dict[str, object]:
    return {
        "name": release.name,
        "version": release.version,
        "manifest": manifest,
        "new": new,
        "artifacts": [
            {
                "name": artifact.name,
                "kind": artifact.kind,
                "digest": artifact.digest,
                "files": artifact.files,
                "bytes": artifact.bytes,
            }
            for artifact in release.artifacts
        ],
    }


def _rehearsed_text(rehearsed: Sequence[Rehearsed]) -> str:
    rows = [row for each in rehearsed for row in _rows(each.release, "new" if each.new else "published, the same")]
    choices = [
        (
            each.release.label,
            _way(choice),
            size(choice.size),
            *([inflated_line(choice.inside)] if any(one.inside.archives for one in each.choices) else []),
        )
        for each in rehearsed
        for choice in each.choices
    ]
    notes = [
        f"\n{each.release.label} {_way(choice)}: {line}"
        for each in rehearsed
        for choice in each.choices
        if (line := left_line(choice.inside))
    ]
    return f"{table(rows)}\n\nwhat would cross:\n{table(choices, right=(2,))}{''.join(notes)}\n\nnothing was written"


def _way(choice: Choice) -> str:
    if not choice.base:
        return "whole"
    needs = f", if the receipts of the sites prove {' and '.join(choice.needs)}" if choice.needs else ""
    return f"since {', '.join(choice.base)}{needs}"


def _rows(release: Release, remark: str) -> list[tuple[str, ...]]:
    return [
        (
            release.label,
            artifact.name,
            count(artifact.files, "file"),
            size(artifact.bytes),
            f"sha256:{artifact.digest[:16]}…",
            remark,
        )
        for artifact in release.artifacts
    ]


def _difference_lines(made: Exported) -> list[str]:
    lines = []
    for each in made.carried:
        if each.difference:
            base = ", ".join(f"{base.name}@{base.version}" for base in each.part.base)
            lines.append(
                f"{each.release.label} is a difference to {base}: {size(each.difference.left_out)} left out, "
                f"{size(each.difference.carried)} of new content in {size(each.difference.size)}"
            )
            lines += inside_lines(each.difference.inside)
        elif made.asked:
            lines.append(f"{each.release.label} is whole: the sites hold no release of that name in common")
    if not made.inflates:
        lines.append("no archive relies on zlib: by its receipt, a site has another zlib than the one here")
    return lines


def _text(made: Exported) -> str:
    rows = [row for each in made.sealed for row in _rows(each.release, "" if each.new else "published before")]
    total = sum(artifact.bytes for each in made.sealed for artifact in each.release.artifacts)
    share = f", {made.size / total:.0%} of the content" if total > made.size else ""
    return "\n".join(
        [
            table(rows),
            "",
            *_difference_lines(made),
            f"wrote {safe(str(made.path))}: {size(made.size)}{share}",
            f"bundle id {made.identity}",
            *([f"for the sites {', '.join(made.audience)}"] if made.audience else []),
            f"root fingerprint {made.root_fingerprint}",
        ]
    )
