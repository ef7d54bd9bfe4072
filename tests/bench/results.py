"""What the benchmark found, and what it was to find: the goals, and the verdict on each figure that has one."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

MB = 1_000_000
PEAK_GOAL = 128 * MB
START_GOAL = 0.120
BIG_BUNDLE = 200 * MB

RATIO_GOALS = {
    ("export", "A"): 0.95,
    ("export", "B"): 0.85,
    ("export", "C"): 0.60,
    ("apply", "A"): 0.45,
    ("apply", "B"): 0.55,
    ("apply", "C"): 0.45,
    ("import + apply", "A"): 0.60,
    ("import + apply", "B"): 0.60,
    ("import + apply", "C"): 0.60,
    ("size", "A"): 0.93,
    ("size", "B"): 1.00,
    ("size", "C"): 1.02,
}
VERIFY_GOAL = 0.75
"""For a bundle of more than 200 MB."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The same work by Sealift and by another, pair by pair."""

    work: str
    corpus: str
    against: str
    """Whose work, and which part of it."""
    unit: str
    """`s` or `MB`."""
    ours: Sequence[float]
    theirs: Sequence[float]
    goal: float | None = None
    """The largest median of the ratios that is good enough."""

    @property
    def ratios(self) -> list[float]:
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def verdict(self) -> str:
        return verdict(statistics.median(self.ratios), self.goal)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What a tool took for one work by itself, in seconds and bytes."""

    tool: str
    work: str
    corpus: str
    seconds: Sequence[float]
    cpu_seconds: Sequence[float]
    largest: int
    """The largest process of any of the runs."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """What a tool makes of a corpus, and what crosses, in bytes."""

    tool: str
    corpus: str
    length: int


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The peak memory of one run of one work, in bytes."""

    tool: str
    work: str
    corpus: str
    largest: int
    together: int
    goal: int | None = None

    @property
    def verdict(self) -> str:
        return verdict(max(self.largest, self.together), self.goal)


@dataclass(frozen=True, kw_only=True)
class Start:
    """How long a program takes to print its help, in seconds."""

    program: str
    seconds: Sequence[float]

    @property
    def verdict(self) -> str:
        return verdict(statistics.median(self.seconds), START_GOAL)


CROSSING_HEADS = ("tool", "crosses", "to make", "processor", "memory", "to restore", "memory")
CROSSING_GOALS = {"A": 9.6 * MB, "B": 20 * MB, "C": 28 * MB}
"""Bytes that are to cross at most between the two versions of a corpus."""


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """What one tool did for one pair of trees."""

    tool: str
    size: int
    """Bytes that cross."""
    seconds: float
    cpu_seconds: float
    memory: int
    """Bytes of all processes together, while it is made."""
    restore_seconds: float
    restore_memory: int

    def cells(self) -> Sequence[str]:
        return (
            self.tool,
            f"{self.size / MB:.2f} MB",
            f"{self.seconds:.2f} s",
            f"{self.cpu_seconds:.2f} s",
            f"{self.memory / MB:.0f} MB",
            f"{self.restore_seconds:.2f} s",
            f"{self.restore_memory / MB:.0f} MB",
        )


@dataclass(kw_only=True)
class Results:
    """All that a run of the benchmark has found so far."""

    machine: dict[str, str]
    comparisons: list[Comparison] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    sizes: list[Size] = field(default_factory=list)
    peaks: list[Peak] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    crossings: list[tuple[str, Crossing]] = field(default_factory=list)
    """By corpus, what crosses from its first version to its second."""
    notes: list[str] = field(default_factory=list)
    """What was left out, and what failed."""
    failed: bool = False

    def verdicts(self) -> dict[str, str]:
        """Return `met` or `missed` for each row that has a goal."""
        rows = [
            *((f"{row.work} of {row.corpus}", row.verdict) for row in self.comparisons),
            *((f"peak memory of {row.work} of {row.corpus}", row.verdict) for row in self.peaks),
            *((f"`{row.program} --help`", row.verdict) for row in self.starts),
            *(
                (f"difference of {corpus}", verdict(row.size, CROSSING_GOALS.get(corpus)))
                for corpus, row in self.crossings
                if row.tool == "sealift"
            ),
        ]
        return {name: verdict for name, verdict in rows if verdict}


def verdict(found: float, goal: float | None) -> str:
    """Return `met` or `missed`, or nothing where there is no goal."""
    if goal is None:
        return ""
    return "met" if found <= goal else "missed"
