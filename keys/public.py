"""A public key as a file: what a holder hands over, and the place of the private key where that is no file.

    {"keyid": "…", "keytype": "ed25519", "keyval": {"public": "…"}, "place": "hsm:2?label=root-a", "scheme": "ed25519"}

The file is no proof of anything: whoever makes a root from it compares the key id with its holder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from sealift.errors import MalformedError, TrustError, UsageError
from sealift.public_keys import SCHEMES, key_id, parts
from sealift.strict_json import parse

from .reading import read_bounded

if TYPE_CHECKING:
    from securesystemslib.signer import Key

LIMIT = 64 * 1024
"""Bytes of the longest public key file."""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    keyid: str
    keytype: str
    scheme: str
    keyval: dict[str, Any]
    place: str | None = None


@dataclass(frozen=True, kw_only=True)
class Public:
    """A public key, and where its private half lives if that is known."""

    key: Key
    place: str | None = None


def read(path: Path) -> Public:
    """Read a public key file.

    Raises:
        MalformedError: it does not have the form of one.
        TrustError: it is over-long, or its key is of a kind that is not accepted or has another key id.
        StoreError: it cannot be read.
    """
    tree = parse(read_bounded(path, limit=LIMIT), str(path), cap=LIMIT)
    try:
        file = msgspec.convert(tree, _File)
    except msgspec.ValidationError as error:
        raise MalformedError(f"{path} is no public key file: {error}", hint="make one: sealift-keys key") from error
    return Public(key=key_of(msgspec.to_builtins(file), str(path)), place=file.place)


def from_pem(path: Path) -> Public:
    """The public key in a PEM file (SubjectPublicKeyInfo), as `openssl pkey -pubout` and cloud services write it.

    Raises:
        MalformedError: it holds no public key.
        TrustError: it is over-long, or a key of a kind that is not accepted.
        StoreError: it cannot be read.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    content = read_bounded(path, limit=LIMIT)
    try:
        key = SSlibKey.from_crypto(load_pem_public_key(content))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedError(
            f"{path} holds no public key in PEM that is known", hint="openssl pkey -pubout writes one"
        ) from error
    if (key.keytype, key.scheme) not in SCHEMES:
        raise TrustError(f"{path} is a key for {key.scheme}", hint="use Ed25519, P-256, P-384 or ML-DSA-65")
    return Public(key=key)


def encode(public: Public) -> bytes:
    """The content of the file of `public`."""
    place = {} if public.place is None else {"place": public.place}
    tree = {"keyid": public.key.keyid, **public.key.to_dict(), **place}
    return json.dumps(tree, indent=2, sort_keys=True).encode() + b"\n"


def key_of(tree: Mapping[str, Any], name: str) -> Key:
    """The key that `tree` holds beside its `keyid`.

    Raises:
        MalformedError: its value has not the form of one.
        TrustError: its kind is not accepted, or its key id is not its own.
    """
    from securesystemslib.signer import Key as AnyKey

    from sealift.hybrid import register

    register()
    parts(tree["keytype"], tree["scheme"], tree["keyval"], tree["keyid"], name)
    if tree["keyid"] != key_id(tree["keytype"], tree["scheme"], tree["keyval"]):
        raise TrustError(f"{name} has a key id that is not its key's digest", hint="ask the holder for the file again")
    return AnyKey.from_dict(tree["keyid"], {part: tree[part] for part in ("keytype", "scheme", "keyval")})


def refuse_doubled(keys: list[Key]) -> None:
    """Refuse a key that comes twice.

    Raises:
        UsageError: one does.
    """
    seen: set[str] = set()
    for key in keys:
        if key.keyid in seen:
            raise UsageError(f"the key {key.keyid[:8]} is named twice", hint="each holder has a key of their own")
        seen.add(key.keyid)
