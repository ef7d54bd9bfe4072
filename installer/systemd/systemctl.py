"""systemctl, systemd-analyze and journalctl, as the target `systemd` uses them."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from sealift.errors import DeployError
from sealift.names import visible

from ..programs import commands
from . import units

_PROPERTIES = (
    "Id,Names,Type,LoadState,ActiveState,SubState,Result,NRestarts,NeedDaemonReload,UnitFileState,FragmentPath,"
    "SourcePath,Perpetual"
)
_WORDS = 300
"""Characters of a unit's journal that are shown."""


class Systemctl:
    """The systemd of this machine."""

    def __init__(self, *, timeout: int, settle: int) -> None:
        """Ask nothing yet.

        Args:
            timeout: seconds for one call of a program.
            settle: seconds that units are watched after they were started.
        """
        self._timeout = timeout
        self._settle = settle

    def verify(self, folder: Path, files: Collection[str], *, silent: bool) -> None:
        """Let systemd itself read the units, before any of them is set; with `silent`, keep its words to ourselves.

        Raises:
            DeployError: it finds one wrong.
        """
        names = [str(folder / name) for name in sorted(files) if "/" not in name]
        if not names:
            return
        outcome = commands.run(
            ["systemd-analyze", "verify", "--recursive-errors=no", "--man=no", *names],
            timeout=self._timeout,
            folder=None,
            variables={"SYSTEMD_UNIT_PATH": f"{folder}:"},
        )
        if outcome.problem:
            words = visible("; ".join(outcome.output.replace(f"{folder}/", "").split("\n")).strip("; "))[:_WORDS]
            if silent:
                told = [name for name in map(os.path.basename, names) if name in outcome.output]
                words = f"{', '.join(told)[:_WORDS]}; its words are not shown: values filled the release's files"
            raise DeployError(f"systemd-analyze verify {outcome.problem}: {words}", hint="mend the release's units")

    def call(self, *words: str) -> bytes:
        """What systemctl answers.

        Raises:
            DeployError: it fails, or cannot be run.
        """
        outcome = commands.run(
            ["systemctl", "--no-ask-password", *words],
            timeout=self._timeout,
            folder=None,
            variables={},
            answer_max=1 << 20,
        )
        if outcome.problem:
            raise DeployError(f"systemctl {' '.join(words)} {outcome.problem}: {visible(outcome.words)[:_WORDS]}")
        return outcome.answer

    def show(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """What systemd says of units, by name and property. Raises as `call`."""
        return units.parsed(self.call("show", f"--property={_PROPERTIES}", "--", *names)) if names else {}

    def start(self, word: str, unit: str) -> None:
        """Let a unit run, by `start` or `restart`.

        Raises:
            DeployError: it does not start; the message has the end of its journal.
        """
        try:
            self.call(word, unit)
        except DeployError as error:
            raise DeployError(f"{unit} does not start: {self._story(unit)}", hint=error.message) from error

    def _story(self, unit: str) -> str:
        """The result of a unit, and the end of its journal."""
        said = self.show([unit]).get(unit, {})
        outcome = commands.run(
            ["journalctl", "--unit", unit, "--lines=5", "--no-pager", "--output=cat"],
            timeout=self._timeout,
            folder=None,
            variables={},
        )
        words = visible("; ".join(outcome.output.strip().splitlines()))[-_WORDS:]
        return f"result {said.get('Result', 'unknown')}" + (f"; {words}" if words else "")

    def watch(self, names: Sequence[str]) -> None:
        """Look at the units until they have settled.

        Raises:
            DeployError: one does not stay up.
        """
        began = {unit: said.get("NRestarts", "0") for unit, said in self.show(names).items()}
        deadline = time.monotonic() + self._settle
        while True:
            said = self.show(names)
            for unit in names:
                if problem := units.wrong(unit, said.get(unit, {}), restarts=began.get(unit)):
                    raise DeployError(f"{problem}; {self._story(unit)}")
            if time.monotonic() >= deadline:
                return
            time.sleep(min(0.25, self._settle))
