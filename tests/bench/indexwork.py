"""The rows of indexes: 20,000 packages, and one more, beside the same files written to a folder.

What an index costs is what `apply` to it takes beyond `apply` of the same release to a folder. The packages are made
here: wheels, npm tarballs and Debian packages of about a kilobyte, each a project of its own, so that pages are what
counts.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from measure import Command, CommandError, Run, output, timed
from results import Figure
from rounds import Bench, took

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from debian import deb
from distributions import npm, wheel
from gnupg import fingerprint, gnupg_home
from worlds import Connected

from bundler.depots.depot import Depot
from keys.ceremony import init
from sealift.manifest import Kind

PACKAGES = 20_000
ROOM = 4 << 30
"""Bytes of the arena."""
_TARGETS = {
    "directory": "kind: directory, path: {0}/directory",
    "pypi-index": "kind: pypi-index, path: {0}/index",
    "npm-registry": "kind: npm-registry, path: {0}/index, base_url: 'http://npm.site.local/'",
    "apt-repository": "kind: apt-repository, path: {0}/index, gnupg: {0}/gnupg, key: KEY",
}
_PACKAGES: dict[str, tuple[Kind, Callable[[str], dict[str, bytes]]]] = {
    "pypi-index": ("wheels", wheel),
    "npm-registry": ("npm", npm),
    "apt-repository": ("debs", lambda name: {f"{name}_1.0_all.deb": deb(name)}),
}
"""By target, the kind of the artifacts that it takes, and what makes a package."""


def rows(bench: Bench) -> None:
    """Deploy indexes of each kind."""
    for target in _PACKAGES:
        try:
            with bench.ground.arena(ROOM) as arena, contextlib.ExitStack() as stack:
                bench.say(f"making {PACKAGES:,} packages for {target}")
                if target == "apt-repository":
                    (arena / "gnupg").mkdir()
                    stack.enter_context(gnupg_home(arena / "gnupg"))
                maker = multiprocessing.get_context("fork").Process(target=_make, args=(arena, target))
                maker.start()
                maker.join()
                if maker.exitcode:
                    raise CommandError("the packages could not be made")
                _Work(bench, arena, target).run()
        except CommandError as error:
            bench.failed(target, error)


def _make(arena: Path, target: str) -> None:
    """Export two releases; the second has one package more."""
    kind, package = _PACKAGES[target]
    now = datetime.now(UTC)
    done = init(arena / "depot", root_keys=1, threshold=1, passphrase=None, now=now, unsafe_unencrypted=True)
    connected = Connected(root=arena, depot=Depot(arena / "depot"), fingerprint=done.fingerprint, now=now)
    files: dict[str, bytes] = {}
    for number in range(PACKAGES):
        files |= package(f"project-{number:05}")
    connected.packages("1.0", files, kind=kind)
    connected.packages("1.1", files | package("added"), kind=kind)
    (arena / "fingerprint").write_text(done.fingerprint)


class _Work:
    def __init__(self, bench: Bench, arena: Path, target: str) -> None:
        self._bench = bench
        self._arena = arena
        self._target = target

    def run(self) -> None:
        root = "depot/metadata/1.root.json"
        output(self._ours("enroll", "--root", root, "--fingerprint", (self._arena / "fingerprint").read_text()))
        for version in ("1.0", "1.1"):
            output(self._ours("import", f"shop-{version}.sealift"))
        self._figure("files to a folder", [self._first("directory") for _ in range(self._bench.pairs)])
        self._figure("index", [self._first(self._target) for _ in range(self._bench.pairs)])
        more, back = [], []
        for _ in range(self._bench.pairs):
            more.append(timed(self._apply("1.1", self._target)))
            back.append(timed(self._ours("rollback", "bench")))
        self._figure("one package more", more)
        self._figure("rollback", back)
        self._figure("nothing new", [timed(self._apply("1.0", self._target)) for _ in range(self._bench.pairs)])

    def _first(self, target: str) -> Run:
        for place in ("directory", "index", "site/environments/bench"):
            shutil.rmtree(self._arena / place, ignore_errors=True)
        return timed(self._apply("1.0", target))

    def _apply(self, version: str, target: str) -> Command:
        (self._arena / "environment.yaml").write_text(
            f'environment: bench\nrelease: shop\nversion: "{version}"\npolicy: none\n'
            f"targets: [{{{self._wanted(target)}}}]\n"
        )
        return self._ours("apply", "environment.yaml")

    def _wanted(self, target: str) -> str:
        settings = _TARGETS[target].format(self._arena)
        return settings.replace("KEY", fingerprint(self._arena / "gnupg")) if "KEY" in settings else settings

    def _ours(self, command: str, *words: str) -> Command:
        program = self._bench.sealift.programs / "sealift-install"
        return Command(argv=[program, command, "--site", "site", *words], cwd=self._arena)

    def _figure(self, work: str, runs: list[Run]) -> None:
        corpus = f"{PACKAGES:,} packages, {self._target}"
        self._bench.say(f"{corpus}: {work}: {took(sealift=runs[0])}")
        self._bench.results.figures.append(
            Figure(
                tool="sealift",
                work=work,
                corpus=corpus,
                seconds=[run.seconds for run in runs],
                cpu_seconds=[run.cpu_seconds for run in runs],
                largest=max(run.largest for run in runs),
            )
        )
