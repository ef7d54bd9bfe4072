"""The tools that carry what changed between two trees, each with what prepares it and what is measured.

Each starts with the new tree, and ends with the new tree. xdelta3 and `zstd --patch-from` work on tar archives without
the times of files: that of the old tree is there at both ends. casync, borg, restic and ostree have the old tree in
their store or repository already.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import corpora
from measure import Command, output
from tools import first_missing


class Patcher(Protocol):
    """One way to carry the difference between two trees. `at` is its own folder."""

    @property
    def name(self) -> str:
        """What the tables call it."""

    def missing(self) -> str | None:
        """Return the first program that it needs and this machine lacks."""

    def prepare(self, old: Path, new: Path, at: Path) -> None:
        """Have the old tree at both ends."""

    def make(self, new: Path, at: Path) -> Sequence[Command]:
        """Return the commands that make the difference."""

    def size(self, at: Path) -> int:
        """Return how much crosses, in bytes."""

    def restore(self, at: Path) -> Sequence[Command]:
        """Return the commands that make the new tree at the far end."""

    def restored(self, at: Path) -> Path:
        """Return where the new tree is then."""


@dataclass(frozen=True, kw_only=True)
class Sealift:
    """This build: the old release is published, and deployed at a site."""

    programs: Path
    name: str = "sealift"
    options: tuple[str, ...] = ()
    receipt: bool = False
    """Whether the depot learns by a receipt what the site holds, and which programs compress there."""
    links: bool = False
    """Whether files that stay are hard links to those of the former release."""

    def missing(self) -> str | None:
        return next((each for each in ("sealift-bundle",) if not os.access(self.programs / each, os.X_OK)), None)

    def prepare(self, old: Path, new: Path, at: Path) -> None:
        at.mkdir()
        self._spec(at, "1.0.0", old)
        made = output(self._run("sealift-keys", "init", "--depot", at / "depot", "--unsafe-no-passphrase", "--json"))
        output(self._export(at, "1.0.0"))
        root, fingerprint = at / "depot/metadata/1.root.json", str(json.loads(made)["fingerprint"])
        output(
            self._run(
                "sealift-install", "enroll", "--site", at / "site", "--root", root, f"--fingerprint={fingerprint}"
            )
        )
        for command in self._install(at, "1.0.0"):
            output(command)
        if self.receipt:
            file = at / "site.receipt"
            said = json.loads(
                output(self._run("sealift-install", "receipt", "--site", at / "site", "--out", file, "--json"))
            )
            output(
                self._run(
                    "sealift-bundle", "site", file, f"--fingerprint={said['fingerprint']}", "--depot", at / "depot"
                )
            )

    def make(self, new: Path, at: Path) -> Sequence[Command]:
        self._spec(at, "2.0.0", new)
        base = ("--for", at / "site.receipt") if self.receipt else ("--since", "bench@1.0.0")
        return [self._export(at, "2.0.0", *base, *self.options)]

    def size(self, at: Path) -> int:
        return (at / "2.0.0.sealift").stat().st_size

    def restore(self, at: Path) -> Sequence[Command]:
        return self._install(at, "2.0.0")

    def restored(self, at: Path) -> Path:
        return at / "target/current"

    def _install(self, at: Path, version: str) -> list[Command]:
        environment = at / f"{version}-environment.yaml"
        environment.write_text(
            f"environment: bench\nrelease: bench\nversion: {version}\n"
            f"targets:\n  - kind: directory\n    path: {at / 'target'}\n"
            f"{'    reuse: hardlink' if self.links else ''}\npolicy: none\n"
        )
        return [
            self._run("sealift-install", "import", "--site", at / "site", at / f"{version}.sealift"),
            self._run("sealift-install", "apply", "--site", at / "site", environment),
        ]

    def _spec(self, at: Path, version: str, tree: Path) -> None:
        text = f"release: bench\nversion: {version}\nartifacts:\n  tree:\n    source: path\n    path: {tree}\n"
        (at / f"{version}.yaml").write_text(text)

    def _export(self, at: Path, version: str, *more: str | Path) -> Command:
        files = (at / f"{version}.yaml", "--depot", at / "depot", "--out", at / f"{version}.sealift")
        return self._run("sealift-bundle", "export", *files, "--unsafe-no-passphrase", *more)

    def _run(self, program: str, *argv: str | Path) -> Command:
        return Command(argv=[self.programs / program, *argv])


@dataclass(frozen=True, kw_only=True)
class _OnTars:
    """A tool that makes a patch between two archives."""

    name: str
    program: str
    encode: tuple[str, ...]
    decode: tuple[str, ...]
    """Words of its command lines; OLD, NEW, PATCH and OUT stand for the files, SIZE for the bytes of the old one."""

    def missing(self) -> str | None:
        return first_missing("tar", self.program)

    def prepare(self, old: Path, new: Path, at: Path) -> None:
        at.mkdir()
        (at / "out").mkdir()
        output(self._tar(old, at, "old"))

    def make(self, new: Path, at: Path) -> Sequence[Command]:
        return [self._tar(new, at, "new"), self._command(self.encode, at)]

    def size(self, at: Path) -> int:
        return (at / "patch").stat().st_size

    def restore(self, at: Path) -> Sequence[Command]:
        unpack = Command(argv=["tar", "-xf", at / "out.tar", "-C", at / "out"])
        return [self._command(self.decode, at), unpack]

    def restored(self, at: Path) -> Path:
        return at / "out"

    def _tar(self, tree: Path, at: Path, name: str) -> Command:
        return Command(argv=["tar", "--sort=name", "--mtime=@0", "-cf", at / f"{name}.tar", "-C", tree, "."])

    def _command(self, words: tuple[str, ...], at: Path) -> Command:
        size = 1 << max((at / "old.tar").stat().st_size, 1 << 20).bit_length()
        files = {"OLD": "old.tar", "NEW": "new.tar", "PATCH": "patch", "OUT": "out.tar"}
        argv = [self.program]
        for word in words:
            for name, file in files.items():
                word = word.replace(name, str(at / file))
            argv.append(word.replace("SIZE", str(min(size, 1 << 31))))
        return Command(argv=argv)


XDELTA = _OnTars(
    name="xdelta3 -9",
    program="xdelta3",
    encode=("-q", "-f", "-9", "-e", "-B", "SIZE", "-s", "OLD", "NEW", "PATCH"),
    decode=("-q", "-f", "-d", "-B", "SIZE", "-s", "OLD", "PATCH", "OUT"),
)


def zstd_patch(level: int) -> Patcher:
    """`zstd --patch-from` at a level, with one worker as it has."""
    return _OnTars(
        name=f"zstd --patch-from -{level}",
        program="zstd",
        encode=("-q", "-f", f"-{level}", "--long=31", "--patch-from=OLD", "NEW", "-o", "PATCH"),
        decode=("-q", "-f", "-d", "--long=31", "--patch-from=OLD", "PATCH", "-o", "OUT"),
    )


@dataclass(frozen=True, kw_only=True)
class Casync:
    """A store of chunks that has the old tree's, without times; what crosses is the new chunks and the index."""

    name: str = "casync"

    def missing(self) -> str | None:
        return first_missing("casync")

    def prepare(self, old: Path, new: Path, at: Path) -> None:
        at.mkdir()
        output(self._make(at, "old", old))
        (at / "before").write_text(str(corpora.measure(at / "store")[1]))

    def make(self, new: Path, at: Path) -> Sequence[Command]:
        return [self._make(at, "new", new)]

    def size(self, at: Path) -> int:
        fresh = corpora.measure(at / "store")[1] - int((at / "before").read_text())
        return fresh + (at / "new.caidx").stat().st_size

    def restore(self, at: Path) -> Sequence[Command]:
        return [Command(argv=["casync", "extract", f"--store={at / 'store'}", at / "new.caidx", self.restored(at)])]

    def _make(self, at: Path, name: str, tree: Path) -> Command:
        what = ["--without=all", "--with=symlinks", "--with=permissions"]
        return Command(argv=["casync", "make", *what, f"--store={at / 'store'}", at / f"{name}.caidx", tree])

    def restored(self, at: Path) -> Path:
        return at / "out"


@dataclass(frozen=True, kw_only=True)
class Repository:
    """borg or restic: a repository that has the old tree; what crosses is what it grows by."""

    name: str

    def missing(self) -> str | None:
        return first_missing(self.name)

    def prepare(self, old: Path, new: Path, at: Path) -> None:
        at.mkdir()
        self.restored(at).mkdir()
        init = ["borg", "init", "--encryption=none", at / "repository"] if self.name == "borg" else ["init"]
        output(self._command(at, *init))
        output(self._backup(at, "old", old))
        (at / "before").write_text(str(corpora.measure(at / "repository")[1]))

    def make(self, new: Path, at: Path) -> Sequence[Command]:
        return [self._backup(at, "new", new)]

    def size(self, at: Path) -> int:
        return corpora.measure(at / "repository")[1] - int((at / "before").read_text())

    def restore(self, at: Path) -> Sequence[Command]:
        if self.name == "borg":
            return [self._command(at, "borg", "extract", f"{at / 'repository'}::new", cwd=self.restored(at))]
        return [self._command(at, "restore", "latest", f"--target={self.restored(at)}")]

    def restored(self, at: Path) -> Path:
        return at / "out"

    def _backup(self, at: Path, name: str, tree: Path) -> Command:
        if self.name == "borg":
            return self._command(
                at, "borg", "create", "--compression=zstd,3", f"{at / 'repository'}::{name}", ".", cwd=tree
            )
        return self._command(at, "backup", "--compression=auto", ".", cwd=tree)

    def _command(self, at: Path, *argv: str | Path, cwd: Path | None = None) -> Command:
        if self.name == "borg":
            env = {"BORG_BASE_DIR": str(at / "borg"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
            return Command(argv=argv, cwd=cwd, env=env)
        options = [f"--repo={at / 'repository'}", f"--cache-dir={at / 'cache'}", "--quiet"]
        return Command(argv=["restic", *options, *argv], cwd=cwd, env={"RESTIC_PASSWORD": "bench"})


@dataclass(frozen=True, kw_only=True)
class Ostree:
    """A repository that has the old tree as a commit; what crosses is a static delta with all that is new in it."""

    name: str = "ostree"

    def missing(self) -> str | None:
        return first_missing("ostree")

    def prepare(self, old: Path, new: Path, at: Path) -> None:
        at.mkdir()
        output(self._command(at, "here", "init", "--mode=archive"))
        output(self._command(at, "there", "init", "--mode=bare-user-only"))
        output(self._commit(at, old, "old"))
        output(self._command(at, "there", "pull-local", at / "here", "old"))

    def make(self, new: Path, at: Path) -> Sequence[Command]:
        whole = ("--inline", "--min-fallback-size=0")
        delta = self._command(
            at, "here", "static-delta", "generate", *whole, "--from=old", "--to=new", f"--filename={at / 'delta'}"
        )
        return [self._commit(at, new, "new"), delta]

    def size(self, at: Path) -> int:
        return (at / "delta").stat().st_size

    def restore(self, at: Path) -> Sequence[Command]:
        made = output(self._command(at, "here", "rev-parse", "new")).strip()
        return [
            self._command(at, "there", "static-delta", "apply-offline", at / "delta"),
            self._command(at, "there", "checkout", "--user-mode", made, self.restored(at)),
        ]

    def restored(self, at: Path) -> Path:
        return at / "out"

    def _commit(self, at: Path, tree: Path, name: str) -> Command:
        options = ["--canonical-permissions", "--timestamp=@0", "--subject=bench"]
        return self._command(at, "here", "commit", f"--branch={name}", f"--tree=dir={tree}", *options)

    def _command(self, at: Path, end: str, *argv: str | Path) -> Command:
        return Command(argv=["ostree", f"--repo={at / end}", *argv])


def patchers(programs: Path, *, layers: bool = False) -> list[Patcher]:
    """All of them, this build first; for layers, by a receipt before all."""
    return [
        *([Sealift(programs=programs, name="sealift --for a receipt", receipt=True)] if layers else []),
        Sealift(programs=programs),
        Sealift(programs=programs, name="sealift --fast", options=("--fast",)),
        *([Sealift(programs=programs, name="sealift --small", options=("--small",))] if layers else []),
        Sealift(programs=programs, name="sealift --hardlink", links=True),
        XDELTA,
        zstd_patch(9),
        zstd_patch(3),
        Casync(),
        Repository(name="borg"),
        Repository(name="restic"),
        Ostree(),
    ]
