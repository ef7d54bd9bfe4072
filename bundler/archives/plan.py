"""The plan of an archive that crosses inflated: of which material it is made, and of which its old version gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from sealift.deflating import Way
from sealift.rebuilder import Rebuilder
from sealift.tokens.writing import Tokens

from .forms import Form


class Flow(NamedTuple):
    """A part of the material, as a part of the archive."""

    start: int
    size: int
    inflated: int = 0
    """Bytes of it inflated; 0 where it is not."""
    form: Form | None = None
    """The same as tokens."""


@dataclass
class Plan:
    """How an archive is made of its material, and the old material of the old archive."""

    pieces: list[tuple[int, ...]] = field(default_factory=list)
    """As in a recipe, with the way's position in `ways` as setting."""
    old: list[tuple[int, ...]] = field(default_factory=list)
    """The same."""
    ways: list[Way | Rebuilder | Tokens] = field(default_factory=list)
    makes: list[tuple[int, int]] = field(default_factory=list)
    flow: list[Flow] = field(default_factory=list)
    """The material."""
    forms: dict[int, Form] = field(default_factory=dict)
    """Old members as tokens, by their places in the old archive."""
    pairs: list[tuple[int, int, int, int]] = field(default_factory=list)
    """Start and size of material, and of the old material that it is a version of."""
    inflated: int = 0
    """Bytes of members that travel inflated or as tokens, as they are in the archive."""
    spelled: int = 0
    """Those of them that travel as tokens."""
    left: int = 0
    """Bytes of members that nothing rebuilds, and that could travel as tokens."""
    missed: Rebuilder | None = None
    """What could rebuild the archive, where nothing that the sites have can: then there is no more to it."""
