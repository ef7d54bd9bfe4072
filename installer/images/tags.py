"""The tags of a release at a registry: what each is to stand for, and what it stood for before.

    releases/<identity>/tags.json
    {"after":{"shop/web:1.0":"sha256:…"},"base":"0.9.0-…","before":{"shop/web:1.0":null},"format":1}

`base` is the release that served when this one was staged. Going back to it, the tags that it does not have
itself get back what stood there before, where anything did.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from sealift.durable import write_file
from sealift.errors import StoreError
from sealift.reading import bounded

FILE = "tags.json"
SIZE_MAX = 16 << 20
"""Bytes of the file."""
_Digest = Annotated[str, msgspec.Meta(pattern="^sha256:[0-9a-f]{64}\\Z")]


class Tags(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a release does with tags; their keys are `repository:tag`."""

    format: int
    base: str | None
    after: dict[str, _Digest]
    before: dict[str, _Digest | None]


def split(key: str) -> tuple[str, str]:
    """The repository and the tag of a key."""
    repository, _, tag = key.rpartition(":")
    return repository, tag


def write(folder: Path, tags: Tags) -> None:
    """Keep them in a release's folder.

    Raises:
        StoreError: the disk refuses.
    """
    write_file(folder / FILE, msgspec.json.encode(tags, order="sorted"))


def read(folder: Path) -> Tags:
    """What a release's folder says.

    Raises:
        StoreError: it says nothing that can be read.
    """
    content = bounded(folder / FILE, SIZE_MAX)
    try:
        tags = msgspec.json.decode(content or b"", type=Tags)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(
            f"{folder / FILE} is missing or damaged", hint="apply another version, and then this one again"
        ) from error
    if tags.format != 1:
        raise StoreError(f"{folder / FILE} was written by a newer sealift", hint="install the newer sealift here")
    return tags


def due(after: Tags | None, now: Tags | None, *, identity: str | None) -> dict[str, str | None]:
    """What tags are to stand for when one release follows another; None for one that is to go.

    Args:
        after: of the release that is to serve; None where nothing is.
        now: of the one that serves; None where nothing does.
        identity: of the release that is to serve.
    """
    found: dict[str, str | None] = dict(after.after) if after else {}
    if now is not None and (identity is None or now.base == identity):
        for key, former in now.before.items():
            if key not in found and (former is not None or identity is None):
                found[key] = former
    return found
