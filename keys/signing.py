"""One signature, verified right after it was made: a device that holds another key than it says is noticed."""

from __future__ import annotations

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Signature, Signer

from sealift.errors import SealiftError, TrustError

_LOCKS = "a token locks itself after a few wrong PINs: make sure before trying again"
_SAID = {
    "PinIncorrect": ("the PIN is wrong", _LOCKS),
    "PinInvalid": ("that is no PIN of this token", _LOCKS),
    "PinLenRange": ("that is no PIN of this token", _LOCKS),
    "PinLocked": ("the token has locked itself after wrong PINs", "its security officer can set a new PIN"),
}
"""What the refusals of a PKCS#11 token mean, and what to do about them, by the name of the error."""


def sign(signer: Signer, message: bytes, what: str) -> Signature:
    """The signature of `signer` over `message`, once it was verified.

    Args:
        signer: a key, wherever it lies.
        message: what to sign.
        what: its name, for messages.

    Raises:
        TrustError: the key's place refused to sign, or the signature is not the key's.
    """
    key = signer.public_key
    try:
        signature = signer.sign(message)
    except SealiftError:
        raise
    except Exception as error:  # `securesystemslib` names no root of what its signers raise; nothing goes on here
        raise refusal(error, f"key {key.keyid[:8]} could not sign {what}") from error
    try:
        key.verify_signature(signature, message)
    except UnverifiedSignatureError as error:
        raise TrustError(
            f"key {key.keyid[:8]} made a signature over {what} that does not verify",
            hint="the private key does not belong to that public key: check which key or slot was opened",
        ) from error
    return signature


def refusal(error: Exception, message: str) -> TrustError:
    """What a key's place said, in our own words: `message`, and the reason."""
    name = type(error).__name__
    said, hint = _SAID.get(name, (" ".join(str(error).split())[:200] or name, None))
    if hint is None and "PYKCS11LIB" in said:
        hint = "PYKCS11LIB=/usr/lib/softhsm/libsofthsm2.so, or wherever the token's own library lies"
    fallback = "check that the device or service that holds the key can be reached, and the key's place"
    return TrustError(f"{message}: {said}", hint=hint or fallback)
