"""A depot as the signing side sees it: where its keys and its metadata lie."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from sealift.durable import storing
from sealift.errors import MalformedError, UsageError

from .reading import read_bounded

SETTINGS = "depot.json"
METADATA = "metadata"
ONLINE = "online.pem"
LIMIT = 64 * 1024
"""Bytes of the longest `depot.json`."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `depot.json` says."""

    format: Literal[1] = 1
    keys: str = "keys"
    """The folder of the private keys, absolute or relative to the depot."""


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


def online_key(depot: Path) -> Path:
    """Where the depot's online key lies.

    Raises:
        UsageError: `depot` is no depot.
        MalformedError: its `depot.json` does not have the form of one.
        StoreError: `depot.json` cannot be read.
    """
    return depot / settings(depot).keys / ONLINE
