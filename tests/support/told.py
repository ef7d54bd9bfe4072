"""What opens keys in tests, without a person."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Told:
    """One secret for every key file and token, and what was asked for it."""

    secret: bytes = b""
    asked: list[str] = field(default_factory=list)

    def existing(self, what: str) -> bytes:
        """The passphrase."""
        self.asked.append(what)
        return self.secret

    def pin(self, what: str) -> bytes:
        """The PIN."""
        self.asked.append(what)
        return self.secret
