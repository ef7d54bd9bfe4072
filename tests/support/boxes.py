"""podman with a store of its own, and images of Debian's static busybox for it to run."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from images import CONFIG, LAYER, MANIFEST, SIGNATURE, Pile, Sample, digest_of, encoded
from machine import CONTAINERS_CONF
from registries import need

from installer.containers.native import architecture


@cache
def _layer() -> tuple[bytes, str]:
    """The layer that all have, and the digest of its content."""
    program = Path(need("busybox")).read_bytes()
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        member = tarfile.TarInfo("bin/busybox")
        member.size, member.mode = len(program), 0o755
        tar.addfile(member, io.BytesIO(program))
        for name in ("sh", "sleep", "cat", "echo"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return gzip.compress(plain.getvalue(), compresslevel=1, mtime=0), digest_of(plain.getvalue())


def box(version: str, words: str = "exec /bin/sleep 1000") -> Sample:
    """An image in an index within an index, which says its version and then runs `words`, for this machine alone."""
    content, plain = _layer()
    pile = Pile()
    config = {
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Cmd": ["/bin/sh", "-c", f"echo this is {version}; {words}"],
            "Env": [f"VERSION={version}", "PATH=/bin"],
            "StopSignal": "SIGKILL",
        },
        "rootfs": {"type": "layers", "diff_ids": [plain]},
    }
    own = pile.manifest(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": pile.blob(encoded(config), CONFIG),
            "layers": [pile.blob(content, LAYER)],
        },
        platform={"os": "linux", "architecture": architecture()},
    )
    root = pile.index(pile.index(own), pile.image(1, "riscv64", size=10))
    signature = pile.about(None, SIGNATURE, b"a signature of " + str(root["digest"]).encode())
    return Sample(pile=pile, root=root, signature=signature, sbom=pile.about(root, "application/spdx+json", b"{}"))


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """A podman that answers."""

    environment: dict[str, str]
    """What leads a podman of this machine to this store."""

    def run(self, *words: str) -> str:
        """What podman says."""
        environment = {"PATH": os.environ["PATH"], **self.environment}
        done = subprocess.run(
            [need("podman"), *words], env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def inspect(self, name: str) -> dict[str, Any]:
        """What there is to know of a container."""
        found: dict[str, Any] = json.loads(self.run("container", "inspect", name))[0]
        return found

    def names(self) -> set[str]:
        """The containers that run, but for those that hold a pod together."""
        said = self.run("ps", "--format={{.Names}}").splitlines()
        return {name for name in said if not name.endswith("-infra")}

    def clear(self) -> None:
        """Remove all pods, containers and images but podman's own."""
        listed = [line.split(" ") for line in self.run("images", "--format={{.ID}} {{.Repository}}").splitlines()]
        images = {identity for identity, name in listed if "podman-pause" not in name}
        if images:
            self.run("pod", "rm", "--all", "--force", "--time=0")
            self.run("rm", "--all", "--force", "--time=0")
            self.run("rmi", "--force", *sorted(images))


@contextlib.contextmanager
def boxes(folder: Path) -> Iterator[Boxes]:
    """A podman whose store is in `folder`."""
    for program in ("podman", "runc", "catatonit", "busybox"):
        need(program)
    conf, storage = folder / "containers.conf", folder / "storage.conf"
    conf.write_text(CONTAINERS_CONF)
    state = tempfile.mkdtemp(prefix="sealift-")  # podman wants a short path
    storage.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/store"\nrunroot = "{state}"\n')
    found = Boxes(
        environment={"CONTAINERS_CONF": str(conf), "CONTAINERS_STORAGE_CONF": str(storage), "HOME": str(folder)}
    )
    try:
        yield found
    finally:
        found.clear()
        shutil.rmtree(state, ignore_errors=True)
