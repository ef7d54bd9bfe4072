"""The depot: the online workspace with TUF metadata, published releases and their packs.

Content files are named by their digests and never change. Which release is published, only the signed
metadata says (`keys.repository`); a record beside it remembers which index and packs hold its content.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from sealift.digest import check, sha256
from sealift.durable import TEMPORARY, locked, make_folder, storing, write_file
from sealift.errors import IntegrityError, StoreError, UsageError
from sealift.listing import Blob, decode
from sealift.manifest import MANIFEST_MAX, Part, Release, encode
from sealift.manifest import release as parse_release
from sealift.names import file_stem
from sealift.reading import bounded

FOLDERS = ("manifests", "trees", "index", "packs", "records", "cache", "sites")


def intact(path: Path, blob: Blob) -> bytes:
    """A content file of bounded size, its digest checked.

    Raises:
        IntegrityError: it is missing or damaged.
    """
    content = bounded(path, blob.length, follow=True) or b""
    if len(content) != blob.length:
        raise IntegrityError(f"{path} is missing or has another size", hint="restore the depot from its backup")
    check(content, blob.sha256, str(path))
    return content


class Depot:
    """The folder of a depot."""

    def __init__(self, folder: Path) -> None:
        """Take `folder`, which `sealift-keys init` made.

        Raises:
            UsageError: it is none.
            StoreError: it cannot be read.
        """
        self.folder = folder
        with storing(folder):
            found = (folder / "depot.json").is_file()
        if not found:
            raise UsageError(f"{folder} is no depot", hint=f"make one: sealift-keys init --depot {folder}")

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other writer out, and clear away what a killed one left, or this one, where it fails.

        Raises:
            StoreError: another writer is at work, or the folder cannot be written.
        """
        with locked(self.folder / "lock", what=f"the depot {self.folder}", wait=1.0):
            for name in ("metadata", *FOLDERS):
                make_folder(self.folder / name)
            self._sweep()
            try:
                yield
            except BaseException:
                with contextlib.suppress(StoreError):
                    self._sweep()
                raise

    def _sweep(self) -> None:
        """Delete what is not complete, files and folders. The depot's lock is held."""
        below = (self.folder / name for name in ("metadata", *FOLDERS))
        for left in [
            *self.folder.glob(f"{TEMPORARY}*"),
            *(path for each in below for path in each.rglob(f"{TEMPORARY}*")),
        ]:
            with storing(left):
                if left.is_dir() and not left.is_symlink():
                    shutil.rmtree(left)
                else:
                    left.unlink(missing_ok=True)

    def path(self, kind: str, blob: Blob) -> Path:
        """Where a content file of a kind (`trees`, `index`, `packs`, `manifests`) is."""
        return self.folder / kind / f"{blob.sha256}.{'json' if kind == 'manifests' else 'zst'}"

    def keep_manifest(self, manifest: msgspec.Struct) -> tuple[Blob, bytes]:
        """Write a manifest under its digest.

        Raises:
            StoreError: the disk refuses.
        """
        content = encode(manifest)
        blob = Blob(sha256=sha256(content), length=len(content))
        write_file(self.path("manifests", blob), content)
        return blob, content

    def release(self, blob: Blob) -> Release:
        """A published release's manifest.

        Raises:
            IntegrityError: it is missing or damaged.
        """
        return parse_release(self.read(self.path("manifests", blob), blob))

    def read(self, path: Path, blob: Blob) -> bytes:
        """A content file of bounded size, its digest checked.

        Raises:
            IntegrityError: it is missing or damaged.
        """
        return intact(path, blob)

    def record(self, part: Part) -> None:
        """Remember which index and packs hold a release's content.

        Raises:
            StoreError: the disk refuses.
        """
        path = self._record(part.release.name, part.release.version)
        make_folder(path.parent)
        write_file(path, encode(part))

    def remembers(self, name: str, version: str) -> bool:
        """Whether there is a record of a release; that says nothing of whether it was published."""
        return self._record(name, version).exists()

    def part(self, name: str, version: str) -> Part:
        """Which index and packs hold a release's content.

        Raises:
            IntegrityError: the record is missing.
        """
        path = self._record(name, version)
        content = bounded(path, MANIFEST_MAX, follow=True) or b""
        if not content:
            raise IntegrityError(
                f"{path} is missing, so the content of {name}@{version} cannot be found",
                hint="restore the depot from its backup",
            )
        return decode(content, Part, str(path))

    def _record(self, name: str, version: str) -> Path:
        return self.folder / "records" / file_stem(name) / f"{version}.json"
