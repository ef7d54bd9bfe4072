"""Private keys as files: PKCS#8 in PEM, encrypted unless the caller says otherwise by name.

Invariants: a key file is never overwritten; it is made with mode 0600 and refused when wider; its
passphrase is asked for only when the file needs one; its key id is the one that `securesystemslib` computes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sealift.durable import storing, sync_folder, write_all
from sealift.errors import TrustError, UsageError

from . import pbes2
from .reading import read_bounded

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from securesystemslib.signer import CryptoSigner

LIMIT = 64 * 1024
"""Bytes of the longest key file that is read."""
SCHEMES = ("ed25519",)
"""Signature schemes that a key may have; the first is the default."""

_PLAIN = "PRIVATE KEY"


def generate(
    path: Path,
    *,
    passphrase: bytes | None,
    scheme: str = SCHEMES[0],
    rounds: int = pbes2.KDF_ROUNDS,
    unsafe_unencrypted: bool = False,
) -> CryptoSigner:
    """Make a new private key, write it durably to `path` with mode 0600, and return it ready to sign.

    Args:
        path: a file that does not exist yet, in a folder that does.
        passphrase: what encrypts it.
        scheme: one of `SCHEMES`.
        rounds: the cost of the passphrase (PBKDF2 iterations).
        unsafe_unencrypted: write it in the clear when there is no passphrase.

    Raises:
        UsageError: there is no passphrase, the scheme is not known, or `path` exists.
        StoreError: the disk refused it; nothing is left at `path`.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from securesystemslib.signer import CryptoSigner

    if passphrase is None and not unsafe_unencrypted:
        raise UsageError(f"{path}: a private key needs a passphrase", hint="give one, or ask for none by name")
    private = _makers(scheme)()
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    content = pbes2.pem(der, _PLAIN) if passphrase is None else pbes2.encrypt(der, passphrase, rounds=rounds)
    _write_new(path, content)
    return CryptoSigner(private)


def load(
    path: Path,
    passphrase_source: Callable[[], bytes],
    *,
    unsafe_unencrypted: bool = False,
) -> CryptoSigner:
    """The private key in `path`, ready to sign.

    Args:
        path: a PKCS#8 PEM file.
        passphrase_source: gives the passphrase; called once, and only when the key is encrypted.
        unsafe_unencrypted: accept a key that lies in the clear.

    Raises:
        TrustError: others may read the file, another user owns it, the passphrase is wrong, the key is
            in the clear, or it is of no accepted kind.
        StoreError: the file cannot be read.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner, SSlibKey

    content = read_bounded(path, limit=LIMIT, private=True)
    label = content.lstrip().split(b"-----", 2)[1:2]
    encrypted = label == [f"BEGIN {pbes2.LABEL}".encode()]
    if not encrypted and label != [f"BEGIN {_PLAIN}".encode()]:
        raise TrustError(
            f"{path} holds no PKCS#8 private key in PEM",
            hint=f"convert it: openssl pkcs8 -topk8 -v2prf hmacWithSHA256 -iter {pbes2.KDF_ROUNDS} -in FILE",
        )
    if not encrypted and not unsafe_unencrypted:
        raise TrustError(
            f"{path} is a private key in the clear",
            hint="encrypt it with openssl pkcs8 -topk8, or accept it by name with --unsafe-no-passphrase",
        )
    passphrase = passphrase_source() if encrypted else None
    try:
        private = load_pem_private_key(content, passphrase)
        public = SSlibKey.from_crypto(private.public_key())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if encrypted:
            raise TrustError(
                f"the passphrase for {path} is wrong, or the file is damaged",
                hint="try the passphrase again; a damaged key must come from its backup",
            ) from error
        raise TrustError(f"{path} holds no private key that can be read", hint="restore it from its backup") from error
    if public.scheme not in SCHEMES:
        raise TrustError(f"{path} is a key for {public.scheme}", hint=f"use a key for {' or '.join(SCHEMES)}")
    return CryptoSigner(private, public)


def _makers(scheme: str) -> Callable[[], Ed25519PrivateKey]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    makers = {"ed25519": Ed25519PrivateKey.generate}
    if scheme not in makers:
        raise UsageError(f"{scheme[:40]!r} is no signature scheme", hint=f"use {' or '.join(SCHEMES)}")
    return makers[scheme]


def _write_new(path: Path, content: bytes) -> None:
    with storing(path):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError as error:
            raise UsageError(f"{path} is already there", hint="a key is never overwritten") from error
        try:
            try:
                os.fchmod(descriptor, 0o600)
                write_all(descriptor, content)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            sync_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise
