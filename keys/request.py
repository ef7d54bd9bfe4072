"""A signing request: what is to be signed, by whom, and what a holder needs to judge it without a network.

`sealift-keys` makes one for every change that people sign; `request_file` says how it travels. `roots` are the files
of the root chain from the first root to the newest: whoever knows the fingerprint of any of them knows that the rest
is real. A team's request also has the top-level targets, the team's former metadata, and the rule that is to hold
for the team once this is published.

Invariants: nothing that a person is shown comes from free text, but from the metadata itself; what is signed is the
canonical JSON of `signed`; a signature counts only by a key that may sign, and once it was verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import Key, Signature, Signer
from tuf.api.metadata import Root, Targets

from sealift import tuf_rules
from sealift import waiver as waivers
from sealift.digest import sha256
from sealift.errors import MalformedError, TrustError
from sealift.names import visible
from sealift.strict_json import canonical

from . import signing
from .lineup import WAIVER, Lineup, Rule, lineup
from .metadata import parse as parse_metadata
from .state import chain

AGAIN = "make the request anew on the depot's machine"
"""What to do about a request that is not what it should be."""


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
        """The metadata file or the waiver, with the request's own signatures unless others are given.

        Raises:
            MalformedError, TrustError: a site would not read it, whatever its signatures are worth.
        """
        given = self.signatures if signatures is None else signatures
        if self.role == WAIVER:
            found = waivers.of_tree(self.signed)
            made = waivers.encode(found, {keyid: each.signature for keyid, each in given.items()})
            waivers.read(made)
            return made
        made = canonical({"signatures": [given[keyid].to_dict() for keyid in sorted(given)], "signed": self.signed})
        tuf_rules.read(self.role, made, self.name)
        return made

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
            raise MalformedError(f"the request for {self.role} has no root", hint=AGAIN)
        return self.root

    @property
    def _line(self) -> Lineup:
        return lineup(self._known)

    @property
    def _team_rule(self) -> Rule:
        if self.rule is None:
            raise MalformedError(f"the request for {self.role} does not say who may sign", hint=AGAIN)
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


def _checked(delegator: Root | Targets, role: str, metadata: Any, where: str) -> Targets:
    from tuf.api.exceptions import UnsignedMetadataError

    try:
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except (UnsignedMetadataError, ValueError) as error:
        raise TrustError(f"{where} is not signed by those who may: {error}", hint=AGAIN) from error
    signed: Targets = metadata.signed
    return signed
