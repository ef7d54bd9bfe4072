"""Progress as events: long work tells a `Progress` what it does, and only a program draws it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Who wants to know how far a long piece of work is."""

    def start(self, label: str, total: int | None = None, *, unit: str = "B") -> None:
        """A phase begins; `total` units of work lie ahead where that is known."""

    def advance(self, amount: int) -> None:
        """`amount` more units of the current phase are done."""

    def finish(self) -> None:
        """The current phase has ended."""


class Silent:
    """A `Progress` for whom nobody watches."""

    def start(self, label: str, total: int | None = None, *, unit: str = "B") -> None:
        """Ignore it."""

    def advance(self, amount: int) -> None:
        """Ignore it."""

    def finish(self) -> None:
        """Ignore it."""
