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
from .names import NAMESPACE, check_path, check_release, check_version, folded, visible
from .public_keys import SIGNATURE_MAX, key_id, parts
from .root_terms import WAIVER, Purpose, Role, Terms, check_role, terms
from .strict_json import INTEGER_MAX, parse

CAPS = {"root": 512 * 1024, "timestamp": 64 * 1024, "snapshot": 2 * 1024 * 1024, "targets": 5 * 1024 * 1024}
"""Bytes that a metadata file may have, by its role."""
ROLES = frozenset(CAPS)
RESERVED = ROLES | {WAIVER}
"""Names that no delegated role may bear."""
DELEGATED_MAX = 512
"""Roles that the top-level targets may delegate to."""

_TIME = "%Y-%m-%dT%H:%M:%SZ"
_Version = Annotated[int, Meta(ge=1, le=INTEGER_MAX)]
_Length = Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
_KeyId = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Time = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")]


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signature of metadata, not checked yet."""

    keyid: _KeyId
    sig: Annotated[str, Meta(max_length=2 * SIGNATURE_MAX, pattern=r"^(?:[0-9a-f]{2})*\Z")]


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Metadata: a tree and signatures over its canonical form."""

    signatures: Annotated[list[Signature], Meta(max_length=256)]
    signed: dict[str, Any]


class _Key(msgspec.Struct, frozen=True):
    keytype: str
    scheme: str
    keyval: dict[str, Any]


class _Role(msgspec.Struct, frozen=True):
    keyids: Annotated[tuple[_KeyId, ...], Meta(max_length=256)]
    threshold: int


class _Delegation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    keyids: Annotated[tuple[_KeyId, ...], Meta(max_length=256)]
    threshold: int
    terminating: bool
    paths: tuple[str, ...]


class _Delegations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: dict[str, _Key]
    roles: Annotated[list[_Delegation], Meta(max_length=DELEGATED_MAX)]


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
    delegations: _Delegations | None = None


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
    """One of `ROLES`, or the name of a role that the top-level targets delegate to."""
    content: bytes
    version: int
    expires: datetime
    signed: Mapping[str, Any]
    """The signed part as a JSON tree."""
    listed: Mapping[str, int]
    """The versions of the metadata files that a timestamp or a snapshot names."""
    targets: Mapping[str, Target]
    """The targets of targets metadata, by path."""
    delegated: tuple[str, ...] = ()
    """The roles that top-level targets delegate to, each by its namespace."""
    terms: Terms | None = None
    """What a root says beyond TUF; None for another role."""

    @property
    def purpose(self) -> Purpose:
        """What a root is for."""
        return (self.terms or Terms()).purpose


def read(role: str, content: bytes, name: str) -> Document:
    """Read the metadata of `role` strictly, without judging its signatures.

    Args:
        role: one of `ROLES`, or a role that the top-level targets delegate to.
        content: the file.
        name: its name, for messages.

    Raises:
        MalformedError: it is over-long, not strict JSON, not metadata of this role, or names an unsafe path.
        TrustError: its keys or thresholds are not acceptable.
    """
    kind = role if role in ROLES else "targets"
    tree = parse(content, name, cap=CAPS[kind])
    envelope = _convert(tree, Envelope, name)
    ids = [signature.keyid for signature in envelope.signatures]
    if len(set(ids)) != len(ids):
        raise TrustError(f"{name} is signed twice under one key id", hint=_DISTRUST)
    if (found := envelope.signed.get("_type")) != kind:
        raise MalformedError(f"{name} is not {kind} metadata but says that it is {visible(str(found))[:40]!r}")
    signed: _Signed
    listed: dict[str, int] = {}
    targets: dict[str, Target] = {}
    delegated: tuple[str, ...] = ()
    said = None
    if role == "root":
        signed = root = _convert(envelope.signed, _Root, name)
        _check_root(root, name)
        said = terms(envelope.signed)
    elif kind == "targets":
        signed = listing = _convert(envelope.signed, _Targets, name)
        targets = _check_targets(listing, name)
        _check_places(targets, None if role == "targets" else role, name)
        delegated = _check_delegations(listing.delegations, role, name)
    else:
        signed = names = _convert(envelope.signed, _Listing, name)
        listed = {path: meta.version for path, meta in names.meta.items()}
        _check_listed(role, listed, name)
    return Document(
        name=name,
        role=role,
        content=content,
        version=signed.version,
        expires=time_of(signed.expires, name),
        signed=envelope.signed,
        listed=listed,
        targets=targets,
        delegated=delegated,
        terms=said,
    )


def time_of(text: str, name: str) -> datetime:
    """The time that metadata writes as `YYYY-MM-DDTHH:MM:SSZ`.

    Raises:
        MalformedError: it is none.
    """
    try:
        return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except ValueError as error:
        raise MalformedError(f"{name} expires at {text!r}, which is no time") from error


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
    _check_keys(root.keys, name)
    for role, rule in root.roles.items():
        check_role(role, Role(keyids=rule.keyids, threshold=rule.threshold), root.keys, name)


def _check_keys(keys: Mapping[str, _Key], name: str) -> None:
    owners: dict[bytes, str] = {}
    for keyid, key in keys.items():
        for part in parts(key.keytype, key.scheme, key.keyval, keyid, name):
            if owners.setdefault(part, keyid) != keyid:
                raise TrustError(f"{name} has one public key under two key ids", hint=_DISTRUST)
    for keyid, key in keys.items():
        if keyid != key_id(key.keytype, key.scheme, key.keyval):
            raise TrustError(f"{name} has a key id that is not its key's digest: {keyid[:16]}…", hint=_DISTRUST)


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


def _check_places(targets: Mapping[str, Target], namespace: str | None, name: str) -> None:
    """Refuse targets outside of what their role may list: a team its own releases, the top level all others."""
    for path in targets:
        own = path.split("/")
        if namespace is None:
            steps = folded(path).split("/")
            if len(steps) > 3 and steps[0] == "releases":
                raise TrustError(
                    f"{name} lists {visible(path)[:120]!r}, which only the role {visible(own[1])[:40]!r} may list",
                    hint=_DISTRUST,
                )
        elif len(own) != 4 or own[:2] != ["releases", namespace] or not own[3].endswith(".json"):
            raise TrustError(
                f"{name} lists {visible(path)[:120]!r}, and may list nothing but {pattern_of(namespace)}",
                hint=_DISTRUST,
            )
        else:
            check_release(own[2])
            check_version(own[3].removesuffix(".json"))


def pattern_of(namespace: str) -> str:
    """The one pattern of target paths that is delegated to the role of a namespace."""
    return f"releases/{namespace}/*/*.json"


def _check_delegations(found: _Delegations | None, role: str, name: str) -> tuple[str, ...]:
    """The roles that top-level targets delegate to: one level, each its own namespace, so no circle and no overlap."""
    if found is None:
        return ()
    if role != "targets":
        raise TrustError(f"{name} delegates further, which only the top-level targets may", hint=_DISTRUST)
    _check_keys(found.keys, name)
    names = [each.name for each in found.roles]
    if len(set(names)) != len(names):
        raise TrustError(f"{name} delegates to one role twice", hint=_DISTRUST)
    for each in found.roles:
        shown = visible(each.name)[:40]
        if not NAMESPACE.fullmatch(each.name) or each.name in RESERVED:
            raise TrustError(f"{name} delegates to {shown!r}, which is no name of a role", hint=_DISTRUST)
        if not each.terminating or each.paths != (pattern_of(each.name),):
            raise TrustError(
                f"{name} delegates other paths than {pattern_of(each.name)} to the role {shown}", hint=_DISTRUST
            )
        check_role(each.name, Role(keyids=each.keyids, threshold=each.threshold), found.keys, name)
    return tuple(names)


def _check_listed(role: str, listed: Mapping[str, int], name: str) -> None:
    wanted = "snapshot.json" if role == "timestamp" else "targets.json"
    if wanted not in listed:
        raise MalformedError(f"{name} does not name {wanted}")
    for path in listed:
        one = path.removesuffix(".json")
        if path != wanted and (role == "timestamp" or one == path or not NAMESPACE.fullmatch(one) or one in RESERVED):
            raise MalformedError(f"{name} names {visible(path)[:80]!r}, which is no metadata that it may name")
