"""Freezes: times in which nothing is changed, once from one moment to another, or on days of every week."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from sealift.errors import MalformedError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:Z|[+-][0-9]{2}:[0-9]{2})$"
_HOUR = r"^(?:[01][0-9]|2[0-4]):[0-5][0-9]$"


@dataclass(frozen=True, kw_only=True)
class Once:
    """From one moment to another."""

    start: datetime
    end: datetime
    reason: str = ""

    def holds(self, moment: datetime) -> bool:
        """Whether it is frozen at `moment`."""
        return self.start <= moment < self.end

    def __str__(self) -> str:
        return f"from {self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M %Z}{_because(self.reason)}"


@dataclass(frozen=True, kw_only=True)
class Weekly:
    """On some days of every week, from one hour to another."""

    days: tuple[str, ...]
    start: timedelta
    """Since midnight."""
    end: timedelta
    zone: tzinfo
    reason: str = ""

    def holds(self, moment: datetime) -> bool:
        """Whether it is frozen at `moment`, by the clocks of its zone."""
        here = moment.astimezone(self.zone)
        since = timedelta(hours=here.hour, minutes=here.minute, seconds=here.second)
        return DAYS[here.weekday()] in self.days and self.start <= since < self.end

    def __str__(self) -> str:
        start, end = (
            f"{int(each.total_seconds()) // 3600:02}:{int(each.total_seconds()) // 60 % 60:02}"
            for each in (self.start, self.end)
        )
        return f"on {', '.join(self.days)} from {start} to {end} {self.zone}{_because(self.reason)}"


Freeze = Once | Weekly


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""


def moment(text: str) -> datetime:
    """The moment that `text` says, with its zone.

    Raises:
        MalformedError: there is no such day or hour.
    """
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise MalformedError(f"{text[:40]!r} is no moment", hint="write it as 2026-12-24T00:00Z") from error


def zone(name: str) -> tzinfo:
    """The time zone of a name.

    Raises:
        MalformedError: this machine knows none of that name.
    """
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise MalformedError(
            f"this machine knows no time zone {name[:60]!r}",
            hint="write UTC, or a name such as Europe/Berlin; the system's package tzdata has them",
        ) from error


def of(value: Mapping[str, Any]) -> Freeze:
    """The freeze that `value` says, which the schema has accepted.

    Raises:
        MalformedError: a moment or a zone does not exist, or it ends before it begins.
    """
    reason = value.get("reason", "")
    if "days" not in value:
        start, end = moment(value["from"]), moment(value["until"])
        _check_order(end > start)
        return Once(start=start, end=end, reason=reason)
    since, until = _hour(value.get("from", "00:00")), _hour(value.get("to", "24:00"))
    _check_order(until > since)
    return Weekly(days=tuple(value["days"]), start=since, end=until, zone=zone(value.get("zone", "UTC")), reason=reason)


def _check_order(in_order: bool) -> None:
    if not in_order:
        raise MalformedError("it ends before it begins", hint="write a night as two entries, one for each day")


def _hour(text: str) -> timedelta:
    hours, minutes = text.split(":")
    return min(timedelta(hours=int(hours), minutes=int(minutes)), timedelta(hours=24))


def schema() -> dict[str, Any]:
    """The JSON Schema of one freeze."""
    reason = {"description": "Why, for people.", "type": "string", "maxLength": 200}
    once = {
        "from": {"description": "When it begins, with its zone.", "type": "string", "pattern": _MOMENT},
        "until": {"description": "When it ends, with its zone.", "type": "string", "pattern": _MOMENT},
        "reason": reason,
    }
    weekly = {
        "days": {
            "description": "Days of the week.",
            "type": "array",
            "minItems": 1,
            "maxItems": 7,
            "uniqueItems": True,
            "items": {"description": "One day.", "enum": list(DAYS)},
        },
        "from": {"description": "The hour, 00:00 where nothing is said.", "type": "string", "pattern": _HOUR},
        "to": {"description": "The hour, 24:00 where nothing is said.", "type": "string", "pattern": _HOUR},
        "zone": {
            "description": "The time zone, such as Europe/Berlin; UTC where nothing is said.",
            "type": "string",
            "pattern": r"^[A-Za-z][A-Za-z0-9_+-]{0,31}(?:/[A-Za-z0-9_+-]{1,32}){0,2}$",
        },
        "reason": reason,
    }
    return {
        "description": "One freeze: from a moment until another, or on days of every week.",
        "oneOf": [
            {"type": "object", "properties": part, "required": needed, "additionalProperties": False}
            for part, needed in ((once, ["from", "until"]), (weekly, ["days"]))
        ],
    }
