"""Records: what of each staged release runs, kept on the target's shelf for the way back.

releases/<identity>/release.json      containers, pods and images
releases/<identity>/pods/shop.yaml    the manifests of its pods
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from sealift.durable import make_folder, storing, write_file
from sealift.errors import StoreError
from sealift.reading import bounded

from ..cluster import kube
from ..folders.shelf import Shelf
from .running import NOTHING, Running

FILE, FILE_MAX = "release.json", 4 << 20


class Records:
    """The records on a shelf."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def keep(self, identity: str, running: Running, files: Mapping[str, bytes]) -> None:
        """Keep what of a release runs.

        Args:
            identity: the release's.
            running: its containers, pods and images.
            files: the manifests of its pods, by path.

        Raises:
            StoreError: the disk refuses.
        """
        folder = self._shelf.releases / identity
        content = msgspec.json.encode(running)
        if folder.is_dir() and self._manifests(folder) == files:
            write_file(folder / FILE, content)
            return
        with self._shelf.making(identity) as temporary:
            for path, manifest in files.items():
                make_folder((temporary / "pods" / path).parent)
                write_file(temporary / "pods" / path, manifest)
            write_file(temporary / FILE, content)

    def _manifests(self, folder: Path) -> dict[str, bytes]:
        base = folder / "pods"
        with storing(base):
            names = sorted(str(path.relative_to(base)) for path in base.rglob("*") if path.is_file())
        return {name: bounded(base / name, kube.SIZE_MAX) or b"" for name in names}

    def kept(self, identity: str | None) -> tuple[Running, Path]:
        """What of a release runs, and the folder of its manifests; of none, nothing.

        Raises:
            StoreError: it is not staged.
        """
        if identity is None:
            return NOTHING, self._shelf.root
        folder = self._shelf.releases / identity
        try:
            running = msgspec.json.decode(bounded(folder / FILE, FILE_MAX) or b"", type=Running)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreError(
                f"{folder / FILE} is missing or damaged", hint="apply another version, and then this one again"
            ) from error
        return running, folder / "pods"

    def images(self) -> set[str]:
        """The IDs of the images of all releases that are staged.

        Raises:
            StoreError: a record is damaged, or the disk refuses.
        """
        with storing(self._shelf.releases):
            folders = [path for path in self._shelf.releases.iterdir() if (path / FILE).is_file()]
        return {image.id for folder in folders for image in self.kept(folder.name)[0].images}
