"""The two that are compared row by row: Sealift, and the script that operators write today.

A tool says which commands do its work; it runs only what prepares them and is not to be measured. `at` is a tool's
own folder, which holds what it made from a tree; `to` is a new folder at the other end.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from measure import Command, output


class Tool(Protocol):
    """One way to carry a tree over a gap."""

    @property
    def name(self) -> str:
        """What the tables call it."""

    def missing(self) -> str | None:
        """Return the first program that it needs and this machine lacks."""

    def create(self, tree: Path, at: Path) -> Command:
        """Prepare the connected end in a new folder `at`, and return the command that packs `tree` there."""

    def product(self, at: Path) -> Path:
        """Return what crosses: a file, or a folder."""

    def restore(self, at: Path, to: Path) -> Iterator[tuple[str, Command]]:
        """Prepare the far end in a new folder `to`, and yield the commands that check and unpack what crossed."""


@dataclass(frozen=True, kw_only=True)
class Sealift:
    """This build, by its three programs."""

    programs: Path
    """The folder that holds them."""
    level: int = 3
    name: str = "sealift"

    def missing(self) -> str | None:
        for program in ("sealift-keys", "sealift-bundle", "sealift-install"):
            if not os.access(self.programs / program, os.X_OK):
                return program
        return None

    def create(self, tree: Path, at: Path) -> Command:
        """A new depot, whose key has no passphrase as the script's has none, and the export of a first release."""
        at.mkdir(parents=True)
        spec = tree.with_name("sealift.yaml")
        spec.write_text(
            f"release: bench\nversion: 1.0.0\nartifacts:\n  tree:\n    source: path\n    path: {tree.name}\n"
        )
        depot = at / "depot"
        made = output(
            Command(argv=[self.programs / "sealift-keys", "init", "--depot", depot, "--unsafe-no-passphrase", "--json"])
        )
        (at / "fingerprint").write_text(str(json.loads(made)["fingerprint"]))
        argv: list[str | Path] = [self.programs / "sealift-bundle", "export", spec, "--depot", depot]
        argv += ["--out", self.product(at), f"--level={self.level}", "--unsafe-no-passphrase"]
        return Command(argv=argv)

    def product(self, at: Path) -> Path:
        return at / "bench-1.0.0.sealift"

    def verify(self, at: Path) -> Command:
        """Return the command that checks a whole bundle without a site."""
        bundle, root = self.product(at), at / "depot/metadata/1.root.json"
        return Command(argv=[self.programs / "sealift-bundle", "verify", bundle, "--root", root])

    def restore(self, at: Path, to: Path) -> Iterator[tuple[str, Command]]:
        to.mkdir(parents=True)
        install, site = self.programs / "sealift-install", to / "site"
        environment = to / "environment.yaml"
        environment.write_text(
            "environment: bench\nrelease: bench\nversion: 1.0.0\n"
            f"targets:\n  - kind: directory\n    path: {to / 'target'}\npolicy: none\n"
        )
        root, fingerprint = at / "depot/metadata/1.root.json", (at / "fingerprint").read_text()
        output(Command(argv=[install, "enroll", "--site", site, "--root", root, "--fingerprint", fingerprint]))
        yield "import", Command(argv=[install, "import", "--site", site, self.product(at)])
        yield "apply", Command(argv=[install, "apply", "--site", site, environment])


PACK = """set -euo pipefail
cd "$1"
tar -cf - . | zstd -q "-$3" -T2 | tee "$2/out.tar.zst" | openssl dgst -sha256 -r > "$2/digest"
openssl pkeyutl -sign -rawin -inkey "$2/key.pem" -in "$2/digest" -out "$2/signature"
"""
CHECK = """set -euo pipefail
openssl dgst -sha256 -r < "$1/out.tar.zst" | cmp - "$1/digest"
openssl pkeyutl -verify -rawin -pubin -inkey "$1/public.pem" -in "$1/digest" -sigfile "$1/signature"
"""
UNPACK = """set -euo pipefail
zstd -q -dc "$1/out.tar.zst" | tar -xf - -C "$2"
"""


@dataclass(frozen=True, kw_only=True)
class Script:
    """`tar | zstd | openssl dgst`, an Ed25519 signature over the digest, and back."""

    level: int = 3
    name: str = "script"

    def missing(self) -> str | None:
        return first_missing("bash", "tar", "zstd", "tee", "openssl", "cmp")

    def create(self, tree: Path, at: Path) -> Command:
        at.mkdir(parents=True)
        key = at / "key.pem"
        output(Command(argv=["openssl", "genpkey", "-algorithm", "ed25519", "-out", key]))
        output(Command(argv=["openssl", "pkey", "-in", key, "-pubout", "-out", at / "public.pem"]))
        return Command(argv=["bash", "-c", PACK, "pack", tree, at, str(self.level)])

    def product(self, at: Path) -> Path:
        return at / "out.tar.zst"

    def restore(self, at: Path, to: Path) -> Iterator[tuple[str, Command]]:
        to.mkdir(parents=True)
        yield "check", Command(argv=["bash", "-c", CHECK, "check", at])
        yield "extract", Command(argv=["bash", "-c", UNPACK, "unpack", at, to])


def digest(file: Path) -> Command:
    """Return the command that a bundle's verification is measured against."""
    return Command(argv=["openssl", "dgst", "-sha256", file])


def first_missing(*programs: str) -> str | None:
    """Return the first of these programs that is not on the path."""
    return next((program for program in programs if shutil.which(program) is None), None)
