"""What crosses between any two trees: Sealift's differences and the peers', one after the other on the same files.

    .venv/bin/python tests/bench/pair.py OLD NEW
    .venv/bin/python tests/bench/pair.py build/corpora/A/v1 build/corpora/A/v2 --tools sealift,xdelta3

For each tool: the size of what crosses, the time and the memory to make it, and the time to make the new tree of it
where the old one is. What comes out is compared with the new tree, byte for byte.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import peers
from arena import ArenaError, Ground, choose
from corpora import measure
from measure import CommandError, sampled, timed
from patchers import Patcher, patchers
from results import CROSSING_HEADS, Crossing

PACKAGES = ("casync", "borgbackup", "restic", "ostree", "xdelta3", "skopeo", "umoci")


def cross(tool: Patcher, old: Path, new: Path, ground: Ground, *, memory: bool = True) -> Crossing:
    """Let a tool carry what changed, and check what comes out; memory is sampled in a second, untimed run.

    Raises:
        CommandError: a command failed, or something else came out.
    """
    need = 6 * (measure(old)[1] + measure(new)[1])
    with ground.arena(need) as arena:
        at = arena / "at"
        tool.prepare(old, new, at)
        made = [timed(command) for command in tool.make(new, at)]
        size = tool.size(at)
        restored = [timed(command) for command in tool.restore(at)]
        _check(new, tool.restored(at))
    peak = restore_peak = 0
    if memory:
        with ground.arena(need) as arena:
            at = arena / "at"
            tool.prepare(old, new, at)
            peak = max(sampled(command).together for command in tool.make(new, at))
            restore_peak = max(sampled(command).together for command in tool.restore(at))
    return Crossing(
        tool=tool.name,
        size=size,
        seconds=sum(run.seconds for run in made),
        cpu_seconds=sum(run.cpu_seconds for run in made),
        memory=peak,
        restore_seconds=sum(run.seconds for run in restored),
        restore_memory=restore_peak,
    )


def _check(new: Path, found: Path) -> None:
    command = ["diff", "--recursive", "--brief", "--no-dereference", f"{new}/", f"{found}/"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise CommandError(f"another tree came out: {ended.stdout[:300]}{ended.stderr[:300]}")


def table(rows: Sequence[Crossing]) -> str:
    """The rows as a table of Markdown."""
    lines = [CROSSING_HEADS, tuple("---" for _ in CROSSING_HEADS), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def crossings(
    tools: Sequence[Patcher], old: Path, new: Path, ground: Ground, say: Callable[[str], None]
) -> tuple[list[Crossing], bool]:
    """Run each tool; return the rows, and whether all that are here succeeded."""
    rows = []
    whole = True
    for tool in tools:
        if program := tool.missing():
            say(f"{tool.name} is left out: {program} is missing")
            continue
        try:
            rows.append(cross(tool, old, new, ground))
            say(" ".join(rows[-1].cells()))
        except CommandError as error:
            whole = False
            say(f"{tool.name} failed: {error}")
    return rows, whole


def installed(programs: Path, *, layers: bool) -> list[Patcher]:
    """All tools, after an attempt to install those that are not here; for layers, Sealift by a receipt too."""
    tools = patchers(programs, layers=layers)
    if any(tool.missing() for tool in tools):
        peers.install(PACKAGES)
    return tools


def main() -> int:
    """Run what the command line asks for, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--tools", metavar="NAME,…", help="those whose names begin so (all)")
    parser.add_argument("--layers", action="store_true", help="also by a receipt, which proves what rebuilds layers")
    build = Path(__file__).resolve().parents[2] / "build"
    parser.add_argument("--scratch", type=Path, default=build / "bench", help="disk, where memory does not do")
    parser.add_argument("--bin", type=Path, default=Path(sys.executable).parent, help="where Sealift's programs are")
    options = parser.parse_args()
    tools = installed(options.bin, layers=options.layers)
    if options.tools:
        names = tuple(options.tools.split(","))
        tools = [tool for tool in tools if tool.name.startswith(names)]
    try:
        rows, whole = crossings(
            tools,
            options.old.resolve(),
            options.new.resolve(),
            choose(options.scratch),
            lambda line: print(line, file=sys.stderr, flush=True),
        )
    except (ArenaError, CommandError) as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 1
    print(table(rows))
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
