"""What the commands do with a request that they made: sign with what is at hand, publish, or say what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sealift.cli import emit, safe, table

from .options import Opening

if TYPE_CHECKING:
    from ..publishing import Outcome
    from ..request import Request


def conclude(
    depot: Path, request: Request, *, keys: Sequence[str], opening: Opening, now: datetime, as_json: bool
) -> None:
    """Keep `request` in the depot, sign it with `keys`, publish it if that suffices, and print which of these it was.

    The caller holds the depot's lock.

    Raises:
        SealiftError: a key does not open or may not sign, or the disk refused; the request stays where it was kept.
    """
    from ..pending import save

    if keys:
        tell(describe(request))
    for named in keys:
        request = request.sign(opening.signer(named))
    path = save(depot, request, fresh=True)
    if not request.complete:
        emit({**document(request), "request": str(path), "published": False}, as_json, _waiting(request, path, depot))
        return
    outcome = publish_one(depot, request, opening, now)
    emit({**document(request), **published_document(outcome)}, as_json, published_text(outcome))


def publish_one(depot: Path, request: Request, opening: Opening, now: datetime) -> Outcome:
    """Publish `request`, with the depot's online key where that must sign too.

    Raises:
        SealiftError: as `publishing.publish_request`.
    """
    from ..publishing import publish_request
    from ..repository import online_signer

    signer_for = online_signer(depot, opening.source, unsafe_unencrypted=opening.unsafe_unencrypted)
    return publish_request(depot, request, signer_for=signer_for, now=now)


def document(request: Request) -> dict[str, object]:
    """A request as JSON."""
    from ..changes import changes

    return {
        "name": request.name,
        "role": request.role,
        "version": request.version,
        "digest": request.digest,
        "changes": [{"subject": change.subject, "text": change.text} for change in changes(request)],
        "signers": [
            {
                "whose": quorum.whose,
                "threshold": quorum.rule.threshold,
                "keys": list(quorum.rule.ids),
                "signed": [keyid for keyid in quorum.rule.ids if keyid in request.signatures],
            }
            for quorum in request.quorums
        ],
    }


def published_document(outcome: Outcome) -> dict[str, object]:
    """What was published, as JSON."""
    return {"published": True, "path": str(outcome.path), "resigned": outcome.resigned}


def published_text(outcome: Outcome) -> str:
    """What was published, for a person."""
    if outcome.name.startswith("waiver-"):
        return (
            f"wrote the waiver {safe(str(outcome.path))}\n"
            f"carry it with the bundle: sealift-install import BUNDLE --waiver {safe(outcome.path.name)}"
        )
    more = ", and signed targets, snapshot and timestamp anew" if outcome.resigned else ""
    return (
        f"published {outcome.name} as {safe(str(outcome.path))}{more}\n"
        "every site follows with the next bundle: sealift-bundle export"
    )


def describe(request: Request) -> str:
    """What `request` changes and who must sign it, for a person."""
    from ..changes import SIGNS, changes, required
    from ..show import grouped

    found = changes(request)
    head = f"{request.name}: {SIGNS[request.role] if request.role == 'waiver' else _what(request)}"
    if request.root is not None:
        head += f", after root {request.root.version}"
    rows = [(f"  {change.subject}", change.text) for change in found]
    return "\n".join(
        [
            head,
            "",
            "what changes:",
            table(rows),
            "",
            "who must sign:",
            *(f"  {line}" for line in required(request)),
            "",
            f"digest: {grouped(request.digest)}",
        ]
    )


def _what(request: Request) -> str:
    if request.role == "root":
        return "a root of trust"
    return f"what the team {safe(request.role)} publishes"


def _waiting(request: Request, path: Path, depot: Path) -> str:
    fingerprint = " --fingerprint …" if request.roots else ""
    return "\n".join(
        [
            describe(request),
            "",
            f"wrote {safe(str(path))}: nothing is published before it has its signatures",
            "  1. carry it to each holder, who signs it on a machine of their own:",
            f"     sealift-keys sign {safe(path.name)} --key FILE{fingerprint}",
            "  2. bring the signature files back here:",
            f"     sealift-keys publish --depot {safe(str(depot))} {request.name}.*.signature.json",
        ]
    )


def tell(text: str) -> None:
    """Say something that is no result."""
    import click

    click.echo(text + "\n", err=True)
