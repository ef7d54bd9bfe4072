"""SHA-256 (FIPS 180-4) of what crosses the gap, always as 64 lower-case hexadecimal digits."""

from __future__ import annotations

import hashlib
import re

from .errors import IntegrityError, MalformedError

HEX = re.compile(r"[0-9a-f]{64}")


def sha256(content: bytes | memoryview) -> str:
    """The digest of `content`."""
    return hashlib.sha256(content).hexdigest()


def check_form(digest: str, what: str) -> str:
    """Return `digest` if it has the form of one.

    Raises:
        MalformedError: it has not.
    """
    if not HEX.fullmatch(digest):
        raise MalformedError(f"{what} names no sha-256 digest: {digest[:80]!r}")
    return digest


def check(content: bytes | memoryview, digest: str, what: str) -> None:
    """Refuse `content` unless its digest is `digest`.

    Raises:
        IntegrityError: it is not.
    """
    found = sha256(content)
    if found != digest:
        raise IntegrityError(
            f"{what} does not match its digest: expected {digest[:16]}…, found {found[:16]}…",
            hint="the copy is damaged or was changed: fetch it again from where it was made",
        )
