"""The cache: content by its digest, and the `.part` files of what has not arrived whole.

Invariants: a name is the SHA-256 of its content, checked before the name is given, and again before a file
that was there already is handed out. A part that is resumed bears the validator that the server gave it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sealift.durable import TEMPORARY, storing, sync_folder, write_all, write_file
from sealift.progress import Progress, Silent

from .web import is_validator

PIECE = 1 << 20
"""Bytes that are read at once."""


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A file in the cache."""

    path: Path
    sha256: str
    length: int
    """Bytes."""


def kept(path: Path, digest: str, progress: Progress, *, mend: bool = True) -> Fetched | None:
    """The file that a cache holds, if it still has its digest; one that has not is deleted, with `mend`."""
    if not os.path.lexists(path):
        return None
    with storing(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            hashers, length = _hashed(descriptor, progress, ("sha256",))
        finally:
            os.close(descriptor)
        if hashers["sha256"].hexdigest() == digest:
            return Fetched(path=path, sha256=digest, length=length)
        if mend:
            os.unlink(path)
    return None


def _hashers(algorithms: Sequence[str]) -> dict[str, hashlib._Hash]:
    return {algorithm: hashlib.new(algorithm, usedforsecurity=True) for algorithm in algorithms}


def _hashed(descriptor: int, progress: Progress, algorithms: Sequence[str]) -> tuple[dict[str, hashlib._Hash], int]:
    """The digests and the length of what `descriptor` holds from its start on."""
    hashers, length = _hashers(algorithms), 0
    if size := os.fstat(descriptor).st_size:
        progress.start("check the cache", size)
        try:
            while piece := os.read(descriptor, PIECE):
                for hasher in hashers.values():
                    hasher.update(piece)
                length += len(piece)
                progress.advance(len(piece))
        finally:
            progress.finish()
    return hashers, length


def lay_down(cache: Path, spare: Path | None, pieces: Iterable[bytes]) -> Fetched:
    """The file that holds a content, which is written unless `cache`, or `spare`, has it whole.

    It is not made durable: what a power cut takes away, or leaves half, is noticed by its digest and laid down anew.

    Raises:
        StoreError: the disk refuses.
    """
    temporary = cache / f"{TEMPORARY}{os.getpid()}"
    hasher, length = hashlib.sha256(), 0
    with storing(cache):
        try:
            with open(temporary, "wb") as file:
                for piece in pieces:
                    file.write(piece)
                    hasher.update(piece)
                    length += len(piece)
            digest = hasher.hexdigest()
            for folder in (spare, cache):
                if folder and (found := kept(folder / digest, digest, Silent(), mend=folder == cache)):
                    return found
            os.replace(temporary, cache / digest)
        finally:
            temporary.unlink(missing_ok=True)
    return Fetched(path=cache / digest, sha256=digest, length=length)


class Part:
    """The `.part` file: what has arrived so far, and what the server called it."""

    def __init__(self, path: Path, progress: Progress, *, algorithms: Sequence[str] = ()) -> None:
        """Open it.

        Args:
            path: where it lies.
            progress: told the bytes that are read again.
            algorithms: which digests it knows beside SHA-256, by hashlib's names.
        """
        self._path = path
        self._label = path.with_suffix(".validator")
        with storing(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            try:
                self._hashers, self.length = _hashed(self._descriptor, progress, ("sha256", *algorithms))
                self.validator = self._read_label()
            except BaseException:
                os.close(self._descriptor)
                raise
        self.resumed = self.length > 0
        """It holds the bodies of several answers."""

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        if not self.length:
            self.delete()

    @property
    def sha256(self) -> str:
        """Of what has arrived so far."""
        return self.digest("sha256")

    def digest(self, algorithm: str) -> str:
        """Another digest of what has arrived so far."""
        return self._hashers[algorithm].hexdigest()

    def _read_label(self) -> str | None:
        try:
            text = self._label.read_bytes()[:1024].decode("ascii")
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        return text if is_validator(text) else None

    def restart(self, validator: str | None) -> None:
        """Empty it, for a content that the server calls `validator`."""
        with storing(self._path):
            self._label.unlink(missing_ok=True)
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
        if validator is not None:
            write_file(self._label, validator.encode("ascii"))
        self._hashers = _hashers(tuple(self._hashers))
        self.length, self.validator, self.resumed = 0, validator, False

    def append(self, piece: bytes) -> None:
        """Write what arrived next.

        Raises:
            StoreError: the disk refuses.
        """
        with storing(self._path):
            write_all(self._descriptor, piece)
        for hasher in self._hashers.values():
            hasher.update(piece)
        self.length += len(piece)

    def keep(self, digest: str) -> Path:
        """Give it its name in the cache, durably."""
        kept = self._path.with_name(digest)
        with storing(kept):
            os.fsync(self._descriptor)
            os.replace(self._path, kept)
            self._label.unlink(missing_ok=True)
            sync_folder(kept.parent)
        return kept

    def delete(self) -> None:
        """Let go of all that has arrived."""
        with storing(self._path):
            self._path.unlink(missing_ok=True)
            self._label.unlink(missing_ok=True)
