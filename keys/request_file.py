"""The files of a ceremony: a signing request, and the signature that one holder hands back.

    {"format": 1, "type": "signing-request", "role": "root", "roots": ["…"], "signed": {…}, "signatures": […]}

docs/reference/signing-request.md says what each key means. Whoever reads a request gets one whose root chain, former
metadata and signatures were verified, and that has no field which nobody would be shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta
from securesystemslib.signer import Key, Signature

from sealift import waiver as waivers
from sealift.errors import MalformedError, TrustError, UsageError
from sealift.names import NAMESPACE, visible
from sealift.strict_json import parse

from .lineup import WAIVER, Rule, check_rule, lineup
from .public import key_of
from .reading import read_bounded
from .request import AGAIN, Request

REQUEST_MAX = 32 * 1024 * 1024
"""Bytes of the longest request: a chain of roots, and the releases of a team."""
SIGNATURE_MAX = 64 * 1024
"""Bytes of the longest signature file."""
ENDING = ".request.json"

_Kind = TypeVar("_Kind", bound=msgspec.Struct)
_Hex = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class _Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keyid: _Hex
    sig: Annotated[str, Meta(pattern=r"^(?:[0-9a-f]{2})+\Z", max_length=8192)]


class _Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: Annotated[tuple[dict[str, Any], ...], Meta(max_length=16)]
    threshold: int


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    format: Literal[1]
    type: Literal["signing-request"]
    role: Annotated[str, Meta(max_length=32)]
    roots: Annotated[tuple[str, ...], Meta(max_length=256)]
    signed: dict[str, Any]
    signatures: Annotated[tuple[_Signature, ...], Meta(max_length=256)]
    targets: str | None = None
    former: str | None = None
    rule: _Rule | None = None


class SignatureFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one holder hands back."""

    format: Literal[1]
    type: Literal["signature"]
    request: _Hex
    """The digest of what was signed."""
    keyid: _Hex
    sig: Annotated[str, Meta(pattern=r"^(?:[0-9a-f]{2})+\Z", max_length=8192)]


def read(path: Path) -> Request:
    """Read a request, and verify what it carries.

    Raises:
        MalformedError: it does not have the form of one.
        TrustError: its root chain, its former metadata or a signature does not verify.
        StoreError: it cannot be read.
    """
    file = _convert(parse(read_bounded(path, limit=REQUEST_MAX), str(path), cap=REQUEST_MAX), _File, path)
    if file.role not in ("root", WAIVER) and not NAMESPACE.fullmatch(file.role):
        raise MalformedError(f"{path} is for {visible(file.role)!r}, which is no role", hint=AGAIN)
    rule = None
    if file.rule is not None:
        keys = tuple(_key(tree, path) for tree in file.rule.keys)
        rule = Rule(keys=keys, threshold=file.rule.threshold)
        check_rule(rule, file.role)
    request = Request(
        role=file.role,
        roots=tuple(text.encode() for text in file.roots),
        signed=file.signed,
        signatures={},
        targets=None if file.targets is None else file.targets.encode(),
        former=None if file.former is None else file.former.encode(),
        rule=rule,
    )
    _check_form(request, path)
    for each in file.signatures:
        request = request.with_signature(Signature(each.keyid, each.sig))
    return request


def encode(request: Request) -> bytes:
    """The content of the file of `request`.

    Raises:
        UsageError: it would be too long to be read again.
    """
    rule = request.rule
    file = _File(
        format=1,
        type="signing-request",
        role=request.role,
        roots=tuple(content.decode() for content in request.roots),
        signed=dict(request.signed),
        signatures=tuple(_Signature(each.keyid, each.signature) for each in request.signatures.values()),
        targets=None if request.targets is None else request.targets.decode(),
        former=None if request.former is None else request.former.decode(),
        rule=None if rule is None else _Rule(tuple(_tree(key) for key in rule.keys), rule.threshold),
    )
    content = msgspec.json.format(msgspec.json.encode(file, order="sorted"), indent=2) + b"\n"
    if len(content) > REQUEST_MAX:
        raise UsageError(f"the request would be longer than {REQUEST_MAX} bytes", hint="begin a new depot")
    return content


def read_signature(path: Path) -> SignatureFile:
    """Read what a holder handed back; it is not verified.

    Raises:
        MalformedError: it does not have the form of one.
        TrustError: it is over-long.
        StoreError: it cannot be read.
    """
    return _convert(parse(read_bounded(path, limit=SIGNATURE_MAX), str(path), cap=SIGNATURE_MAX), SignatureFile, path)


def encode_signature(request: Request, keyid: str) -> bytes:
    """The signature file for the signature of `keyid` that `request` bears."""
    made = request.signatures[keyid]
    file = SignatureFile(format=1, type="signature", request=request.digest, keyid=made.keyid, sig=made.signature)
    return msgspec.json.format(msgspec.json.encode(file, order="sorted"), indent=2) + b"\n"


def _check_form(request: Request, path: Path) -> None:
    """Refuse what is not metadata of the request's role, a field that nobody would be shown, and a false quorum."""
    if request.role == WAIVER:
        waivers.of_tree(request.signed)
    elif (after := request.next_root) is not None:
        known = {"_type", "spec_version", "version", "expires", "consistent_snapshot", "keys", "roles", "x-sealift"}
        if unknown := sorted(set(request.signed) - known):
            raise MalformedError(f"{path} has the field {visible(unknown[0])[:40]!r}, which nobody knows", hint=AGAIN)
        if after.version != len(request.roots) + 1:
            raise MalformedError(
                f"{path} is for root {after.version}, but follows root {len(request.roots)}", hint=AGAIN
            )
        if request.chain and lineup(request.chain[-1]).purpose != lineup(after).purpose:
            raise TrustError(f"{path} changes what the root is for", hint="make a new depot for another purpose")
    else:
        _ = request.next_team
        known = {"_type", "spec_version", "version", "expires", "targets"}
        if unknown := sorted(set(request.signed) - known):
            raise MalformedError(f"{path} has the field {visible(unknown[0])[:40]!r}, which nobody knows", hint=AGAIN)
        if request.targets is None or request.top() is None:
            raise MalformedError(f"{path} does not carry the top-level targets", hint=AGAIN)
        request.former_team()
    _ = request.quorums


def _key(tree: Mapping[str, Any], path: Path) -> Key:
    if set(tree) != {"keyid", "keytype", "keyval", "scheme"} or not all(
        isinstance(tree[part], dict if part == "keyval" else str) for part in tree
    ):
        raise MalformedError(f"{path} has a key without its form", hint=AGAIN)
    return key_of(tree, str(path))


def _tree(key: Key) -> dict[str, Any]:
    return {"keyid": key.keyid, **key.to_dict()}


def _convert(tree: object, kind: type[_Kind], path: Path) -> _Kind:
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        said = visible(str(error))[:200]
        raise MalformedError(f"{path} is not valid: {said[:1].lower()}{said[1:]}", hint=AGAIN) from error
