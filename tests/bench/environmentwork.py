"""The rows of environments: `plan` and `apply` of 100 targets where there is nothing to do.

The targets are folders; the release has a template, so that each command fills it anew to find that nothing changed.
"""

from __future__ import annotations

import multiprocessing
import sys
from datetime import UTC, datetime
from pathlib import Path

from measure import Command, CommandError, output, timed
from results import Figure
from rounds import Bench, took

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from valued import bundle
from worlds import Connected

from bundler.depots.depot import Depot
from keys.ceremony import init

TARGETS = 100
ROOM = 1 << 30
"""Bytes of the arena."""


def rows(bench: Bench) -> None:
    """Plan and apply again what is deployed."""
    try:
        with bench.ground.arena(ROOM) as arena:
            maker = multiprocessing.get_context("fork").Process(target=_make, args=(arena,))
            maker.start()
            maker.join()
            if maker.exitcode:
                raise CommandError("the release could not be made")
            _measure(bench, arena)
    except CommandError as error:
        bench.failed("environments", error)


def _make(arena: Path) -> None:
    now = datetime.now(UTC)
    done = init(arena / "depot", root_keys=1, threshold=1, passphrase=None, now=now, unsafe_unencrypted=True)
    bundle(Connected(root=arena, depot=Depot(arena / "depot"), fingerprint=done.fingerprint, now=now))
    (arena / "fingerprint").write_text(done.fingerprint)
    targets = "".join(f"  - {{kind: directory, path: {arena}/srv/{number}}}\n" for number in range(TARGETS))
    (arena / "environment.yaml").write_text(
        'environment: bench\nrelease: shop\nversion: "1.0.0"\nvalues: {host: db.example}\npolicy: none\n'
        f"targets:\n{targets}"
    )


def _measure(bench: Bench, arena: Path) -> None:
    def ours(command: str, *words: str) -> Command:
        program = bench.sealift.programs / "sealift-install"
        return Command(argv=[program, command, "--site", "site", *words], cwd=arena)

    fingerprint = (arena / "fingerprint").read_text()
    output(ours("enroll", "--root", "depot/metadata/1.root.json", "--fingerprint", fingerprint))
    output(ours("import", "shop-1.0.0.sealift"))
    output(ours("apply", "environment.yaml"))
    for command in ("plan", "apply"):
        runs = [timed(ours(command, "environment.yaml")) for _ in range(bench.pairs)]
        work, corpus = f"{command}, nothing to do", f"{TARGETS} targets"
        bench.say(f"{corpus}: {work}: {took(sealift=runs[0])}")
        bench.results.figures.append(
            Figure(
                tool="sealift",
                work=work,
                corpus=corpus,
                seconds=[run.seconds for run in runs],
                cpu_seconds=[run.cpu_seconds for run in runs],
                largest=max(run.largest for run in runs),
            )
        )
