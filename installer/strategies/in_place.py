"""Strategy `in-place`: each target switches where it is. What is meant where an environment says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..environments.environment import TargetWanted
from ..target import Workplace
from . import Composed, Make

SCHEMA: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


def compose(settings: Mapping[str, Any], wanted: Sequence[TargetWanted], make: Make, workplace: Workplace) -> Composed:
    """The targets as they are declared."""
    return [(each.kind, make(each)) for each in wanted]
