"""Applies an environment, and is killed just before a step of it: `python stepkiller.py SITE ENVIRONMENT STEP TIME`.

Steps are the writes of the journal, of the state and of the ledger, and what changes each target. Without so many
steps the apply ends. Each step is named on standard output.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from installer.applying import Installation
from installer.deployments import Deployments
from installer.environments.environment import load
from installer.outlook import Outlook
from installer.records.site import Site
from sealift.progress import Silent


def main(site: str, environment: str, step: str, time: str) -> None:
    """Apply, and die on the way."""
    left = int(step)

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            sys.stdout.write(f"{name}\n")
            sys.stdout.flush()
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **more)

        return wrapper

    composed = Outlook._composed

    def watched(self: Outlook, *arguments: Any) -> Any:
        found = composed(self, *arguments)
        for kind, target in found:
            for name in ("stage", "activate"):
                setattr(target, name, counted(f"{kind} {name}", getattr(target, name)))
        return found

    for kind, names in ((Deployments, ("keep_journal", "keep_state", "end_journal")), (Site, ("record",))):
        for name in names:
            setattr(kind, name, counted(name, getattr(kind, name)))
    setattr(Outlook, "_composed", watched)  # noqa: B010 mypy refuses the assignment
    now = datetime.fromisoformat(time)
    Installation(Site.open(Path(site)), workers=1, progress=Silent(), clock=lambda: now).apply(load(Path(environment)))


if __name__ == "__main__":
    main(*sys.argv[1:])
