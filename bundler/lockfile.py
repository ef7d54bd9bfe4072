"""Lock files of other tools, which say what a source takes: read whole, bounded, and the same as they were locked."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sealift.durable import storing
from sealift.errors import SourceError, UsageError
from sealift.names import visible
from sealift.reading import opened

LOCKFILE_MAX = 64 << 20
"""Bytes of a lock file at most."""
_START = "check the path: unless it is absolute, it starts from the folder of the spec"
_PIN = "run `sealift-bundle lock`: it finds out which files the lock file means"


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
