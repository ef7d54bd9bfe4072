"""Which TUF metadata (TUF specification 1.0) is acceptable, beyond what the library `tuf` checks.

`tuf` accepts duplicate JSON keys, fields outside the signed part, booleans as versions, one public key under
two key ids (counted twice toward a threshold), key ids that are not the key's digest, and target paths that
climb or collide. `read` refuses all of these before `tuf` sees the bytes.

TUF signatures live inside the JSON that they sign, so this is the one place where bytes are looked at before
they are authenticated. It is bounded therefore: a cap on the length by role, no recursion deeper than
`strict_json.DEPTH_MAX`, linear time, and no decoder but JSON, hexadecimal and base64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from .digest import HEX
from .errors import MalformedError, TrustError
from .names import check_path, folded, visible
from .public_keys import SIGNATURE_MAX, key_id, parts
from .strict_json import INTEGER_MAX, parse

CAPS = {"root": 512 * 1024, "timestamp": 64 * 1024, "snapshot": 2 * 1024 * 1024, "targets": 5 * 1024 * 1024}
"""Bytes that a metadata file may have, by its role."""
ROLES = frozenset(CAPS)

_TIME = "%Y-%m-%dT%H:%M:%SZ"
_Version = Annotated[int, Meta(ge=1, le=INTEGER_MAX)]
_Length = Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
_KeyId = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
_Time = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]


class _Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keyid: _KeyId
    sig: Annotated[str, Meta(max_length=2 * SIGNATURE_MAX, pattern="^(?:[0-9a-f]{2})*$")]


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    signatures: Annotated[list[_Signature], Meta(max_length=256)]
    signed: dict[str, Any]


class _Key(msgspec.Struct, frozen=True):
    keytype: str
    scheme: str
    keyval: dict[str, Any]


class _Role(msgspec.Struct, frozen=True):
    keyids: Annotated[list[_KeyId], Meta(max_length=256)]
    threshold: int


class _Meta(msgspec.Struct, frozen=True):
    version: _Version
    length: _Length | None = None
    hashes: dict[str, str] | None = None


class _TargetFile(msgspec.Struct, frozen=True):
    length: _Length
    hashes: dict[str, str]
    custom: dict[str, Any] | None = None


class _Signed(msgspec.Struct, frozen=True):
    version: _Version
    expires: _Time


class _Root(_Signed, frozen=True):
    consistent_snapshot: bool
    keys: dict[_KeyId, _Key]
    roles: dict[str, _Role]


class _Listing(_Signed, frozen=True):
    meta: dict[str, _Meta]


class _Targets(_Signed, frozen=True):
    targets: dict[str, _TargetFile]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A file that targets metadata vouches for."""

    path: str
    length: int
    """In bytes."""
    sha256: str
    custom: Mapping[str, Any] | None
    """What the publisher says about it besides, as signed."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """Acceptable metadata of one role. Its signatures are not checked yet."""

    name: str
    """The member that it came from, for messages."""
    role: str
    content: bytes
    version: int
    expires: datetime
    signed: Mapping[str, Any]
    """The signed part as a JSON tree."""
    listed: Mapping[str, int]
    """The versions of the metadata files that a timestamp or a snapshot names."""
    targets: Mapping[str, Target]
    """The targets of targets metadata, by path."""


def read(role: str, content: bytes, name: str) -> Document:
    """Read the metadata of `role` strictly, without judging its signatures.

    Raises:
        MalformedError: it is over-long, not strict JSON, not metadata of this role, or names an unsafe path.
        TrustError: its keys or thresholds are not acceptable.
    """
    tree = parse(content, name, cap=CAPS[role])
    envelope = _convert(tree, _Envelope, name)
    ids = [signature.keyid for signature in envelope.signatures]
    if len(set(ids)) != len(ids):
        raise TrustError(f"{name} is signed twice under one key id", hint=_DISTRUST)
    if (found := envelope.signed.get("_type")) != role:
        raise MalformedError(f"{name} is not {role} metadata but says that it is {visible(str(found))[:40]!r}")
    signed: _Signed
    listed: dict[str, int] = {}
    targets: dict[str, Target] = {}
    if role == "root":
        signed = root = _convert(envelope.signed, _Root, name)
        _check_root(root, name)
    elif role == "targets":
        signed = listing = _convert(envelope.signed, _Targets, name)
        targets = _check_targets(listing, name)
    else:
        signed = names = _convert(envelope.signed, _Listing, name)
        listed = {path: meta.version for path, meta in names.meta.items()}
        wanted = "snapshot.json" if role == "timestamp" else "targets.json"
        if wanted not in listed:
            raise MalformedError(f"{name} does not name {wanted}")
    try:
        expires = datetime.strptime(signed.expires, _TIME).replace(tzinfo=UTC)
    except ValueError as error:
        raise MalformedError(f"{name} expires at {signed.expires!r}, which is no time") from error
    return Document(
        name=name,
        role=role,
        content=content,
        version=signed.version,
        expires=expires,
        signed=envelope.signed,
        listed=listed,
        targets=targets,
    )


_DISTRUST = "do not use this copy: ask the people who made it where it comes from"
_T = TypeVar("_T")


def _convert(tree: object, kind: type[_T], name: str) -> _T:
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        said = visible(str(error))[:300]
        raise MalformedError(f"{name} is not valid tuf metadata: {said[:1].lower()}{said[1:]}") from error


def _check_root(root: _Root, name: str) -> None:
    if not root.consistent_snapshot:
        raise MalformedError(f"{name} does not demand consistent snapshots")
    if set(root.roles) != ROLES:
        raise MalformedError(f"{name} must have the roles {', '.join(sorted(ROLES))} and no others")
    owners: dict[bytes, str] = {}
    for keyid, key in root.keys.items():
        for part in parts(key.keytype, key.scheme, key.keyval, keyid, name):
            if owners.setdefault(part, keyid) != keyid:
                raise TrustError(f"{name} has one public key under two key ids", hint=_DISTRUST)
    for keyid, key in root.keys.items():
        if keyid != key_id(key.keytype, key.scheme, key.keyval):
            raise TrustError(f"{name} has a key id that is not its key's digest: {keyid[:16]}…", hint=_DISTRUST)
    for role, rule in root.roles.items():
        if len(set(rule.keyids)) != len(rule.keyids):
            raise TrustError(f"{name} counts a key id twice for the role {role}", hint=_DISTRUST)
        if not root.keys.keys() >= set(rule.keyids):
            raise TrustError(f"{name} names a key for the role {role} that it does not hold", hint=_DISTRUST)
        if not 1 <= rule.threshold <= len(rule.keyids):
            raise TrustError(
                f"{name} asks for {rule.threshold} of {len(rule.keyids)} keys for the role {role}", hint=_DISTRUST
            )


def _check_targets(listing: _Targets, name: str) -> dict[str, Target]:
    taken: dict[str, str] = {}
    found = {}
    for path, file in listing.targets.items():
        try:
            check_path(path)
        except MalformedError as error:
            raise MalformedError(f"{name} lists a target that is not safe: {error.message}") from error
        if (other := taken.setdefault(folded(path), path)) != path:
            raise MalformedError(f"{name} lists targets that collide: {visible(other)!r} and {visible(path)!r}")
        digest = file.hashes.get("sha256", "")
        if not HEX.fullmatch(digest):
            raise MalformedError(f"{name} gives no sha-256 digest for the target {path!r}")
        found[path] = Target(path=path, length=file.length, sha256=digest, custom=file.custom)
    return found
