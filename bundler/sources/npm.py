"""Source `npm`: the tarballs that npm's lock file pins, from the registries that npm is configured for.

Invariant: nothing is collected whose integrity the lock file does not say. `lock` pins each file by its SHA-256.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from sealift.document import Problem
from sealift.errors import UsageError
from sealift.names import visible

from ..lockfile import PATH_LENGTH_MAX, PINNED_SCHEMA, LockfileWanted
from ..source import Found, Trace, Workshop

if TYPE_CHECKING:
    from ..npm.lockfile import Locked
    from ..npm.settings import Settings
    from ..parcels import Parcel

KIND = "npm"
_WORD = "^[a-z0-9_]{1,32}$"


def _words(description: str, **items: Any) -> dict[str, Any]:
    return {
        "type": "array",
        "minItems": 1,
        "maxItems": 32,
        "uniqueItems": True,
        "items": {"type": "string", **items},
        "description": description,
    }


SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "lockfile": {
            "type": "string",
            "minLength": 1,
            "maxLength": PATH_LENGTH_MAX,
            "description": "A package-lock.json of version 2 or 3; relative to the folder of the spec.",
        },
        "omit": _words(
            "Which kinds of dependencies are left out: dev, optional, peer; none if left out.",
            enum=["dev", "optional", "peer"],
        ),
        "os": _words("Of optional packages, those for these systems alone, as linux; all if left out.", pattern=_WORD),
        "cpu": _words(
            "Of optional packages, those for these processors alone, as x64; all if left out.", pattern=_WORD
        ),
        "registry": {
            "type": "string",
            "minLength": 1,
            "maxLength": 2048,
            "description": "The registry to ask, without credentials; those that npm is configured for if left out.",
        },
        **PINNED_SCHEMA,
    },
    "required": ["lockfile"],
    "additionalProperties": False,
}

_Words = Annotated[tuple[Annotated[str, msgspec.Meta(pattern=_WORD[:-1] + "\\Z")], ...], msgspec.Meta(max_length=32)]


class _Want(LockfileWanted, frozen=True, kw_only=True):
    omit: tuple[Literal["dev", "optional", "peer"], ...] = ()
    os: _Words = ()
    cpu: _Words = ()
    registry: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)] | None = None


def collect(want: Mapping[str, Any], workshop: Workshop) -> Iterator[Found]:
    """Yield the tarballs, fetched unless the workshop's cache holds them.

    Raises:
        UsageError: a key has the wrong form, or a configuration of this machine cannot be read.
        SourceError: nothing is locked, the lock file is another now, or a file cannot be fetched.
        IntegrityError: a file has another digest.
        StoreError: the cache cannot be written.
    """
    from ..lockfile import check_same
    from ..parcels import found

    asked = _parse(want)
    check_same(asked.lockfile, workshop.base, asked.lockfile_sha256 if asked.files else None)
    with _settings(asked, workshop.base).line() as line:
        yield from found(_parcels(asked), workshop, line, label="fetch npm packages")


def pin(want: Mapping[str, Any], workshop: Workshop) -> Mapping[str, Any]:
    """Which files are taken, and the digest of the lock file that says so; all of them are fetched.

    Raises:
        UsageError: a key has the wrong form, the lock file is none, or a configuration cannot be read.
        SourceError: a package is no registry's, has no integrity, or cannot be fetched.
        IntegrityError: a registry serves another content than was locked.
        StoreError: the cache cannot be written.
    """
    from ..hauling import haul
    from ..lockfile import pins, read
    from ..network.fetch import Wanted
    from ..network.web import public
    from ..npm.settings import default_registry
    from ..parcels import Parcel

    asked = _parse(want)
    content = read(asked.lockfile, workshop.base)
    locked = _locked(asked, content)
    there = _settings(asked, workshop.base)
    default = default_registry()
    wanted = [
        Wanted(url=there.address(each, default), also={each.algorithm: each.digest}, max_bytes=4 << 30)
        for each in locked
    ]
    with there.line() as line:
        fetched = haul(wanted, workshop, line, label="fetch npm packages")
    parcels = [
        Parcel(path=each.path, sha256=file.sha256, length=file.length, url=public(asked_for.url))
        for each, asked_for, file in zip(locked, wanted, fetched, strict=True)
    ]
    return pins(content, parcels)


def traces(want: Mapping[str, Any]) -> list[Trace]:
    """The address and the digest of each file.

    Raises:
        UsageError: a key has the wrong form.
    """
    return [parcel.trace for parcel in _parcels(_parse(want))]


def lint(want: Mapping[str, Any], base: Path, *, pinned: bool) -> list[Problem]:
    """Whether the lock file is there and is one, what is wrong with the registry, and whether the files are known."""
    from .. import lockfile
    from ..network.web import check_url

    found = lockfile.lint(want, base, lambda place, text: _locked(_Want(lockfile=place), text), pinned=pinned)
    registry = want.get("registry")
    if isinstance(registry, str) and registry:
        try:
            check_url(registry)
        except UsageError as error:
            found.append(Problem(steps=("registry",), message=error.message, hint=error.hint))
    return found


def _parse(want: Mapping[str, Any]) -> _Want:
    from ..network.web import check_url

    try:
        asked = msgspec.convert(want, _Want)
    except msgspec.ValidationError as error:
        raise UsageError(f"source npm: {visible(str(error))}") from error
    if asked.registry is not None:
        check_url(asked.registry)
    return asked


def _parcels(asked: _Want) -> list[Parcel]:
    from ..parcels import parse

    return parse(asked.files, "npm")


def _locked(asked: _Want, content: bytes) -> list[Locked]:
    from ..npm.lockfile import parse

    return parse(content, visible(asked.lockfile), omit=asked.omit, systems=asked.os, processors=asked.cpu)


def _settings(asked: _Want, base: Path) -> Settings:
    from ..npm.settings import settings

    return settings(os.environ, (base / asked.lockfile).parent, given=asked.registry)
