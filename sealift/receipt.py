"""Receipts: what a site holds, signed by the site's own key, so that a depot knows what it need not carry.

A receipt is one JSON object in canonical form. The depot knows the key of each of its sites, whose fingerprint came
by another way; the signature is over the canonical bytes of `signed` (Ed25519, RFC 8032).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from . import FORMAT, strict_json
from .digest import sha256
from .errors import MalformedError, TrustError
from .manifest import ReleaseBlob, encode
from .names import check_spaced, check_version, visible

RECEIPT_MAX = 16 << 20
"""Bytes of a receipt at most."""
_Hex = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Running(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an environment of a site runs."""

    environment: str
    release: str
    version: str


class Proof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What deflates at a site, and what it makes of the content of the probe."""

    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}\Z")]
    """`zlib`, or a rebuilder (see `sealift.rebuilder`)."""
    probe: _Hex


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a site says."""

    format: int
    type: Literal["receipt"]
    site: str
    """What the site is called."""
    key: _Hex
    """The site's public key, raw."""
    root: _Hex
    """The fingerprint of the first root that it trusts: whose site it is."""
    made: str
    """RFC 3339, UTC, by the site's clock."""
    generation: Annotated[int, Meta(ge=1, le=strict_json.INTEGER_MAX)]
    """How many changes the site has seen."""
    releases: tuple[ReleaseBlob, ...]
    """What it holds whole, in the order in which it came."""
    environments: tuple[Running, ...]
    rebuilders: Annotated[tuple[Proof, ...], Meta(max_length=32)] = ()
    """What deflates here. A receipt of an older installer says nothing of it."""

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the site's key."""
        return fingerprint(bytes.fromhex(self.key))


class _Signed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    signed: Statement
    signature: Annotated[str, Meta(pattern=r"^[0-9a-f]{128}\Z")]


def fingerprint(public: bytes) -> str:
    """What a person compares of a site's raw public key: its SHA-256."""
    return sha256(public)


def content_of(statement: Statement) -> bytes:
    """What a site signs."""
    return encode(statement)


def sealed(statement: Statement, signature: bytes) -> bytes:
    """The file of a receipt."""
    return encode(_Signed(signed=statement, signature=signature.hex())) + b"\n"


def read(content: bytes, what: str) -> Statement:
    """What a receipt says, once its signature was found to be that of the key it names. Whose key that is, it
    cannot say: the caller must know the key's fingerprint.

    Raises:
        MalformedError: it is no receipt of this format.
        TrustError: the signature does not hold.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    tree = strict_json.parse(content, what, cap=RECEIPT_MAX)
    said = tree.get("signed")
    if isinstance(said, dict) and isinstance(said.get("format"), int) and said["format"] != FORMAT:
        raise MalformedError(
            f"{what} has format {said['format']}, and this program reads format {FORMAT}",
            hint="install a newer sealift here",
        )
    try:
        receipt = msgspec.convert(tree, _Signed)
    except msgspec.ValidationError as error:
        raise MalformedError(f"{what} is no receipt: {visible(str(error)[:200])}") from error
    if encode(receipt) + b"\n" != content:
        raise MalformedError(f"{what} is not in canonical form", hint="carry the file as the site wrote it")
    statement = receipt.signed
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(statement.key))
        key.verify(bytes.fromhex(receipt.signature), content_of(statement))
    except (InvalidSignature, ValueError) as error:
        raise TrustError(
            f"the signature of {what} does not hold", hint="it was changed on the way: carry a new one"
        ) from error
    for release in statement.releases:
        check_spaced(release.name)
        check_version(release.version)
    return statement
