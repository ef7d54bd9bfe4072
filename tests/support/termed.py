"""Depots of `tests.tufmaker` whose roots say more than TUF does, and the waivers that their holders sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from securesystemslib.signer import Signer

from sealift.waiver import encode, message, waiver
from tests.tufmaker import FUTURE, NOW, Depot, Tree, key_id, key_tree, load


@dataclass(frozen=True, kw_only=True)
class TermedDepot(Depot):
    """A depot whose roots have a purpose, or a waiver role, or both."""

    purpose: str | None = None
    holders: Sequence[Signer] = ()
    """Whose keys may waive."""
    needed: int = 1

    def root_tree(self, version: int = 1, *, expires: str = FUTURE) -> Tree:
        """The signed part of a root."""
        tree = super().root_tree(version, expires=expires)
        terms: Tree = {"purpose": self.purpose} if self.purpose else {}
        if self.holders:
            tree["keys"] |= {key_id(key): key_tree(key) for key in self.holders}
            terms["waiver"] = {"keyids": [key_id(key) for key in self.holders], "threshold": self.needed}
        return tree | ({"x-sealift": terms} if terms else {})


def waived(
    timestamp: bytes,
    signers: Sequence[Signer],
    *,
    issued: datetime = NOW,
    days: float = 30,
    reason: str = "the ship was late",
    site: str | None = None,
    changes: Tree | None = None,
) -> bytes:
    """The file of a waiver for the metadata `timestamp`, signed by `signers`; `changes` spoil what is signed."""
    version = load(timestamp)["signed"]["version"]
    made = waiver(timestamp, version, issued=issued, expires=issued + timedelta(days=days), reason=reason, site=site)
    if changes is None:
        return encode(made, {key_id(key): key.sign(message(made.signed)).signature for key in signers})
    from sealift.strict_json import canonical

    signed: dict[str, Any] = {**made.signed, **changes}
    signed = {key: value for key, value in signed.items() if value is not None}
    made_by = sorted((key_id(key), key.sign(message(signed)).signature) for key in signers)
    return canonical({"signatures": [{"keyid": keyid, "sig": sig} for keyid, sig in made_by], "signed": signed})
