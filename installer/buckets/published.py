"""What anybody may read of a release in a bucket: its list, and the pointer to the one that serves.

    <prefix>/objects/sha256/<digest>      the content of files, once each, whatever releases it belongs to
    <prefix>/releases/<identity>.json     the list: every path, the object that is its content, its digest and size
    <prefix>/current.json                 the pointer: which list holds now, and its digest

Both documents are canonical JSON, so a list is the same, byte for byte, whenever it is made. A reader follows
`index` of the pointer and then `object` of a path; all names are relative to the prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sealift.digest import HEX, sha256
from sealift.errors import MalformedError, UsageError
from sealift.strict_json import canonical, parse

from ..storage.deployable import Deployable
from .pointer import is_identity

CURRENT = "current.json"
RELEASES = "releases"
OBJECTS = "objects/sha256"
FORMAT = 1
LIST_MAX = 64 << 20
"""Bytes of a list: some 300,000 files."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of a release."""

    sha256: str
    size: int
    """Bytes."""
    executable: bool = False


@dataclass(frozen=True, kw_only=True)
class Listed:
    """What a release's list says."""

    identity: str
    files: Mapping[str, File]
    """By path."""

    @property
    def objects(self) -> dict[str, int]:
        """The size in bytes of every object that it lists, by digest."""
        return {file.sha256: file.size for file in self.files.values()}


def list_key(identity: str) -> str:
    """Where the list of a release is."""
    return f"{RELEASES}/{identity}.json"


def object_key(digest: str) -> str:
    """Where the content with a digest is."""
    return f"{OBJECTS}/{digest}"


def encode(deployable: Deployable, files: Mapping[str, File], links: Mapping[str, str]) -> bytes:
    """The list of a release.

    Raises:
        UsageError: it is longer than `LIST_MAX`.
    """
    tree: dict[str, Any] = {
        "format": FORMAT,
        "release": deployable.release.name,
        "version": deployable.release.version,
        "identity": deployable.identity,
        "files": {
            path: {"object": object_key(file.sha256), "sha256": file.sha256, "size": file.size}
            | ({"executable": True} if file.executable else {})
            for path, file in files.items()
        },
        "links": dict(links),
    }
    content = canonical(tree)
    if len(content) > LIST_MAX:
        raise UsageError(
            f"{deployable.release.label} has more files than a list in a bucket may hold",
            hint="deploy it as several releases, or to a target of another kind",
        )
    return content


def decode(content: bytes, what: str) -> Listed:
    """What a list says.

    Args:
        content: its content, whose digest was checked where it matters.
        what: its name, for messages.

    Raises:
        MalformedError: it is no list of ours.
    """
    tree = parse(content, what, cap=LIST_MAX)
    files: dict[str, File] = {}
    try:
        if tree["format"] != FORMAT or not is_identity(tree["identity"]):
            raise KeyError("format")
        for path, entry in tree["files"].items():
            if not HEX.fullmatch(entry["sha256"]) or type(entry["size"]) is not int:
                raise KeyError("sha256")
            files[path] = File(
                sha256=entry["sha256"], size=entry["size"], executable=entry.get("executable", False) is True
            )
    except (KeyError, TypeError, AttributeError) as error:
        raise MalformedError(f"{what} is no list of a release of format {FORMAT}") from error
    return Listed(identity=tree["identity"], files=files)


def pointer(identity: str, content: bytes) -> bytes:
    """The pointer to the list of a release, whose content it binds by its digest."""
    return canonical(
        {
            "format": FORMAT,
            "identity": identity,
            "index": list_key(identity),
            "sha256": sha256(content),
            "size": len(content),
        }
    )
