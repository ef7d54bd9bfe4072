"""What the strategies with two slots share: their settings, and the one target that stands for the slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sealift import hooks
from sealift.errors import UsageError
from sealift.hooks import Hook
from sealift.plugins import kinds
from sealift.subset import branches

from ..environments.environment import Check, CommandCheck, HttpCheck, TargetWanted, health_schema
from ..slots import Course, Slot, Slots
from ..target import Workplace
from . import Composed, Make

SLOT = "{slot}"
"""Stands for a slot's name in the settings of targets and in the program that starts it."""
_ADDRESS = r"^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}$"


def properties() -> dict[str, Any]:
    """The JSON Schema of the keys that both strategies have."""
    balancers = kinds("installer.balancers", "sealift.balancers")
    what = "What shares the traffic out; the other keys depend on it."
    start = hooks.schema(absolute=True)["properties"]["before-switch"]["items"]
    return {
        "slots": {
            "description": "The two slots: the name of each, and the host and port where it answers.",
            "type": "object",
            "minProperties": 2,
            "maxProperties": 2,
            "propertyNames": {"type": "string", "pattern": "^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$"},
            "additionalProperties": {
                "description": "Host and port.",
                "type": "string",
                "pattern": _ADDRESS,
            },
        },
        "proxy": {
            "description": "The proxy before the slots.",
            "oneOf": branches("kind", balancers, what),
        },
        "start": {
            **start,
            "description": "Lets what is deployed in a slot run, whatever ran there before; {slot} is its name.",
        },
        "health": {
            "description": "What must hold in a slot before it gets traffic, and while its share grows: by command, "
            "or by a path that is asked at the slot's address.",
            "type": "array",
            "maxItems": 64,
            "items": {
                "description": "One check, by command or by path.",
                "oneOf": [health_schema("command"), health_schema("path")],
            },
        },
    }


def compose(
    settings: Mapping[str, Any],
    wanted: Sequence[TargetWanted],
    make: Make,
    workplace: Workplace,
    *,
    kind: str,
    course: Course,
) -> Composed:
    """The targets without slots as they are declared, and behind them the slots as one.

    Raises:
        UsageError: no target is declared for each slot, slots would be one place, or the proxy cannot do it.
    """
    slotted = [each for each in wanted if _mentions(each.settings)]
    if not slotted:
        raise UsageError(
            f"strategy {kind} finds no target for its slots",
            hint=f"write {SLOT} where a slot's name belongs in a target, such as path: /srv/shop/{SLOT}",
        )
    slots = [
        Slot(
            name=name,
            address=address,
            targets=tuple(make(_of_slot(each, name)) for each in slotted),
            start=_start(settings.get("start"), name),
            health=tuple(_check(entry, address) for entry in settings.get("health", ())),
        )
        for name, address in settings["slots"].items()
    ]
    proxy = dict(settings["proxy"])
    balancers = kinds("installer.balancers", "sealift.balancers")
    if (chosen := proxy.pop("kind")) not in balancers:
        raise UsageError(f"strategy {kind} has a proxy of the unknown kind {chosen!r}")
    places = [target.place for slot in slots for target in slot.targets]
    if shared := sorted(place for place in set(places) if places.count(place) > 1):
        raise UsageError(
            f"both slots would have {shared[0]}",
            hint=f"write {SLOT} where the place is said as well, or in `name` where the target has one",
        )
    room = workplace.room("slots", " ".join(places))
    balancer = balancers[chosen].balancer(proxy, settings["slots"], room)
    if not balancer.divides and (course.steps or course.goal < 100):
        raise UsageError(
            f"strategy {kind} needs shares of the traffic, and {balancer.place} gives it to one slot or the other",
            hint="use the strategy blue-green, or a proxy that shares traffic out",
        )
    plain = [(each.kind, make(each)) for each in wanted if not _mentions(each.settings)]
    return [*plain, (kind, Slots(slots, balancer, course, room))]


def _mentions(value: Any) -> bool:
    if isinstance(value, str):
        return SLOT in value
    if isinstance(value, Mapping):
        return any(map(_mentions, value.values()))
    return isinstance(value, list) and any(map(_mentions, value))


def _filled(value: Any, slot: str) -> Any:
    if isinstance(value, str):
        return value.replace(SLOT, slot)
    if isinstance(value, Mapping):
        return {key: _filled(each, slot) for key, each in value.items()}
    return [_filled(each, slot) for each in value] if isinstance(value, list) else value


def _of_slot(wanted: TargetWanted, slot: str) -> TargetWanted:
    return TargetWanted(kind=wanted.kind, settings=_filled(wanted.settings, slot))


def _start(value: Any, slot: str) -> Hook | None:
    if value is None:
        return None
    timeout = int(value.get("timeout", hooks.TIMEOUT))
    return Hook(run=tuple(_filled(list(value["run"]), slot)), timeout=timeout)


def _check(entry: Mapping[str, Any], address: str) -> Check:
    numbers = {key: int(value) for key, value in entry.items() if key not in ("command", "path")}
    if "command" in entry:
        return CommandCheck(command=tuple(entry["command"]), **numbers)
    return HttpCheck(url=f"http://{address}{entry['path']}", **numbers)
