"""Where private keys live: an encrypted file, or whatever a URI of `securesystemslib` names.

A place is a path, or a URI such as `hsm:2?label=root-a` (a PKCS#11 token), `awskms:…`, `gcpkms:…`, `azurekms:…` or
`hv:…` (Vault). Everything but a file goes through `securesystemslib.signer.Signer.from_priv_key_uri`, which takes the
public key too: what signs is checked against it after each signature, so that a wrong slot is noticed.

What a place needs to know to open (a passphrase, a PIN) is asked for once, and only when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sealift.errors import TrustError, UsageError
from sealift.names import visible
from sealift.public_keys import SCHEMES

if TYPE_CHECKING:
    from securesystemslib.signer import Key, Signer

FILE = "file"
_EXTRAS = {"hsm": "hsm", "awskms": "aws", "azurekms": "azure", "gcpkms": "gcp", "hv": "vault"}
"""The extra of this project that brings what a URI scheme needs."""

Secrets = Callable[[str], bytes]
"""Gives the passphrase or PIN for the thing that it is told, such as `PassphraseSource.existing`."""


def scheme(place: str) -> str:
    """The URI scheme of `place`, `file` for a path.

    Raises:
        UsageError: it is of a scheme that is not known.
    """
    from securesystemslib.signer import SIGNER_FOR_URI_SCHEME

    head, colon, _ = place.partition(":")
    if not colon or "/" in head or head == FILE:
        return FILE
    if head not in SIGNER_FOR_URI_SCHEME or head in ("file2", "gnupg"):
        known = ", ".join(sorted(each for each in SIGNER_FOR_URI_SCHEME if each not in ("file2", "gnupg")))
        raise UsageError(
            f"{visible(head)[:40]!r} is no place for keys",
            hint=f"name a file, or a URI that begins with one of {known}"
            + ("; a site reads no signatures of GnuPG" if head == "gnupg" else ""),
        )
    return head


def path_of(place: str) -> Path:
    """The file that `place` names."""
    return Path(place.removeprefix(f"{FILE}:"))


def open_signer(place: str, key: Key | None, secrets: Secrets, *, unsafe_unencrypted: bool = False) -> Signer:
    """The private key at `place`, ready to sign.

    Args:
        place: a path or a URI.
        key: the public key that it must have; for a file and for an HSM None takes the one that is found there.
        secrets: gives the passphrase or the PIN.
        unsafe_unencrypted: accept a key file that lies in the clear.

    Raises:
        UsageError: the place is of a scheme that is not known or needs an extra, or needs its public key.
        TrustError: it does not open, or holds another key.
        StoreError: a file cannot be read.
    """
    from securesystemslib.exceptions import UnsupportedLibraryError
    from securesystemslib.signer import Signer

    kind = scheme(place)
    if kind == FILE:
        from .keyfile import load

        path = path_of(place)
        found = load(path, lambda: secrets(str(path)), unsafe_unencrypted=unsafe_unencrypted)
        _check_same(found, key, place)
        return found
    once = _once(place, secrets)
    try:
        if key is None:
            key = _ask(place, kind, once)
        return Signer.from_priv_key_uri(place, key, once)
    except (TrustError, UsageError):
        raise
    except UnsupportedLibraryError as error:
        raise _missing(kind) from error
    except Exception as error:  # `securesystemslib` names no root of what its signers raise; nothing goes on here
        from .signing import refusal

        raise refusal(error, f"{visible(place)[:200]} does not open") from error


def _once(place: str, secrets: Secrets) -> Callable[[str], str]:
    """Asks for the secret of `place` when it is first needed, and never again."""
    known: list[str] = []

    def ask(name: str) -> str:
        if not known:
            known.append(secrets(f"{place} ({name.upper()})").decode("utf-8", "surrogateescape"))
        return known[0]

    return ask


def _ask(place: str, kind: str, secrets: Callable[[str], str]) -> Key:
    """The public key at `place`, from the device itself."""
    from urllib.parse import parse_qs, urlparse

    from securesystemslib.signer import HSMSigner

    if kind != HSMSigner.SCHEME:
        raise UsageError(
            f"the public key of {visible(place)[:200]} is not known",
            hint="export it as PEM, and name both: sealift-keys key PLACE --public FILE",
        )
    uri = urlparse(place)
    label = parse_qs(uri.query).get("label", [None])[0]
    _, key = HSMSigner.import_(int(uri.path) if uri.path else None, label, secrets)
    if (key.keytype, key.scheme) not in SCHEMES:
        raise TrustError(f"{visible(place)[:200]} is a key for {key.scheme}", hint="use one of P-256 or P-384")
    return key


def _check_same(found: Signer, key: Key | None, place: str) -> None:
    if key is not None and found.public_key != key:
        raise TrustError(
            f"{visible(place)[:200]} holds the key {found.public_key.keyid[:8]}, and not {key.keyid[:8]}",
            hint="name the place of the key that is meant: sealift-keys show lists them",
        )


def _missing(kind: str) -> UsageError:
    extra = _EXTRAS.get(kind)
    hint = f"install sealift with its extra {extra!r}" if extra else "see the page of securesystemslib for that scheme"
    return UsageError(f"keys at {kind}: need a package that is not installed", hint=hint)
