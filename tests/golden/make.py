"""Makes the golden files of this folder: bundles of format 1, one of them a difference, their root, and what they hold.

`python tests/golden/make.py` from the repository's root writes them anew; `tests/sealift/test_golden.py` holds that
they come out the same, byte for byte. Their keys come from fixed seeds and are worth nothing; they expire in 2099.
They change only with the format (`docs/reference/format.md` first) or with a library that the lock pins. The difference
holds a wheel that was rebuilt, so making it anew needs the zlib that most Pythons have, not another.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import sys
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from bundler.depots.depot import Depot
from bundler.depots.published import Reference
from bundler.exporting import Times, export
from bundler.sealing import Effort
from bundler.spec import load
from keys.metadata import sign, sign_all
from sealift.progress import Silent

PUBLISHED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SIGNED = datetime(2099, 1, 1, tzinfo=UTC)
"""When the bundles are made, as far as expiry goes: 180 days later they expire."""
EXPIRES = datetime(2099, 12, 31, tzinfo=UTC)
EPOCH = 1_767_323_045
SPEC = """\
release: shop
version: {version}
artifacts:
  tools:
    source: path
    path: tools-{version}
  web:
    source: path
    path: web-{version}
{hooks}"""
HOOKS = """\
hooks:
  after-switch:
    - run: [bin/check, --quiet]
      timeout: 30
"""
FILES = ("root.json", "shop-1.0.0.sealift", "shop-1.1.0.sealift", "shop-1.1.0-since-1.0.0.sealift", "golden.json")
"""The golden files: the root that a reader begins with, the bundles, and what comes out of them."""

Tree = dict[str, bytes | str | None]
"""Content of a file, target of a link, None for a folder, by path."""
EXECUTABLE = {"bin/check", "check"}


def trees(version: str) -> dict[str, Tree]:
    """What the artifacts of a release hold."""
    chance = random.Random(f"sealift golden {version}")
    noise = random.Random("sealift golden noise").randbytes(24_000)
    check = b"#!/bin/sh\nexec test -s index.html\n"
    web: Tree = {
        "assets": None,
        "assets/app.js": b"export function price(count) { return count * 42 }\n" * 300,
        "assets/copy.js": b"export function price(count) { return count * 42 }\n" * 300,
        "assets/noise.bin": noise,
        "bin": None,
        "bin/check": check,
        "bin/run": "../index.html",
        "cache": None,
        "bin/shop": program(0),
        "empty": b"",
        "index.html": f"<h1>shop {version}</h1>\n".encode() * 20,
        "lib": None,
        "lib/shop.whl": wheel(version),
        "large.txt": b"".join(b"%07d the same line again and again\n" % (n // 4096) for n in range(130_000)),
        "latest": "assets/app.js",
        'Ω ünïcode, "quoted".txt': b"names are UTF-8\n",
    }
    tools: Tree = {"check": check, "noise.bin": noise}
    if version != "1.0.0":
        del web["cache"]
        web["bin/shop"] = program(1_000)
        web["assets/new.bin"] = chance.randbytes(12_000)
        web["assets/app.js"] = b"export function price(count) { return count * 43 }\n" * 300
    return {"tools": tools, "web": web}


def wheel(version: str) -> bytes:
    """A zip whose one member changes by a line; it crosses inflated in the difference, by the zlib of most Pythons."""
    chance = random.Random("sealift golden wheel")
    lines = [f"def f{number}(): return {chance.random()}\n" for number in range(400)]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        said = zipfile.ZipInfo("shop.py", (2026, 1, 2, 3, 4, 4))
        said.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(said, f"VERSION = {version!r}\n{''.join(lines)}")
    return out.getvalue()


def program(moved: int) -> bytes:
    """What looks like a program: functions with calls to others, whose addresses change where something has moved."""
    chance, more = random.Random("sealift golden program"), random.Random("sealift golden program, more of it")
    starts = [number * 96 for number in range(500)]
    parts = []
    for start in starts:
        place = start + (moved if start > 9_600 else 0)
        calls = (chance.choice(starts) for _ in range(4))
        body = b"".join(
            chance.randbytes(12) + (call + (moved if call > 9_600 else 0) - place).to_bytes(8, "little", signed=True)
            for call in calls
        )
        parts.append(body + bytes(16) + (more.randbytes(moved) if start == 9_600 else b""))
    return b"".join(parts)


def plant(folder: Path, tree: Tree) -> None:
    """Write a tree to disk, in any order."""
    folder.mkdir()
    for name, content in sorted(tree.items()):
        path = folder / name
        if content is None:
            path.mkdir()
        elif isinstance(content, str):
            os.symlink(content, path)
        else:
            path.write_bytes(content)
            path.chmod(0o755 if name in EXECUTABLE else 0o644)


def signer(seed: str) -> CryptoSigner:
    """A test key that everybody knows."""
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"sealift golden {seed}".encode()).digest())
    return CryptoSigner(private)


def depot(folder: Path) -> CryptoSigner:
    """Make a depot without key files, two of three root keys required; return its online key."""
    roots = [signer(f"root {number}") for number in (1, 2, 3)]
    online = signer("online")
    root = Root(expires=EXPIRES, consistent_snapshot=True)
    for each in roots:
        root.add_key(each.public_key, Root.type)
    root.roles[Root.type].threshold = 2
    for role in (Targets.type, Snapshot.type, Timestamp.type):
        root.add_key(online.public_key, role)
    metadata = folder / "metadata"
    metadata.mkdir(parents=True)
    (folder / "depot.json").write_text('{"format":1,"keys":"keys"}\n')
    (metadata / "1.root.json").write_bytes(sign(root, root, roots))
    first = sign_all(Targets(expires=SIGNED), root, online, others={}, snapshot_version=1, timestamp_version=1)
    for name, content in first.items():
        (metadata / name).write_bytes(content)
    return online


def make(out: Path) -> None:
    """Write all golden files into `out`."""
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        online = depot(base / "depot")
        (out / "root.json").write_bytes((base / "depot" / "metadata" / "1.root.json").read_bytes())
        fingerprint = hashlib.sha256((out / "root.json").read_bytes()).hexdigest()
        said: dict[str, object] = {"fingerprint": fingerprint}
        for version, hooks in (("1.0.0", ""), ("1.1.0", HOOKS)):
            for artifact, tree in trees(version).items():
                plant(base / f"{artifact}-{version}", tree)
            spec = base / f"{version}.yaml"
            spec.write_text(SPEC.format(version=version, hooks=hooks))
            made = export(
                [load(spec)],
                Depot(base / "depot"),
                out / f"shop-{version}.sealift",
                effort=Effort(level=3, threads=2),
                signer_for=lambda _: online,
                times=Times(now=SIGNED, published=PUBLISHED, epoch=EPOCH),
                progress=Silent(),
            )
            said[version] = {
                "bundle": made.identity,
                "manifest": made.sealed[0].part.release.sha256,
                "artifacts": {each.name: each.digest for each in made.sealed[0].release.artifacts},
                "entries": {name: described(tree) for name, tree in trees(version).items()},
            }
        made = export(
            [Reference(name="shop", version="1.1.0")],
            Depot(base / "depot"),
            out / "shop-1.1.0-since-1.0.0.sealift",
            effort=Effort(level=3, threads=2, difference_level=9),
            signer_for=lambda _: online,
            times=Times(now=SIGNED, published=PUBLISHED, epoch=EPOCH),
            progress=Silent(),
            since=[Reference(name="shop", version="1.0.0")],
        )
        said["difference"] = made.identity
        text = json.dumps(said, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        (out / "golden.json").write_text(text, encoding="utf-8")


def described(tree: Tree) -> dict[str, str]:
    """Each entry in a word: `dir`, a link's target, or a file's mode and digest."""
    return {
        name: "dir"
        if content is None
        else f"link {content}"
        if isinstance(content, str)
        else f"{'0755' if name in EXECUTABLE else '0644'} {hashlib.sha256(content).hexdigest()}"
        for name, content in tree.items()
    }


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
