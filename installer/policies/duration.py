"""Lengths of time as a person writes them: `90m`, `12h`, `30d`, `6w`."""

from __future__ import annotations

import re
from datetime import timedelta

from sealift.errors import UsageError
from sealift.names import visible

FORM = r"^[1-9][0-9]{0,4}[mhdw]$"
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def duration(text: str) -> timedelta:
    """How long `text` says.

    Raises:
        UsageError: it is no length of time.
    """
    if not re.fullmatch(FORM.strip("^$"), text):
        raise UsageError(
            f"{visible(text)[:40]!r} is no length of time", hint="write a number and m, h, d or w, such as 3d"
        )
    return int(text[:-1]) * _UNITS[text[-1]]
