"""Source `url`: one file from an HTTP or HTTPS server, known by its SHA-256.

Invariant: nothing is collected whose digest neither the spec nor its lock says.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote, urlsplit

import msgspec

from sealift.document import Problem
from sealift.durable import storing
from sealift.errors import MalformedError, SourceError, UsageError
from sealift.names import check_path, visible

from ..source import Found, Trace, Workshop

if TYPE_CHECKING:
    from ..network.cache import Fetched

URL_LENGTH_MAX = 8192
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "url": {
            "type": "string",
            "minLength": 1,
            "maxLength": URL_LENGTH_MAX,
            "description": "An http or https address, without user name and password.",
        },
        "sha256": {
            "type": "string",
            "pattern": "^[0-9a-f]{64}$",
            "description": "The SHA-256 of the file; `sealift-bundle lock` finds it out if left out.",
        },
        "as": {
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            "pattern": "^[^/]+$",
            "description": "The file's name in the artifact; the last part of the address if left out.",
        },
        "executable": {"type": "boolean", "description": "Whether the file may be executed; false if left out."},
    },
    "required": ["url"],
    "additionalProperties": False,
}

_PIN = "run `sealift-bundle lock`, or write the file's digest in the spec as `sha256`"


class _Want(msgspec.Struct, frozen=True, kw_only=True):
    url: Annotated[str, msgspec.Meta(min_length=1, max_length=URL_LENGTH_MAX)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}\\Z")] | None = None
    length: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Bytes; only a lock says it."""
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None = msgspec.field(name="as", default=None)
    executable: bool = False


def collect(want: Mapping[str, Any], workshop: Workshop) -> Iterator[Found]:
    """Yield the one file, fetched unless the workshop's cache holds it.

    Raises:
        UsageError: a key has the wrong form, or the address bears credentials.
        SourceError: no digest is known, or the file cannot be fetched.
        IntegrityError: the server's content has another digest.
        StoreError: the cache cannot be written.
    """
    asked = _parse(want)
    name = _name(asked)
    if asked.sha256 is None:
        from ..network.web import redacted

        raise SourceError(
            f"url {redacted(asked.url)} has no digest",
            hint=_PIN,
        )
    fetched = _fetch(asked, workshop)
    with storing(fetched.path):
        status = os.stat(fetched.path)
    yield Found(name, "file", asked.executable, status.st_size, str(fetched.path), (status.st_ino, status.st_mtime_ns))


def pin(want: Mapping[str, Any], workshop: Workshop) -> Mapping[str, Any]:
    """The file's `sha256` and `length` in bytes, found out by fetching it.

    Raises:
        UsageError: a key has the wrong form, or the address bears credentials.
        SourceError: it cannot be fetched.
        IntegrityError: the spec names another digest than the server's content has.
        StoreError: the cache cannot be written.
    """
    asked = _parse(want)
    _name(asked)
    fetched = _fetch(asked, workshop)
    return {"sha256": fetched.sha256, "length": fetched.length}


def traces(want: Mapping[str, Any]) -> list[Trace]:
    """The address and the digest of the file.

    Raises:
        UsageError: a key has the wrong form, or the address bears credentials.
    """
    from ..network.web import public

    asked = _parse(want)
    return [Trace(name=_name(asked), uri=public(asked.url), digest={"sha256": asked.sha256} if asked.sha256 else {})]


def lint(want: Mapping[str, Any], base: Path, *, pinned: bool) -> list[Problem]:
    """What is wrong with the address and the file's name, and whether a digest is known; nobody is asked."""
    from ..network.web import check_url

    found = []
    url, name = want.get("url"), want.get("as")
    try:
        if isinstance(url, str) and 0 < len(url) <= URL_LENGTH_MAX:
            check_url(url)
            if "as" not in want:
                _name(_Want(url=url))
    except UsageError as error:
        found.append(Problem(steps=("url",), message=error.message, hint=error.hint))
    if isinstance(name, str) and name:
        try:
            _check_name(name)
        except MalformedError as error:
            found.append(Problem(steps=("as",), message=error.message, hint="write a plain file name"))
    if pinned and "sha256" not in want:
        found.append(
            Problem(steps=(), message="neither `sha256` nor a lock says the file's digest", hint=_PIN, missing=True)
        )
    return found


def _parse(want: Mapping[str, Any]) -> _Want:
    from ..network.web import check_url

    try:
        asked = msgspec.convert(want, _Want)
    except msgspec.ValidationError as error:
        raise UsageError(f"source url: {visible(str(error))}") from error
    check_url(asked.url)
    return asked


def _name(asked: _Want) -> str:
    """The name that the file bears in the artifact."""
    name = asked.name
    if name is None:
        try:
            name = unquote(urlsplit(asked.url).path.rpartition("/")[2], errors="strict")
        except UnicodeDecodeError:
            name = ""
    try:
        _check_name(name)
    except MalformedError as error:
        from ..network.web import redacted

        raise UsageError(
            f"url {redacted(asked.url)} gives the file no valid name: {error.message}",
            hint="write the file's name in the spec as `as`",
        ) from error
    return name


def _check_name(name: str) -> None:
    if "/" in check_path(name):
        raise MalformedError("'/' is not allowed in a file's name")


def _fetch(asked: _Want, workshop: Workshop) -> Fetched:
    from ..network.fetch import fetch

    return fetch(
        asked.url,
        cache=workshop.cache,
        spare=workshop.spare,
        progress=workshop.progress,
        sha256=asked.sha256,
        length=asked.length,
    )
