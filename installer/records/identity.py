"""The site's own key: what it signs its receipts with. It is made on the site and never leaves it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sealift.durable import Draft, storing
from sealift.errors import TrustError
from sealift.reading import bounded

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY = "site-key.pem"
"""The key's file in the site's folder: PKCS#8 in PEM, of mode 0600. A site signs by itself, so it is in the clear."""
_KEY_MAX = 4096


def site_key(folder: Path) -> Ed25519PrivateKey:
    """The site's key, made if there is none yet. The site's lock is held.

    Raises:
        TrustError: the file is no such key, or others may read it.
        StoreError: the disk refuses.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

    path = folder / KEY
    content = bounded(path, _KEY_MAX)
    if content is None:
        key = Ed25519PrivateKey.generate()
        with storing(path), Draft(folder / f".tmp-{KEY}", mode=0o600) as draft:
            draft.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            draft.keep(path)
        return key
    with storing(path):
        if os.stat(path).st_mode & 0o077:
            raise TrustError(f"others may read the key of this site, {path}", hint=f"chmod 600 {path}")
    try:
        found = load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        raise TrustError(f"the key of this site, {path}, cannot be read", hint=_LOST) from error
    if not isinstance(found, Ed25519PrivateKey):
        raise TrustError(f"the key of this site, {path}, is of another kind", hint=_LOST)
    return found


def public_key(key: Ed25519PrivateKey) -> bytes:
    """The raw public key, 32 bytes."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


_LOST = "restore it from a backup of the site; or move it away, and tell the depot the fingerprint of the new one"
