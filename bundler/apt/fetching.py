"""Fetching what a lock pins: by apt's own methods, or from a folder of this machine, into the cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from sealift.errors import IntegrityError, SourceError
from sealift.names import visible
from sealift.progress import Silent
from sealift.reading import opened

from ..network.cache import kept, lay_down
from ..scratch import scratch
from ..source import Workshop
from .asking import Asked
from .closure import Deb
from .root import Item, Root

_CHANGED = "the repository changed: run `sealift-bundle lock` again, and look at what the lock says then"


def fetched(debs: Sequence[Deb], asked: Asked, workshop: Workshop) -> dict[str, Path]:
    """The file of each package, by its digest; what the cache lacks is fetched. The cache is locked.

    Raises:
        SourceError: one cannot be had any more.
        IntegrityError: one is not what it was.
        StoreError: the cache cannot be written.
    """
    found: dict[str, Path] = {}
    missing = []
    for deb in debs:
        for folder, mend in ((workshop.cache, True), *(((workshop.spare, False),) if workshop.spare else ())):
            if here := kept(folder / deb.sha256, deb.sha256, Silent(), mend=mend):
                found[deb.sha256] = here.path
        if deb.sha256 not in found:
            missing.append(deb)
    if not missing:
        return found
    workshop.progress.start("fetch packages", sum(deb.size for deb in missing))
    try:
        with scratch(workshop.cache) as folder:
            root = Root(folder / "apt", asked, workshop.base)
            came = folder / "came"
            came.mkdir()
            remote = [deb for deb in missing if not deb.url.startswith("file:")]
            try:
                root.fetch(
                    [Item(deb.url, deb.file, deb.size, deb.sha256) for deb in remote], came, workshop.progress.advance
                )
            except (SourceError, IntegrityError) as error:
                raise type(error)(f"{error.message}, which the lock says otherwise", hint=_CHANGED) from error
            for deb in missing:
                laid = lay_down(workshop.cache, None, _pieces(deb, came))
                if laid.sha256 != deb.sha256:
                    raise IntegrityError(f"{deb.file} is not what was locked: it has another digest", hint=_CHANGED)
                found[deb.sha256] = laid.path
    finally:
        workshop.progress.finish()
    return found


def _pieces(deb: Deb, came: Path) -> Iterator[bytes]:
    """The content of a package: what came, or the file of a repository on this machine, up to its size."""
    path = Path(unquote(deb.url.removeprefix("file:"))) if deb.url.startswith("file:") else came / deb.sha256
    try:
        file = opened(path, follow=True)
    except OSError as error:
        raise SourceError(f"{deb.file} is no longer where it was: {visible(str(path))}", hint=_CHANGED) from error
    if file is None:
        raise SourceError(f"{visible(str(path))} is no regular file", hint=_CHANGED)
    with file:
        left = deb.size + 1
        while left and (piece := file.read(min(left, 1 << 20))):
            left -= len(piece)
            yield piece
