"""Public keys as metadata holds them: which kinds are acceptable, in which one form, under which key id.

A kind is a key type and a signature scheme. A key is taken apart by its fixed form alone, without a decoder for
ASN.1, because it is looked at before anything about it is authenticated. What its parts are says whether two keys
are in truth one, or share the half of a hybrid: they would count twice toward a threshold.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from .digest import HEX, sha256
from .errors import MalformedError, TrustError
from .names import visible

HYBRID = ("sealift-hybrid", "ed25519+ml-dsa-65/1")
"""The key type and scheme of `sealift.hybrid`."""
SINCE = {
    ("ed25519", "ed25519"): "0.1.0",
    ("ecdsa", "ecdsa-sha2-nistp256"): "0.1.0",
    ("ecdsa", "ecdsa-sha2-nistp384"): "0.1.0",
    ("ml-dsa", "ml-dsa-65/1"): "0.2.0",
    HYBRID: "0.2.0",
}
"""The kinds that are acceptable, each with the first Sealift that reads it: a root may not name a kind that a site
does not know, since that site could never follow it."""
SCHEMES = frozenset(SINCE)
"""The key types and signature schemes that are acceptable."""

ED25519_BYTES = 32
"""Bytes of an Ed25519 public key (RFC 8032)."""
ML_DSA_65_BYTES = 1952
"""Bytes of an ML-DSA-65 public key (FIPS 204)."""
SIGNATURE_MAX = 64 + 3309
"""Bytes of the longest signature, a hybrid's: Ed25519 and ML-DSA-65."""
PUBLIC_MAX = 4096
"""Characters of the longest public key."""

_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----\n((?:[A-Za-z0-9+/=]{1,76}\n){1,48})-----END PUBLIC KEY-----\n?")
_SPKI = {
    "ecdsa-sha2-nistp256": (bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004"), 91),
    "ecdsa-sha2-nistp384": (bytes.fromhex("3076301006072a8648ce3d020106052b8104002203620004"), 120),
    "ml-dsa-65/1": (bytes.fromhex("308207b2300b0609608648016503040312038207a100"), 22 + ML_DSA_65_BYTES),
}
"""The SubjectPublicKeyInfo of an uncompressed point (RFC 5480) or of ML-DSA (RFC 9881): first bytes, length."""
_DIGITS = re.compile(f"(?:[0-9a-f]{{2}}){{{ED25519_BYTES + ML_DSA_65_BYTES}}}")


def key_id(keytype: str, scheme: str, keyval: Mapping[str, Any]) -> str:
    """The key id of a public key as `securesystemslib` computes it: the SHA-256 of its canonical JSON."""
    from securesystemslib.formats import encode_canonical

    text = encode_canonical({"keytype": keytype, "scheme": scheme, "keyval": dict(keyval)})
    return sha256((text or "").encode("utf-8"))


def parts(keytype: str, scheme: str, keyval: Mapping[str, Any], keyid: str, name: str) -> tuple[bytes, ...]:
    """What a public key consists of, the same however it is written: one part, or a hybrid's two.

    Args:
        keytype: its type.
        scheme: its signature scheme.
        keyval: its value, as metadata holds it.
        keyid: what it is called, for messages.
        name: where it stands, for messages.

    Raises:
        MalformedError: its value has not the form of one.
        TrustError: its kind is not acceptable, or it is no key of that kind.
    """
    if (keytype, scheme) not in SCHEMES:
        kind = visible(f"{keytype}/{scheme}")[:80]
        known = sorted(each for _, each in SCHEMES)
        raise TrustError(
            f"{name} uses a key of the kind {kind}, which this sealift does not accept",
            hint=f"the kinds are {', '.join(known[:-1])} and {known[-1]}; a newer sealift may know more",
        )
    public = keyval.get("public")
    if len(keyval) > 1:
        raise MalformedError(f"{name} has a key with an unknown field beside its public key: {keyid[:16]}…")
    if not isinstance(public, str) or len(public) > PUBLIC_MAX:
        raise MalformedError(f"{name} has a key whose value is not one public key: {keyid[:16]}…")
    if scheme == "ed25519":
        if HEX.fullmatch(public):
            return (bytes.fromhex(public),)
    elif (keytype, scheme) == HYBRID:
        if _DIGITS.fullmatch(public):
            raw = bytes.fromhex(public)
            return raw[:ED25519_BYTES], raw[ED25519_BYTES:]
    elif found := _PEM.fullmatch(public):
        prefix, length = _SPKI[scheme]
        try:
            der = base64.b64decode(found[1].replace("\n", ""), validate=True)
        except binascii.Error:
            der = b""
        if der.startswith(prefix) and len(der) == length:
            return (der[len(prefix) :],)
    raise TrustError(
        f"{name} has a public key that is no {scheme} key: {keyid[:16]}…",
        hint="do not use this copy: ask the people who made it where it comes from",
    )
