"""The hybrid of Ed25519 (RFC 8032) with ML-DSA-65 (FIPS 204): its signature holds only if both halves do.

Whoever breaks one of the two schemes forges nothing. A public key is the hexadecimal digits of both raw public
keys, Ed25519 first; a signature is both raw signatures in that order, so of one length, and neither half can be
left out. Both halves sign `PREFIX` and the SHA-512 of the message: a half that is taken out of a hybrid's
signature verifies under no key of another kind.

`tuf` learns of it by `register`, called before it reads a root.
"""

from __future__ import annotations

import hashlib
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import KEY_FOR_TYPE_AND_SCHEME, Key, Signature

from .public_keys import HYBRID, SIGNATURE_MAX, parts

PREFIX = b"sealift-hybrid/1\x00"
ED25519_SIGNATURE = 64
"""Bytes of the first half of a signature."""


class HybridKey(Key):
    """The public half of a hybrid key."""

    @classmethod
    def from_dict(cls, keyid: str, key_dict: dict[str, Any]) -> HybridKey:
        """The key that metadata holds as `key_dict`."""
        keytype, scheme, keyval = cls._from_dict(key_dict)
        return cls(keyid, keytype, scheme, keyval, key_dict)

    def to_dict(self) -> dict[str, Any]:
        """The key as metadata holds it."""
        return self._to_dict()

    def verify_signature(self, signature: Signature, data: bytes) -> None:
        """Check both halves.

        Raises:
            UnverifiedSignatureError: one of them does not verify, is missing, or is another key's.
        """
        try:
            raw = bytes.fromhex(signature.signature)
        except ValueError as error:
            raise UnverifiedSignatureError("the signature is not hexadecimal") from error
        if signature.keyid != self.keyid or len(raw) != SIGNATURE_MAX:
            raise UnverifiedSignatureError("the signature is not one of this hybrid key")
        classic, lattice = parts(self.keytype, self.scheme, self.keyval, self.keyid, "the key")
        payload = message(data)
        try:
            Ed25519PublicKey.from_public_bytes(classic).verify(raw[:ED25519_SIGNATURE], payload)
            MLDSA65PublicKey.from_public_bytes(lattice).verify(raw[ED25519_SIGNATURE:], payload)
        except (InvalidSignature, ValueError) as error:
            raise UnverifiedSignatureError("a half of the hybrid signature does not verify") from error


def message(data: bytes) -> bytes:
    """What both halves sign for `data`."""
    return PREFIX + hashlib.sha512(data).digest()


def register() -> None:
    """Let `tuf` and `securesystemslib` read hybrid keys."""
    KEY_FOR_TYPE_AND_SCHEME[HYBRID] = HybridKey
