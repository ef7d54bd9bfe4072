"""Private keys as files: PKCS#8 in PEM, encrypted unless the caller says otherwise by name; a hybrid is two of them.

Invariants: a key file is never overwritten; it is made with mode 0600 and refused when wider; its
passphrase is asked for only when the file needs one; its key id is the one that `securesystemslib` computes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sealift.durable import storing, sync_folder, write_all
from sealift.errors import TrustError, UsageError
from sealift.public_keys import SCHEMES as KINDS

from . import pbes2
from .reading import read_bounded

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from securesystemslib.signer import Signer

LIMIT = 64 * 1024
"""Bytes of the longest key file that is read."""
SCHEMES = ("ed25519", "ecdsa-p256", "ecdsa-p384", "ml-dsa-65", "hybrid")
"""What a key may be, as a person names it; the first is the default. The hybrid is of Ed25519 and ML-DSA-65."""

_PLAIN = "PRIVATE KEY"
_BEGIN = b"-----BEGIN "


def generate(
    path: Path,
    *,
    passphrase: bytes | None,
    scheme: str = SCHEMES[0],
    rounds: int = pbes2.KDF_ROUNDS,
    unsafe_unencrypted: bool = False,
) -> Signer:
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

    if passphrase is None and not unsafe_unencrypted:
        raise UsageError(f"{path}: a private key needs a passphrase", hint="give one, or ask for none by name")
    privates = [make() for make in _makers(scheme)]
    content = b""
    for private in privates:
        der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        content += pbes2.pem(der, _PLAIN) if passphrase is None else pbes2.encrypt(der, passphrase, rounds=rounds)
    write_new(path, content, mode=0o600)
    return _signer(privates, path)


def load(
    path: Path,
    passphrase_source: Callable[[], bytes],
    *,
    unsafe_unencrypted: bool = False,
) -> Signer:
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

    blocks = _blocks(read_bounded(path, limit=LIMIT, private=True))
    labels = {block.lstrip().split(b"-----", 2)[1] if block.lstrip().startswith(b"-----") else b"" for block in blocks}
    encrypted = labels == {f"BEGIN {pbes2.LABEL}".encode()}
    if not encrypted and labels != {f"BEGIN {_PLAIN}".encode()}:
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
        return _signer([load_pem_private_key(block, passphrase) for block in blocks], path)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if encrypted:
            raise TrustError(
                f"the passphrase for {path} is wrong, or the file is damaged",
                hint="try the passphrase again; a damaged key must come from its backup",
            ) from error
        raise TrustError(f"{path} holds no private key that can be read", hint="restore it from its backup") from error


def _blocks(content: bytes) -> list[bytes]:
    """The PEM blocks of a file, each from its first line on; the whole file where there is none."""
    head, *rest = content.split(_BEGIN)
    return [head + _BEGIN + rest[0], *(_BEGIN + each for each in rest[1:])] if rest else [content]


def _signer(privates: Sequence[PrivateKeyTypes], path: Path) -> Signer:
    """What signs with one private key, or with the two of a hybrid.

    Raises:
        TrustError: they are of no kind that is accepted.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
    from securesystemslib.signer import CryptoSigner, SSlibKey

    match privates:
        case [Ed25519PrivateKey() as classic, MLDSA65PrivateKey() as lattice]:
            from .hybrid_signer import HybridSigner

            return HybridSigner(classic, lattice)
        case [private]:
            public = SSlibKey.from_crypto(private.public_key())
            if (public.keytype, public.scheme) in KINDS:
                return CryptoSigner(private, public)
            raise TrustError(f"{path} is a key for {public.scheme}", hint=f"use a key for {' or '.join(SCHEMES)}")
    raise TrustError(
        f"{path} holds {len(privates)} private keys that are no hybrid",
        hint="a hybrid key is an Ed25519 key and, behind it, an ML-DSA-65 key",
    )


def _makers(scheme: str) -> Sequence[Callable[[], PrivateKeyTypes]]:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

    makers: dict[str, Sequence[Callable[[], PrivateKeyTypes]]] = {
        "ed25519": [Ed25519PrivateKey.generate],
        "ecdsa-p256": [partial(ec.generate_private_key, ec.SECP256R1())],
        "ecdsa-p384": [partial(ec.generate_private_key, ec.SECP384R1())],
        "ml-dsa-65": [MLDSA65PrivateKey.generate],
        "hybrid": [Ed25519PrivateKey.generate, MLDSA65PrivateKey.generate],
    }
    if scheme not in makers:
        raise UsageError(f"{scheme[:40]!r} is no signature scheme", hint=f"use {' or '.join(SCHEMES)}")
    return makers[scheme]


def write_new(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file that does not exist yet, durably.

    Raises:
        UsageError: something is at `path`.
        StoreError: the disk refused it; nothing is left at `path`.
    """
    with storing(path):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        except FileExistsError as error:
            raise UsageError(
                f"{path} is already there", hint="a key is never overwritten: name another file"
            ) from error
        try:
            try:
                os.fchmod(descriptor, mode)
                write_all(descriptor, content)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            sync_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise
