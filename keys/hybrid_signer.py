"""Signing with both halves of a hybrid key, see `sealift.hybrid`."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from securesystemslib.signer import Key, SecretsHandler, Signature, Signer

from sealift.hybrid import HybridKey, message
from sealift.public_keys import HYBRID, key_id


class HybridSigner(Signer):
    """Two private keys that sign as one."""

    def __init__(self, classic: Ed25519PrivateKey, lattice: MLDSA65PrivateKey) -> None:
        self._classic, self._lattice = classic, lattice
        public = classic.public_key().public_bytes_raw() + lattice.public_key().public_bytes_raw()
        keyval = {"public": public.hex()}
        self._public = HybridKey(key_id(*HYBRID, keyval), *HYBRID, keyval)

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> HybridSigner:
        """Not by a URI: `keys.keyfile.load` reads both halves.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"a hybrid key is a file, and not {priv_key_uri}")

    @property
    def public_key(self) -> HybridKey:
        """Its public key."""
        return self._public

    def sign(self, payload: bytes) -> Signature:
        """The signature of both halves over `payload`."""
        signed = message(payload)
        return Signature(self._public.keyid, (self._classic.sign(signed) + self._lattice.sign(signed)).hex())
