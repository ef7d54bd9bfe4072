"""Strategy `canary`: two slots; the new release gets a growing share of the traffic while it is watched.

A step that fails takes the traffic back to the former release, and the deployment fails. With `hold`, the share
stays there, for a comparison of the two, until the release is applied without it, or rolled back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sealift.hooks import seconds

from ..environments.environment import TargetWanted
from ..slots import Course, Step
from ..target import Workplace
from . import Composed, Make, slotted

_SHARE = {"type": "integer", "minimum": 1, "maximum": 99}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        **slotted.properties(),
        "steps": {
            "description": "The shares of the traffic that the new release gets in turn, before it gets all of it.",
            "type": "array",
            "minItems": 1,
            "maxItems": 100,
            "items": {
                "description": "One step.",
                "type": "object",
                "properties": {
                    "share": {"description": "The share in percent.", **_SHARE},
                    "seconds": seconds("How long the release is watched at this share.", least=0, default=60),
                },
                "required": ["share"],
                "additionalProperties": False,
            },
        },
        "errors": {
            "description": "How many in a hundred requests to the new release may fail at a step, by what the proxy "
            "counts (haproxy does). Where nothing is said, they are not counted.",
            "type": "number",
            "minimum": 0,
            "maximum": 100,
        },
        "hold": {"description": "The share in percent at which the new release stays.", **_SHARE},
    },
    "required": ["slots", "proxy", "steps"],
    "additionalProperties": False,
}


def compose(settings: Mapping[str, Any], wanted: Sequence[TargetWanted], make: Make, workplace: Workplace) -> Composed:
    """The slots as one target, behind the targets that have none."""
    steps = sorted((int(each["share"]), int(each.get("seconds", 60))) for each in settings["steps"])
    course = Course(
        steps=tuple(Step(share=share, seconds=time) for share, time in steps),
        hold=settings.get("hold"),
        errors=settings.get("errors"),
    )
    return slotted.compose(settings, wanted, make, workplace, kind="canary", course=course)
