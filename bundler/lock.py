"""The lock of a spec: what its sources were found to be, so that they are the same at every export.

It lies beside the spec, as canonical JSON (sorted keys, no spaces), and is meant to be kept with it:

    {"artifacts":{"tool":{"digest":"…","length":9,"sha256":"…","source":"url","time":"2026-05-01T12:00:00Z","url":"…"},
                  "web":{"digest":"…","source":"path","time":"2026-05-01T12:00:00Z"}},
     "format":1,"release":"shop","version":"1.0.0"}

`digest` is the digest of the artifact's tree, `time` when it was first found to be so: a lock that is written again
keeps it where nothing else of the artifact changes. What stands beside `source`, `digest` and `time` are the keys
that the source pinned and, where it pinned any, the keys that its part of the spec cannot lack: they
say what was pinned. An artifact that the lock does not know is an error, as a changed one is.

A lock is of one release and version. Under a spec that says another one it is refused, even where every digest
would still hold: a version that was raised is a release of its own, and what it holds is to be looked up anew,
not taken from the former one unnoticed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from sealift.digest import check_form
from sealift.durable import storing, write_file
from sealift.errors import MalformedError, SourceError, UsageError
from sealift.names import check_release, check_spaced, check_version, visible
from sealift.reading import opened

SIZE_MAX = 64 << 20
"""Bytes of a lock file."""
LIST_MAX = 100_000
"""Values that a key may pin."""
Value = str | int | bool | list[str]
"""What a source may pin for a key."""

_Key = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_List = Annotated[list[str], msgspec.Meta(min_length=1, max_length=LIST_MAX)]
_HINT = "run `sealift-bundle lock` to write what the spec says now"
_OWN = ("source", "digest", "time")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


@dataclass(frozen=True, kw_only=True)
class Locked:
    """One artifact of a lock."""

    source: str
    digest: str
    """Of the artifact's tree."""
    pins: Mapping[str, Value] = field(default_factory=dict)
    """What the source's part of the spec must say, or is made to say."""
    time: str = ""
    """When it was found to be so: RFC 3339, UTC, in seconds; empty in a lock of an older Sealift."""


@dataclass(frozen=True, kw_only=True)
class Lock:
    """What a spec resolves to."""

    release: str
    version: str
    artifacts: Mapping[str, Locked]


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: Literal[1]
    release: str
    version: str
    artifacts: Annotated[
        dict[_Key, Annotated[dict[_Key, str | int | bool | _List], msgspec.Meta(max_length=64)]],
        msgspec.Meta(max_length=10_000),
    ]


def path_of(spec: Path) -> Path:
    """Where the lock of `spec` is: `sealift.lock` for `sealift.yaml`.

    Raises:
        UsageError: `spec` itself has that name.
    """
    if spec.suffix == ".lock":
        raise UsageError(f"{visible(str(spec))} has the name of a lock", hint="give the spec a name that ends in .yaml")
    return spec.with_suffix(".lock")


def locked(
    source: str, want: Mapping[str, Any], pins: Mapping[str, Value], digest: str, *, schema: Mapping[str, Any]
) -> Locked:
    """The lock's entry for an artifact.

    Args:
        source: the kind of its source.
        want: the source's part of the spec.
        pins: what the source pinned.
        digest: of the artifact's tree.
        schema: the source's `SCHEMA`; the keys that it requires are what the pins belong to.

    Raises:
        ValueError: the source pinned a key that is the lock's own, or another value than the spec's.
    """
    if not pins:
        return Locked(source=source, digest=digest)
    known = {key: want[key] for key in schema.get("required", ()) if isinstance(want.get(key), (str, int, bool))}
    known.pop("source", None)
    for key, value in pins.items():
        if key in _OWN or want.get(key, value) != value:
            raise ValueError(f"source {source} pinned the key {key!r}, which has another meaning or value already")
    return Locked(source=source, digest=digest, pins=known | dict(pins))


def read(path: Path) -> Lock | None:
    """The lock at `path`, or None if there is no file.

    Raises:
        MalformedError: it is no lock of format 1.
        StoreError: it cannot be read.
    """
    try:
        with storing(path):
            if not os.path.lexists(path):
                return None
            content = _content(path)
        return _parsed(content)
    except MalformedError as error:
        raise MalformedError(
            f"{visible(str(path))}: {error.message}", hint="delete it and run `sealift-bundle lock` to write it anew"
        ) from error


def write(path: Path, lock: Lock) -> None:
    """Replace the lock at `path`, atomically and durably.

    Raises:
        SourceError: it is longer than `read` takes; the former lock stays.
        StoreError: it cannot be written; the former lock stays.
    """
    document = {
        "format": 1,
        "release": lock.release,
        "version": lock.version,
        "artifacts": {
            name: {
                **entry.pins,
                "source": entry.source,
                "digest": entry.digest,
                **({"time": entry.time} if entry.time else {}),
            }
            for name, entry in lock.artifacts.items()
        },
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for name, entry in lock.artifacts.items():
        if any(isinstance(value, list) and len(value) > LIST_MAX for value in entry.pins.values()):
            raise SourceError(
                f"artifact {visible(name)} pins more than {LIST_MAX} files", hint="make several artifacts"
            )
    content = text.encode()
    if len(content) > SIZE_MAX:
        raise SourceError(
            f"{visible(str(path))} would be longer than {SIZE_MAX} bytes",
            hint="make several artifacts, in releases of their own",
        )
    write_file(path, content)


def apply(lock: Lock | None, name: str, source: str, want: Mapping[str, Any]) -> dict[str, Any]:
    """`want` with the keys that `lock` pins for the artifact `name`; `want` as it is without a lock.

    Raises:
        UsageError: the lock does not know the artifact, or knows it with another source or other keys.
    """
    if lock is None:
        return dict(want)
    shown = visible(name)
    if (entry := lock.artifacts.get(name)) is None:
        raise UsageError(f"artifact {shown} is not in the lock", hint=_HINT)
    if entry.source != source:
        raise UsageError(
            f"artifact {shown} has the source {visible(source)} in the spec and {visible(entry.source)} in the lock",
            hint=_HINT,
        )
    for key, value in entry.pins.items():
        if key in want and (want[key] != value or type(want[key]) is not type(value)):
            raise UsageError(f"artifact {shown} has another `{visible(key)}` in the spec than in the lock", hint=_HINT)
    return {**want, **entry.pins}


def check_label(lock: Lock, release: str, version: str) -> None:
    """Refuse a lock that was made for another release or version than the spec's.

    Raises:
        UsageError: it was.
    """
    if (lock.release, lock.version) != (release, version):
        raise UsageError(
            f"the lock was made for {lock.release}@{lock.version}, and the spec says "
            f"{visible(release)}@{visible(version)}",
            hint=_HINT,
        )


def check(lock: Lock | None, name: str, digest: str, *, file: str = "sealift.lock") -> None:
    """Refuse an artifact whose tree has not the digest that `lock` says; without a lock there is nothing to check.

    Args:
        lock: the lock.
        name: the artifact's name.
        digest: of the tree that was collected.
        file: what the message calls the lock.

    Raises:
        SourceError: it has another.
    """
    if lock is None:
        return
    entry = lock.artifacts.get(name)
    if entry is None or entry.digest != digest:
        expected = "nothing" if entry is None else f"{entry.digest[:16]}…"
        raise SourceError(
            f"artifact {visible(name)} differs from {file}: expected {expected}, found {digest[:16]}…",
            hint="if the change is meant, run `sealift-bundle lock`; if not, bring back what was locked",
        )


def _content(path: Path) -> bytes:
    file = opened(path, follow=True)
    if file is None:
        raise MalformedError("no regular file")
    with file:
        content = file.read(SIZE_MAX + 1)
    if len(content) > SIZE_MAX:
        raise MalformedError(f"longer than {SIZE_MAX} bytes")
    return content


def _parsed(content: bytes) -> Lock:
    try:
        tree = json.loads(content.decode(), object_pairs_hook=_distinct, parse_constant=_no_constant)
        document = msgspec.convert(tree, _Document)
    except MalformedError:
        raise
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise MalformedError(f"no lock of format 1: {visible(str(error))[:200]}") from error
    artifacts = {}
    for name, keys in document.artifacts.items():
        source, digest, time = keys.pop("source", None), keys.pop("digest", None), keys.pop("time", "")
        if not isinstance(source, str) or not isinstance(digest, str):
            raise MalformedError(f"artifact {visible(name)} lacks its source or its digest")
        if not isinstance(time, str) or (time and not _TIME.fullmatch(time)):
            raise MalformedError(f"artifact {visible(name)} has a time that is none")
        check_form(digest, f"artifact {visible(name)}")
        artifacts[check_release(name)] = Locked(source=source, digest=digest, pins=keys, time=time)
    return Lock(release=check_spaced(document.release), version=check_version(document.version), artifacts=artifacts)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise MalformedError(f"the key {visible(name)[:80]!r} stands twice in one object")
        found[name] = value
    return found


def _no_constant(name: str) -> object:
    raise MalformedError(f"{name} is no number that a lock holds")
