"""What a root says beyond TUF, in one field of its signed part: what it is for, and who may waive an expiry.

    "x-sealift": {"purpose": "development", "waiver": {"keyids": [...], "threshold": 2}}

Both are optional; a root without the field is for production and lets nobody waive anything. TUF readers pass
over fields that they do not know, and the root's signatures cover it as they cover everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .errors import MalformedError, TrustError
from .names import visible

FIELD = "x-sealift"
"""The field of a root's signed part."""
WAIVER = "waiver"
"""The role that signs waivers. It is none of TUF's, so it stands here and not among the root's roles."""

Purpose = Literal["production", "development"]

_DISTRUST = "do not use this root: ask the people who made it where it comes from"


class Role(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which of the root's keys count, and how many of them are needed."""

    keyids: Annotated[tuple[Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")], ...], Meta(max_length=256)]
    threshold: int


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a root says in `FIELD`."""

    purpose: Purpose = "production"
    """What the root is for; a chain of roots never changes it."""
    waiver: Role | None = None
    """Whose waivers count, while this root is the newest."""


def terms(signed: Mapping[str, Any]) -> Terms:
    """The terms in the signed part of a root, which has `keys`.

    Raises:
        MalformedError: they do not have their form.
        TrustError: the waiver role's keys or threshold are not acceptable.
    """
    if FIELD not in signed:
        return Terms()
    try:
        found = msgspec.convert(signed[FIELD], Terms)
    except msgspec.ValidationError as error:
        said = visible(str(error))[:200]
        raise MalformedError(f"the root's {FIELD} is not valid: {said[:1].lower()}{said[1:]}") from error
    if found.waiver is not None:
        check_role(WAIVER, found.waiver, signed.get("keys", {}), "the root")
    return found


def check_role(role: str, rule: Role, keys: Mapping[str, Any], name: str) -> None:
    """Refuse a role that counts a key twice or an unknown key, or whose threshold nobody or not all keys can meet.

    Raises:
        TrustError: it is such a role.
    """
    shown = visible(role)[:64]
    if len(set(rule.keyids)) != len(rule.keyids):
        raise TrustError(f"{name} counts a key id twice for the role {shown}", hint=_DISTRUST)
    if not keys.keys() >= set(rule.keyids):
        raise TrustError(f"{name} names a key for the role {shown} that it does not hold", hint=_DISTRUST)
    if not 1 <= rule.threshold <= len(rule.keyids):
        raise TrustError(
            f"{name} asks for {rule.threshold} of {len(rule.keyids)} keys for the role {shown}", hint=_DISTRUST
        )
