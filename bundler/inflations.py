"""What looking inside of archives gave."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Inflations:
    """The archives of a difference that travel inflated."""

    archives: int = 0
    """How many they are."""
    size: int = 0
    """Bytes of their chunks that are carried."""
    members: int = 0
    """Bytes of the members that are deflated again at the site, as they are in the archives."""
    carried: int = 0
    """Bytes that they cross in."""

    def plus(self, size: int, members: int, carried: int) -> Inflations:
        """The same with one archive more."""
        return Inflations(
            archives=self.archives + 1,
            size=self.size + size,
            members=self.members + members,
            carried=self.carried + carried,
        )
