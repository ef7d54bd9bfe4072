"""A forge: whole bundles made by hand, validly signed, in which any layer can be spoilt before it is sealed.

The layers, from the inside out, each a key of `spoils` with a function that takes the layer and gives another:

    entries        lines of the tree, as a list of dicts (or of bytes, taken as they are)
    tree_text      the tree's content before compression; what is above it still describes the honest length
    tree_file      the tree's compressed file
    tree           what the release manifest says of the tree's file
    frames         the frames of the pack, as a list of bytes
    lines          lines of the index, as a list of dicts (or of bytes)
    index_text, index_file, index      as for the tree
    packs          the packs, as a list of bytes
    artifact       the artifact in the release manifest
    release        the release manifest as a dict; `release_file` as bytes
    bundle         the bundle manifest as a dict; `bundle_file` as bytes
    targets        what the signed metadata lists, by target path
    metadata       the metadata files by name
    members        the members of the archive, as a list of names and contents
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from sealift.container import header, padding
from tests.tufmaker import Depot, Tree

Spoils = Mapping[str, Callable[[Any], Any]]
CHUNKS = (b"#!/bin/sh\nexit 0\n", b"<h1>shop</h1>\n" * 40, b"second\n" * 30)


def sha256(content: bytes) -> str:
    """The digest of `content`."""
    return hashlib.sha256(content).hexdigest()


def canonical(tree: object) -> bytes:
    """`tree` as a manifest is written."""
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def compress(content: bytes, level: int = 3) -> bytes:
    """One plain frame."""
    return zstandard.ZstdCompressor(level=level, write_checksum=False, write_content_size=True).compress(content)


def file(path: str, *chunks: bytes, mode: str = "0644") -> Tree:
    """The line of a file that consists of `chunks`."""
    line: Tree = {"path": path, "type": "file", "mode": mode}
    if chunks:
        line["size"] = sum(map(len, chunks))
        line["chunks"] = [sha256(chunk) for chunk in chunks]
    if len(chunks) > 1:
        line["sizes"] = [len(chunk) for chunk in chunks]
    return line


def folder(path: str) -> Tree:
    """The line of a folder."""
    return {"path": path, "type": "dir", "mode": "0755"}


def link(path: str, target: str) -> Tree:
    """The line of a symbolic link."""
    return {"path": path, "type": "link", "target": target}


def honest() -> list[Tree]:
    """The tree of an unspoilt bundle."""
    return [
        folder("bin"),
        file("bin/check", CHUNKS[0], mode="0755"),
        file("index.html", CHUNKS[1]),
        file("two", CHUNKS[1], CHUNKS[2]),
        link("web", "index.html"),
    ]


def archive(members: list[tuple[str, bytes]], *, time: int = 0) -> bytes:
    """The file of a bundle with these members."""
    parts = [header(name, len(content), time) + content + padding(len(content)) for name, content in members]
    return b"".join(parts) + bytes(1024)


@dataclass(kw_only=True)
class Forge:
    """The keys of a depot, and bundles that they sign."""

    depot: Depot = field(default_factory=Depot)

    @property
    def root(self) -> bytes:
        """The root that a site enrols with."""
        return self._root

    def __post_init__(self) -> None:
        self._root = self.depot.root()

    def members(
        self,
        spoils: Spoils | None = None,
        *,
        version: int = 1,
        release: str = "1.0.0",
        expires: str | None = None,
        root_version: int = 1,
        roots: Mapping[int, bytes] | None = None,
    ) -> list[tuple[str, bytes]]:
        """The members of a bundle, validly signed by this depot in the `version`-th metadata.

        Args:
            spoils: what to change at which layer.
            version: of timestamp, snapshot and targets.
            release: the version of the release `shop`.
            expires: when the metadata does, if not in the future.
            root_version: the root that the bundle manifest says to be signed under.
            roots: the root chain, if it is not the first root alone.
        """
        unknown = set(spoils or {}) - _LAYERS
        if unknown:
            raise ValueError(f"no such layer: {unknown}")

        def layer(name: str, value: Any) -> Any:
            return spoils[name](value) if spoils and name in spoils else value

        def listing(kind: str, lines: list[Any]) -> tuple[bytes, Tree, str]:
            heading = {"format": 1, "type": kind}
            text = b"".join((line if isinstance(line, bytes) else _plain(line)) + b"\n" for line in [heading, *lines])
            size = len(text)
            text = layer(f"{kind}_text", text)
            content = layer(f"{kind}_file", compress(text))
            blob = {"sha256": sha256(content), "length": len(content), "size": size}
            return content, layer(kind, blob), sha256(text)

        entries = layer("entries", honest())
        tree_file, tree, digest = listing("tree", entries)
        frames = layer("frames", [compress(b"".join(CHUNKS))])
        lines, start = [], 0
        for frame in frames:
            size = sum(map(len, CHUNKS))
            lines.append(
                {
                    "pack": 0,
                    "offset": start,
                    "length": len(frame),
                    "size": size,
                    "sha256": sha256(frame),
                    "chunks": [[0, len(CHUNKS)]],
                }
            )
            start += len(frame)
        index_file, index, _ = listing("index", layer("lines", lines))
        packs = layer("packs", [b"".join(frames)])
        files = [line for line in entries if isinstance(line, dict) and line.get("type") == "file"]
        amount = sum(line.get("size", 0) for line in files if isinstance(line.get("size", 0), int))
        artifact = {
            "name": "web",
            "kind": "files",
            "digest": digest,
            "tree": tree,
            "files": len(files),
            "bytes": amount if 0 <= amount < 2**63 else 0,
        }
        said: Tree = {"format": 1, "type": "release", "name": "shop", "version": release}
        said["artifacts"] = [layer("artifact", artifact)]
        release_file = layer("release_file", canonical(layer("release", said)))
        part = {
            "release": {
                "name": "shop",
                "version": release,
                "sha256": sha256(release_file),
                "length": len(release_file),
            },
            "index": index,
            "packs": [{"sha256": sha256(pack), "length": len(pack)} for pack in packs],
        }
        manifest = {"format": 1, "type": "bundle", "root_version": root_version, "parts": [part]}
        bundle_file = layer("bundle_file", canonical(layer("bundle", manifest)))
        targets = {
            f"releases/shop/{release}.json": self.target(release_file, "release"),
            f"bundles/{sha256(bundle_file)}.json": self.target(bundle_file, "bundle"),
        }
        until = dict.fromkeys(("timestamp", "snapshot", "targets"), expires) if expires else {}
        offer = self.depot.offer(
            version,
            files=layer("targets", targets),
            roots=roots if roots is not None else {1: self.root},
            expires={role: day for role, day in until.items() if day},
        )
        members = [("SEALIFT.json", b'{"format":1,"volume":1,"volumes":1}\n')]
        members += [(f"metadata/{name}", content) for name, content in layer("metadata", offer).items()]
        members += [(f"manifests/{sha256(content)}.json", content) for content in (bundle_file, release_file)]
        members += [(f"trees/{sha256(tree_file)}.zst", tree_file), (f"index/{sha256(index_file)}.zst", index_file)]
        members += [(f"packs/{sha256(pack)}.zst", pack) for pack in packs]
        changed: list[tuple[str, bytes]] = layer("members", members)
        return changed

    def bundle(self, path: Path, spoils: Spoils | None = None, **more: Any) -> Path:
        """Write the bundle of `members`; return its path."""
        path.write_bytes(archive(self.members(spoils, **more)))
        return path

    def target(self, content: bytes, kind: str) -> Tree:
        """What the signed metadata says of a manifest."""
        return {
            "length": len(content),
            "hashes": {"sha256": sha256(content)},
            "custom": {"sealift": {"type": kind, "published": "2026-11-22T09:00:00Z"}},
        }


_LAYERS = {
    *("entries", "tree_text", "tree_file", "tree", "frames", "lines", "index_text", "index_file", "index", "packs"),
    *("artifact", "release", "release_file", "bundle", "bundle_file", "targets", "metadata", "members"),
}


def _plain(line: object) -> bytes:
    return json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
