"""The rows of Python packages: locking and sealing 200 wheels, against `pip download` of the same lock in the same run.

The wheels hold a corpus's own files, deflated, and lie in an index on this machine that both fetch from. `lock` begins
with an empty cache; `lock and export` is all that makes a signed bundle of a requirements file. pip has no cache.
"""

from __future__ import annotations

import multiprocessing
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import corpora
from measure import Command, CommandError, Run, output, sampled, timed
from results import Comparison, Figure, Peak
from rounds import Bench, nth, took

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from routes import serving
from wheelhouse import Index

WHEELS = 200
GOAL = 1.0
_PASSPHRASE = {"SEALIFT_PASSPHRASE": "one for the benchmark"}
_OWN = {"PIP_CONFIG_FILE": "/dev/null", "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": "", "PIP_CONSTRAINT": ""}


def rows(bench: Bench, letter: str, tree: Path) -> None:
    """Lock and seal wheels of a corpus, in turn with pip."""
    size = corpora.measure(tree)[1]
    try:
        with bench.ground.arena(6 * size) as arena, _index(arena / "wheels", tree) as (url, requirements):
            bench.say(f"{letter}: {WHEELS} wheels in an index")
            _Work(bench, letter, arena, url, requirements).run()
    except CommandError as error:
        bench.failed(f"{letter} wheels", error)


def _make(folder: Path, tree: Path) -> None:
    """Write the wheels, each with its share of the corpus's files."""
    folder.mkdir()
    files = list(corpora.walk(tree))
    for number in range(WHEELS):
        project = f"bench_{number:03}"
        with zipfile.ZipFile(folder / f"{project}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
            for path in files[number::WHEELS]:
                wheel.write(path, f"{project}/{path.relative_to(tree)}")
            info = f"{project}-1.0.dist-info"
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")


def _serve(folder: Path, tree: Path, told: Connection) -> None:
    """Make the wheels and serve them until the other end closes; in a process of its own."""
    _make(folder, tree)
    with serving() as server:
        index = Index(server)
        for path in sorted(folder.iterdir()):
            index.add(path.name.partition("-")[0].replace("_", "-"), (path.name, path.read_bytes()))
        told.send((index.url, index.requirements(*index.files)))
        told.poll(None)


@contextmanager
def _index(folder: Path, tree: Path) -> Iterator[tuple[str, str]]:
    """The address of an index with the wheels, and a requirements file that pins them."""
    here, there = multiprocessing.Pipe()
    maker = multiprocessing.get_context("fork").Process(target=_serve, args=(folder, tree, there))
    maker.start()
    there.close()
    try:
        yield here.recv()
    except EOFError as error:
        raise CommandError("the wheels could not be made") from error
    finally:
        here.close()
        maker.terminate()
        maker.join()


class _Work:
    def __init__(self, bench: Bench, letter: str, arena: Path, url: str, requirements: str) -> None:
        self._bench = bench
        self._corpus = f"{WHEELS} wheels of {letter}"
        self._arena = arena
        self._url = url
        (arena / "requirements.txt").write_text(requirements)
        (arena / "bench.yaml").write_text(
            'release: bench\nversion: "1.0"\nartifacts:\n  py:\n    source: pypi\n    lockfile: requirements.txt\n'
            f'    python: ["3.11"]\n    platforms: [manylinux_2_28_x86_64]\n    index: ["{url}"]\n'
        )

    def run(self) -> None:
        self._compare("lock", self._lock)
        self._compare("lock and export", self._both)
        for tool, work, command in (
            ("sealift", "lock and export", self._both),
            ("pip", "download", self._pip),
        ):
            run = sampled(command())
            self._bench.results.peaks.append(
                Peak(tool=tool, work=work, corpus=self._corpus, largest=run.largest, together=run.together)
            )
        again = timed(self._export())
        self._bench.say(f"{self._corpus} second export: {took(sealift=again)}")
        self._bench.results.figures.append(
            Figure(
                tool="sealift",
                work="second export",
                corpus=self._corpus,
                seconds=[again.seconds],
                cpu_seconds=[again.cpu_seconds],
                largest=again.largest,
            )
        )

    def _script(self, *lines: str) -> Command:
        programs = self._bench.sealift.programs
        text = " && ".join(f"{programs}/{line}" for line in lines)
        return Command(argv=["sh", "-c", text], cwd=self._arena, env={**_OWN, **_PASSPHRASE})

    def _fresh(self) -> None:
        """An empty depot, and no lock."""
        shutil.rmtree(self._arena / "depot", ignore_errors=True)
        (self._arena / "bench.lock").unlink(missing_ok=True)
        output(self._script("sealift-keys init --depot depot"))

    def _lock(self) -> Command:
        self._fresh()
        return self._script("sealift-bundle lock bench.yaml --depot depot")

    def _both(self) -> Command:
        self._fresh()
        return self._script(
            "sealift-bundle lock bench.yaml --depot depot",
            "sealift-bundle export bench.yaml --depot depot --out it.sealift",
        )

    def _export(self) -> Command:
        return self._script("sealift-bundle export bench.yaml --depot depot --out again.sealift")

    def _pip(self) -> Command:
        shutil.rmtree(self._arena / "out", ignore_errors=True)
        words = ["-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--require-hashes"]
        words += ["--disable-pip-version-check", "--index-url", self._url, "-r", "requirements.txt", "-d", "out"]
        return Command(argv=[sys.executable, *words], cwd=self._arena, env=_OWN)

    def _compare(self, work: str, ours: Callable[[], Command]) -> None:
        pairs: list[tuple[Run, Run]] = []
        for number in range(self._bench.pairs + 1):
            pair = timed(ours()), timed(self._pip())
            title = f"{self._corpus} {work}, {nth(number, self._bench.pairs)}"
            self._bench.say(f"{title}: {took(sealift=pair[0], pip=pair[1])}")
            if number:
                pairs.append(pair)
        self._bench.results.comparisons.append(
            Comparison(
                work=work,
                corpus=self._corpus,
                against="pip download",
                unit="s",
                ours=[run.seconds for run, _ in pairs],
                theirs=[run.seconds for _, run in pairs],
                goal=GOAL,
            )
        )
