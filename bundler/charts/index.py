"""The index of a chart repository: what it has of one chart, found without holding all the rest.

`index.yaml` of a large repository has tens of megabytes. It is read as a stream of events, and only the entries of the
chart that is asked for become values: strings, or nothing for null. Aliases are refused, and keys that come twice in an
entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamStartEvent,
)

from sealift.errors import MalformedError
from sealift.names import visible

DEPTH_MAX = 32
VERSIONS_MAX = 100_000
_NULL = ("", "~", "null", "Null", "NULL")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A version of a chart, as the index lists it."""

    version: str
    urls: tuple[str, ...]
    digest: str | None
    """SHA-256, in hexadecimal digits."""


def versions(content: bytes, chart: str, shown: str) -> list[Listed]:
    """What the index in `content` has of `chart`; nothing where it does not know it.

    Raises:
        MalformedError: it is no index.
    """
    try:
        reader = _Reader(yaml.parse(content, Loader=_Loader), shown)
        found = reader.entries(chart)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = str(getattr(error, "problem", "") or error)
        raise MalformedError(f"{shown} is no YAML: {visible(said)[:200]}") from error
    if not isinstance(found, list) or len(found) > VERSIONS_MAX:
        raise MalformedError(f"{shown} has no list of versions of {visible(chart)}, or one that is too long")
    return [_listed(each, chart, shown) for each in found]


def _listed(each: Any, chart: str, shown: str) -> Listed:
    urls = each.get("urls") if isinstance(each, dict) else None
    version = each.get("version") if isinstance(each, dict) else None
    digest = each.get("digest") if isinstance(each, dict) else None
    if (
        not isinstance(version, str)
        or not isinstance(urls, list)
        or not all(isinstance(url, str) for url in urls)
        or not (digest is None or isinstance(digest, str))
    ):
        raise MalformedError(f"{shown} has an entry of {visible(chart)} without a version or addresses")
    return Listed(version=version, urls=tuple(urls), digest=(digest or "").removeprefix("sha256:").lower() or None)


class _Reader:
    """Reads values out of a stream of events; every scalar is a string."""

    def __init__(self, events: Iterator[Event], shown: str) -> None:
        self._events = events
        self._shown = shown

    def entries(self, chart: str) -> Any:
        """The value of the chart among the entries; an empty list where there is none."""
        event = next(self._events)
        while isinstance(event, (StreamStartEvent, DocumentStartEvent)):
            event = next(self._events)
        if not isinstance(event, MappingStartEvent):
            raise MalformedError(f"{self._shown} is no index of a chart repository")
        found: Any = []
        seen = False
        for key, event in self._pairs():
            if key == "entries" and not seen and isinstance(event, MappingStartEvent):
                seen = True
                found = self._entry(chart)
            else:
                self._skip(event)
        if not seen:
            raise MalformedError(f"{self._shown} is no index of a chart repository: it has no entries")
        return found

    def _entry(self, chart: str) -> Any:
        found: Any = []
        for key, event in self._pairs():
            if key == chart and found == []:
                found = self._value(event, 1)
            else:
                self._skip(event)
        return found

    def _pairs(self) -> Iterator[tuple[str, Event]]:
        """The keys of a mapping that has begun, each with the first event of its value."""
        while not isinstance(event := next(self._events), MappingEndEvent):
            if not isinstance(event, ScalarEvent):
                raise MalformedError(f"{self._shown} has a key that is no string")
            yield event.value, next(self._events)

    def _skip(self, event: Event) -> None:
        depth = 0
        while True:
            if isinstance(event, AliasEvent):
                raise MalformedError(f"{self._shown} has an alias")
            if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
                depth += 1
            elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
                depth -= 1
            if depth > DEPTH_MAX:
                raise MalformedError(f"{self._shown} is nested more than {DEPTH_MAX} levels deep")
            if depth <= 0:
                return
            event = next(self._events)

    def _value(self, event: Event, depth: int) -> Any:
        if depth > DEPTH_MAX:
            raise MalformedError(f"{self._shown} is nested more than {DEPTH_MAX} levels deep")
        if isinstance(event, ScalarEvent):
            return None if event.implicit[0] and event.value in _NULL else event.value
        if isinstance(event, SequenceStartEvent):
            values = []
            while not isinstance(each := next(self._events), SequenceEndEvent):
                values.append(self._value(each, depth + 1))
            return values
        if isinstance(event, MappingStartEvent):
            found: dict[str, Any] = {}
            for key, each in self._pairs():
                if key in found:
                    raise MalformedError(f"{self._shown} has the key {visible(key)[:80]!r} twice in one entry")
                found[key] = self._value(each, depth + 1)
            return found
        raise MalformedError(f"{self._shown} has an alias")
