"""Source `bucket`: an object, or all below a prefix, of S3, Azure Blob or Alibaba OSS.

    bucket: s3://builds/shop/1.0.0/app.tar        one object, under the last part of its key
    bucket: s3://builds/shop/1.0.0/               what is below the prefix, under the rest of each key

Invariant: nothing is collected whose digest neither the spec nor its lock says. The lock holds a line for each
object: its digest, its size in bytes, its version and its tag (`-` where the store has none), and its key. So what is
added below a prefix later is not taken, and what was changed is found, or, in a bucket that keeps versions, had as it
was.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import msgspec

from sealift.bucket.address import KEYS, Bucket, check_key, read, shown
from sealift.digest import HEX
from sealift.document import Problem
from sealift.durable import storing
from sealift.errors import MalformedError, SourceError, UsageError
from sealift.names import check_path, visible
from sealift.tree import Order, position

from ..patterns import Taken, translated
from ..source import Found, Trace, Workshop

if TYPE_CHECKING:
    from ..buckets import Brought, Pinned

ADDRESS_MAX = 1200
OBJECTS_MAX = 50_000
"""Objects of one artifact: a lock holds no more."""
_PATTERNS = {
    "type": "array",
    "maxItems": 1000,
    "items": {"type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^[^!]"},
}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "bucket": {
            "type": "string",
            "minLength": 1,
            "maxLength": ADDRESS_MAX,
            "description": "s3://bucket/key, az://container/key or oss://bucket/key; a prefix ends with a slash.",
        },
        **KEYS,
        "sha256": {
            "type": "string",
            "pattern": "^[0-9a-f]{64}$",
            "description": "The SHA-256 of the one object; `sealift-bundle lock` finds it out if left out.",
        },
        "as": {
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            "pattern": "^[^/]+$",
            "description": "The one object's name in the artifact; the last part of its key if left out.",
        },
        "include": {
            **_PATTERNS,
            "minItems": 1,
            "description": "Patterns of what to take below a prefix, as in a .gitignore; everything if left out.",
        },
        "exclude": {**_PATTERNS, "description": "Patterns of what to leave out; wins over include."},
        "executable": {
            **_PATTERNS,
            "description": "Patterns of the files that may be executed; none if left out, since a bucket does not say.",
        },
    },
    "required": ["bucket"],
    "additionalProperties": False,
}
_PIN = "run `sealift-bundle lock`"
_LINE = re.compile(r"([0-9a-f]{64}) ([0-9]{1,16}) ([!-~]{1,1024}) ([!-~]{1,256}) (.+)")

_Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class _Want(msgspec.Struct, frozen=True, kw_only=True):
    bucket: Annotated[str, msgspec.Meta(min_length=1, max_length=ADDRESS_MAX)]
    endpoint: str | None = None
    region: str | None = None
    account: str | None = None
    virtual_host: bool | None = None
    anonymous: bool = False
    unsafe_http: bool = False
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}\\Z")] | None = None
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None = msgspec.field(name="as", default=None)
    include: Annotated[tuple[_Pattern, ...], msgspec.Meta(min_length=1, max_length=1000)] | None = None
    exclude: Annotated[tuple[_Pattern, ...], msgspec.Meta(max_length=1000)] = ()
    executable: Annotated[tuple[_Pattern, ...], msgspec.Meta(max_length=1000)] = ()
    objects: Annotated[tuple[str, ...], msgspec.Meta(max_length=OBJECTS_MAX)] | None = None
    """A line for each object; only a lock says it."""


class _Asked:
    """What a part of a spec asks for."""

    def __init__(self, want: Mapping[str, Any]) -> None:
        try:
            self.want = msgspec.convert(want, _Want)
        except msgspec.ValidationError as error:
            raise UsageError(f"source bucket: {visible(str(error))}") from error
        self.bucket: Bucket
        self.bucket, self.key = read(self.want.bucket, want)
        self.several = not self.key or self.key.endswith("/")
        check_key(self.key.rstrip("/") or "-")
        try:
            self.taken = Taken.of(self.want.include, self.want.exclude)
            self.executable = Taken.of(self.want.executable or None, ())
        except UsageError as error:
            raise UsageError(f"source bucket: {error.message}", hint=error.hint) from error
        alone = self.want.sha256 or self.want.name
        if self.several and alone:
            raise UsageError(
                f"{shown(self.want.bucket)} is a prefix, and `sha256` and `as` are of one object",
                hint="leave them out, or name an object: without a slash at the end",
            )
        if not self.several and (self.want.include or self.want.exclude):
            raise UsageError(
                f"{shown(self.want.bucket)} is one object, and `include` and `exclude` are of a prefix",
                hint="leave them out, or write a slash at the end",
            )

    def path_of(self, key: str) -> str:
        """Where an object lies in the artifact."""
        name = key.removeprefix(self.key) if self.several else self.want.name or key.rpartition("/")[2]
        try:
            return check_path(name)
        except MalformedError as error:
            raise SourceError(
                f"the object {visible(key)[:200]!r} gives its file no valid name: {error.message}",
                hint="leave it out with `exclude`, or, of one object, name the file with `as`",
            ) from error

    def runs(self, path: str) -> bool:
        """Whether a file may be executed."""
        return bool(self.want.executable) and self.executable.reaches(path.split("/"), folder=False)


def collect(want: Mapping[str, Any], workshop: Workshop) -> Iterator[Found]:
    """Yield the files, fetched unless the workshop's cache holds them, and the folders that they lie in.

    Raises:
        UsageError: a key has the wrong form, or keys do not fit together.
        SourceError: no digest is known, or an object cannot be fetched or carried.
        IntegrityError: an object has another digest than was pinned.
        StoreError: the cache cannot be written.
    """
    asked = _Asked(want)
    if asked.want.objects is not None:
        pinned = _pinned(asked, asked.want.objects)
    elif asked.want.sha256 is not None:
        from ..buckets import Pinned

        pinned = [Pinned(key=asked.key, sha256=asked.want.sha256)]
    else:
        raise SourceError(f"{shown(asked.want.bucket)} has no digest", hint=_PIN)
    yield from _entries(asked, _brought(asked, pinned, workshop))


def pin(want: Mapping[str, Any], workshop: Workshop) -> Mapping[str, Any]:
    """A line for each object (`objects`), found out by fetching them.

    Raises:
        UsageError: a key has the wrong form, or keys do not fit together.
        SourceError: an object cannot be fetched or carried, or there is none.
        IntegrityError: the spec names another digest than the object has.
        StoreError: the cache cannot be written.
    """
    asked = _Asked(want)
    brought = _brought(asked, _standing(asked), workshop)
    for _ in _entries(asked, brought):
        """Refuse now what cannot be carried."""
    return {"objects": [_line(each.pinned) for each in brought]}


def traces(want: Mapping[str, Any]) -> list[Trace]:
    """The address and the digest of every object that the spec or its lock names.

    Raises:
        UsageError: a key has the wrong form, or the lock does not fit.
        SourceError: an object gives its file no valid name.
    """
    asked = _Asked(want)
    where = f"{asked.bucket.endpoint.rstrip('/')}/{asked.bucket.name}" if asked.bucket.endpoint else asked.bucket.place
    if asked.want.objects is None:
        known = [(asked.key, asked.want.sha256)] if asked.want.sha256 else []
    else:
        known = [(each.key, each.sha256) for each in _pinned(asked, asked.want.objects)]
    return [
        Trace(name=asked.path_of(key), uri=f"{where}/{quote(key)}", digest={"sha256": digest}) for key, digest in known
    ]


def lint(want: Mapping[str, Any], base: Any, *, pinned: bool) -> list[Problem]:
    """What is wrong with the address, the names and the patterns, and whether a digest is known; nobody is asked."""
    found = []
    address = want.get("bucket")
    if isinstance(address, str) and 0 < len(address) <= ADDRESS_MAX:
        try:
            _, key = read(address, {})
            check_key(key.rstrip("/") or "-")
        except UsageError as error:
            found.append(Problem(steps=("bucket",), message=error.message, hint=error.hint))
    for name in ("include", "exclude", "executable"):
        patterns = want.get(name)
        for index, pattern in enumerate(patterns if isinstance(patterns, list) else ()):
            if isinstance(pattern, str) and 0 < len(pattern) <= 1024:
                try:
                    translated(pattern)
                except UsageError as error:
                    found.append(Problem(steps=(name, index), message=error.message, hint=error.hint))
    if pinned and "sha256" not in want and "objects" not in want:
        message = "neither `sha256` nor a lock says what the objects are"
        found.append(Problem(steps=(), message=message, hint=_PIN, missing=True))
    return found


def _brought(asked: _Asked, pinned: Sequence[Pinned], workshop: Workshop) -> list[Brought]:
    from ..buckets import bring

    return bring(asked.bucket, pinned, cache=workshop.cache, spare=workshop.spare, progress=workshop.progress)


def _standing(asked: _Asked) -> list[Pinned]:
    """What is there now and is taken, sorted by key.

    Raises:
        SourceError: there is nothing, or too much.
    """
    from ..buckets import Pinned, objects

    if not asked.several:
        return [Pinned(key=asked.key, sha256=asked.want.sha256 or "")]
    bucket = objects(asked.bucket)
    found: dict[str, Pinned] = {}
    for seen in bucket.listed(asked.key.rstrip("/")):
        path = seen.key.removeprefix(asked.key)
        if not asked.taken.reaches(path.split("/"), folder=False):
            continue
        if len(found) >= OBJECTS_MAX:
            raise SourceError(
                f"{shown(asked.want.bucket)} has more than {OBJECTS_MAX} objects",
                hint="narrow it with `include`, or write several artifacts",
            )
        found[seen.key] = Pinned(key=seen.key, size=seen.size, tag=seen.tag)
    folders = {key[:index] for key in found for index, character in enumerate(key) if character == "/"}
    empty = [key for key, each in found.items() if not each.size]
    for key in empty:
        # consoles show a folder by an empty object whose key ends in a slash, which the list leaves out
        if key in folders or bucket.look(key) is None:
            del found[key]
    if not found:
        raise SourceError(
            f"{shown(asked.want.bucket)} holds nothing" + (" that the patterns take" if asked.taken.patterned else ""),
            hint="check `bucket`, `include` and `exclude`",
        )
    return [found[key] for key in sorted(found)]


def _entries(asked: _Asked, brought: Sequence[Brought]) -> Iterator[Found]:
    files = {asked.path_of(each.pinned.key): each for each in brought}
    folders = {path[:index] for path in files for index, character in enumerate(path) if character == "/"}
    order = Order()
    for path in sorted([*files, *(folders - files.keys())], key=position):
        if path in folders and path in files:
            raise SourceError(
                f"{visible(path)!r} is an object, and others lie below it", hint="leave one out with `exclude`"
            )
        try:
            order.check(path, folder=path in folders)
        except MalformedError as error:
            raise SourceError(
                f"{shown(asked.want.bucket)}: {error.message}", hint="leave one of them out with `exclude`"
            ) from error
        if path in folders:
            yield Found(path, "dir")
            continue
        fetched = files[path].fetched
        with storing(fetched.path):
            status = os.stat(fetched.path)
        stamp = (status.st_ino, status.st_mtime_ns)
        yield Found(path, "file", asked.runs(path), status.st_size, str(fetched.path), stamp)


def _line(pinned: Pinned) -> str:
    version = pinned.version if pinned.version and re.fullmatch("[!-~]{1,1024}", pinned.version) else "-"
    tag = pinned.tag if re.fullmatch("[!-~]{1,256}", pinned.tag) else "-"
    return f"{pinned.sha256} {pinned.size} {version} {tag} {pinned.key}"


def _pinned(asked: _Asked, lines: Sequence[str]) -> list[Pinned]:
    """What a lock says.

    Raises:
        UsageError: it says it in another way, or of another bucket's objects.
    """
    from ..buckets import Pinned

    found: list[Pinned] = []
    for line in lines:
        parts = _LINE.fullmatch(line)
        key = parts[5] if parts else ""
        fits = key.startswith(asked.key) if asked.several else key == asked.key
        if parts is None or not HEX.fullmatch(parts[1]) or not fits:
            raise UsageError("the lock does not say what the objects of the bucket are", hint=f"{_PIN} again")
        version = None if parts[3] == "-" else parts[3]
        # a version alone says what is asked for
        tag = "" if version or parts[4] == "-" else parts[4]
        found.append(Pinned(key=check_key(key), size=int(parts[2]), sha256=parts[1], tag=tag, version=version))
    return found
