"""A docker archive: what `docker save` wrote. It has no manifest, so one is made of it, the same each time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sealift.errors import MalformedError, SourceError
from sealift.names import visible
from sealift.oci import names as oci_names
from sealift.oci.layout import Root
from sealift.oci.model import MANIFEST_MAX, OCI_MANIFEST, Descriptor, Manifest, named
from sealift.strict_json import canonical, parse

from .local import Archive

_CONFIG = "application/vnd.oci.image.config.v1+json"
_PLAIN_LAYER = "application/vnd.oci.image.layer.v1.tar"


class DockerArchive:
    """An image in what `docker save` wrote. It has no manifest: one is made of its configuration and its layers."""

    def __init__(self, archive: Archive, shown: str, name: str | None) -> None:
        self._archive = archive
        self._shown = shown
        entries = self._entries()
        fitting = [entry for entry in entries if name is None or name in entry.get("RepoTags", [])]
        if len(fitting) != 1:
            has = ", ".join(visible(tag) for entry in entries for tag in entry.get("RepoTags", []))[:300] or "no names"
            what = "several images" if fitting else f"no image {visible(name or '')!r}"
            raise SourceError(f"image {shown} has {what}", hint=f"name one of them behind a colon; it has {has}")
        self._tag = name or next(iter(fitting[0].get("RepoTags", [])), None)
        self._places: dict[str, str] = {}
        self._content, self._descriptor = self._made(fitting[0])

    def _entries(self) -> list[dict[str, Any]]:
        content = self._archive.read("manifest.json", MANIFEST_MAX)
        tree = parse(b'{"list":' + content + b"}", f"{self._shown}: manifest.json", cap=MANIFEST_MAX + 16)["list"]
        entries = tree if isinstance(tree, list) else []
        for entry in entries:
            if not isinstance(entry, dict):
                raise self._odd()
            entry["RepoTags"] = entry.get("RepoTags") or []
            texts = [entry.get("Config"), *entry["RepoTags"], *(entry.get("Layers") or [])]
            if not isinstance(entry["RepoTags"], list) or not all(isinstance(text, str) for text in texts):
                raise self._odd()
        return entries

    def _odd(self) -> MalformedError:
        return MalformedError(f"{self._shown}: manifest.json is not what docker save writes")

    def _made(self, entry: dict[str, Any]) -> tuple[bytes, Descriptor]:
        config = self._archive.read(entry["Config"], MANIFEST_MAX)
        tree = parse_config(config, f"{self._shown}: {visible(entry['Config'])}")
        layers = entry.get("Layers") or []
        if len(layers) != len(tree):
            raise self._odd()
        digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
        self._places[digest] = entry["Config"]
        listed = []
        for path, layer in zip(layers, tree, strict=True):
            self._places[layer] = path
            listed.append({"digest": layer, "mediaType": _PLAIN_LAYER, "size": self._archive.size(path)})
        content = canonical(
            {
                "config": {"digest": digest, "mediaType": _CONFIG, "size": len(config)},
                "layers": listed,
                "mediaType": OCI_MANIFEST,
                "schemaVersion": 2,
            }
        )
        return content, named(content, OCI_MANIFEST, self._shown)

    def root(self, digest: str | None) -> Root:
        """The image, by the manifest that was made."""
        if digest not in (None, self._descriptor.digest):
            raise SourceError(
                f"image {self._shown} is another image than {digest}",
                hint="if the change is meant, run `sealift-bundle lock`",
            )
        name = oci_names.parse(self._tag) if self._tag else None
        return Root(descriptor=self._descriptor, name=name, tag=name.tag if name else None)

    def manifest(self, descriptor: Descriptor) -> bytes:
        """The manifest that was made."""
        return self._content

    def descriptor(self, digest: str) -> Descriptor:
        """The image's own."""
        return self.root(digest).descriptor

    def attached(self, manifests: Sequence[Manifest]) -> list[Root]:
        """Nothing: such an archive holds none."""
        return []

    def blobs(self, wanted: Sequence[Descriptor]) -> dict[str, Path]:
        """The blobs in the cache, copied there."""
        return {blob.digest: self._archive.copy(blob, self._places[blob.digest]) for blob in wanted}


def parse_config(content: bytes, what: str) -> list[str]:
    """The digests of the unpacked layers that an image's configuration names.

    Raises:
        MalformedError: it names none.
    """
    try:
        digests = json.loads(content)["rootfs"]["diff_ids"]
    except (ValueError, KeyError, TypeError, RecursionError):
        digests = None
    if not isinstance(digests, list) or not all(
        isinstance(each, str) and oci_names.is_digest(each) for each in digests
    ):
        raise MalformedError(f"{what} is no configuration of an image")
    return digests
