"""How numbers, times and tables read on a terminal. Pure: text in, text out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ..names import visible


def safe(text: str) -> str:
    """`text` from outside (a name, a path, a server's words) in a form that a terminal may be given."""
    return visible(text)


def size(amount: int) -> str:
    """`amount` bytes in decimal units: `512 B`, `92.8 MB`."""
    if amount < 1000:
        return f"{amount} B"
    value = float(amount)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} PB"


def duration(seconds: float) -> str:
    """A length of time in the two units that matter: `0.42 s`, `12.3 s`, `3 min 12 s`, `2 h 5 min`, `1 d 6 h`."""
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def count(amount: int, noun: str, plural: str | None = None) -> str:
    """`amount` with its noun: `1 file`, `48,703 files`; `plural` where an `s` does not make it."""
    return f"{amount:,} {noun if amount == 1 else plural or noun + 's'}"


def table(rows: Iterable[Sequence[str]], *, header: Sequence[str] | None = None, right: Collection[int] = ()) -> str:
    """`rows` in aligned columns, two spaces apart, each cell made safe for a terminal.

    Args:
        rows: the cells; all rows are of the same length.
        header: the columns' names, as a first row; nothing is shown without rows.
        right: the numbers of the columns, from 0, that are aligned to the right.
    """
    lines = [[safe(cell) for cell in row] for row in rows]
    if not lines:
        return ""
    if header is not None:
        lines.insert(0, list(header))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
