"""Sources: where artifacts are collected from. One module here, or one entry point, is one kind.

A source module offers three names:

- `SCHEMA`: the JSON Schema of the keys that an artifact of this kind takes in a spec.
- `collect(want, workshop)`: yields what the artifact holds, as `Found`, in the canonical order of a
  tree: depth first, a folder before what is in it, siblings sorted by the UTF-8 bytes of their names.
- `pin(want, workshop)`: the keys that `lock` adds to what the spec says, so that it stays the same.

It may offer four more:

- `KIND`: the kind of the artifacts that it makes, where it is another than `files`, or `kind_of(want)`, where what the
  spec says and the lock pins decides that; `kind_made_by` asks for it.
- `traces(want)`: where what it collects comes from, as `Trace`, by what the spec says and the lock pins alone;
  `traces_of` asks for it. Where it is missing, the release's provenance says the artifact's own digest.
- `lint(want, base, *, pinned)`: what it can say about `want` without fetching anything, or reading more than
  whether a name is there; `problems_of` asks for it.
- `reaches(want, base, place)`: whether collecting would take something of a local file or folder, such as the
  depot that the export writes into; `reaches` asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from sealift.document import Problem
from sealift.manifest import Kind
from sealift.progress import Progress

if TYPE_CHECKING:
    from .depots.stock import Stock


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
class Trace:
    """Where something that was collected comes from. The release's provenance tells it at both ends."""

    name: str
    """What it is called: a file of the artifact, a package, or the artifact."""
    uri: str = ""
    """Its address, without credentials, query and fragment."""
    digest: Mapping[str, str] = field(default_factory=dict)
    """Its digests by algorithm, as in-toto calls them (`sha256`, `sha512`, `gitCommit`), in hexadecimal digits."""
    signature: str = ""
    """What the upstream signed and the source verified, such as `OpenPGP signature of InRelease`."""
    signers: tuple[str, ...] = ()
    """Whose signature it was: fingerprints of keys, or identities."""


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What a source may use besides its own part of the spec."""

    base: Path
    """The folder that relative paths in the spec start from: the spec's own."""
    cache: Path
    """A folder for fetched content, by digest; it outlives the run."""
    progress: Progress
    spare: Path | None = None
    """A folder like `cache` that is read only: what it holds is not fetched again."""
    depot: Path | None = None
    """The folder of the depot that the release is for; None where there is none, for a lock alone."""

    @cached_property
    def stock(self) -> Stock | None:
        """The blobs of images that the depot's releases hold; None where there is no depot."""
        from .depots.stock import Stock

        return Stock(self.depot) if self.depot else None


class Source(Protocol):
    """What every module in this package offers."""

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


@runtime_checkable
class Linting(Protocol):
    """A source that finds problems before work starts."""

    def lint(self, want: Mapping[str, Any], base: Path, *, pinned: bool) -> list[Problem]:
        """All that is wrong with `want`, each with its steps from there.

        Args:
            want: the source's part of a spec. It may break `SCHEMA`, which tells that itself: keys are missing
                or of another type.
            base: the folder that relative paths start from.
            pinned: whether `want` bears what a lock pins, where there is one; False before `pin`.
        """


@runtime_checkable
class Local(Protocol):
    """A source that reads this machine's files."""

    def reaches(self, want: Mapping[str, Any], base: Path, place: Path) -> bool:
        """Whether collecting would take something of `place`, a file or a folder.

        Raises:
            UsageError: `want` breaks `SCHEMA`.
        """


@runtime_checkable
class Tracing(Protocol):
    """A source that knows where things come from."""

    def traces(self, want: Mapping[str, Any]) -> Iterable[Trace]:
        """Where what is collected comes from, in a fixed order; nobody is asked and no file is read.

        Raises:
            UsageError: `want` breaks `SCHEMA`.
        """


@runtime_checkable
class Passing(Protocol):
    """A source whose artifacts are of the kind that they were before."""

    def kind_of(self, want: Mapping[str, Any]) -> Kind:
        """The kind of the artifact.

        Raises:
            UsageError: `want` breaks `SCHEMA`.
        """


def kind_made_by(source: object, want: Mapping[str, Any]) -> Kind:
    """The kind of the artifact that `source` makes of what is wanted and pinned."""
    if isinstance(source, Passing):
        return source.kind_of(want)
    kind: Kind = getattr(source, "KIND", "files")
    return kind


def traces_of(source: object, want: Mapping[str, Any]) -> Iterable[Trace]:
    """Where what `source` collects comes from; nothing where it does not know."""
    return source.traces(want) if isinstance(source, Tracing) else ()


def problems_of(source: object, want: Mapping[str, Any], base: Path, *, pinned: bool) -> list[Problem]:
    """What `source` finds wrong with `want` before work starts; nothing where it cannot tell."""
    return source.lint(want, base, pinned=pinned) if isinstance(source, Linting) else []


def reaches(source: object, want: Mapping[str, Any], base: Path, place: Path) -> bool:
    """Whether collecting would take something of `place`; not so where the source reads no local files."""
    return isinstance(source, Local) and source.reaches(want, base, place)
