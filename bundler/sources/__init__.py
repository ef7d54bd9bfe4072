"""Sources: where artifacts are collected from. One module here, or one entry point, is one kind.

A source module offers three names:

- `SCHEMA`: the JSON Schema of the keys that an artifact of this kind takes in a spec.
- `collect(want, workshop)`: yields what the artifact holds, as `Found`, in the canonical order of a
  tree: depth first, a folder before what is in it, siblings sorted by the UTF-8 bytes of their names.
- `pin(want, workshop)`: the keys that `lock` adds to what the spec says, so that it stays the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from sealift.progress import Progress


class Found(NamedTuple):
    """One entry that a source found."""

    path: str
    """Relative to the artifact's root, `/` between components."""
    kind: Literal["file", "dir", "link"]
    executable: bool = False
    size: int = 0
    """Bytes; of files only."""
    origin: str = ""
    """The local file to read the content from; of files only."""
    stamp: tuple[int, int] = (0, 0)
    """The origin's (st_ino, st_mtime_ns) when it was found: a reader refuses a file that no longer bears them."""
    target: str = ""
    """Where a symbolic link points to; of links only."""


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What a source may use besides its own part of the spec."""

    base: Path
    """The folder that relative paths in the spec start from: the spec's own."""
    cache: Path
    """A folder for fetched content, by digest; it outlives the run."""
    progress: Progress


class Source(Protocol):
    """What a module in this package offers."""

    SCHEMA: Mapping[str, Any]

    def collect(self, want: Mapping[str, Any], workshop: Workshop) -> Iterator[Found]:
        """Yield the artifact's entries in canonical order.

        Raises:
            SourceError: it cannot be collected.
        """

    def pin(self, want: Mapping[str, Any], workshop: Workshop) -> Mapping[str, Any]:
        """The keys that make `want` mean the same content for ever.

        Raises:
            SourceError: it cannot be resolved.
        """
