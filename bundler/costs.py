"""Costs: what each file of a release costs to carry to a site that holds another, found by making the difference."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from sealift.difference import Inflated, outline
from sealift.errors import UsageError
from sealift.listing import file_name
from sealift.progress import Progress

from .depots.depot import intact
from .depots.holding import Holding
from .differences.patching import Difference, difference
from .scratch import scratch

Cost = Counter[tuple[str, str]]
"""Bytes by artifact and path."""


def costs(old: Holding, new: Holding, *, level: int, workers: int, progress: Progress) -> tuple[Cost, Difference]:
    """What each file costs, in compressed bytes, and the difference that says so.

    Files that share a frame share its bytes by their sizes; content that comes twice is counted where it comes first.

    Args:
        old: what the site holds.
        new: what it is to have.
        level: zstd's level.
        workers: processes.
        progress: told the bytes of content that are compared.

    Raises:
        UsageError: one of them does not lie in a depot, or they are the same.
        IntegrityError: the depot is damaged.
    """
    if old.packs is None or new.packs is None:
        raise UsageError(
            "what a change costs is found out from the content of a depot",
            hint="name both releases as NAME@VERSION, with --depot DIR",
        )
    with scratch() as folder:
        made = difference(new, [old], folder, level=level, workers=workers, progress=progress)
        index = made.part.index
        compressed = intact(folder / "index" / file_name(index), index)
    shares: dict[int, Fraction] = {}
    for each in outline(compressed, index):
        one, frames = (each.recipe, each.patches) if isinstance(each, Inflated) else (each, (each,))
        for number in one.numbers():
            shares[number] = Fraction(sum(frame.length for frame in frames), one.size)
    found: Cost = Counter()
    numbers: dict[str, int] = {}
    for artifact in new.release.artifacts:
        for entry in new.entries(artifact):
            cost = Fraction(0)
            for digest, size in entry.pieces():
                if digest not in numbers:
                    numbers[digest] = len(numbers)
                    cost += size * shares.get(numbers[digest], 0)
            if cost:
                found[artifact.name, entry.path] = max(1, round(cost))
    return found, made
