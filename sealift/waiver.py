"""Waivers: a signed and dated word that one bundle may be admitted although its metadata has expired.

Carriage may be slow. A waiver names the timestamp of one export, by version and digest, and nothing else: whoever
holds the root's waiver role says that this one was late, and not held back. It waives no signature, no version and
not the root's own expiry; it ends after `DAYS_MAX` days at most; and it may be for one site alone.

    {"signatures":[{"keyid":…,"sig":…}],"signed":{"_type":"waiver","expires":…,"issued":…,"reason":…,"site":…,
     "spec_version":"1.0","timestamp":{"sha256":…,"version":…}}}

The file is TUF's canonical JSON, and so are the bytes that are signed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .digest import sha256
from .errors import MalformedError, TrustError
from .names import check_release, visible
from .strict_json import INTEGER_MAX, canonical, parse
from .tuf_rules import Document, Envelope, time_of

WAIVER_MAX = 256 * 1024
"""Bytes that the file of a waiver may have."""
DAYS_MAX = 90
"""Days that a waiver may live."""

_ASK = "ask the security team for a waiver of this bundle: `sealift-keys waive`"
_Time = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")]


class Stamp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The timestamp metadata that is waived for."""

    version: Annotated[int, Meta(ge=1, le=INTEGER_MAX)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    """Of the bytes of `timestamp.json`."""


class Waiver(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename={"kind": "_type"}
):
    """The signed part of a waiver."""

    kind: Literal["waiver"]
    spec_version: Literal["1.0"]
    timestamp: Stamp
    issued: _Time
    expires: _Time
    reason: Annotated[str, Meta(min_length=1, max_length=500)]
    """Why, in printable characters."""
    site: str | None = None
    """The name of the only site that it is for; for every site where it is absent."""

    @property
    def signed(self) -> dict[str, Any]:
        """The signed part as a JSON tree."""
        return dict(msgspec.to_builtins(self))


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A waiver that holds for a bundle, at a site, at a time."""

    waiver: Waiver
    sha256: str
    """Of its file."""
    signers: tuple[str, ...]
    """The key ids that signed it."""


def waiver(
    timestamp: bytes, version: int, *, issued: datetime, expires: datetime, reason: str, site: str | None = None
) -> Waiver:
    """A waiver for the timestamp metadata `timestamp`, checked as a site checks it, and not yet signed.

    Raises:
        MalformedError: the reason, the site or the times are not acceptable.
    """
    made = Waiver(
        kind="waiver",
        spec_version="1.0",
        timestamp=Stamp(version=version, sha256=sha256(timestamp)),
        issued=f"{issued.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        expires=f"{expires.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        reason=reason,
        site=site,
    )
    return of_tree(made.signed)


def of_tree(signed: Mapping[str, Any]) -> Waiver:
    """The waiver that the signed part `signed` is; who signed it is not checked.

    Raises:
        MalformedError: it does not have its form.
    """
    try:
        found = msgspec.convert(signed, Waiver)
    except msgspec.ValidationError as error:
        said = visible(str(error))[:200]
        raise MalformedError(f"the waiver is not valid: {said[:1].lower()}{said[1:]}") from error
    if visible(found.reason) != found.reason or not found.reason.isprintable():
        raise MalformedError("the waiver's reason holds characters that are not printable")
    if found.site is not None:
        check_release(found.site)
    issued, expires = time_of(found.issued, "the waiver"), time_of(found.expires, "the waiver")
    if not issued < expires <= issued + timedelta(days=DAYS_MAX):
        raise MalformedError(
            f"the waiver lasts from {found.issued} to {found.expires}, which is not between 0 and {DAYS_MAX} days"
        )
    return found


def message(signed: Mapping[str, Any]) -> bytes:
    """The bytes that are signed."""
    return canonical(signed)


def encode(found: Waiver, signatures: Mapping[str, str]) -> bytes:
    """The file of a waiver, with signatures (hexadecimal) by key id."""
    listed = [{"keyid": keyid, "sig": signature} for keyid, signature in sorted(signatures.items())]
    return canonical({"signatures": listed, "signed": found.signed})


def read(content: bytes) -> tuple[Waiver, dict[str, str]]:
    """The waiver in a file, and its signatures by key id, which are not checked.

    Raises:
        MalformedError: it is none.
        TrustError: it is signed twice under one key id.
    """
    tree = parse(content, "the waiver", cap=WAIVER_MAX)
    try:
        envelope = msgspec.convert(tree, Envelope)
    except msgspec.ValidationError as error:
        said = visible(str(error))[:200]
        raise MalformedError(f"the waiver is not valid: {said[:1].lower()}{said[1:]}") from error
    if canonical(tree) != content:
        raise MalformedError("the waiver is not in canonical form")
    signatures = {each.keyid: each.sig for each in envelope.signatures}
    if len(signatures) != len(envelope.signatures):
        raise TrustError("the waiver is signed twice under one key id", hint=_ASK)
    return of_tree(envelope.signed), signatures


def accept(
    content: bytes, root: Document, timestamp: Document, *, reference: datetime, site: str | None = None
) -> Accepted:
    """Refuse a waiver unless `root` lets its signers waive, and it is for this timestamp, time and site.

    Args:
        content: the file.
        root: the newest root of the chain that was walked, its signatures verified.
        timestamp: the offered timestamp, which may not be verified yet.
        reference: the time by which expiry is judged.
        site: what this site is called; None where it has no name.

    Raises:
        MalformedError: it is no waiver.
        TrustError: it does not hold here.
    """
    found, signatures = read(content)
    signers = _signers(found, signatures, root)
    if (found.timestamp.version, found.timestamp.sha256) != (timestamp.version, sha256(timestamp.content)):
        raise TrustError(
            f"the waiver is for another bundle: it names timestamp {found.timestamp.version}"
            f" ({found.timestamp.sha256[:16]}…), and this bundle has timestamp {timestamp.version}",
            hint=_ASK,
        )
    if found.site is not None and found.site != site:
        raise TrustError(
            f"the waiver is for the site {found.site}, and this one is called {site or 'nothing'}", hint=_ASK
        )
    now = reference.astimezone(UTC)
    if now < time_of(found.issued, "the waiver"):
        raise TrustError(
            f"the waiver is not valid before {found.issued}, and it is {now:%Y-%m-%dT%H:%M:%SZ} here",
            hint="check this machine's clock",
        )
    if now >= time_of(found.expires, "the waiver"):
        raise TrustError(f"the waiver expired at {found.expires}, and it is {now:%Y-%m-%dT%H:%M:%SZ} here", hint=_ASK)
    return Accepted(waiver=found, sha256=sha256(content), signers=signers)


def _signers(found: Waiver, signatures: Mapping[str, str], root: Document) -> tuple[str, ...]:
    """The key ids that signed it, as many as the waiver role needs or more."""
    from securesystemslib.exceptions import Error as SecureSystemsError
    from securesystemslib.signer import Key, Signature

    from .hybrid import register

    register()
    role = root.terms.waiver if root.terms else None
    if role is None:
        raise TrustError(
            f"root {root.version} lets nobody waive an expiry", hint="ask for a fresh export, or for a new root"
        )
    good = []
    for keyid in role.keyids:
        if keyid in signatures:
            key = Key.from_dict(keyid, dict(root.signed["keys"][keyid]))
            try:
                key.verify_signature(Signature(keyid, signatures[keyid]), message(found.signed))
            except (SecureSystemsError, ValueError) as error:
                raise TrustError(f"the waiver bears a signature of {keyid[:8]} that is not good", hint=_ASK) from error
            good.append(keyid)
    if len(good) < role.threshold:
        raise TrustError(
            f"the waiver is signed by {len(good)} of the {role.threshold} keys of the waiver role that are needed",
            hint=_ASK,
        )
    return tuple(good)
