"""An OCI layout on this machine, as a folder or a tar."""

from __future__ import annotations

import contextlib
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from sealift.errors import IntegrityError, MalformedError, SourceError
from sealift.names import visible
from sealift.oci import layout
from sealift.oci import names as oci_names
from sealift.oci.layout import Root
from sealift.oci.model import MANIFEST_MAX, Descriptor, Manifest, named, read
from sealift.oci.names import fallback_tag
from sealift.progress import Silent
from sealift.reading import opened

from ..network.cache import PIECE, kept
from .shed import Shed

MEMBERS_MAX = 200_000
"""Members of a tar."""


class Shelf(Protocol):
    """The files of a layout, by their paths."""

    def read(self, path: str, limit: int) -> bytes:
        """A small file.

        Raises:
            SourceError: it is not there, or longer than `limit` bytes.
        """

    def blob(self, blob: Descriptor) -> Path:
        """A file of this machine that holds a blob, checked.

        Raises:
            SourceError: it is not there.
            IntegrityError: it has another digest or size.
        """


class Folder:
    """A layout's folder, whose files are taken where they lie."""

    def __init__(self, root: Path, shed: Shed) -> None:
        self._root = root
        self._shed = shed

    def read(self, path: str, limit: int) -> bytes:
        """A small file."""
        with _reading(self._root / path):
            file = opened(self._root / path)
            if file is None:
                raise SourceError(
                    f"image {visible(str(self._root / path))} is no regular file", hint="check the layout"
                )
            with file:
                return _bounded(file.read(limit + 1), limit, str(self._root / path))

    def blob(self, blob: Descriptor) -> Path:
        """The blob's file."""
        path = self._root / layout.blob_path(blob.digest)
        with _reading(path):
            os.stat(path)
        found = kept(path, oci_names.hex_of(blob.digest), Silent(), mend=False)
        if found is None or found.length != blob.size:
            raise IntegrityError(
                f"{visible(str(path))} does not match its digest or its size",
                hint="the layout is damaged: make it anew",
            )
        self._shed.progress.advance(blob.size)
        return path


class Archive:
    """A tar, whose members are read where they lie and copied into the cache."""

    def __init__(self, path: Path, shed: Shed) -> None:
        self._path = path
        self._shed = shed
        self._members: dict[str, tuple[int, int]] = {}
        """Where each member's content begins, and its bytes."""
        try:
            with open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    if member.isreg() and not member.issparse():
                        self._members[member.name.removeprefix("./")] = (member.offset_data, member.size)
                    if len(self._members) > MEMBERS_MAX:
                        raise MalformedError(f"{visible(str(path))} has more than {MEMBERS_MAX} members")
        except (tarfile.TarError, ValueError, EOFError) as error:
            raise MalformedError(
                f"image {visible(str(path))} is no tar: {visible(str(error))[:120]}",
                hint="unpack it first, if it is compressed",
            ) from error
        except OSError as error:
            raise _missing(path, error) from error

    def __contains__(self, path: str) -> bool:
        return path in self._members

    def size(self, path: str) -> int:
        """Bytes of a member.

        Raises:
            SourceError: there is no such member.
        """
        if path not in self._members:
            raise SourceError(
                f"image {visible(str(self._path))} has no regular file {visible(path)!r}", hint="make the archive anew"
            )
        return self._members[path][1]

    def pieces(self, path: str) -> Iterator[bytes]:
        """A member's content."""
        self.size(path)
        offset, left = self._members[path]
        with _reading(self._path), open(self._path, "rb") as file:
            file.seek(offset)
            while left and (piece := file.read(min(left, PIECE))):
                left -= len(piece)
                yield piece

    def read(self, path: str, limit: int) -> bytes:
        """A small member."""
        if self.size(path) > limit:
            raise SourceError(f"{visible(str(self._path))}: {visible(path)!r} has more than {limit} bytes")
        return b"".join(self.pieces(path))

    def blob(self, blob: Descriptor) -> Path:
        """The blob in the cache, copied there."""
        return self.copy(blob, layout.blob_path(blob.digest))

    def copy(self, blob: Descriptor, path: str) -> Path:
        """A member that is a blob, copied into the cache."""
        self.size(path)
        return self._shed.copy(blob, lambda: self.pieces(path), f"{visible(str(self._path))}: {visible(path)}")


class Layout:
    """An image in an OCI layout."""

    def __init__(self, shelf: Shelf, shown: str, tag: str | None) -> None:
        self._shelf = shelf
        self._shown = shown
        self._tag = tag
        layout.check_mark(shelf.read(layout.MARK, 4096), f"{shown}: {layout.MARK}")
        self._roots = layout.read(shelf.read(layout.INDEX, layout.INDEX_MAX), f"{shown}: {layout.INDEX}")

    def root(self, digest: str | None) -> Root:
        """The one image of the layout, or the one with the tag or the digest."""
        named_so = [root for root in self._roots if self._tag in (None, root.tag, root.name and root.name.text)]
        if self._tag is None and digest is None:
            named_so = [root for root in named_so if not (root.tag or "").startswith("sha256-")] or named_so
            named_so = [root for root in named_so if root.tag] or named_so
        fitting = [root for root in named_so if digest in (None, root.descriptor.digest)]
        if not fitting:
            has = ", ".join(sorted({visible(root.tag) for root in self._roots if root.tag})[:12]) or "no tags"
            raise SourceError(
                f"image {self._shown} has no image {visible(self._tag or digest or '')!r}", hint=f"it has {has}"
            )
        if len({root.descriptor.digest for root in fitting}) > 1:
            has = ", ".join(sorted({visible(root.tag or "") for root in fitting})[:12])
            raise SourceError(
                f"image {self._shown} has several images", hint=f"name one of its tags behind a colon: {has}"
            )
        return fitting[0]

    def manifest(self, descriptor: Descriptor) -> bytes:
        """A manifest's content."""
        return self._shelf.read(layout.blob_path(descriptor.digest), MANIFEST_MAX)

    def descriptor(self, digest: str) -> Descriptor:
        """What names the manifest of a digest."""
        content = self._shelf.read(layout.blob_path(digest), MANIFEST_MAX)
        return named(content, None, f"{self._shown}: {digest[:19]}…")

    def attached(self, manifests: Sequence[Manifest]) -> list[Root]:
        """What the layout's index lists whose subject, or whose tag, is one of these."""
        digests = {manifest.descriptor.digest for manifest in manifests}
        tags = {fallback_tag(digest) for digest in digests}
        found = []
        for root in self._roots:
            stem, dot, _ = (root.tag or "").partition(".")
            if dot and stem in tags:
                found.append(root)
            elif stem in tags and not dot:
                content = self.manifest(root.descriptor)
                found += [Root(descriptor=each, name=root.name) for each in read(content, root.descriptor).children]
            elif root.descriptor.is_manifest:
                subject = read(self.manifest(root.descriptor), root.descriptor).subject
                if subject in digests:
                    found.append(root)
        return found

    def blobs(self, wanted: Sequence[Descriptor]) -> dict[str, Path]:
        """The blobs' files."""
        return {blob.digest: self._shelf.blob(blob) for blob in wanted}


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _missing(path, error) from error


def _missing(path: Path, error: OSError) -> SourceError:
    return SourceError(
        f"image {visible(str(path))}: {(error.strerror or str(error)).lower()}",
        hint="check `image`: a path in it starts from the folder of the spec, unless it is absolute",
    )


def _bounded(content: bytes, limit: int, shown: str) -> bytes:
    if len(content) > limit:
        raise SourceError(f"{visible(shown)} has more than {limit} bytes", hint="check the layout")
    return content
