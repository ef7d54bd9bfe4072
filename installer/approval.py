"""Approvals: one of the site's approvers signs that one deployment may be made, until a certain time.

What is signed: the site, the environment, all that it declares but its secrets themselves, and the release by the
digest of its manifest. So an approval holds for nothing else, and for this again until it expires. The signature is
Ed25519 over a line that says what is signed, and the canonical JSON of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from sealift.digest import sha256
from sealift.durable import storing, write_file
from sealift.errors import MalformedError, StoreError, TrustError, UsageError
from sealift.names import visible
from sealift.reading import bounded
from sealift.strict_json import canonical, parse

from .environments.environment import Environment
from .records.state import Admitted, State

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

APPROVAL_MAX = 64 << 10
"""Bytes of an approval, and of a key file."""
_HEAD = b"sealift approval 1\n"
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_Hex = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Approval(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an approver signs."""

    format: Literal[1] = 1
    type: Literal["approval"]
    site: str
    """What the site is called."""
    root: _Hex
    """The fingerprint of the first root that it trusts."""
    environment: str
    declared: _Hex
    """The digest of all that the environment declares."""
    release: str
    """`name@version`."""
    manifest: _Hex
    expires: str


class Signed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An approval with its signature, which `read` has checked."""

    key: _Hex
    """The approver's public key."""
    signature: Annotated[str, Meta(pattern=r"^[0-9a-f]{128}\Z")]
    signed: Approval


def approval(environment: Environment, admitted: Admitted, site: State, expires: datetime) -> Approval:
    """What is to be signed for a deployment."""
    return Approval(
        type="approval",
        site=site.name,
        root=sha256(site.trust.roots[0]),
        environment=environment.name,
        declared=sha256(canonical(environment.declared)),
        release=admitted.label,
        manifest=admitted.part.release.sha256,
        expires=f"{expires.astimezone(UTC):{_TIME}}",
    )


def sign(said: Approval, key: Ed25519PrivateKey) -> bytes:
    """The file of a signed approval."""
    from .records.identity import public_key

    found = Signed(key=public_key(key).hex(), signature=key.sign(_message(said)).hex(), signed=said)
    return canonical(msgspec.to_builtins(found)) + b"\n"


def read(path: Path) -> Signed:
    """The approval in the file `path`, whose signature is its key's; whose key that is, is not asked here.

    Raises:
        UsageError: there is no such file.
        MalformedError: it is no approval.
        TrustError: the signature is not the key's.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    name = visible(str(path))
    content = bounded(path, APPROVAL_MAX, follow=True)
    if content is None:
        raise UsageError(f"{name}: there is no such approval", hint="sealift-install approve makes one")
    try:
        found = msgspec.convert(parse(content, name, cap=APPROVAL_MAX), Signed)
        datetime.strptime(found.signed.expires, _TIME)
    except (msgspec.ValidationError, ValueError) as error:
        raise MalformedError(f"{name} is no approval", hint="sealift-install approve makes one") from error
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(found.key)).verify(
            bytes.fromhex(found.signature), _message(found.signed)
        )
    except InvalidSignature as error:
        raise TrustError(
            f"the signature of {name} does not hold", hint="it was changed on its way: ask for another"
        ) from error
    return found


def approved(
    given: Iterable[Signed], environment: Environment, admitted: Admitted, site: State, reference: datetime
) -> dict[str, set[str]]:
    """Who of each role approves exactly this deployment, by a signature that has not expired.

    One key counts once for a role, whatever names it has there.
    """
    keys = set()
    for each in given:
        expires = datetime.strptime(each.signed.expires, _TIME).replace(tzinfo=UTC)
        if each.signed == approval(environment, admitted, site, expires) and reference < expires:
            keys.add(each.key)
    found: dict[str, set[str]] = {}
    for role, people in site.approvers.items():
        owners = {key: name for name, key in people.items() if key in keys}
        found[role] = set(owners.values())
    return found


def _message(said: Approval) -> bytes:
    tree: Mapping[str, Any] = msgspec.to_builtins(said)
    return _HEAD + canonical(tree)


def make_key(path: Path, passphrase: bytes) -> bytes:
    """Write a new key, encrypted, to the file `path`; return its public half, 32 bytes.

    Raises:
        UsageError: there is something already.
        StoreError: the disk refuses.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

    from .records.identity import public_key

    with storing(path):
        if path.exists() or path.is_symlink():
            raise UsageError(f"{visible(str(path))} is there already", hint="name a new file")
    key = Ed25519PrivateKey.generate()
    protection = BestAvailableEncryption(passphrase)
    write_file(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection), mode=0o600)
    return public_key(key)


def load_key(path: Path, passphrase: bytes) -> Ed25519PrivateKey:
    """The key in the file `path`.

    Raises:
        UsageError: there is no such file.
        TrustError: it is no such key, others may read it, or the passphrase is another one.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    name = visible(str(path))
    content = bounded(path, APPROVAL_MAX, follow=True)
    if content is None:
        raise UsageError(f"{name}: there is no such key", hint="sealift-install approver-key makes one")
    with storing(path):
        if path.stat().st_mode & 0o077:
            raise TrustError(f"others may read the key {name}", hint=f"chmod 600 {name}")
    try:
        key = load_pem_private_key(content, password=passphrase)
    except (ValueError, TypeError) as error:
        raise TrustError(f"{name} is no key, or has another passphrase") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise TrustError(f"{name} is a key of another kind")
    return key


def write(path: Path, content: bytes) -> None:
    """Write an approval to the file `path`.

    Raises:
        StoreError: there is something already, or the disk refuses.
    """
    with storing(path):
        if path.exists() or path.is_symlink():
            raise StoreError(f"{visible(str(path))} is there already", hint="name a new file with --out")
    write_file(path, content)
