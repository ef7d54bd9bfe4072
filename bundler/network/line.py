"""The line: kept connections to whatever hosts a piece of work asks, with the credentials that each may see.

Invariant: an origin (scheme, host and port) is told the credentials that its owner configured for it, and no other
origin is, wherever redirects lead.
"""

from __future__ import annotations

import base64
import netrc
import os
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import urllib3
from urllib3.util import parse_url

from sealift.errors import UsageError
from sealift.names import visible

from .connections import OPENER

CONNECTIONS = 8
"""Requests to one host at once, and connections that are kept to it."""
_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Whom a request goes to."""

    scheme: str
    host: str
    port: int


class Place(NamedTuple):
    """Who is told credentials: an origin, or what lies below a path there."""

    origin: Origin
    path: str = "/"


def origin_of(url: str) -> Origin:
    """The origin of an http or https address."""
    parsed = parse_url(url)
    scheme = parsed.scheme or ""
    return Origin(scheme, (parsed.host or "").lower(), parsed.port or _PORTS.get(scheme, 0))


def basic(user: str, password: str) -> str:
    """The value of an Authorization header (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def split_credentials(url: str) -> tuple[str, str | None]:
    """An address without its user and password, and the header that says them; None where it has none."""
    parsed = parse_url(url)
    if parsed.auth is None:
        return url, None
    user, _, password = parsed.auth.partition(":")
    return parsed._replace(auth=None).url, basic(unquote(user), unquote(password))


def netrc_headers(environment: Mapping[str, str]) -> dict[str, str]:
    """The headers that the user's netrc file says, by host.

    Raises:
        UsageError: the file cannot be read as one.
    """
    place = environment.get("NETRC")
    path = Path(place) if place else Path(environment.get("HOME") or os.path.expanduser("~")) / ".netrc"
    if not path.is_file():
        return {}
    try:
        found = netrc.netrc(str(path))
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{visible(str(path))} cannot be read as a netrc file", hint="mend it, or name another one in NETRC"
        ) from error
    return {host.lower(): basic(entry[0], entry[2]) for host, entry in found.hosts.items() if entry[2]}


class Line:
    """Kept connections, for several threads at once. As a context: leaving it closes them."""

    def __init__(
        self,
        *,
        headers: Mapping[Place, str] | None = None,
        hosts: Mapping[str, str] | None = None,
        context: ssl.SSLContext | None = None,
        connections: int = CONNECTIONS,
    ) -> None:
        """Open nothing yet.

        Args:
            headers: the Authorization header for each place that has one; the longest path that fits counts.
            hosts: the same by host, for whatever scheme and port.
            context: what verifies servers, in place of what the environment says.
            connections: how many are kept for each origin.
        """
        self._headers = sorted((headers or {}).items(), key=lambda said: -len(said[0].path))
        self._hosts = hosts or {}
        self._context = context
        self._connections = connections
        self._pools: dict[Origin, urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        for pools in self._pools.values():
            pools.clear()

    def pools(self, url: str) -> urllib3.PoolManager:
        """What holds the connections to the origin of `url`.

        Raises:
            SourceError: the environment names no valid proxy or certificates.
        """
        origin = origin_of(url)
        with self._lock:
            if origin not in self._pools:
                if origin.scheme == "https" and self._context is None:
                    self._context = OPENER.context()
                self._pools[origin] = OPENER.pools(url, context=self._context, connections=self._connections)
            return self._pools[origin]

    def headers(self, url: str) -> dict[str, str]:
        """What whoever is asked for `url` is told besides."""
        origin, path = origin_of(url), parse_url(url).path or "/"
        fitting = (header for place, header in self._headers if place.origin == origin and path.startswith(place.path))
        said = next(fitting, None) or self._hosts.get(origin.host)
        return {"Authorization": said} if said else {}

    def knows(self, url: str) -> bool:
        """Whether whoever is asked for `url` is told credentials."""
        return bool(self.headers(url))
