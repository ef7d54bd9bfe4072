"""The results as text, Markdown or JSON, and the machine that they were found on."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from results import CROSSING_HEADS, MB, PEAK_GOAL, START_GOAL, Comparison, Results

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
VERSIONS = {
    "zstd": ["zstd", "--version"],
    "openssl": ["openssl", "version"],
    "tar": ["tar", "--version"],
    "casync": ["casync", "--version"],
    "borg": ["borg", "--version"],
    "restic": ["restic", "version"],
}

Table = tuple[str, Sequence[str], list[Sequence[str]]]
"""A title, the column heads, and the rows."""


def machine(ground: str) -> dict[str, str]:
    """Describe this machine and the programs that take part; `ground` says where the timed runs work."""
    cpu = _field("/proc/cpuinfo", "model name") or platform.processor() or "unknown"
    flags = (_field("/proc/cpuinfo", "flags") or "").split()
    memory = int((_field("/proc/meminfo", "MemTotal") or "0").split()[0]) * 1024
    described = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": cpu + (", with SHA instructions" if "sha_ni" in flags else ""),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory / 1e9:.1f} GB",
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "kernel": f"{platform.system()} {platform.release()}",
        "file system": ground,
        "python": platform.python_version(),
    }
    return described | {name: _first_line(command) for name, command in VERSIONS.items()}


def text(results: Results) -> str:
    """Return the tables for a terminal."""
    lines = [f"{name:<12} {value}" for name, value in results.machine.items()]
    for title, heads, rows in _tables(results):
        widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
        lines += ["", title, _aligned(heads, widths), _aligned(["-" * width for width in widths], widths)]
        lines += [_aligned(row, widths) for row in rows]
    return "\n".join([*lines, "", *_closing(results)])


def markdown(results: Results) -> str:
    """Return the machine and the tables as a part of a Markdown page."""
    lines = ["| machine | |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in results.machine.items()]
    for title, heads, rows in _tables(results):
        lines += ["", f"### {title}", "", _cells(heads), _cells(["---"] * len(heads)), *map(_cells, rows)]
    return "\n".join([*lines, "", *_closing(results)])


def write_markdown(results: Results, file: Path) -> None:
    """Write the Markdown between the two marks of a page that has them, or as a new page."""
    part = f"{BEGIN}\n\n{markdown(results)}\n\n{END}"
    page = file.read_text() if file.exists() else ""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(before + part + after if begin and end else part + "\n")


def as_json(results: Results) -> str:
    """Return everything, each run's figures too, as one document; seconds and bytes, but MB where a unit says so."""
    document = dataclasses.asdict(results)
    for row, found in zip(document["comparisons"], results.comparisons, strict=True):
        row |= {"ratios": found.ratios, "verdict": found.verdict}
    return json.dumps(document | {"verdicts": results.verdicts()}, indent=2) + "\n"


def _tables(results: Results) -> list[Table]:
    """Return the tables that have rows."""
    scripts = [row for row in results.comparisons if row.against.startswith(("script", "openssl"))]
    others = [row for row in results.comparisons if row not in scripts]
    heads = ("work", "corpus", "against", "ours", "theirs", "ratio (min to max)", "goal", "")
    tables: list[Table] = [
        (title, heads, [_compared(row) for row in rows])
        for title, rows in (("Against the script", scripts), ("Against the peers", others))
    ]
    tables.append(
        (
            "What crosses",
            ("tool", "corpus", "size"),
            [(size.tool, size.corpus, f"{size.length / MB:.1f} MB") for size in results.sizes],
        )
    )
    tables.append(
        (
            "Differences",
            ("corpus", *CROSSING_HEADS),
            [(corpus, *row.cells()) for corpus, row in results.crossings],
        )
    )
    tables.append(
        (
            "Peak memory",
            ("work", "corpus", "tool", "largest process", "all together", "goal", ""),
            [
                (
                    peak.work,
                    peak.corpus,
                    peak.tool,
                    f"{peak.largest / MB:.0f} MB",
                    f"{peak.together / MB:.0f} MB",
                    f"≤ {PEAK_GOAL / MB:.0f} MB" if peak.goal else "",
                    peak.verdict,
                )
                for peak in results.peaks
            ],
        )
    )
    tables.append(
        (
            "Start",
            ("program", "time of --help", "goal", ""),
            [
                (row.program, _spread(row.seconds, 1000, "ms", 0), f"≤ {START_GOAL * 1000:.0f} ms", row.verdict)
                for row in results.starts
            ],
        )
    )
    tables.append(
        (
            "Each by itself",
            ("tool", "work", "corpus", "wall time", "processor time", "largest process"),
            [
                (
                    row.tool,
                    row.work,
                    row.corpus,
                    _spread(row.seconds, 1, "s", 2),
                    _spread(row.cpu_seconds, 1, "s", 2),
                    f"{row.largest / MB:.0f} MB",
                )
                for row in results.figures
            ],
        )
    )
    return [table for table in tables if table[2]]


def _compared(row: Comparison) -> Sequence[str]:
    digits = 2 if row.unit == "s" else 1
    ratios = row.ratios
    spread = f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else ""
    return (
        row.work,
        row.corpus,
        row.against,
        f"{statistics.median(row.ours):.{digits}f} {row.unit}",
        f"{statistics.median(row.theirs):.{digits}f} {row.unit}",
        f"{statistics.median(ratios):.3f}{spread}" if row.unit == "MB" else f"{statistics.median(ratios):.2f}{spread}",
        f"≤ {row.goal:.2f}" if row.goal is not None else "",
        row.verdict,
    )


def _spread(values: Sequence[float], factor: float, unit: str, digits: int) -> str:
    """Return a median, and the range where there is one."""
    middle = f"{statistics.median(values) * factor:.{digits}f} {unit}"
    return middle + (
        f" ({min(values) * factor:.{digits}f} to {max(values) * factor:.{digits}f})" if len(values) > 1 else ""
    )


def _closing(results: Results) -> list[str]:
    """Say what was missed and what was left out."""
    verdicts = results.verdicts()
    missed = [name for name, verdict in verdicts.items() if verdict == "missed"]
    lines = [
        f"Goals measured: {len(verdicts)}, missed: {len(missed)}{' (' + ', '.join(missed) + ')' if missed else ''}.",
        "Ratios are ours to theirs, pair by pair: the median, and the range. "
        "A largest process below 25 MB is shown as about 25 MB.",
    ]
    return lines + [f"Note: {note}." for note in results.notes]


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _field(file: str, name: str) -> str | None:
    """Return the first value of a name in a file of `/proc`."""
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _first_line(command: Sequence[str]) -> str:
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "missing"
    return found.stdout.strip("\n*").partition("\n")[0].strip() or "unknown"
