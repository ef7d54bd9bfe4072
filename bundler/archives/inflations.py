"""What looking inside of archives gave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Archives of one rebuilder."""

    archives: int = 0
    size: int = 0
    """Bytes of their chunks that are carried."""

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

    def plus(self, size: int, members: int, carried: int, rebuilders: Iterable[str] = ()) -> Inflations:
        """The same with one archive more, and the programs that compress in it."""
        return replace(
            self,
            archives=self.archives + 1,
            size=self.size + size,
            members=self.members + members,
            carried=self.carried + carried,
            rebuilt=_with(self.rebuilt, rebuilders, size),
        )

    def missing(self, size: int, rebuilder: str) -> Inflations:
        """The same with one archive more that travels as it is."""
        return replace(self, missed=_with(self.missed, (rebuilder,), size))


def _with(counted: Mapping[str, Counted], names: Iterable[str], size: int) -> Mapping[str, Counted]:
    more = {name: counted.get(name, Counted()).plus(size) for name in names}
    return dict(sorted({**counted, **more}.items()))
