"""The sites of a depot: whose key is known, what each holds by its last receipt, and what was sent to it.

Each site has a file `sites/<fingerprint of its key>.json`. A key becomes known by its fingerprint, which a person
compared with what the site printed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from sealift import FORMAT, receipt
from sealift.digest import check_form
from sealift.durable import make_folder, storing, write_file
from sealift.errors import MalformedError, TrustError, UsageError
from sealift.listing import decode
from sealift.manifest import ReleaseBlob, encode
from sealift.names import visible
from sealift.reading import bounded
from sealift.receipt import RECEIPT_MAX, Proof, Statement

from .depot import Depot

SENT_MAX = 1000
"""Bundles that are remembered of a site; the oldest are forgotten."""
_SITE_MAX = 64 << 20


class Sent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bundle that was made for a site."""

    bundle: str
    """Its id."""
    releases: tuple[str, ...]
    base: tuple[str, ...]
    """What it is a difference to; nothing where it is whole."""
    size: int
    """Bytes."""
    time: str
    """RFC 3339, UTC."""


class Known(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a depot knows of a site."""

    format: int
    name: str
    key: str
    """The raw public key, in hexadecimal."""
    made: str
    """When its last receipt was made, by its own clock."""
    generation: int
    releases: tuple[ReleaseBlob, ...]
    """What it holds."""
    rebuilders: tuple[Proof, ...] = ()
    """What deflates there."""
    sent: tuple[Sent, ...] = ()


def read(path: Path) -> Statement:
    """A receipt from a file, its signature checked against the key that it names.

    Raises:
        UsageError: there is no such file.
        MalformedError: it is no receipt.
        TrustError: its signature does not hold.
    """
    content = bounded(path, RECEIPT_MAX, follow=True)
    if content is None:
        raise UsageError(f"there is no receipt {visible(str(path))}", hint="make one: sealift-install receipt")
    return receipt.read(content, visible(path.name))


def all_known(depot: Depot) -> tuple[Known, ...]:
    """The sites that a depot knows, by name.

    Raises:
        MalformedError: a file is damaged.
        StoreError: the depot cannot be read.
    """
    folder = depot.folder / "sites"
    with storing(folder):
        names = sorted(os.listdir(folder)) if folder.is_dir() else []
    found = [_load(folder / name) for name in names if name.endswith(".json") and not name.startswith(".")]
    return tuple(sorted((each for each in found if each), key=lambda each: (each.name, each.key)))


def introduce(depot: Depot, statement: Statement, fingerprint: str) -> Known:
    """Make a site known by its first receipt. The depot's lock is held.

    Args:
        depot: which remembers it.
        statement: what the receipt says.
        fingerprint: of the site's key, as it came by another way.

    Raises:
        TrustError: the receipt was signed by another key, or is of a site of another depot.
        MalformedError: `fingerprint` is none.
        StoreError: the disk refuses.
    """
    plain = "".join(each for each in fingerprint.lower() if each not in " :-")
    check_form(plain, "the fingerprint")
    if statement.fingerprint != plain:
        raise TrustError(
            f"the receipt of {visible(statement.site)} was signed by another key: {statement.fingerprint}",
            hint="compare with what the site prints: sealift-install receipt",
        )
    return _keep(depot, statement, ())


def accept(depot: Depot, statement: Statement, root: str) -> Known:
    """Take a receipt of a known site.

    Args:
        depot: which knows the site.
        statement: what the receipt says.
        root: the fingerprint of the depot's first root.

    Raises:
        TrustError: the site is not known here, or trusts another root.
    """
    if statement.root != root:
        raise TrustError(
            f"the receipt of {visible(statement.site)} is from a site of another depot",
            hint="its first root is another one: export for it from its own depot",
        )
    known = _load(_path(depot, statement.fingerprint))
    if known is None or known.key != statement.key:
        raise TrustError(
            f"the depot does not know the key of {visible(statement.site)}",
            hint=f"compare its fingerprint with what the site prints, then: sealift-bundle site RECEIPT "
            f"--fingerprint {statement.fingerprint} --depot {depot.folder}",
        )
    return msgspec.structs.replace(_of(statement), sent=known.sent)


def remember(depot: Depot, sites: Sequence[Known], sent: Sent) -> None:
    """Note what was made for sites. The depot's lock is held.

    Raises:
        StoreError: the disk refuses.
    """
    for known in sites:
        before = tuple(each for each in known.sent if each.bundle != sent.bundle)
        _write(depot, msgspec.structs.replace(known, sent=(*before, sent)[-SENT_MAX:]))


def _of(statement: Statement) -> Known:
    return Known(
        format=FORMAT,
        name=statement.site,
        key=statement.key,
        made=statement.made,
        generation=statement.generation,
        releases=statement.releases,
        rebuilders=statement.rebuilders,
    )


def _keep(depot: Depot, statement: Statement, sent: tuple[Sent, ...]) -> Known:
    former = _load(_path(depot, statement.fingerprint))
    known = msgspec.structs.replace(_of(statement), sent=former.sent if former else sent)
    _write(depot, known)
    return known


def _write(depot: Depot, known: Known) -> None:
    path = _path(depot, receipt.fingerprint(bytes.fromhex(known.key)))
    make_folder(path.parent)
    write_file(path, encode(known))


def _path(depot: Depot, fingerprint: str) -> Path:
    return depot.folder / "sites" / f"{fingerprint}.json"


def _load(path: Path) -> Known | None:
    content = bounded(path, _SITE_MAX, follow=True)
    if content is None:
        return None
    known = decode(content, Known, str(path))
    if known.format != FORMAT or path.stem != receipt.fingerprint(bytes.fromhex(known.key)):
        raise MalformedError(f"{path} is damaged", hint="restore the depot from its backup")
    return known
