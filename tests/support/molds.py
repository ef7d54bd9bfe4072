"""Molds: what a depot and a site hold when a test begins is made once in a session, and copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from worlds import Connected, Isolated

from bundler.exporting import Exported

Molded = Callable[[str, Callable[[], object]], None]
"""Gives a test's depot and site what a call makes of them; the name says what that is, and stands for the same in all
tests of a session. Nothing that is deployed, and no path outside of the two, may be part of it."""


class Molds:
    """The folders that tests begin with, by a name for each state."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, dict[str, Exported]] = {}

    def fill(self, name: str, folder: Path, make: Callable[[], object]) -> None:
        """Let a folder hold what `make` makes in it: by a call of it the first time, and by a copy from then on."""
        mold = self._folder / name
        if not mold.exists():
            make()
            shutil.copytree(folder, mold.with_suffix(".new"), symlinks=True)
            mold.with_suffix(".new").rename(mold)
            return
        shutil.rmtree(folder)
        shutil.copytree(mold, folder, symlinks=True)

    def fill_both(self, name: str, connected: Connected, isolated: Isolated, make: Callable[[], object]) -> None:
        """The same for a depot and a site, of which nothing else was made yet."""
        first = name not in self._made
        if first:
            make()
            self._made[name] = dict(connected.made)
        for folder in (connected.root, isolated.root):
            self.fill(f"{name}-{folder.name}", folder, lambda: None)
        if not first:
            for bundle, made in self._made[name].items():
                connected.made[bundle] = replace(made, path=connected.root / bundle)
