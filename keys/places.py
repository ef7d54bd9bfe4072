"""Where private keys live: an encrypted file, or whatever a URI of `securesystemslib` names.

A place is a path, or a URI such as `hsm:2?label=root-a` (a PKCS#11 token), `awskms:…`, `gcpkms:…`, `azurekms:…`,
`hv:…` (Vault) or `ssh-agent:…` (which this project adds, `keys.agent_signer`). Everything but a file goes through
`securesystemslib.signer.Signer.from_priv_key_uri`, which takes the public key too: what signs is checked against it
after each signature, so that a wrong slot is noticed.

What a place needs to know to open (a passphrase, a PIN) is asked for once, and only when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from sealift.errors import SealiftError, TrustError, UsageError
from sealift.key_services import let_in
from sealift.names import visible
from sealift.public_keys import SCHEMES

if TYPE_CHECKING:
    from securesystemslib.signer import Key, Signer

FILE = "file"
_EXTRAS = {"hsm": "hsm", "awskms": "aws", "azurekms": "azure", "gcpkms": "gcp", "hv": "vault"}
"""The extra of this project that brings what a URI scheme needs."""

_REFUSED = frozenset({"file2", "gnupg"})
"""Schemes of `securesystemslib` that are no places: key files are read by `keys.keyfile`, and of GnuPG's signatures
no site knows the form."""


class Secrets(Protocol):
    """Gives what opens a place, such as a `PassphraseSource`."""

    def existing(self, what: str) -> bytes:
        """The passphrase of the key file that it is told."""

    def pin(self, what: str) -> bytes:
        """The PIN of the token that it is told."""


def scheme(place: str) -> str:
    """The URI scheme of `place`, `file` for a path.

    Raises:
        UsageError: it is of a scheme that is not known.
    """
    from securesystemslib.signer import SIGNER_FOR_URI_SCHEME

    from .agent_signer import SCHEME, AgentSigner

    head, colon, _ = place.partition(":")
    if not colon or "/" in head or head == FILE:
        return FILE
    SIGNER_FOR_URI_SCHEME.setdefault(SCHEME, AgentSigner)
    if head not in SIGNER_FOR_URI_SCHEME or head in _REFUSED:
        known = ", ".join(sorted(SIGNER_FOR_URI_SCHEME.keys() - _REFUSED))
        raise UsageError(
            f"{visible(head)[:40]!r} is no place for keys",
            hint="a key of GnuPG signs through its agent: name it as ssh-agent:SHA256:…, as `ssh-add -l` lists it"
            if head == "gnupg"
            else f"name a file, or a URI that begins with one of {known}",
        )
    return head


def path_of(place: str) -> Path:
    """The file that `place` names."""
    return Path(place.removeprefix(f"{FILE}:"))


def open_signer(place: str, key: Key | None, secrets: Secrets, *, unsafe_unencrypted: bool = False) -> Signer:
    """The private key at `place`, ready to sign.

    Args:
        place: a path or a URI.
        key: the public key that it must have; None takes the one that is found there, where the place can be asked.
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
        found = load(path, lambda: secrets.existing(str(path)), unsafe_unencrypted=unsafe_unencrypted)
        _check_same(found, key, place)
        return found
    once = _once(place, secrets)
    let_in(kind)
    try:
        if key is None:
            key = _ask(place, kind, once)
        return Signer.from_priv_key_uri(place, key, once)
    except SealiftError:
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
            known.append(secrets.pin(f"{place} ({name.upper()})").decode("utf-8", "surrogateescape"))
        return known[0]

    return ask


def _ask(place: str, kind: str, secrets: Callable[[str], str]) -> Key:
    """The public key at `place`, from the device, the agent or the service itself."""
    from urllib.parse import parse_qs, urlparse

    from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, AWSSigner, HSMSigner, VaultSigner

    from .agent_signer import SCHEME, AgentSigner

    uri = urlparse(place)
    found, key = place, None
    if kind == SCHEME:
        key = AgentSigner.import_(place)
    elif kind == HSMSigner.SCHEME:
        label = parse_qs(uri.query).get("label", [None])[0]
        _, key = HSMSigner.import_(int(uri.path) if uri.path else None, label, secrets)
    elif kind == AWSSigner.SCHEME:
        _, key = cast("type[AWSSigner]", SIGNER_FOR_URI_SCHEME[kind]).import_(uri.path)
    elif kind == VaultSigner.SCHEME:
        found, key = cast("type[VaultSigner]", SIGNER_FOR_URI_SCHEME[kind]).import_(uri.path.partition("/")[0])
    if key is None:
        raise UsageError(
            f"the public key of {visible(place)[:200]} is not known",
            hint="export it as PEM, and name both: sealift-keys key PLACE --public FILE",
        )
    if found != place:
        raise UsageError(
            f"{visible(place)[:200]} is not the newest version of that key, which is {visible(found)[:200]}",
            hint="name that one, or export the public key as PEM and name both: sealift-keys key PLACE --public FILE",
        )
    if (key.keytype, key.scheme) not in SCHEMES:
        raise TrustError(f"{visible(place)[:200]} is a key for {key.scheme}", hint="use Ed25519, P-256 or P-384")
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
