"""The peers: casync, borg and restic as Debian has them, with a fresh repository or store for each run.

None of them signs anything, so none of them does all that Sealift does. borg is told to compress as Sealift does
(zstd, level 3) and not to encrypt; casync compresses as it was built to; restic always encrypts, and its "auto" is a
fast zstd. All three check the digests of what they extract.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from measure import Command, output
from tools import Tool, first_missing


@dataclass(frozen=True, kw_only=True)
class Casync:
    """An index file, and a store of chunks."""

    name: str = "casync"

    def missing(self) -> str | None:
        return first_missing("casync")

    def create(self, tree: Path, at: Path) -> Command:
        self.product(at).mkdir(parents=True)
        return Command(argv=["casync", "make", *self._store(at), tree])

    def product(self, at: Path) -> Path:
        return at / "made"

    def restore(self, at: Path, to: Path) -> Iterator[tuple[str, Command]]:
        to.mkdir(parents=True)
        yield "extract", Command(argv=["casync", "extract", *self._store(at), to / "tree"])

    def _store(self, at: Path) -> list[str | Path]:
        made = self.product(at)
        return [f"--store={made / 'tree.castr'}", made / "tree.caidx"]


@dataclass(frozen=True, kw_only=True)
class Borg:
    """A repository of segments, without encryption."""

    name: str = "borg"

    def missing(self) -> str | None:
        return first_missing("borg")

    def create(self, tree: Path, at: Path) -> Command:
        at.mkdir(parents=True)
        repository = self.product(at)
        output(Command(argv=["borg", "init", "--encryption=none", repository], env=self._env(at)))
        argv = ["borg", "create", "--compression=zstd,3", f"{repository}::tree", "."]
        return Command(argv=argv, cwd=tree, env=self._env(at))

    def product(self, at: Path) -> Path:
        return at / "repository"

    def restore(self, at: Path, to: Path) -> Iterator[tuple[str, Command]]:
        to.mkdir(parents=True)
        argv = ["borg", "extract", f"{self.product(at)}::tree"]
        yield "extract", Command(argv=argv, cwd=to, env=self._env(at))

    def _env(self, at: Path) -> dict[str, str]:
        """Keep its caches in the arena, and its questions unasked."""
        return {"BORG_BASE_DIR": str(at / "borg"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}


@dataclass(frozen=True, kw_only=True)
class Restic:
    """A repository of packs, always encrypted."""

    name: str = "restic"

    def missing(self) -> str | None:
        return first_missing("restic")

    def create(self, tree: Path, at: Path) -> Command:
        at.mkdir(parents=True)
        output(self._command(at, "init"))
        return self._command(at, "backup", "--compression=auto", ".", cwd=tree)

    def product(self, at: Path) -> Path:
        return at / "repository"

    def restore(self, at: Path, to: Path) -> Iterator[tuple[str, Command]]:
        to.mkdir(parents=True)
        yield "extract", self._command(at, "restore", "latest", f"--target={to}")

    def _command(self, at: Path, *argv: str, cwd: Path | None = None) -> Command:
        options = [f"--repo={self.product(at)}", f"--cache-dir={at / 'cache'}", "--quiet"]
        return Command(argv=["restic", *options, *argv], cwd=cwd, env={"RESTIC_PASSWORD": "bench"})


PEERS: Sequence[Tool] = (Casync(), Borg(), Restic())


def install(names: Sequence[str]) -> bool:
    """Install programs by the machine's own packages, where that is Debian's and this is root; return if it worked."""
    if os.geteuid() != 0 or first_missing("apt-get"):
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-q", "-y", "--no-install-recommends", *names]):
        if subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode:
            return False
    return True
