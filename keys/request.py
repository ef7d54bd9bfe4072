"""A signing request: what is to be signed, and all that a holder needs to judge it on a machine without a network.

    {"format": 1, "type": "signing-request", "role": "root", "roots": ["…"], "signed": {…}, "signatures": […]}

`role` is `root`, `waiver`, or a team that the top-level targets delegate to. `roots` are the files of the root chain
from the first root to the newest: whoever knows the fingerprint of any of them knows that the rest is real. A
team's request also carries the top-level targets (`targets`), the team's former metadata (`former`), and the rule
that is to hold for the team once this is published (`rule`).

Invariants: nothing that a person is shown comes from free text in the file, but from the metadata itself; what is
signed is the canonical JSON of `signed`; a signature counts only by a key that may sign, and once it was verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import Key, Signature, Signer
from tuf.api.metadata import Root, Targets

from sealift import waiver as waivers
from sealift.digest import sha256
from sealift.errors import MalformedError, TrustError, UsageError
from sealift.names import NAMESPACE, visible
from sealift.strict_json import canonical, parse

from . import signing
from .lineup import WAIVER, Lineup, Rule, lineup
from .metadata import parse as parse_metadata
from .public import key_of
from .reading import read_bounded
from .state import chain

REQUEST_MAX = 32 * 1024 * 1024
"""Bytes of the longest request: a chain of roots, and the releases of a team."""
SIGNATURE_MAX = 64 * 1024
"""Bytes of the longest signature file."""
ENDING = ".request.json"

_AGAIN = "make the request anew on the depot's machine"
_Kind = TypeVar("_Kind", bound=msgspec.Struct)
_Hex = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class _Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keyid: _Hex
    sig: Annotated[str, Meta(pattern="^(?:[0-9a-f]{2})+$", max_length=8192)]


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
    sig: Annotated[str, Meta(pattern="^(?:[0-9a-f]{2})+$", max_length=8192)]


@dataclass(frozen=True, kw_only=True)
class Quorum:
    """Keys of which a number must sign."""

    whose: str
    """Such as `root 1`."""
    rule: Rule


@dataclass(frozen=True)
class Request:
    """A request whose own content was verified: the root chain by its signatures, and each signature that it bears."""

    role: str
    roots: tuple[bytes, ...]
    signed: Mapping[str, Any]
    signatures: Mapping[str, Signature]
    targets: bytes | None = None
    former: bytes | None = None
    rule: Rule | None = None

    @cached_property
    def message(self) -> bytes:
        """The bytes that are signed."""
        if self.role == WAIVER:
            return waivers.message(self.signed)
        return (encode_canonical(dict(self.signed)) or "").encode()

    @property
    def digest(self) -> str:
        """SHA-256 of what is signed: what the holders compare where no root is known yet."""
        return sha256(self.message)

    @property
    def version(self) -> int:
        """Of the metadata, or of the timestamp that is waived for."""
        return int(self.signed["timestamp"]["version"] if self.role == WAIVER else self.signed["version"])

    @property
    def name(self) -> str:
        """Such as `root-2`: the beginning of the names of its files."""
        site = self.signed.get("site") if self.role == WAIVER else None
        return f"{self.role}-{self.version}" + (f"-{site}" if site else "")

    @cached_property
    def chain(self) -> tuple[Root, ...]:
        """The root chain, verified."""
        return chain(self.roots, "the request's chain of roots") if self.roots else ()

    @property
    def root(self) -> Root | None:
        """The newest root; None where the first is about to be signed."""
        return self.chain[-1] if self.chain else None

    @cached_property
    def next_root(self) -> Root | None:
        """The root that is to be signed."""
        if self.role != "root":
            return None
        return parse_metadata(self.content({}), Root, "the request").signed

    @cached_property
    def next_team(self) -> Targets:
        """The metadata of a team that is to be signed."""
        return parse_metadata(self.content({}), Targets, "the request", name=self.role).signed

    @property
    def quorums(self) -> tuple[Quorum, ...]:
        """Who must sign: for a root the former root's keys and its own, and each key that is new among these."""
        if self.role == WAIVER:
            rule = self._line.waiver
            if rule is None:
                raise TrustError(
                    f"root {self._known.version} has no waiver role",
                    hint="give it one: sealift-keys rotate waiver --add FILE",
                )
            return (Quorum(whose=f"the waiver role of root {self._known.version}", rule=rule),)
        if self.next_root is None:
            return (Quorum(whose=self.role, rule=self._team_rule),)
        after = lineup(self.next_root)
        own = Quorum(whose=f"root {self.next_root.version}", rule=after.root)
        if self.root is None:
            everybody = Rule(keys=after.root.keys, threshold=len(after.root.keys))
            return (Quorum(whose="root 1", rule=everybody),)
        before = lineup(self.root)
        new = tuple(key for key in after.root.keys if before.root.find(key.keyid) is None)
        fresh = [Quorum(whose="the keys that are new", rule=Rule(keys=new, threshold=len(new)))] if new else []
        return (Quorum(whose=f"root {self.root.version}", rule=before.root), own, *fresh)

    @property
    def signers(self) -> Mapping[str, Key]:
        """Every key that may sign, by id."""
        return {key.keyid: key for quorum in self.quorums for key in quorum.rule.keys}

    @property
    def complete(self) -> bool:
        """Whether every quorum is met."""
        return all(self.missing(quorum) == 0 for quorum in self.quorums)

    def missing(self, quorum: Quorum) -> int:
        """How many more keys of a quorum must sign."""
        return max(0, quorum.rule.threshold - len(self.signatures.keys() & set(quorum.rule.ids)))

    def content(self, signatures: Mapping[str, Signature] | None = None) -> bytes:
        """The metadata file or the waiver, with the request's own signatures unless others are given."""
        given = self.signatures if signatures is None else signatures
        if self.role == WAIVER:
            found = waivers.of_tree(self.signed)
            return waivers.encode(found, {keyid: each.signature for keyid, each in given.items()})
        return canonical({"signatures": [given[keyid].to_dict() for keyid in sorted(given)], "signed": self.signed})

    def with_signature(self, signature: Signature) -> Request:
        """The same with one more signature, once it was verified.

        Raises:
            TrustError: its key may not sign, or it does not verify.
        """
        key = self.signers.get(signature.keyid)
        if key is None:
            raise TrustError(
                f"key {visible(signature.keyid)[:8]} may not sign {self.name}",
                hint="sealift-keys sign --show names the keys that may",
            )
        try:
            key.verify_signature(signature, self.message)
        except UnverifiedSignatureError as error:
            raise TrustError(
                f"the signature of key {key.keyid[:8]} over {self.name} does not verify",
                hint="it is for another request, or was changed: let its holder sign this request again",
            ) from error
        return replace(self, signatures={**self.signatures, key.keyid: signature})

    def sign(self, signer: Signer) -> Request:
        """The same with the signature of `signer`, verified right after it was made.

        Raises:
            TrustError: the key may not sign, or does not sign as it should.
        """
        key = signer.public_key
        if self.signers.get(key.keyid) != key:
            raise TrustError(
                f"key {key.keyid[:8]} may not sign {self.name}",
                hint="sealift-keys sign --show names the keys that may: check which key or slot was opened",
            )
        return self.with_signature(signing.sign(signer, self.message, self.name))

    def check_fingerprint(self, fingerprint: str) -> None:
        """Refuse the request unless `fingerprint` is that of a root in its chain, from which the rest follows.

        Raises:
            UsageError: it is no fingerprint.
            TrustError: no root has it, or there is no root yet.
        """
        from sealift.trust import check_fingerprint

        if not self.roots:
            raise TrustError(
                "this is a first root, which follows no other: there is no fingerprint to check",
                hint="leave --fingerprint out, and compare the digest of the request with the other holders",
            )
        for content in self.roots[:-1]:
            try:
                return check_fingerprint(content, fingerprint)
            except TrustError:
                continue
        check_fingerprint(self.roots[-1], fingerprint)

    @property
    def _known(self) -> Root:
        if self.root is None:
            raise MalformedError(f"the request for {self.role} has no root", hint=_AGAIN)
        return self.root

    @property
    def _line(self) -> Lineup:
        return lineup(self._known)

    @property
    def _team_rule(self) -> Rule:
        if self.rule is None:
            raise MalformedError(f"the request for {self.role} does not say who may sign", hint=_AGAIN)
        return self.rule

    def top(self) -> Targets | None:
        """The top-level targets that a team's request was made from, verified by the newest root."""
        if self.targets is None:
            return None
        metadata = parse_metadata(self.targets, Targets, "the request's targets")
        return _checked(self._known, "targets", metadata, "the request's targets")

    def former_team(self) -> Targets | None:
        """The metadata that a team has until now, verified by the delegation of `top`."""
        top = self.top()
        if self.former is None or top is None:
            return None
        metadata = parse_metadata(self.former, Targets, "the request's former metadata", name=self.role)
        return _checked(top, self.role, metadata, "the request's former metadata")


def read(path: Path) -> Request:
    """Read a request, and verify what it carries.

    Raises:
        MalformedError: it does not have the form of one.
        TrustError: its root chain, its former metadata or a signature does not verify.
        StoreError: it cannot be read.
    """
    file = _convert(parse(read_bounded(path, limit=REQUEST_MAX), str(path), cap=REQUEST_MAX), _File, path)
    if file.role not in ("root", WAIVER) and not NAMESPACE.fullmatch(file.role):
        raise MalformedError(f"{path} is for {visible(file.role)!r}, which is no role", hint=_AGAIN)
    rule = None
    if file.rule is not None:
        keys = tuple(_key(tree, path) for tree in file.rule.keys)
        rule = Rule(keys=keys, threshold=file.rule.threshold)
        from .lineup import check_rule

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
            raise MalformedError(f"{path} has the field {visible(unknown[0])[:40]!r}, which nobody knows", hint=_AGAIN)
        if after.version != len(request.roots) + 1:
            raise MalformedError(
                f"{path} is for root {after.version}, but follows root {len(request.roots)}", hint=_AGAIN
            )
        if request.chain and lineup(request.chain[-1]).purpose != lineup(after).purpose:
            raise TrustError(f"{path} changes what the root is for", hint="make a new depot for another purpose")
    else:
        _ = request.next_team
        known = {"_type", "spec_version", "version", "expires", "targets"}
        if unknown := sorted(set(request.signed) - known):
            raise MalformedError(f"{path} has the field {visible(unknown[0])[:40]!r}, which nobody knows", hint=_AGAIN)
        if request.targets is None or request.top() is None:
            raise MalformedError(f"{path} does not carry the top-level targets", hint=_AGAIN)
        request.former_team()
    _ = request.quorums


def _checked(delegator: Root | Targets, role: str, metadata: Any, where: str) -> Targets:
    from tuf.api.exceptions import UnsignedMetadataError

    try:
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except (UnsignedMetadataError, ValueError) as error:
        raise TrustError(f"{where} is not signed by those who may: {error}", hint=_AGAIN) from error
    signed: Targets = metadata.signed
    return signed


def _key(tree: Mapping[str, Any], path: Path) -> Key:
    if set(tree) != {"keyid", "keytype", "keyval", "scheme"} or not all(
        isinstance(tree[part], dict if part == "keyval" else str) for part in tree
    ):
        raise MalformedError(f"{path} has a key without its form", hint=_AGAIN)
    return key_of(tree, str(path))


def _tree(key: Key) -> dict[str, Any]:
    return {"keyid": key.keyid, **key.to_dict()}


def _convert(tree: object, kind: type[_Kind], path: Path) -> _Kind:
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        said = visible(str(error))[:200]
        raise MalformedError(f"{path} is not valid: {said[:1].lower()}{said[1:]}", hint=_AGAIN) from error
