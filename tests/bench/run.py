"""The benchmark: Sealift, the script that operators write today, and the peers, in turn on the same real files.

    .venv/bin/python tests/bench/run.py                      all rows of all corpora
    .venv/bin/python tests/bench/run.py --quick              corpus A, three pairs, no peers
    .venv/bin/python tests/bench/run.py --rows export,apply --only B --pairs 11

It ends with 1 where something failed and was left out of the tables; a missed goal is a figure, not a failure.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import debianimage
import environmentwork
import indexwork
import pair
import peers
import registrywork
import report
import wheelwork
import works
from arena import ArenaError, choose, on_disk
from corpora import CORPORA, CorpusError, ensure
from measure import CommandError
from results import Results
from rounds import Bench, Stock, stocked
from tools import Script, Sealift, Tool

BUILD = Path(__file__).resolve().parents[2] / "build"
STOCKED = {"export": works.export, "size": works.size, "apply": works.apply, "verify": works.verify}
ROWS = (
    *STOCKED,
    "memory",
    "tenfold",
    "images",
    "debian",
    "wheels",
    "help",
    "peers",
    "differences",
    "indexes",
    "environments",
)
ALONE = {"help", "debian", "indexes", "environments"}
"""Rows that need no corpus."""
QUICK_ROWS = ("export", "size", "apply", "verify", "memory", "help")


def main() -> int:
    """Run what the command line asks for, and return the exit code."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    ground = choose(options.scratch)
    bench = Bench(
        ground=ground,
        disk=on_disk(options.scratch),
        sealift=Sealift(programs=options.bin),
        script=Script(),
        pairs=options.pairs,
        peers_pairs=options.peers_pairs,
        results=Results(machine=report.machine(ground.description)),
        say=_say,
    )
    try:
        _run(bench, options.only, options.rows, options.corpora)
    except (ArenaError, CommandError, CorpusError) as error:
        bench.results.notes.append(f"stopped early: {error}")
        bench.results.failed = True
    except KeyboardInterrupt:
        return 130
    print(report.text(bench.results))
    if options.json:
        options.json.write_text(report.as_json(bench.results))
    if options.markdown:
        report.write_markdown(bench.results, options.markdown)
    return 1 if bench.results.failed else 0


def _run(bench: Bench, letters: Sequence[str], rows: Sequence[str], folder: Path) -> None:
    mine = _available(bench, [bench.sealift, bench.script])
    others = _peers(bench) if "peers" in rows else []
    trees = {letter: ensure(CORPORA[f"{letter}/v1"], folder, bench.say) for letter in letters if {*rows} - ALONE}
    if "help" in rows:
        works.starts(bench)
    if "debian" in rows:
        debianimage.rows(bench, BUILD / "debian")
    if "indexes" in rows:
        indexwork.rows(bench)
    if "environments" in rows:
        environmentwork.rows(bench)
    for letter, tree in trees.items():
        if {*STOCKED, "memory", "peers"} & {*rows}:
            with stocked(bench, letter, tree, [*mine, *others]) as stock:
                _run_stocked(bench, stock, rows, others)
        if "images" in rows:
            registrywork.rows(bench, letter, tree)
        if "wheels" in rows:
            wheelwork.rows(bench, letter, tree)
        if "tenfold" in rows:
            works.tenfold(bench, letter, tree)
        if "differences" in rows:
            new = ensure(CORPORA[f"{letter}/v2"], folder, bench.say)
            tools = pair.installed(bench.sealift.programs, layers=letter == "D")
            found, whole = pair.crossings(tools, tree, new, bench.ground, bench.say)
            bench.results.crossings += [(letter, each) for each in found]
            bench.results.failed |= not whole


def _run_stocked(bench: Bench, stock: Stock, rows: Sequence[str], others: Sequence[Tool]) -> None:
    for name, work in STOCKED.items():
        if name in rows:
            work(bench, stock)
    if "memory" in rows:
        works.memory(bench, stock)
    if "peers" in rows:
        works.peers(bench, stock, others)


def _available(bench: Bench, tools: Sequence[Tool]) -> list[Tool]:
    """Return the tools whose programs are here, and note the others."""
    missing = {tool.name: tool.missing() for tool in tools}
    for name, program in missing.items():
        if program:
            bench.results.notes.append(f"{name} is left out: {program} is missing")
            bench.say(bench.results.notes[-1])
    return [tool for tool in tools if not missing[tool.name]]


def _peers(bench: Bench) -> list[Tool]:
    """Return the peers that are here, after an attempt to install those that are not."""
    absent = [tool.name for tool in peers.PEERS if tool.missing()]
    if absent:
        bench.say(f"installing {', '.join(absent)} from this machine's packages")
        peers.install(absent)
    return _available(bench, peers.PEERS)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=_count, metavar="N", help="pairs that count, after a warm-up (5; 3 if quick)")
    parser.add_argument("--peers-pairs", type=_count, default=2, metavar="N", help="rounds of the peers (2)")
    parser.add_argument(
        "--only", type=_Some("A", "B", "C", "D"), metavar="A,B", help="corpora (A,B,C; D for differences alone)"
    )
    parser.add_argument("--rows", type=_Some(*ROWS), metavar="ROW,…", help=f"of {', '.join(ROWS)} (all)")
    parser.add_argument(
        "--quick", action="store_true", help="corpus A, three pairs, no peers, nothing ten times as large"
    )
    parser.add_argument("--corpora", type=Path, default=BUILD / "corpora", help="where they are, or are built")
    parser.add_argument("--scratch", type=Path, default=BUILD / "bench", help="disk for what is large and not timed")
    parser.add_argument("--bin", type=Path, default=Path(sys.executable).parent, help="where Sealift's programs are")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables, between its two marks if any")
    options = parser.parse_args()
    options.pairs = options.pairs or (3 if options.quick else 5)
    options.only = options.only or (("A",) if options.quick else ("A", "B", "C"))
    options.rows = options.rows or (QUICK_ROWS if options.quick else ROWS)
    return options


def _count(given: str) -> int:
    if not given.isdecimal() or int(given) < 1:
        raise argparse.ArgumentTypeError(f"{given} is not a positive number")
    return int(given)


class _Some:
    """Parses a list with commas between its words, all of them known."""

    def __init__(self, *known: str) -> None:
        self.known = known

    def __call__(self, given: str) -> tuple[str, ...]:
        words = tuple(given.split(","))
        for word in words:
            if word not in self.known:
                raise argparse.ArgumentTypeError(f"{word} is not one of {', '.join(self.known)}")
        return words


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
