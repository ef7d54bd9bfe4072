"""Differences that are validly signed and say what they must not: what they say is changed before it is signed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from worlds import Isolated

from bundler import exporting
from bundler.carrying import Carried, carry
from sealift.errors import SealiftError
from sealift.listing import ListingBlob
from sealift.manifest import Part

Lines = list[dict[str, Any]]


def spoil(
    monkeypatch: pytest.MonkeyPatch,
    *,
    index: Callable[[Lines], Lines] = lambda lines: lines,
    tree: Callable[[Lines], Lines] = lambda lines: lines,
    part: Callable[[Part], Part] = lambda part: part,
) -> None:
    """Let every export from now on change the lines of its differences and of their trees, and the parts."""

    def spoilt(*arguments: Any, **more: Any) -> Carried:
        made = carry(*arguments, **more)
        said = made.part
        blob = rewritten(made.folder / "index", said.index, index)
        trees = tuple(rewritten(made.folder / "trees", each, tree) for each in said.trees)
        changed = part(msgspec.structs.replace(said, index=blob, trees=trees))
        return Carried(sealed=made.sealed, part=changed, folder=made.folder, difference=made.difference)

    monkeypatch.setattr(exporting, "carry", spoilt)


def rewritten(folder: Path, blob: ListingBlob, change: Callable[[Lines], Lines]) -> ListingBlob:
    """A listing with other lines, in the same folder."""
    text = zstandard.ZstdDecompressor().decompressobj().decompress((folder / f"{blob.sha256}.zst").read_bytes())
    heading, *lines = [json.loads(line) for line in text.splitlines()]
    plain = [json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() for line in [heading, *change(lines)]]
    content = b"".join(line + b"\n" for line in plain)
    file = zstandard.ZstdCompressor(level=3, write_checksum=False, write_content_size=True).compress(content)
    digest = hashlib.sha256(file).hexdigest()
    (folder / f"{digest}.zst").write_bytes(file)
    return ListingBlob(sha256=digest, length=len(file), size=len(content))


def refused(isolated: Isolated, bundle: Path, kind: type[SealiftError], match: str) -> None:
    """Check that the bundle is refused and that the site is as it was, apart from files that nothing names."""
    state = (isolated.folder / "state.json").read_bytes()
    with pytest.raises(kind, match=match):
        isolated.admit(bundle)
    assert (isolated.folder / "state.json").read_bytes() == state
    isolated.apply("1.0.0")


def first(change: Callable[[dict[str, Any]], None]) -> Callable[[Lines], Lines]:
    """Change the first line."""

    def changed(lines: Lines) -> Lines:
        change(lines[0])
        return lines

    return changed
