"""Something that is to be recorded: what an event may hold, so that it is safe to keep and to print."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from sealift.names import visible
from sealift.strict_json import INTEGER_MAX, canonical

DETAIL_MAX = 63 * 1024
"""Bytes of an event's detail as canonical JSON."""
_EVENT = re.compile(r"[a-z][a-z-]{0,31}")
_TEXT_MAX, _ITEMS_MAX, _DEPTH_MAX = 1024, 64, 6


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that is to be recorded. Make it with `event`."""

    event: str
    time: datetime
    detail: dict[str, Any]


def event(name: str, detail: Mapping[str, object], time: datetime) -> Event:
    """An event whose detail is safe to keep and to print: bounded, with control characters escaped.

    Raises:
        ValueError: `name` is no event name.
        TypeError: `detail` holds something else than text, whole numbers, booleans, None, lists and mappings.
    """
    if not _EVENT.fullmatch(name):
        raise ValueError(f"{name!r} is no name of an event")
    bounded = {key: _bounded(value, 1) for key, value in _keys(detail)}
    if len(canonical(bounded)) > DETAIL_MAX:
        bounded = {"shortened": True}
    return Event(event=name, time=time.astimezone(UTC).replace(microsecond=0), detail=bounded)


def _keys(mapping: Mapping[Any, object]) -> list[tuple[str, object]]:
    return [(visible(str(key))[:_TEXT_MAX], value) for key, value in list(mapping.items())[:_ITEMS_MAX]]


def _bounded(value: object, depth: int) -> object:
    if depth > _DEPTH_MAX:
        return "…"
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if 0 <= value <= INTEGER_MAX else str(value)[:_TEXT_MAX]
    if isinstance(value, str):
        shown = visible(value[:_TEXT_MAX])
        return shown if len(value) <= _TEXT_MAX else f"{shown}…"
    if isinstance(value, Mapping):
        return {key: _bounded(each, depth + 1) for key, each in _keys(value)}
    if isinstance(value, list | tuple):
        return [_bounded(each, depth + 1) for each in value[:_ITEMS_MAX]]
    raise TypeError(f"an event cannot hold a {type(value).__name__}")
