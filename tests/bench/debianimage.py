"""The row of a real image: Debian packages with all that they need, one layer each, from one registry to another.

It goes registry → bundle → site → second registry, with a signature and an index around it, and both registries must
give the same bytes of every manifest. Each step says how long it took, and how much memory all its processes held.
"""

from __future__ import annotations

import gzip
import hashlib
import multiprocessing
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

from measure import Command, CommandError, output
from registrywork import Crossing
from rounds import Bench

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from images import CONFIG, LAYER, MANIFEST, SIGNATURE, Pile, digest_of, encoded
from registries import Running, registry

PACKAGES = ("python3", "git", "perl", "nginx-light", "postgresql-client", "gnupg", "vim-tiny", "curl", "g++", "openssl")
NAME = "debian"
ROOM = 4 << 30
"""Bytes that the depot, the bundle, the site and two registries have together at most."""


def rows(bench: Bench, folder: Path) -> None:
    """Carry the image once; `folder` keeps the packages for the next time."""
    if missing := [name for name in ("apt-get", "dpkg-deb", "skopeo", "docker-registry") if shutil.which(name) is None]:
        bench.results.notes.append(f"the image of Debian packages is left out: {missing[0]} is missing")
        return
    try:
        packages = _packages(folder)
        with (
            bench.disk.arena(ROOM) as arena,
            registry(arena / "here") as here,
            registry(arena / "there") as there,
        ):
            bench.say(f"making an image of {len(packages)} packages")
            _push(here, packages)
            size = sum(path.stat().st_size for path in (arena / "here").rglob("data"))
            crossing = Crossing(bench, f"{len(packages)} layers, {size / 1e6:.0f} MB", arena, here, there)
            crossing.run(NAME)
            _compare(here, there)
    except CommandError as error:
        bench.failed("the image of Debian packages", error)


def _packages(folder: Path) -> list[Path]:
    """The packages, by this machine's own settings of apt, as for a machine that has none."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "partial").mkdir(exist_ok=True)
    (folder / "status").write_bytes(b"")
    settings = [f"Dir::State::status={folder / 'status'}", f"Dir::Cache::archives={folder}", "APT::Sandbox::User=root"]
    words = ["apt-get", "-qq", "--yes", "--download-only", "--no-install-recommends"]
    output(Command(argv=[*words, *(f"-o{each}" for each in settings), "install", *PACKAGES]))
    return sorted(folder.glob("*.deb"))


def _push(here: Running, packages: list[Path]) -> None:
    """Make and push it in a process of its own, whose memory is none of the measured."""
    maker = multiprocessing.get_context("fork").Process(target=_make, args=(here, packages))
    maker.start()
    maker.join()
    if maker.exitcode:
        raise CommandError("the image could not be made")


def _make(here: Running, packages: list[Path]) -> None:
    pile, layers, plain = Pile(), [], []
    for package in packages:
        tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True).stdout
        plain.append(digest_of(tar))
        layers.append(pile.blob(gzip.compress(tar, zlib.Z_BEST_SPEED, mtime=0), LAYER))
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": plain}}
    described = pile.blob(encoded(config), CONFIG)
    image = pile.manifest(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": layers},
        platform={"os": "linux", "architecture": "amd64"},
    )
    root = pile.index(pile.index(image))
    signature = pile.about(None, SIGNATURE, b"a signature")
    here.push(pile, "bench/image", {NAME: root, f"{root['digest'].replace(':', '-')}.sig": signature})


def _compare(here: Running, there: Running) -> None:
    """Let skopeo read both ends."""
    raws = {
        output(
            Command(
                argv=["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{each.host}/bench/image:{NAME}"]
            )
        )
        for each in (here, there)
    }
    digests = {hashlib.sha256(raw.encode()).hexdigest() for raw in raws}
    if len(digests) != 1 or here.tags("bench/image") != there.tags("bench/image"):
        raise CommandError("the two registries do not give the same image")
