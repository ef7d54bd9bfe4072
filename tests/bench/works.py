"""The rows of the benchmark: each has the tools run, and adds what was found to the results."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import corpora
from measure import Command, CommandError, sampled, timed
from results import BIG_BUNDLE, MB, PEAK_GOAL, RATIO_GOALS, VERIFY_GOAL, Comparison, Figure, Peak, Start
from rounds import Bench, Rounds, Steps, Stock, create, creating, nth, restore, restoring, run_rounds, took
from tools import Tool, digest

STARTS = 11
COPIES = 10


@dataclass(frozen=True, kw_only=True)
class Row:
    """Which steps of ours are compared with which of another tool."""

    work: str
    ours: Sequence[str]
    other: str
    theirs: Sequence[str]
    goal: bool = False


def export(bench: Bench, stock: Stock) -> None:
    """Pack the corpus: Sealift's export against the script."""
    tools = _pair(stock)
    rounds = run_rounds(bench, f"{stock.letter} export", tools, bench.pairs, stock.size, creating(stock))
    _figures(bench, stock.letter, rounds)
    _compare(bench, stock, rounds, Row(work="export", ours=["export"], other="script", theirs=["export"], goal=True))


def size(bench: Bench, stock: Stock) -> None:
    """Compare what crosses, at the same level of compression."""
    if stock.has("sealift", "script"):
        _compare_sizes(bench, stock, bench.script, goal=True)


def apply(bench: Bench, stock: Stock) -> None:
    """Check and unpack at the far end: import and apply against the script's check and extraction."""
    tools = _pair(stock)
    rounds = run_rounds(bench, f"{stock.letter} deploy", tools, bench.pairs, 3 * stock.size, restoring(stock))
    _figures(bench, stock.letter, rounds)
    for row in (
        Row(work="import", ours=["import"], other="script", theirs=["check"]),
        Row(work="apply", ours=["apply"], other="script", theirs=["extract"], goal=True),
        Row(work="apply", ours=["apply"], other="script", theirs=["check", "extract"]),
        Row(work="import + apply", ours=["import", "apply"], other="script", theirs=["check", "extract"], goal=True),
    ):
        _compare(bench, stock, rounds, row)


def verify(bench: Bench, stock: Stock) -> None:
    """Check a bundle without a site, against `openssl dgst` of the same file."""
    if stock.has("sealift"):
        _verify(bench, stock.letter, stock.made / "sealift")


def _verify(bench: Bench, corpus: str, made: Path) -> None:
    bundle = bench.sealift.product(made)
    ours, theirs = [], []
    try:
        for number in range(bench.pairs + 1):
            pair = timed(bench.sealift.verify(made)), timed(digest(bundle))
            bench.say(f"{corpus} verify, {nth(number, bench.pairs)}: " + took(sealift=pair[0], openssl=pair[1]))
            if number:
                ours.append(pair[0])
                theirs.append(pair[1])
    except CommandError as error:
        bench.failed(f"{corpus} verify", error)
        return
    length = bundle.stat().st_size
    _figures(
        bench,
        corpus,
        {"sealift": [{"verify": run} for run in ours], "openssl": [{"dgst -sha256": run} for run in theirs]},
    )
    bench.results.comparisons.append(
        Comparison(
            work=f"verify {length / MB:.0f} MB",
            corpus=corpus,
            against="openssl dgst",
            unit="s",
            ours=[run.seconds for run in ours],
            theirs=[run.seconds for run in theirs],
            goal=VERIFY_GOAL if length > BIG_BUNDLE else None,
        )
    )


def memory(bench: Bench, stock: Stock) -> None:
    """Sample the memory of every step, once, untimed."""
    with bench.ground.arena(5 * stock.size) as arena:
        for tool in _pair(stock):
            at, to = arena / tool.name, arena / f"{tool.name}-there"
            try:
                steps = create(tool, stock.tree, at, sampled)
                steps = {**steps, **restore(tool, at, to, sampled)}
            except CommandError as error:
                bench.failed(f"{stock.letter}: memory of {tool.name}", error)
                continue
            _peaks(bench, tool, stock.letter, steps)


def tenfold(bench: Bench, letter: str, corpus: Path) -> None:
    """Sample the memory of every step, and time `verify`, for a tree ten times as large that never repeats, on disk."""
    tool = bench.sealift
    if tool.missing():
        return
    with bench.disk.arena(25 * corpora.measure(corpus)[1]) as arena:
        bench.say(f"{letter} x {COPIES}: writing the tree in {arena}")
        tree, at, to = arena / "tree", arena / "here", arena / "there"
        corpora.salted(corpus, tree, COPIES)
        try:
            bench.say(f"{letter} x {COPIES}: export, import, apply")
            steps = create(tool, tree, at, sampled)
            shutil.rmtree(tree)
            _verify(bench, f"{letter} x {COPIES}", at)
            steps = {**steps, **restore(tool, at, to, sampled)}
        except CommandError as error:
            bench.failed(f"{letter} x {COPIES}: memory", error)
            return
        _peaks(bench, tool, f"{letter} x {COPIES}", steps)


def starts(bench: Bench) -> None:
    """Time the `--help` of each program."""
    if bench.sealift.missing():
        return
    for program in ("sealift-keys", "sealift-bundle", "sealift-install"):
        command = Command(argv=[bench.sealift.programs / program, "--help"])
        try:
            runs = [timed(command) for _ in range(STARTS + 1)][1:]
        except CommandError as error:
            bench.failed(f"{program} --help", error)
            continue
        bench.results.starts.append(Start(program=program, seconds=[run.seconds for run in runs]))


def peers(bench: Bench, stock: Stock, others: Sequence[Tool]) -> None:
    """Run Sealift and its peers in turn: packing, unpacking, and what crosses."""
    tools = [tool for tool in (bench.sealift, *others) if stock.has(tool.name)]
    need = len(tools) * stock.size
    packed = run_rounds(
        bench, f"{stock.letter} pack by peers", tools, bench.peers_pairs, need, creating(stock), warm=False
    )
    unpacked = run_rounds(
        bench, f"{stock.letter} unpack by peers", tools, bench.peers_pairs, 2 * need, restoring(stock), warm=False
    )
    for rounds in (packed, unpacked):
        _figures(bench, stock.letter, {name: runs for name, runs in rounds.items() if name != "sealift"})
    for tool in others:
        _compare(bench, stock, packed, Row(work="export", ours=["export"], other=tool.name, theirs=["export"]))
        row = Row(work="import + apply", ours=["import", "apply"], other=tool.name, theirs=["extract"])
        _compare(bench, stock, unpacked, row)
        if stock.has("sealift", tool.name):
            _compare_sizes(bench, stock, tool)


def _pair(stock: Stock) -> list[Tool]:
    return [tool for tool in stock.tools if tool.name in ("sealift", "script")]


def _compare(bench: Bench, stock: Stock, rounds: Rounds, row: Row) -> None:
    """Add the ratios of the sums of our steps to the sums of theirs, if both tools ran."""
    if not rounds.get("sealift") or not rounds.get(row.other):
        return
    whole = rounds[row.other][0].keys() == set(row.theirs)
    bench.results.comparisons.append(
        Comparison(
            work=row.work,
            corpus=stock.letter,
            against=row.other if whole and len(row.theirs) == 1 else f"{row.other}: {' + '.join(row.theirs)}",
            unit="s",
            ours=[sum(steps[step].seconds for step in row.ours) for steps in rounds["sealift"]],
            theirs=[sum(steps[step].seconds for step in row.theirs) for steps in rounds[row.other]],
            goal=RATIO_GOALS.get((row.work, stock.letter)) if row.goal else None,
        )
    )


def _compare_sizes(bench: Bench, stock: Stock, other: Tool, *, goal: bool = False) -> None:
    bench.results.comparisons.append(
        Comparison(
            work="size",
            corpus=stock.letter,
            against=other.name,
            unit="MB",
            ours=[stock.product_size(bench.sealift) / MB],
            theirs=[stock.product_size(other) / MB],
            goal=RATIO_GOALS.get(("size", stock.letter)) if goal else None,
        )
    )


def _figures(bench: Bench, corpus: str, rounds: Mapping[str, Sequence[Steps]]) -> None:
    """Add what each tool took for each step by itself."""
    for name, runs in rounds.items():
        for step in runs[0] if runs else ():
            bench.results.figures.append(
                Figure(
                    tool=name,
                    work=step,
                    corpus=corpus,
                    seconds=[steps[step].seconds for steps in runs],
                    cpu_seconds=[steps[step].cpu_seconds for steps in runs],
                    largest=max(steps[step].largest for steps in runs),
                )
            )


def _peaks(bench: Bench, tool: Tool, corpus: str, steps: Steps) -> None:
    for step, run in steps.items():
        bench.results.peaks.append(
            Peak(
                tool=tool.name,
                work=step,
                corpus=corpus,
                largest=run.largest,
                together=run.together,
                goal=PEAK_GOAL if tool.name == "sealift" else None,
            )
        )
