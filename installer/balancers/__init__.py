"""Balancers: the proxies of a site that share traffic out between slots. One module here, or one entry point, is one.

A balancer module offers two names:

- `SCHEMA`: the JSON Schema of the keys that a strategy gives a proxy of this kind.
- `balancer(settings, slots, room)`: the `Balancer` that these settings name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

Shares = Mapping[str, int]
"""The share of the traffic that each slot gets, in percent; 0 everywhere, or 100 together."""


@dataclass(frozen=True, kw_only=True)
class Count:
    """What a proxy counted of a slot, since it began to count."""

    requests: int
    failed: int
    """Answers of 500 or more, and requests that got none."""


class Balancer(Protocol):
    """A proxy that shares traffic out."""

    place: str
    """Where it is, for people."""
    owns: str
    """What tells it from all others."""
    divides: bool
    """Whether a slot can get a part of the traffic, and not only all of it or nothing."""

    def shares(self) -> Shares | None:
        """The share of each slot; None where a change was begun and its end is not known.

        Raises:
            UsageError: it knows nothing of the slots, or what stands there is not ours.
            DeployError: it cannot be asked.
        """

    def share_out(self, shares: Shares) -> None:
        """Move the traffic; no request that is under way is cut off. May be repeated.

        Raises:
            DeployError: it refuses, or does not find a slot alive that is to get traffic.
            StoreError: the disk refuses.
        """

    def counts(self) -> Mapping[str, Count] | None:
        """What it counted of each slot; None where it does not count.

        Raises:
            DeployError: it cannot be asked.
        """
