"""What a depot has published: releases by their names, as its signed metadata lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealift.errors import UsageError
from sealift.listing import Blob
from sealift.manifest import target_of_release

from .depot import Depot

if TYPE_CHECKING:
    from keys.repository import State


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A release that the depot published before, `name@version`."""

    name: str
    version: str


def published_release(state: State, name: str, version: str) -> Blob | None:
    """The manifest of a release that the signed metadata lists."""
    target = state.target(target_of_release(name, version))
    return Blob(sha256=target.hashes["sha256"], length=target.length) if target else None


def require(state: State, depot: Depot, name: str, version: str) -> Blob:
    """The manifest of a release that the depot must have published.

    Raises:
        UsageError: it did not.
    """
    blob = published_release(state, name, version)
    if blob is None:
        raise UsageError(
            f"the depot has no release {name}@{version}",
            hint=f"see what it has: sealift-bundle list --depot {depot.folder}",
        )
    return blob
