"""A depot as the signing side sees it: where its keys and its metadata lie."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from sealift.durable import storing, write_file
from sealift.errors import MalformedError, UsageError

from . import places
from .reading import read_bounded

SETTINGS = "depot.json"
METADATA = "metadata"
REQUESTS = "requests"
LOCK = "lock"
ONLINE = "online.pem"
LIMIT = 64 * 1024
"""Bytes of the longest `depot.json`."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `depot.json` says."""

    format: Literal[1] = 1
    keys: str = "keys"
    """The folder of the private keys, absolute or relative to the depot."""
    places: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    """Where the keys live that this machine can use: paths, relative to the depot, or URIs, by key id. No secrets."""
    clients: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    """Which version of Sealift each site runs, by the site's name."""

    def place(self, depot: Path, keyid: str) -> str | None:
        """Where the key of that id lives, if that was noted; a path is made relative to here."""
        noted = {} if self.places is msgspec.UNSET else self.places
        place = noted.get(keyid)
        return (
            str(depot / places.path_of(place)) if place is not None and places.scheme(place) == places.FILE else place
        )


def settings(depot: Path) -> Settings:
    """Read `depot.json`.

    Raises:
        UsageError: `depot` is no depot.
        MalformedError: its `depot.json` does not have the form of one.
        StoreError: it cannot be read.
    """
    path = depot / SETTINGS
    with storing(path):
        if not path.exists():
            raise UsageError(f"{depot} is no depot", hint=f"make one: sealift-keys init --depot {depot}")
    try:
        return msgspec.json.decode(read_bounded(path, limit=LIMIT), type=Settings)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedError(f"{path} is not valid: {error}", hint="restore it from a backup of the depot") from error


def note(depot: Path, **changes: dict[str, str]) -> None:
    """Write `depot.json` anew with other `places` or `clients`.

    Raises:
        UsageError: `depot` is no depot.
        MalformedError: its `depot.json` does not have the form of one.
        StoreError: the disk refused it; the former settings stay.
    """
    write_file(depot / SETTINGS, encode(msgspec.structs.replace(settings(depot), **changes)))


def encode(said: Settings) -> bytes:
    """The content of `depot.json`."""
    return msgspec.json.encode(said, order="sorted") + b"\n"


def online_key(depot: Path) -> Path:
    """Where the depot's online key lies.

    Raises:
        UsageError: `depot` is no depot.
        MalformedError: its `depot.json` does not have the form of one.
        StoreError: `depot.json` cannot be read.
    """
    return depot / settings(depot).keys / ONLINE
