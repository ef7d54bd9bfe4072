"""Overlaps: what an artifact would collect although the run itself writes it.

A depot, a bundle or a lock inside a source would make every export differ from the one before, and a depot would
carry the private keys across.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sealift.errors import UsageError
from sealift.names import visible
from sealift.plugins import kinds

from .source import reaches
from .spec import Spec


def check_apart(spec: Spec, places: Mapping[str, Path]) -> None:
    """Refuse a spec whose artifacts would hold something of `places`.

    Args:
        spec: what is about to be collected.
        places: files and folders by what they are, such as `the depot`.

    Raises:
        UsageError: one would, after its patterns.
    """
    sources = kinds("bundler.sources", "sealift.sources")
    for wanted in spec.artifacts:
        for what, place in places.items():
            if reaches(sources[wanted.source], wanted.want, spec.base, place):
                raise UsageError(
                    f"artifact {wanted.name} would take in {what} {visible(str(place))}",
                    hint=f"move it out of the artifact's folder, or leave it out with `exclude: [{place.name}]`",
                )
