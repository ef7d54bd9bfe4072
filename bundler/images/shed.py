"""The cache as images use it: blobs by digest, each checked when it comes and again when it is found there.

What it lacks and a release of the depot has comes out of the depot's packs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from sealift.durable import locked, make_folder, write_file
from sealift.errors import IntegrityError
from sealift.oci.model import MANIFEST_MAX, Descriptor
from sealift.oci.names import hex_of
from sealift.progress import Progress, Silent

from ..depots.stock import Stock
from ..network.cache import Part, kept
from ..source import Workshop


class Shed:
    """The folder of the cache, one beside it that is only read, and what the depot's releases hold."""

    def __init__(self, cache: Path, spare: Path | None, stock: Stock | None, progress: Progress) -> None:
        self._cache = cache
        self._spare = spare
        self._stock = stock
        self.progress = progress

    def find(self, blob: Descriptor) -> Path | None:
        """The file that holds a blob, if it is here and whole."""
        digest = hex_of(blob.digest)
        places = [(self._cache, True)] + ([(self._spare, False)] if self._spare else [])
        for folder, mend in places:
            found = kept(folder / digest, digest, Silent(), mend=mend)
            if found is not None and found.length == blob.size:
                return found.path
        return None

    def obtain(self, blob: Descriptor) -> Path | None:
        """The same, or what a release of the depot holds, brought here; None where somebody must be asked for it."""
        found = self.find(blob)
        if found is None and self._stock is not None and blob.size:
            found = self._stock.bring(blob.digest, blob.size, self._cache)
            if found is not None and found.stat().st_size != blob.size:
                return None
        return found

    def lookup(self, digest: str) -> Path | None:
        """The file that holds the manifest of a digest, if it is here and whole, or a release of the depot holds it."""
        for folder in (self._cache, self._spare):
            path = folder / hex_of(digest) if folder else None
            if path is not None and path.is_file() and path.stat().st_size <= MANIFEST_MAX:
                found = kept(path, hex_of(digest), Silent(), mend=False)
                if found is not None:
                    return found.path
        return self._stock.bring(digest, MANIFEST_MAX, self._cache) if self._stock is not None else None

    def keep(self, content: bytes, digest: str) -> Path:
        """The file that holds `content`, whose digest is known, written where it is not here."""
        blob = Descriptor(media_type="", digest=digest, size=len(content))
        found = self.find(blob)
        if found is None:
            found = self._cache / hex_of(digest)
            write_file(found, content)
        return found

    @contextlib.contextmanager
    def part(self, blob: Descriptor) -> Iterator[Part]:
        """What has arrived of a blob so far."""
        with Part(self._cache / f"{hex_of(blob.digest)}.part", Silent()) as part:
            yield part

    def finish(self, part: Part, blob: Descriptor, what: str) -> Path:
        """Give a blob that has arrived its name.

        Raises:
            IntegrityError: it has another digest or size; nothing of it is kept.
        """
        if part.sha256 != hex_of(blob.digest) or part.length != blob.size:
            found, size = part.sha256, part.length
            part.delete()
            raise IntegrityError(
                f"{what} does not match its digest: expected {blob.digest[7:23]}… of {blob.size} bytes, "
                f"found {found[:16]}… of {size}",
                hint="whoever sent it lies or is damaged: ask another registry, or the one who keeps this one",
            )
        return part.keep(hex_of(blob.digest))

    def copy(self, blob: Descriptor, pieces: Callable[[], Iterator[bytes]], what: str) -> Path:
        """The file that holds a blob, which `pieces` yields where it is not here.

        Raises:
            IntegrityError: what it yields has another digest or size.
        """
        if (found := self.find(blob)) is not None:
            self.progress.advance(blob.size)
            return found
        if not blob.size:
            return self.keep(b"", blob.digest)
        with self.part(blob) as part:
            part.restart(None)
            for piece in pieces():
                part.append(piece)
                self.progress.advance(len(piece))
            return self.finish(part, blob, what)


@contextlib.contextmanager
def shed(workshop: Workshop) -> Iterator[Shed]:
    """The workshop's cache, which no other command writes meanwhile.

    Raises:
        StoreError: another one does, or the cache cannot be written.
    """
    make_folder(workshop.cache)
    with locked(workshop.cache / "lock", what=f"the cache {workshop.cache}"):
        yield Shed(workshop.cache, workshop.spare, workshop.stock, workshop.progress)
