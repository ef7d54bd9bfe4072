"""What the three programs share at the terminal: lazy commands, errors as text, progress, formats.

Results go to standard output, all else to standard error. With `--json` standard output holds exactly one JSON
document, of the result or of the error. Importing this package imports click and nothing heavier.
"""

from __future__ import annotations

from .bar import Bar
from .formats import count, duration, safe, size, table
from .options import json_option, quiet_option, threads_option, utc_now, workers
from .output import emit
from .program import Command, Family, Program, command
from .running import run

__all__ = [
    "Bar",
    "Command",
    "Family",
    "Program",
    "command",
    "count",
    "duration",
    "emit",
    "json_option",
    "quiet_option",
    "run",
    "safe",
    "size",
    "table",
    "threads_option",
    "utc_now",
    "workers",
]
