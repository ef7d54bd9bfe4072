"""The rows of indexes: 20,000 packages, and one more, beside the same files written to a folder.

What an index costs is what `apply` to it takes beyond `apply` of the same release to a folder. The packages are made
here: wheels and npm tarballs of about a kilobyte, each a project of its own, so that pages are what counts.
"""

from __future__ import annotations

import multiprocessing
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

from measure import Command, CommandError, Run, output, timed
from results import Figure
from rounds import Bench, took

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from distributions import npm, wheel
from worlds import Connected

from bundler.depot import Depot
from keys.ceremony import init

PACKAGES = 20_000
ROOM = 4 << 30
"""Bytes of the arena."""
_TARGETS = {
    "directory": "kind: directory, path: {0}/directory",
    "pypi-index": "kind: pypi-index, path: {0}/index",
    "npm-registry": "kind: npm-registry, path: {0}/index, base_url: 'http://npm.site.local/'",
}


def rows(bench: Bench) -> None:
    """Deploy indexes of both kinds."""
    for target, kind in (("pypi-index", "wheels"), ("npm-registry", "npm")):
        try:
            with bench.ground.arena(ROOM) as arena:
                bench.say(f"making {PACKAGES:,} packages for {target}")
                maker = multiprocessing.get_context("fork").Process(target=_make, args=(arena, kind))
                maker.start()
                maker.join()
                if maker.exitcode:
                    raise CommandError("the packages could not be made")
                _Work(bench, arena, target).run()
        except CommandError as error:
            bench.failed(target, error)


def _make(arena: Path, kind: str) -> None:
    """Export two releases; the second has one package more."""
    now = datetime.now(UTC)
    done = init(arena / "depot", root_keys=1, threshold=1, passphrase=None, now=now, unsafe_unencrypted=True)
    connected = Connected(root=arena, depot=Depot(arena / "depot"), fingerprint=done.fingerprint, now=now)
    files: dict[str, bytes] = {}
    for number in range(PACKAGES):
        files |= wheel(f"project-{number:05}") if kind == "wheels" else npm(f"project-{number:05}")
    connected.packages("1.0", files, kind=kind)
    connected.packages("1.1", files | (wheel("added") if kind == "wheels" else npm("added")), kind=kind)
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
            f"targets: [{{{_TARGETS[target].format(self._arena)}}}]\n"
        )
        return self._ours("apply", "environment.yaml")

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
