"""What looking inside of archives gave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Archives, or what of them has something in common."""

    archives: int = 0
    size: int = 0
    """Bytes of their chunks that are carried, or of such members."""

    def plus(self, size: int) -> Counted:
        """The same with one archive more."""
        return Counted(archives=self.archives + 1, size=self.size + size)


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
    rebuilt: Mapping[str, Counted] = field(default_factory=dict)
    """Those of them that a program of the site compresses, by its name."""
    missed: Mapping[str, Counted] = field(default_factory=dict)
    """Archives that travel as they are though a program here rebuilds them: no receipt says that the sites have it."""

    tokens: Counted = Counted()
    """Those that have members that travel as tokens."""
    left: Counted = Counted()
    """Archives that have members that travel as they are, and might travel as tokens."""

    def plus(
        self, size: int, members: int, carried: int, rebuilders: Iterable[str] = (), tokens: int = 0, left: int = 0
    ) -> Inflations:
        """The same with one archive more, the programs that compress in it, and bytes of members as tokens or left."""
        return replace(
            self,
            archives=self.archives + 1,
            size=self.size + size,
            members=self.members + members,
            carried=self.carried + carried,
            rebuilt=_with(self.rebuilt, rebuilders, size),
            tokens=self.tokens.plus(tokens) if tokens else self.tokens,
            left=self.left.plus(left) if left else self.left,
        )

    def missing(self, size: int, rebuilders: Iterable[str], left: int = 0) -> Inflations:
        """The same with one archive more that travels as it is, and bytes of its members that are left."""
        return replace(
            self,
            missed=_with(self.missed, rebuilders, size),
            left=self.left.plus(left) if left else self.left,
        )


def _with(counted: Mapping[str, Counted], names: Iterable[str], size: int) -> Mapping[str, Counted]:
    more = {name: counted.get(name, Counted()).plus(size) for name in names}
    return dict(sorted({**counted, **more}.items()))
