"""The footprint: which paths of a branch are Sealift's, and what it wrote there; a file in the same commit.

    .sealift/plant-7/apps/shop.json

Whatever it does not name belongs to people. A file that it names, and that is no longer what it says, was edited.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from sealift.errors import MalformedError, UsageError
from sealift.names import VERSION, check_path, visible

from .repository import Repository, Spot

HOME = ".sealift"
SIZE_MAX = 16 << 20
"""Bytes of the file."""
_Spot = Annotated[str, msgspec.Meta(pattern=r"^1(?:00644|00755|20000) [0-9a-f]{40}\Z")]
_Step = str | Annotated[int, msgspec.Meta(ge=0)]


class Pin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value that was set in a file of people."""

    file: str
    at: tuple[_Step, ...]
    value: str
    """What it was set to."""
    before: str | None = None
    """How the value was written before Sealift first set it; None where that is not known yet."""

    @property
    def where(self) -> tuple[str, tuple[str | int, ...]]:
        """Which value it is about."""
        return self.file, self.at


class Footprint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an environment has in a branch, at one path."""

    format: int = 1
    environment: str
    release: str
    version: Annotated[str, msgspec.Meta(pattern=f"^(?:{VERSION.pattern})\\Z")]
    manifest: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}\\Z")]
    identity: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z.+_~-]{1,200}\Z")]
    """What the release is called at a target."""
    files: dict[str, _Spot]
    """Mode and blob of every file, by its path in the repository."""
    pins: tuple[Pin, ...] = ()

    @property
    def spots(self) -> dict[str, Spot]:
        """The same as entries of a commit."""
        return {path: _spot(text) for path, text in self.files.items()}


def place_of(environment: str, path: str) -> str:
    """Where in a branch the footprint of a path is."""
    return f"{HOME}/{environment}/{path}.json"


def encode(footprint: Footprint) -> bytes:
    """The file, always the same bytes for the same footprint."""
    return msgspec.json.format(msgspec.json.encode(footprint, order="sorted"), indent=1) + b"\n"


def read(repository: Repository, commit: str | None, environment: str, path: str) -> Footprint | None:
    """The footprint in a commit; None where there is none.

    Raises:
        UsageError: there is something else in its place.
        DeployError: the repository cannot be read.
    """
    if commit is None:
        return None
    place = place_of(environment, path)
    there = repository.listed(commit, place)
    if others := [*repository.files_above(commit, place.rpartition("/")[0]), *(there.keys() - {place})]:
        raise UsageError(
            f"{visible(others[0])} in {repository.url} was not written by sealift",
            hint=f"move it away there: {place} is where sealift says what is its own",
        )
    if place not in there:
        return None
    try:
        content = repository.read(commit, place, SIZE_MAX)
        found = msgspec.json.decode(content or b"", type=Footprint)
        for name in found.files:
            if not check_path(name).startswith(f"{path}/"):
                raise MalformedError(f"{name} is not in {path}")
    except (msgspec.DecodeError, UnicodeDecodeError, MalformedError) as error:
        raise UsageError(
            f"{place} in {repository.url} is damaged, or was written by a newer sealift",
            hint="restore that file from the branch's history",
        ) from error
    if found.format != 1 or found.environment != environment:
        raise UsageError(
            f"{place} in {repository.url} is another environment's, or was written by a newer sealift",
            hint="give each environment a path of its own, or install the newer sealift here",
        )
    return found


def _spot(text: str) -> Spot:
    mode, _, identity = text.partition(" ")
    return Spot(mode=mode, id=identity)
