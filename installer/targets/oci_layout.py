"""Target `oci-layout`: each image of a release as a plain OCI layout, a folder or a tar, for whatever reads those.

    /srv/images/current/web           with `form: folder`: oci:/srv/images/current/web:1.0
    /srv/images/current/web.tar       with `form: tar`: oci-archive:/srv/images/current/web.tar:1.0

They lie on a shelf (`installer.folders.shelf`), so the switch to another release is the rename of a link. A blob that
the release holds already, or the one before, is not written twice: the file gets one more name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sealift.durable import storing, write_all
from sealift.errors import IntegrityError
from sealift.oci import layout

from ..folders.shelf import CURRENT, Shelf
from ..folders.writing import sync_file_system
from ..images.images import Image, images
from ..storage.chosen import IMAGES
from ..storage.deployable import Deployable
from ..target import Staged, Workplace

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "path": {
            "description": "The folder that holds the releases and the link 'current', as an absolute path.",
            "type": "string",
            "pattern": "^/[^\\u0000]*$",
            "maxLength": 3072,
        },
        "artifacts": IMAGES,
        "form": {
            "description": "Whether each layout is a 'folder' or a 'tar'; 'folder' where nothing is said.",
            "enum": ["folder", "tar"],
            "default": "folder",
        },
    },
    "required": ["path"],
    "additionalProperties": False,
}
_BLOCK = 512
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class OciLayout:
    """A shelf of layouts."""

    def __init__(self, root: Path, form: str, workplace: Workplace, artifacts: Collection[str] | None = None) -> None:
        self.place = str(root)
        self._shelf = Shelf(root)
        self._tar = form == "tar"
        self._artifacts = artifacts
        self._workplace = workplace

    def current(self) -> str | None:
        """The release that `current` leads to.

        Raises:
            UsageError: `current` is no link of ours, or stands in no folder.
            StoreError: the folder cannot be read.
        """
        return self._shelf.current()

    def stage(self, deployable: Deployable, former: Deployable | None) -> Staged:
        """Write the release's layouts, unless they are there and whole.

        Raises:
            UsageError: the release holds no image, or not the one that is to be deployed.
            IntegrityError: the store is damaged.
            MalformedError: an artifact is not the layout that it should be.
            StoreError: the disk refuses; nothing that served is touched.
        """
        held = self._held(deployable)
        identity = deployable.identity
        folder = self._shelf.releases / identity
        self._shelf.prepare()
        if folder.is_dir():
            if self.current() == identity or self._wrong(folder, held) is None:
                return Staged(folder=folder)
            self._shelf.set_aside(folder)
        return self._make(deployable.identity, held, self._before(former))

    def repair(self, deployable: Deployable) -> Staged:
        """Write the release's layouts anew from the store; then they and the damaged ones change places.

        Raises:
            IntegrityError: the store is damaged.
            StoreError: the disk refuses; what served serves on as it is.
        """
        self._shelf.prepare()
        return self._make(deployable.identity, self._held(deployable), [])

    def _make(self, identity: str, held: Sequence[Image], before: list[Path]) -> Staged:
        folder = self._shelf.releases / identity
        written = reused = 0
        with self._shelf.making(identity) as temporary:
            places: dict[str, Path] = {}
            for image in held:
                if self._tar:
                    written += self._write_tar(image, temporary / f"{image.artifact}.tar")
                else:
                    new, old = self._write_folder(image, temporary / image.artifact, places, before)
                    written, reused = written + new, reused + old
            sync_file_system(temporary)
        return Staged(folder=folder, written=written, reused=reused)

    def _held(self, deployable: Deployable) -> tuple[Image, ...]:
        return images(deployable.taking(self._artifacts), self._workplace.store)

    def _before(self, former: Deployable | None) -> list[Path]:
        """The folders of blobs of the release before."""
        if former is None or self._tar:
            return []
        folder = self._shelf.releases / former.identity
        return [folder / each.name / layout.BLOBS for each in former.release.artifacts if each.kind == "oci"]

    def _write_folder(self, image: Image, to: Path, places: dict[str, Path], before: list[Path]) -> tuple[int, int]:
        """Write a layout; return the bytes that were written, and those that were taken from elsewhere."""
        blobs = to / layout.BLOBS
        written = reused = 0
        with storing(to):
            for folder in (to, blobs.parent, blobs):
                os.mkdir(folder, 0o755)
                os.chmod(folder, 0o755)
        for digest, size in image.sizes().items():
            path = to / layout.blob_path(digest)
            if self._linked(path, digest, size, places, before):
                reused += size
            else:
                _write(path, self._checked(image, digest))
                written += size
            places.setdefault(digest, path)
            self._workplace.progress.advance(size)
        _write(to / layout.INDEX, [layout.encode(image.roots)])
        _write(to / layout.MARK, [layout.MARK_CONTENT])
        return written, reused

    def _linked(self, path: Path, digest: str, size: int, places: dict[str, Path], before: list[Path]) -> bool:
        """Give a blob that is there already one more name; of the release before only if it is still what it was."""
        sources = [places[digest]] if digest in places else []
        sources += [folder / path.name for folder in before]
        for source in sources:
            with contextlib.suppress(OSError):
                if source in places.values() or _is(source, digest, size):
                    os.link(source, path, follow_symlinks=False)
                    return True
        return False

    def _checked(self, image: Image, digest: str) -> Iterator[bytes]:
        """A blob's content; after it, its digest is compared."""
        running = hashlib.sha256()
        for piece in image.pieces(digest):
            running.update(piece)
            yield piece
        if f"sha256:{running.hexdigest()}" != digest:
            raise IntegrityError(
                f"artifact {image.artifact}: {digest[:19]}… has other content than its name says",
                hint="it was made by a faulty program: ask who exported it",
            )

    def _write_tar(self, image: Image, to: Path) -> int:
        size = 0
        with storing(to):
            descriptor = os.open(to, _CREATE, 0o644)
            try:
                os.fchmod(descriptor, 0o644)
                for piece in self._tarred(image):
                    write_all(descriptor, piece)
                    size += len(piece)
                    self._workplace.progress.advance(len(piece))
            finally:
                os.close(descriptor)
        return size

    def _tarred(self, image: Image) -> Iterator[bytes]:
        """The layout as a tar: the same bytes each time."""
        own = {layout.MARK: layout.MARK_CONTENT, layout.INDEX: layout.encode(image.roots)}
        for name, content in own.items():
            yield _header(name, len(content))
            yield content
            yield bytes(-len(content) % _BLOCK)
        for name in ("blobs/", f"{layout.BLOBS}/"):
            yield _header(name, 0)
        for digest, size in image.sizes().items():
            yield _header(layout.blob_path(digest), size)
            yield from self._checked(image, digest)
            yield bytes(-size % _BLOCK)
        yield bytes(2 * _BLOCK)

    def activate(self, identity: str | None) -> None:
        """Turn the link `current` to a staged release, or remove it.

        Raises:
            StoreError: the disk refuses; the link is as it was.
        """
        self._shelf.switch(identity)

    def check(self, deployable: Deployable, *, deep: bool) -> str | None:
        """Whether `current` leads to the release; with `deep`, whether each layout holds all that it should."""
        identity = deployable.identity
        serving = self.current()
        if serving != identity:
            return f"{self._shelf.root / CURRENT} leads to {serving or 'nothing'}, not to {identity}"
        if deep and (wrong := self._wrong(self._shelf.releases / identity, self._held(deployable))):
            return f"{wrong} is no longer what was deployed; apply it again with --deep"
        return None

    def _wrong(self, folder: Path, held: Iterable[Image]) -> Path | None:
        """What a release's folder lacks or has otherwise."""
        for image in held:
            if self._tar:
                path = folder / f"{image.artifact}.tar"
                if not _same(path, self._tarred(image)):
                    return path
                continue
            base = folder / image.artifact
            own = {layout.MARK: layout.MARK_CONTENT, layout.INDEX: layout.encode(image.roots)}
            for name, content in own.items():
                if not _same(base / name, [content]):
                    return base / name
            for digest, size in image.sizes().items():
                path = base / layout.blob_path(digest)
                try:
                    if not _is(path, digest, size):
                        return path
                except OSError:
                    return path
        return None

    def prune(self, keep: Collection[str]) -> int:
        """Remove the folders of releases other than `keep` and the one that serves.

        Raises:
            StoreError: the disk refuses.
        """
        return self._shelf.prune(keep)


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name.rstrip("/"))
    member.size, member.mode = size, 0o755 if name.endswith("/") else 0o644
    member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
    return member.tobuf(tarfile.PAX_FORMAT)


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    with storing(path):
        descriptor = os.open(path, _CREATE, 0o644)
        try:
            os.fchmod(descriptor, 0o644)
            for piece in pieces:
                write_all(descriptor, piece)
        finally:
            os.close(descriptor)


def _is(path: Path, digest: str, size: int) -> bool:
    """Whether a file is the blob of that digest.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if os.fstat(descriptor).st_size != size:
            return False
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" == digest


def _same(path: Path, pieces: Iterable[bytes]) -> bool:
    """Whether a file holds just these pieces."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            return all(file.read(len(piece)) == piece for piece in pieces) and not file.read(1)
    return False


def target(settings: Mapping[str, Any], workplace: Workplace) -> OciLayout:
    """The target that `settings` names."""
    return OciLayout(Path(settings["path"]), settings.get("form", "folder"), workplace, settings.get("artifacts"))
