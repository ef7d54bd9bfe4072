"""Buckets to collect from: what they hold, and objects fetched into the cache, several at once.

Invariants: an object comes whole or not at all, and what was pinned is what comes: a store that changed it is told of.
What arrives is kept as it arrives, so that another run asks for the rest, under the tag that the first part had.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from sealift.at_once import at_once
from sealift.bucket.address import Bucket
from sealift.bucket.failure import Missing, Refused
from sealift.bucket.objects import Objects
from sealift.digest import sha256
from sealift.durable import locked, make_folder
from sealift.errors import IntegrityError, SourceError, UsageError
from sealift.names import visible
from sealift.progress import Progress, Silent
from sealift.wire.failure import RESUMES

from .network.cache import Fetched, Part, kept

WORKERS = 16
"""Objects at once."""
MAX_BYTES = 1 << 40
"""Bytes of the longest object that is accepted."""
_CHANGED = "it was changed where it comes from: check that, then run `sealift-bundle lock` again"


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """An object, and what is known of its content."""

    key: str
    size: int | None = None
    """Bytes; None where only its digest is known."""
    sha256: str = ""
    """Empty until it was fetched once."""
    tag: str = ""
    version: str | None = None


@dataclass(frozen=True, kw_only=True)
class Brought:
    """An object in the cache."""

    pinned: Pinned
    fetched: Fetched


def objects(bucket: Bucket) -> Objects:
    """The objects of a bucket; nobody is asked yet.

    Raises:
        UsageError: obstore is not installed, or the settings or the credentials are incomplete.
    """
    return Objects(_library(), bucket, os.environ, SourceError)


def _library() -> ModuleType:
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the source bucket needs the package {error.name}, which is not installed",
            hint="install sealift with its extra: sealift[bucket]",
        ) from error
    return obstore


def bring(
    bucket: Bucket, wanted: Sequence[Pinned], *, cache: Path, spare: Path | None, progress: Progress
) -> list[Brought]:
    """Every object, from the cache where its digest is known and it is there; in the order of `wanted`.

    Args:
        bucket: where they are. Nobody is asked where the cache holds them all.
        wanted: the objects.
        cache: the folder; created when missing.
        spare: another such folder, which is only read.
        progress: told the bytes.

    Raises:
        SourceError: the store refuses, cannot be reached, or has no such object.
        IntegrityError: an object is not what was pinned.
        StoreError: the cache cannot be written, or another command is fetching into it.
    """
    make_folder(cache)
    bringing = _Bringing(bucket, cache, spare, progress)
    found: dict[str, Brought] = {}

    def one(pinned: Pinned) -> None:
        found[pinned.key] = bringing.one(pinned)

    known = [pinned.size for pinned in wanted if pinned.size is not None]
    with locked(cache / "lock", what=f"the cache {cache}"):
        progress.start(f"fetch {bucket.place}", sum(known) if len(known) == len(wanted) else None)
        try:
            # what has one content has one file in the cache, which is fetched by one of them
            first = {pinned.sha256 or pinned.key: pinned for pinned in reversed(wanted)}
            at_once(one, list(reversed(first.values())), workers=WORKERS, leave=bringing.leave)
            at_once(one, [pinned for pinned in wanted if pinned.key not in found], workers=1, leave=bringing.leave)
        finally:
            progress.finish()
    return [found[pinned.key] for pinned in wanted]


class _Bringing:
    """Fetches objects of a bucket. Several threads may use it at once."""

    def __init__(self, bucket: Bucket, cache: Path, spare: Path | None, progress: Progress) -> None:
        self._bucket = bucket
        self._cache = cache
        self._spare = spare
        self._progress = progress
        self._lock = threading.Lock()
        self._objects: Objects | None = None
        self._left = False

    def leave(self) -> None:
        """End what is under way at its next piece, and keep what arrived of it."""
        self._left = True

    def one(self, pinned: Pinned) -> Brought:
        if pinned.sha256:
            for folder, mend in ((self._spare, False), (self._cache, True)):
                if folder and (found := kept(folder / pinned.sha256, pinned.sha256, Silent(), mend=mend)):
                    self._advance(found.length)
                    return Brought(pinned=pinned, fetched=found)
        named = pinned.sha256 or sha256(f"{self._bucket} {pinned.key}".encode())
        with Part(self._cache / f"{named}.part", Silent()) as part:
            try:
                return self._fetched(pinned, part)
            except IntegrityError:
                part.delete()
                raise

    def _fetched(self, pinned: Pinned, part: Part) -> Brought:
        """Fetch what a part lacks; start over once where it proves to be of something else."""
        shown = f"{self._bucket.place}/{visible(pinned.key)[:200]}"
        if part.length and (part.validator is None or part.length >= self._size(pinned)):
            part.restart(None)
        try:
            tag = pinned.tag or (part.validator or "").strip('"')
            seen, pieces = self._opened().opened(pinned.key, start=part.length, tag=tag, version=pinned.version)
            resumed = part.length
            if not resumed:
                part.restart(f'"{seen.tag}"' if _plain(seen.tag) else None)
            if pinned.size not in (None, seen.size):
                raise IntegrityError(
                    f"{shown} has {seen.size} bytes, not the {pinned.size} that are pinned", hint=_CHANGED
                )
            if seen.size > MAX_BYTES:
                raise SourceError(f"{shown} is longer than {MAX_BYTES} bytes, the most that is accepted")
            self._advance(resumed)
            for piece in pieces:
                if self._left:
                    raise SourceError(f"{shown}: it was interrupted", hint=RESUMES)
                if part.length + len(piece) > seen.size:
                    raise SourceError(f"{shown}: the store sends more than the {seen.size} bytes that it declared")
                part.append(piece)
                self._advance(len(piece))
        except Missing as error:
            raise SourceError(f"{shown}: there is no such object", hint="check `bucket`, or run lock again") from error
        except Refused as error:
            if not pinned.tag and part.length:
                part.restart(None)
                return self._fetched(pinned, part)
            raise IntegrityError(f"{shown} is no longer the object that was pinned", hint=_CHANGED) from error
        if part.length < seen.size:
            raise SourceError(f"{shown}: the connection broke off", hint=RESUMES)
        digest = part.sha256
        if pinned.sha256 and digest != pinned.sha256:
            if resumed:
                part.restart(None)
                return self._fetched(pinned, part)
            raise IntegrityError(
                f"{shown} does not match its digest: expected {pinned.sha256[:16]}…, found {digest[:16]}…",
                hint=_CHANGED,
            )
        found = Pinned(
            key=pinned.key, size=part.length, sha256=digest, tag=seen.tag, version=pinned.version or seen.version
        )
        return Brought(pinned=found, fetched=Fetched(path=part.keep(digest), sha256=digest, length=found.size or 0))

    def _size(self, pinned: Pinned) -> int:
        """The bytes of an object, as the lock says or, where it does not, the store; 0 where there is none."""
        if pinned.size is not None:
            return pinned.size
        seen = self._opened().look(pinned.key)
        return seen.size if seen else 0

    def _opened(self) -> Objects:
        with self._lock:
            if self._objects is None:
                self._objects = objects(self._bucket)
            return self._objects

    def _advance(self, amount: int) -> None:
        with self._lock:
            self._progress.advance(amount)


def _plain(tag: str) -> bool:
    return 0 < len(tag) <= 200 and tag.isascii() and tag.isprintable() and '"' not in tag and " " not in tag
