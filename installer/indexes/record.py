"""What a release contributes to an index: a listing of its packages, kept at the index.

    releases/<environment>/<identity>.json

An index is made of these listings and of nothing else. Which of them it is made of is said beside it, with the
digest of each, so that a listing that was damaged is noticed before it is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from sealift.digest import sha256
from sealift.durable import TEMPORARY, make_folder, storing, sync_folder, write_file
from sealift.errors import StoreError
from sealift.reading import bounded

FOLDER = "releases"
FORMAT = 1
SIZE_MAX = 512 << 20
"""Bytes of a listing."""
_Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}\\Z")]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A package: one file that can be installed."""

    page: str
    """The part of the index that lists it, such as a project."""
    slot: str
    """What it is to those who install it: an index has one content for each."""
    name: str
    """Of its file."""
    sha256: _Digest
    size: int
    """Bytes."""
    key: _Digest
    """What tells its content in the store from any other: a digest of the digests of its pieces."""
    about: dict[str, str]
    """What else the index says of it."""
    beside: dict[str, _Digest] = {}
    """Further contents that belong to it, by what they are: each is in the pool."""

    def blobs(self) -> Iterator[str]:
        """The digests of all contents that it needs."""
        yield self.sha256
        yield from self.beside.values()


class Hold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That an index is made of a release of an environment, among others."""

    identity: str
    sha256: _Digest
    """Of the listing."""


Holds = Mapping[str, Hold]
"""What an index is made of, by environment."""


class Contribution(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one release of one environment contributes."""

    format: int = FORMAT
    release: str
    """`name@version`, for people."""
    records: tuple[Record, ...]
    """In the order of their slots."""


class Contributions:
    """The folder of an index that keeps them."""

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER
        self._read: dict[tuple[str, str], tuple[str, Contribution]] = {}

    def keep(self, environment: str, identity: str, contribution: Contribution) -> None:
        """Write one, durably.

        Raises:
            StoreError: the disk refuses.
        """
        self._read.pop((environment, identity), None)
        make_folder(self.folder / environment)
        write_file(self._path(environment, identity), msgspec.json.encode(contribution, order="sorted"))

    def all(self) -> Iterator[tuple[str, str]]:
        """The environment and the identity of each that is kept.

        Raises:
            StoreError: the folder cannot be read.
        """
        with storing(self.folder):
            if not self.folder.is_dir():
                return
            for environment in sorted(os.listdir(self.folder)):
                if (self.folder / environment).is_dir():
                    for file in sorted(os.listdir(self.folder / environment)):
                        if file.endswith(".json") and not file.startswith("."):
                            yield environment, file.removesuffix(".json")

    def hold(self, environment: str, identity: str) -> Hold:
        """What an index says of it that is made of it.

        Raises:
            StoreError: it is missing or damaged.
        """
        return Hold(identity=identity, sha256=self._load(environment, identity)[0])

    def read(self, environment: str, identity: str, digest: str | None = None) -> Contribution:
        """One that is kept.

        Args:
            environment: whose it is.
            identity: of the release.
            digest: of the listing, where it is known.

        Raises:
            StoreError: it is missing, damaged or another than the digest says.
        """
        found, contribution = self._load(environment, identity)
        if digest not in (None, found):
            raise _damaged(self._path(environment, identity), environment)
        return contribution

    def sweep(self) -> None:
        """Remove what a killed command left half-written.

        Raises:
            StoreError: the disk refuses.
        """
        with storing(self.folder):
            for left in self.folder.glob(f"*/{TEMPORARY}*"):
                left.unlink()

    def remove(self, environment: str, identity: str) -> None:
        """Let go of one.

        Raises:
            StoreError: the disk refuses.
        """
        path = self._path(environment, identity)
        self._read.pop((environment, identity), None)
        with storing(path):
            path.unlink(missing_ok=True)
            sync_folder(path.parent)

    def _path(self, environment: str, identity: str) -> Path:
        return self.folder / environment / f"{identity}.json"

    def _load(self, environment: str, identity: str) -> tuple[str, Contribution]:
        if (environment, identity) not in self._read:
            path = self._path(environment, identity)
            content = bounded(path, SIZE_MAX) or b""
            try:
                contribution = msgspec.json.decode(content, type=Contribution)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise _damaged(path, environment) from error
            if contribution.format != FORMAT:
                raise StoreError(f"{path} was written by a newer sealift", hint="install the newer sealift here")
            self._read[environment, identity] = sha256(content), contribution
        return self._read[environment, identity]


def _damaged(path: Path, environment: str) -> StoreError:
    return StoreError(
        f"{path} is missing or damaged",
        hint=f"apply another version in the environment {environment}, and then this one again",
    )


def record_of(
    name: str,
    file: Path,
    digest: str,
    key: str,
    *,
    page: str,
    slot: str,
    about: dict[str, str],
    beside: Mapping[str, bytes],
) -> Record:
    """The record of a package whose content lies in `file`."""
    return Record(
        page=page,
        slot=slot,
        name=name,
        sha256=digest,
        size=file.stat().st_size,
        key=key,
        about=about,
        beside={what: sha256(content) for what, content in beside.items()},
    )
