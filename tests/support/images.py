"""Images that are small and made here, byte for byte the same each time: layouts as other tools write them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CHART_CONFIG = "application/vnd.cncf.helm.config.v1+json"
CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json"

Value = dict[str, Any]


def digest_of(content: bytes) -> str:
    """The digest of `content`, as OCI writes it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def encoded(tree: object) -> bytes:
    """JSON as other tools write it: indented, keys in their own order, so that no digest holds by rewriting."""
    return json.dumps(tree, indent=3).encode()


def layer(files: dict[str, bytes]) -> bytes:
    """A gzip layer of these files."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)


@dataclass
class Pile:
    """Blobs by digest, and which of them are manifests."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    """The media type of each manifest, children before what lists them."""

    def blob(self, content: bytes, media_type: str, **more: Any) -> Value:
        """Add a blob; return its descriptor."""
        digest = digest_of(content)
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": digest, "size": len(content), **more}

    def manifest(self, tree: Value, **more: Any) -> Value:
        """Add a manifest or an index; return its descriptor."""
        made = self.blob(encoded(tree), tree["mediaType"], **more)
        self.types[made["digest"]] = tree["mediaType"]
        return made

    def image(self, seed: int, architecture: str = "amd64", *, size: int = 20_000) -> Value:
        """Add an image of two layers for one platform; return its descriptor."""
        noise = random.Random(seed).randbytes(size)
        layers = [
            layer({"etc/base": b"the same in every image\n" * 50}),
            layer({"app/run": noise, "app/seed": b"%d" % seed}),
        ]
        plain = [digest_of(gzip.decompress(each)) for each in layers]
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": plain},
        }
        return self.manifest(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": self.blob(encoded(config), CONFIG),
                "layers": [self.blob(each, LAYER) for each in layers],
            },
            platform={"os": "linux", "architecture": architecture},
        )

    def index(self, *children: Value, **more: Any) -> Value:
        """Add an index; return its descriptor."""
        return self.manifest({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(children)}, **more)

    def about(self, subject: Value | None, kind: str, content: bytes) -> Value:
        """Add a signature, an SBOM or the like; with a subject, as OCI 1.1 has it."""
        tree: Value = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": self.blob(b"{}", "application/vnd.oci.empty.v1+json"),
            "layers": [self.blob(content, kind)],
        }
        if subject is not None:
            tree["subject"] = {key: subject[key] for key in ("mediaType", "digest", "size")}
        return self.manifest(tree)

    def chart(self, name: str, version: str, templates: dict[str, str]) -> Value:
        """Add a Helm chart as `helm push` does; return its descriptor."""
        about = f"apiVersion: v2\nname: {name}\nversion: {version}\n"
        files = {f"{name}/Chart.yaml": about.encode()}
        files |= {f"{name}/templates/{path}": text.encode() for path, text in templates.items()}
        config = {"name": name, "version": version, "apiVersion": "v2"}
        return self.manifest(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": self.blob(encoded(config), CHART_CONFIG),
                "layers": [self.blob(layer(files), CHART_LAYER)],
                "annotations": {"org.opencontainers.image.title": name},
            }
        )

    def write(self, folder: Path, roots: dict[str, Value]) -> Path:
        """Write all of it as an OCI layout, with these tags."""
        blobs = folder / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        for digest, content in self.blobs.items():
            (blobs / digest.removeprefix("sha256:")).write_bytes(content)
        listed = [
            {**root, "annotations": {"org.opencontainers.image.ref.name": tag}} if tag else root
            for tag, root in roots.items()
        ]
        (folder / "index.json").write_bytes(encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}))
        return folder


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An image with everything that has to arrive: indexes in indexes, a signature by tag, an SBOM by subject."""

    pile: Pile
    root: Value
    signature: Value
    sbom: Value

    @property
    def signature_tag(self) -> str:
        """Cosign's tag for the signature of the root."""
        return f"{str(self.root['digest']).replace(':', '-')}.sig"


def sample(seed: int = 1, *, size: int = 20_000) -> Sample:
    """An image of two platforms in an index within an index."""
    pile = Pile()
    inner = pile.index(pile.image(seed, "amd64", size=size), pile.image(seed + 1000, "arm64", size=size))
    root = pile.index(inner, pile.image(seed + 2000, "riscv64", size=size))
    signature = pile.about(None, SIGNATURE, b"a signature of " + str(root["digest"]).encode())
    sbom = pile.about(root, "application/spdx+json", b'{"spdxVersion":"SPDX-2.3"}')
    return Sample(pile=pile, root=root, signature=signature, sbom=sbom)
