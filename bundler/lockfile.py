"""Lock files of other tools, which say what a source takes: read whole, bounded, and the same as they were locked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from sealift.document import Problem
from sealift.durable import storing
from sealift.errors import SealiftError, SourceError, UsageError
from sealift.names import visible
from sealift.reading import opened

if TYPE_CHECKING:
    from .parcels import Parcel

PATH_LENGTH_MAX = 4096
"""Characters of the path of a lock file."""
LOCKFILE_MAX = 64 << 20
"""Bytes of a lock file at most."""
PINNED_SCHEMA: Mapping[str, Any] = {
    "lockfile_sha256": {
        "type": "string",
        "pattern": "^[0-9a-f]{64}$",
        "description": "The SHA-256 of the lock file that `files` comes from; `sealift-bundle lock` finds it out.",
    },
    "files": {
        "type": "array",
        "minItems": 1,
        "maxItems": 100_000,
        "items": {"type": "string", "minLength": 1},
        "description": "What is taken, each as its SHA-256, bytes, name and address; `sealift-bundle lock` finds "
        "it out.",
    },
}
"""What a lock says of a lock file, as JSON Schema."""
_START = "check the path: unless it is absolute, it starts from the folder of the spec"
_PIN = "run `sealift-bundle lock`: it finds out which files the lock file means"


class LockfileWanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a spec says of a lock file, and a lock of what it means."""

    lockfile: Annotated[str, msgspec.Meta(min_length=1, max_length=PATH_LENGTH_MAX, pattern="^[^\x00]*\\Z")]
    lockfile_sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}\\Z")] | None = None
    files: Annotated[tuple[str, ...], msgspec.Meta(max_length=100_000)] = ()


def read(place: str, base: Path) -> bytes:
    """The content of the lock file `place`, which starts from `base` unless it is absolute.

    Raises:
        UsageError: it cannot be read, is no regular file, or is too long.
    """
    shown = visible(place)
    try:
        if "\0" in place:
            raise OSError("a path holds no NUL")
        file = opened(base / place, follow=True)
    except OSError as error:
        raise UsageError(f"{shown!r}: {(error.strerror or str(error)).lower()}", hint=_START) from error
    if file is None:
        raise UsageError(f"{shown!r} is no regular file", hint=_START)
    with file, storing(base / place):
        content = file.read(LOCKFILE_MAX + 1)
    if len(content) > LOCKFILE_MAX:
        raise UsageError(f"{shown!r} is longer than {LOCKFILE_MAX} bytes", hint="make several artifacts of it")
    return content


def lint(want: Mapping[str, Any], base: Path, check: Callable[[str, bytes], object], *, pinned: bool) -> list[Problem]:
    """Whether the lock file that `want` names is there and is one, and, where it should be, what it means is known.

    Args:
        want: what a spec says of an artifact: `lockfile` and, once they are known, `files`.
        base: where its path starts from.
        check: raises a `SealiftError` where the content of a place is no lock file.
        pinned: whether the files should be known.
    """
    found = []
    place = want.get("lockfile")
    if isinstance(place, str) and 0 < len(place) <= PATH_LENGTH_MAX:
        try:
            check(place, read(place, base))
        except SealiftError as error:
            found.append(Problem(steps=("lockfile",), message=error.message, hint=error.hint))
    if pinned and "files" not in want:
        found.append(Problem(steps=(), message="no lock says which files are taken", hint=_PIN, missing=True))
    return found


def pins(content: bytes, parcels: Iterable[Parcel]) -> dict[str, Any]:
    """What a lock says of the files that a lock file of this content means."""
    return {"lockfile_sha256": hashlib.sha256(content).hexdigest(), "files": [parcel.line for parcel in parcels]}


def check_same(place: str, base: Path, sha256: str | None) -> None:
    """Refuse a lock file that is another than the one whose files were pinned.

    Args:
        place: as for `read`.
        base: the same.
        sha256: the digest that was pinned; None where nothing was.

    Raises:
        SourceError: it is another, or nothing was pinned.
        UsageError: it cannot be read.
    """
    content = read(place, base)
    if sha256 is None:
        raise SourceError(f"the files that {visible(place)} means are not known", hint=_PIN)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise SourceError(
            f"{visible(place)} was changed since it was locked",
            hint="if that is meant, run `sealift-bundle lock` again",
        )
