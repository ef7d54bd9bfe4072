"""Source `pypi`: the wheels, and on request source distributions, that a lock file of Python packages pins.

The lock file is a `pylock.toml` (PEP 751) or a requirements file with hashes. Files come from where it says, or from
the indexes that pip is configured for.

Invariant: nothing is collected whose digest the lock file does not say. `lock` pins each file by its SHA-256.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from sealift.document import Problem
from sealift.errors import UsageError
from sealift.names import visible

from ..lockfile import PATH_LENGTH_MAX, PINNED_SCHEMA, LockfileWanted
from ..source import Found, Trace, Workshop

if TYPE_CHECKING:
    from ..network.fetch import Wanted
    from ..network.line import Line
    from ..parcels import Parcel
    from ..wheels.choosing import File

KIND = "wheels"
PYTHON = r"^3\.[0-9]{1,2}(\.[0-9]{1,2})?t?$"
PLATFORM = (
    r"^((manylinux_2_[0-9]{1,3}|musllinux_1_[0-9]{1,2}|macosx_[0-9]{2}_[0-9]{1,2})"
    r"_[a-z0-9_]{1,16}|win32|win_amd64|win_arm64)$"
)
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"


def _names(description: str) -> dict[str, Any]:
    return {
        "type": "array",
        "minItems": 1,
        "maxItems": 256,
        "uniqueItems": True,
        "items": {"type": "string", "pattern": _NAME},
        "description": description,
    }


SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "lockfile": {
            "type": "string",
            "minLength": 1,
            "maxLength": PATH_LENGTH_MAX,
            "description": "A pylock.toml, or a requirements file with hashes; relative to the folder of the spec.",
        },
        "python": {
            "type": "array",
            "minItems": 1,
            "maxItems": 16,
            "uniqueItems": True,
            "items": {"type": "string", "pattern": PYTHON},
            "description": 'The versions of Python that the packages are for, as "3.11".',
        },
        "platforms": {
            "type": "array",
            "minItems": 1,
            "maxItems": 32,
            "uniqueItems": True,
            "items": {"type": "string", "pattern": PLATFORM},
            "description": "The platforms that they are for, by their tags, as manylinux_2_28_x86_64.",
        },
        "sdists": {
            "type": "boolean",
            "description": "Whether a source distribution is taken where no wheel fits; false if left out.",
        },
        "extras": _names("The extras that a pylock.toml is read with; none if left out."),
        "groups": _names("The dependency groups that a pylock.toml is read with; its default ones if left out."),
        "index": {
            "type": "array",
            "minItems": 1,
            "maxItems": 16,
            "uniqueItems": True,
            "items": {"type": "string", "minLength": 1, "maxLength": 2048},
            "description": "The indexes to ask, without credentials; those that pip is configured for if left out.",
        },
        **PINNED_SCHEMA,
    },
    "required": ["lockfile", "python", "platforms"],
    "additionalProperties": False,
}

_Name = Annotated[str, msgspec.Meta(pattern=_NAME[:-1] + "\\Z")]


class _Want(LockfileWanted, frozen=True, kw_only=True):
    python: Annotated[
        tuple[Annotated[str, msgspec.Meta(pattern=PYTHON[:-1] + "\\Z")], ...],
        msgspec.Meta(min_length=1, max_length=16),
    ]
    platforms: Annotated[
        tuple[Annotated[str, msgspec.Meta(pattern=PLATFORM[:-1] + "\\Z")], ...],
        msgspec.Meta(min_length=1, max_length=32),
    ]
    sdists: bool = False
    extras: Annotated[tuple[_Name, ...], msgspec.Meta(max_length=256)] = ()
    groups: Annotated[tuple[_Name, ...], msgspec.Meta(max_length=256)] | None = None
    index: Annotated[tuple[Annotated[str, msgspec.Meta(max_length=2048)], ...], msgspec.Meta(max_length=16)] = ()


def collect(want: Mapping[str, Any], workshop: Workshop) -> Iterator[Found]:
    """Yield the files, fetched unless the workshop's cache holds them.

    Raises:
        UsageError: a key has the wrong form, or a configuration of this machine cannot be read.
        SourceError: nothing is locked, the lock file is another now, or a file cannot be fetched.
        IntegrityError: a file has another digest.
        StoreError: the cache cannot be written.
    """
    from ..lockfile import check_same
    from ..parcels import found
    from ..wheels.settings import access

    asked = _parse(want)
    check_same(asked.lockfile, workshop.base, asked.lockfile_sha256 if asked.files else None)
    with access(os.environ).line() as line:
        yield from found(_parcels(asked), workshop, line, label="fetch Python packages")


def pin(want: Mapping[str, Any], workshop: Workshop) -> Mapping[str, Any]:
    """Which files are taken, and the digest of the lock file that says so; all of them are fetched.

    Raises:
        UsageError: a key has the wrong form, the lock file is none, or a configuration cannot be read.
        SourceError: an environment gets no file of a package, or one cannot be fetched.
        IntegrityError: an index serves another content than was locked.
        StoreError: the cache cannot be written.
    """
    from ..hauling import haul
    from ..lockfile import pins, read
    from ..network.web import public
    from ..parcels import Parcel
    from ..wheels.settings import access

    asked = _parse(want)
    content = read(asked.lockfile, workshop.base)
    with access(os.environ).line() as line:
        files = _chosen(asked, content, line, workshop)
        fetched = haul([_wanted(file) for file in files], workshop, line, label="fetch Python packages")
    parcels = [
        Parcel(path=file.filename, sha256=each.sha256, length=each.length, url=public(file.url))
        for file, each in zip(files, fetched, strict=True)
    ]
    return pins(content, parcels)


def traces(want: Mapping[str, Any]) -> list[Trace]:
    """The address and the digest of each file.

    Raises:
        UsageError: a key has the wrong form.
    """
    return [parcel.trace for parcel in _parcels(_parse(want))]


def lint(want: Mapping[str, Any], base: Path, *, pinned: bool) -> list[Problem]:
    """Whether the lock file is there and is one, what is wrong with the indexes, and whether the files are known."""
    from .. import lockfile
    from ..network.web import check_url

    found = lockfile.lint(want, base, _check_form, pinned=pinned)
    given = want.get("index")
    for number, url in enumerate(given if isinstance(given, list) else ()):
        if isinstance(url, str) and 0 < len(url) <= 2048:
            try:
                check_url(url)
            except UsageError as error:
                found.append(Problem(steps=("index", number), message=error.message, hint=error.hint))
    return found


def _parse(want: Mapping[str, Any]) -> _Want:
    from ..network.web import check_url

    try:
        asked = msgspec.convert(want, _Want)
    except msgspec.ValidationError as error:
        raise UsageError(f"source pypi: {visible(str(error))}") from error
    for url in asked.index:
        check_url(url)
    return asked


def _parcels(asked: _Want) -> list[Parcel]:
    from ..parcels import parse

    return parse(asked.files, "pypi")


def _is_pylock(place: str) -> bool:
    return place.endswith(".toml")


def _check_form(place: str, content: bytes) -> None:
    """Refuse a lock file that is none, before anybody is asked."""
    from ..wheels import choosing, requirements

    if _is_pylock(place):
        choosing.pylock(content, visible(place))
    else:
        requirements.parse(_text(content, place), visible(place))


def _text(content: bytes, place: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{visible(place)} is not UTF-8", hint="write the requirements as UTF-8") from error


def _chosen(asked: _Want, content: bytes, line: Line, workshop: Workshop) -> list[File]:
    """What the lock file means for the environments; indexes are asked where it is a requirements file."""
    from ..wheels import choosing, requirements
    from ..wheels.environments import environments
    from ..wheels.looking import look_up

    shown = visible(asked.lockfile)
    if _is_pylock(asked.lockfile):
        lock = choosing.pylock(content, shown)
    else:
        said = requirements.parse(_text(content, asked.lockfile), shown)
        lock = choosing.as_pylock(said, look_up(said, asked.index, line, workshop.progress))
    where = environments(asked.python, asked.platforms)
    return choosing.choose(lock, where, sdists=asked.sdists, extras=asked.extras, groups=asked.groups)


def _wanted(file: File) -> Wanted:
    from ..network.fetch import Wanted

    also = {name: value for name, value in file.hashes.items() if name != "sha256"}
    return Wanted(url=file.url, sha256=file.hashes.get("sha256"), length=file.size, also=also)
