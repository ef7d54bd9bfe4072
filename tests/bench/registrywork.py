"""The rows of images: fetching from a registry and pushing to one, against `skopeo copy`, in the same run.

The image has four layers of a corpus's own files, as gzip tars. The registry is Debian's docker-registry, with its
storage in the same arena as all else. `fetch` is the source by itself, in a process of its own, into an empty cache;
`lock` is the whole command, which also finds the digest of the image's tree. `push` is the whole `apply`: it sends,
sets the tag, and records the deployment.
"""

from __future__ import annotations

import gzip
import io
import json
import multiprocessing
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import corpora
from measure import Command, CommandError, Run, output, sampled, timed
from results import Comparison, Figure, Peak
from rounds import Bench, nth, took

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from images import CONFIG, LAYER, MANIFEST, Pile, digest_of, encoded
from registries import Running, registry

LAYERS = 4
GOAL = 1.0
_SOURCE = """
import sys
from pathlib import Path
from bundler.source import Workshop
from bundler.sources import oci
from sealift.progress import Silent
workshop = Workshop(base=Path(), cache=Path("cache"), progress=Silent())
want = {"image": sys.argv[1], "unsafe_http": True}
for _ in oci.collect({**want, **oci.pin(want, workshop)}, workshop):
    pass
"""
_PASSPHRASE = {"SEALIFT_PASSPHRASE": "one for the benchmark"}


def rows(bench: Bench, letter: str, tree: Path) -> None:
    """Fetch and push an image of a corpus, in turn with skopeo."""
    if shutil.which("skopeo") is None or shutil.which("docker-registry") is None:
        bench.results.notes.append("images are left out: skopeo or docker-registry is missing")
        return
    size = corpora.measure(tree)[1]
    try:
        with (
            bench.ground.arena(9 * size) as arena,
            registry(arena / "here") as here,
            registry(arena / "there") as there,
        ):
            bench.say(f"{letter}: making an image of {size / 1e6:.0f} MB")
            _push_images(here, tree)
            _Race(bench, f"image of {letter}", arena, here, there).race()
    except CommandError as error:
        bench.failed(f"{letter} images", error)


def _push_both(here: Running, tree: Path) -> None:
    for version in ("1.0", "1.1"):
        here.push(*_image(tree, version))


def _push_images(here: Running, tree: Path) -> None:
    """Push both versions, in a process of its own: the memory that it takes is none of the measured."""
    maker = multiprocessing.get_context("fork").Process(target=_push_both, args=(here, tree))
    maker.start()
    maker.join()
    if maker.exitcode:
        raise CommandError("the image could not be made")


def _image(tree: Path, version: str) -> tuple[Pile, str, dict[str, dict[str, object]]]:
    """An image; the last layer of each version is its own."""
    pile, layers, diffs = Pile(), [], []
    files = list(corpora.walk(tree))
    for number in range(LAYERS):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for path in files[number::LAYERS]:
                tar.add(path, path.name)
            if number == LAYERS - 1:
                tar.addfile(tarfile.TarInfo(f"version-{version}"))
        diffs.append(digest_of(packed.getvalue()))
        layers.append(pile.blob(gzip.compress(packed.getvalue(), 1, mtime=0), LAYER))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diffs},
    }
    described = pile.blob(encoded(config), CONFIG)
    root = pile.manifest({"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": layers})
    return pile, "bench/image", {version: root}


class Crossing:
    """The image `bench/image` goes from one registry to another, each step by itself."""

    def __init__(self, bench: Bench, corpus: str, arena: Path, here: Running, there: Running) -> None:
        self._bench = bench
        self._corpus = corpus
        self._arena = arena
        self._here = here
        self._there = there

    def run(self, version: str) -> None:
        """Carry a version once, sampled: the memory counts, and the times say little."""
        self._prepare(version)
        for work, command in self._steps(version):
            run = sampled(command)
            peak = Peak(tool="sealift", work=work, corpus=self._corpus, largest=run.largest, together=run.together)
            self._bench.results.peaks.append(peak)
            self._figure(work, [run])
        self._forget_deployment()
        self._figure("second push", [timed(self._apply(version))])

    def _steps(self, version: str) -> Iterator[tuple[str, Command]]:
        yield "lock", self._ours("sealift-bundle", "lock", f"{version}.yaml", "--depot", "depot")
        out = ("--depot", "depot", "--out", "it.sealift")
        yield "export", self._ours("sealift-bundle", "export", f"{version}.yaml", *out)
        self._enroll()
        yield "import", self._ours("sealift-install", "import", "--site", "site", "it.sealift")
        yield "push", self._apply(version)

    def _enroll(self) -> None:
        shown = json.loads(output(self._ours("sealift-keys", "show", "--depot", "depot", "--json")))
        root = "depot/metadata/1.root.json"
        words = ("enroll", "--site", "site", "--root", root, "--fingerprint", shown["fingerprint"])
        output(self._ours("sealift-install", *words))

    def _ours(self, program: str, *words: str | Path) -> Command:
        return Command(argv=[self._bench.sealift.programs / program, *words], cwd=self._arena, env=_PASSPHRASE)

    def _prepare(self, *versions: str) -> None:
        output(self._ours("sealift-keys", "init", "--depot", "depot"))
        for version in versions:
            (self._arena / f"{version}.yaml").write_text(
                f'release: bench\nversion: "{version}"\nartifacts:\n  image:\n    source: oci\n'
                f"    image: {self._here.host}/bench/image:{version}\n    unsafe_http: true\n"
            )

    def _apply(self, version: str) -> Command:
        (self._arena / "environment.yaml").write_text(
            f'environment: bench\nrelease: bench\nversion: "{version}"\npolicy: none\ntargets:\n  - kind: registry\n'
            f"    registry: {self._there.host}\n    path: {self._arena / 'told'}\n    unsafe_http: true\n"
        )
        return self._ours("sealift-install", "apply", "--site", "site", "environment.yaml")

    def _forget_deployment(self) -> None:
        """Let the site know of no deployment; the registry keeps what it has."""
        shutil.rmtree(self._arena / "told", ignore_errors=True)
        shutil.rmtree(self._arena / "site/environments/bench", ignore_errors=True)

    def _figure(self, work: str, runs: list[Run]) -> None:
        self._bench.say(f"{self._corpus} {work}: {took(sealift=runs[0])}")
        self._bench.results.figures.append(
            Figure(
                tool="sealift",
                work=work,
                corpus=self._corpus,
                seconds=[run.seconds for run in runs],
                cpu_seconds=[run.cpu_seconds for run in runs],
                largest=max(run.largest for run in runs),
            )
        )


class _Race(Crossing):
    """The same in turn with skopeo."""

    def race(self) -> None:
        """Measure every step."""
        self._prepare("1.0", "1.1")
        self._compare("fetch", "skopeo copy to a layout", self._fetch, self._skopeo_fetch)
        self._compare("lock", "skopeo copy to a layout", self._lock, self._skopeo_fetch, goal=None)
        self._peak("fetch", self._fetch, self._skopeo_fetch)
        for version in ("1.0", "1.1"):
            self._carry(version)
        self._compare("push", "skopeo copy from a layout", self._push, self._skopeo_push)
        self._peak("push", self._push, self._skopeo_push)
        output(self._push())
        self._forget_deployment()
        self._figure("second push", [timed(self._apply("1.0"))])
        self._figure("upgrade push", [timed(self._apply("1.1"))])

    def _fetch(self) -> Command:
        shutil.rmtree(self._arena / "cache", ignore_errors=True)
        return Command(argv=[sys.executable, "-c", _SOURCE, f"{self._here.host}/bench/image:1.0"], cwd=self._arena)

    def _lock(self) -> Command:
        shutil.rmtree(self._arena / "depot/cache", ignore_errors=True)
        return self._ours("sealift-bundle", "lock", "1.0.yaml", "--depot", "depot")

    def _skopeo_fetch(self) -> Command:
        layout = self._arena / "layout"
        shutil.rmtree(layout, ignore_errors=True)
        place = f"docker://{self._here.host}/bench/image:1.0"
        return Command(argv=["skopeo", "copy", "--quiet", "--src-tls-verify=false", place, f"oci:{layout}:1.0"])

    def _carry(self, version: str) -> None:
        """Bring a version to the site, untimed."""
        output(self._ours("sealift-bundle", "lock", f"{version}.yaml", "--depot", "depot"))
        output(self._ours("sealift-bundle", "export", f"{version}.yaml", "--depot", "depot", "--out", "it.sealift"))
        if version == "1.0":
            self._enroll()
        output(self._ours("sealift-install", "import", "--site", "site", "it.sealift"))

    def _push(self) -> Command:
        shutil.rmtree(self._there.storage, ignore_errors=True)
        self._forget_deployment()
        return self._apply("1.0")

    def _skopeo_push(self) -> Command:
        shutil.rmtree(self._there.storage, ignore_errors=True)
        place = f"docker://{self._there.host}/bench/image:1.0"
        words = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{self._arena / 'layout'}:1.0", place]
        return Command(argv=words)

    def _compare(
        self,
        work: str,
        against: str,
        ours: Callable[[], Command],
        theirs: Callable[[], Command],
        goal: float | None = GOAL,
    ) -> None:
        pairs: list[tuple[Run, Run]] = []
        for number in range(self._bench.pairs + 1):
            pair = timed(ours()), timed(theirs())
            title = f"{self._corpus} {work}, {nth(number, self._bench.pairs)}"
            self._bench.say(f"{title}: {took(sealift=pair[0], skopeo=pair[1])}")
            if number:
                pairs.append(pair)
        self._bench.results.comparisons.append(
            Comparison(
                work=work,
                corpus=self._corpus,
                against=against,
                unit="s",
                ours=[run.seconds for run, _ in pairs],
                theirs=[run.seconds for _, run in pairs],
                goal=goal,
            )
        )

    def _peak(self, work: str, ours: Callable[[], Command], theirs: Callable[[], Command]) -> None:
        for tool, command in (("sealift", ours), ("skopeo", theirs)):
            run = sampled(command())
            peak = Peak(tool=tool, work=work, corpus=self._corpus, largest=run.largest, together=run.together)
            self._bench.results.peaks.append(peak)
