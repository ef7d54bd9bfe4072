"""Strategy `blue-green`: two slots; the new release is checked while it is idle, and then takes all traffic at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..environments.environment import TargetWanted
from ..slots import Course
from ..target import Workplace
from . import Composed, Make, slotted

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": slotted.properties(),
    "required": ["slots", "proxy"],
    "additionalProperties": False,
}


def compose(settings: Mapping[str, Any], wanted: Sequence[TargetWanted], make: Make, workplace: Workplace) -> Composed:
    """The slots as one target, behind the targets that have none."""
    return slotted.compose(settings, wanted, make, workplace, kind="blue-green", course=Course())
