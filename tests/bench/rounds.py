"""Rounds: the tools in turn on the same corpus, each round on an arena of its own.

A round is one run of each tool, one after the other; the first round warms up and does not count. A tool that fails
leaves its rows out, with a note, and the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import corpora
from arena import Ground
from measure import Command, CommandError, Measure, Run, output, timed
from results import Results, Size
from tools import Script, Sealift, Tool

Steps = Mapping[str, Run]
Rounds = dict[str, list[Steps]]
Body = Callable[[Tool, Path], Steps]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all rows share."""

    ground: Ground
    disk: Ground
    """For what is large and not timed."""
    sealift: Sealift
    script: Script
    pairs: int
    peers_pairs: int
    results: Results
    say: corpora.Say

    def failed(self, what: str, error: CommandError) -> None:
        """Note that something was left out because it failed."""
        said = "; ".join(str(error).splitlines())
        self.results.notes.append(f"{what} failed and is left out: {said}")
        self.results.failed = True
        self.say(self.results.notes[-1])


@dataclass(frozen=True, kw_only=True)
class Stock:
    """A corpus in memory, and what each tool made of it: what the rows of one corpus start from."""

    letter: str
    tree: Path
    size: int
    made: Path
    """Holds one folder for each tool."""
    tools: Sequence[Tool]
    """Those that could make theirs."""

    def has(self, *names: str) -> bool:
        return {tool.name for tool in self.tools}.issuperset(names)

    def product_size(self, tool: Tool) -> int:
        """Return how much crosses, in bytes."""
        return corpora.measure(tool.product(self.made / tool.name))[1]


@contextmanager
def stocked(bench: Bench, letter: str, corpus: Path, tools: Sequence[Tool]) -> Iterator[Stock]:
    """Copy a corpus to a fresh arena and let each tool pack it there, untimed."""
    size = corpora.measure(corpus)[1]
    with bench.ground.arena(3 * size) as arena:
        bench.say(f"{letter}: copying the corpus and packing it once with each of {', '.join(t.name for t in tools)}")
        tree, made = arena / "tree", arena / "made"
        output(Command(argv=["cp", "--archive", corpus, tree]))
        made.mkdir()
        able = []
        for tool in tools:
            try:
                timed(tool.create(tree, made / tool.name))
                able.append(tool)
            except CommandError as error:
                bench.failed(f"{letter}: {tool.name}", error)
        stock = Stock(letter=letter, tree=tree, size=size, made=made, tools=able)
        bench.results.sizes += [Size(tool=tool.name, corpus=letter, length=stock.product_size(tool)) for tool in able]
        yield stock


def create(tool: Tool, tree: Path, at: Path, measure: Measure) -> Steps:
    """Pack a tree with a tool, measured."""
    return {"export": measure(tool.create(tree, at))}


def restore(tool: Tool, at: Path, to: Path, measure: Measure) -> Steps:
    """Check and unpack what a tool packed, each step measured."""
    return {step: measure(command) for step, command in tool.restore(at, to)}


def creating(stock: Stock) -> Body:
    """Return a round that packs the corpus anew."""
    return lambda tool, arena: create(tool, stock.tree, arena / tool.name, timed)


def restoring(stock: Stock) -> Body:
    """Return a round that unpacks what each tool has in stock."""
    return lambda tool, arena: restore(tool, stock.made / tool.name, arena / tool.name, timed)


def run_rounds(
    bench: Bench, title: str, tools: Sequence[Tool], count: int, need: int, body: Body, *, warm: bool = True
) -> Rounds:
    """Run each tool in turn, `count` times after a warm-up, each round on an arena with `need` bytes of room."""
    able, rounds = list(tools), {tool.name: list[Steps]() for tool in tools}
    for number in range(0 if warm else 1, count + 1):
        with bench.ground.arena(need) as arena:
            for tool in tuple(able):
                try:
                    steps = body(tool, arena)
                except CommandError as error:
                    bench.failed(f"{title}: {tool.name}", error)
                    able.remove(tool)
                    del rounds[tool.name]
                    continue
                if number:
                    rounds[tool.name].append(steps)
                named = {f"{tool.name} {step}": run for step, run in steps.items()}
                bench.say(f"{title}, {nth(number, count)}: {took(**named)}")
    return rounds


def nth(number: int, count: int) -> str:
    """Name a round."""
    return f"pair {number} of {count}" if number else "warm-up"


def took(**runs: Run) -> str:
    """Say what runs took, in one line."""
    return ", ".join(f"{name} {run.seconds:.2f} s (CPU {run.cpu_seconds:.2f} s)" for name, run in runs.items())
