"""Gathering: one commit, and those of its submodules, fetched into the cache's repository of objects.

The repositories of all addresses share one repository of objects in the cache, one for each way of naming them.
A commit that is marked there has been fetched whole, with its trees and files and without its history.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import NamedTuple

from sealift.durable import storing
from sealift.errors import SourceError
from sealift.progress import Progress

from .address import Address
from .objects import LENGTHS
from .program import Git

BYTES_MAX = 64 << 30
"""Bytes of what one fetch may store."""
_MARKS = "sealift"
_LINE = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64})\t(\S+)")


class Resolved(NamedTuple):
    """What a name stands for."""

    commit: str
    tag: str | None
    """The tag object that names the commit, where there is one."""


class Gathering:
    """The repository of objects in the cache, and one beside it that is only read."""

    def __init__(self, cache: Path, spare: Path | None, form: str, progress: Progress) -> None:
        self._git = Git(cache / f"git-{form}", form=form)
        self._spare = Git(spare / f"git-{form}", form=form) if spare else None
        self._progress = progress

    def resolve(self, address: Address, ref: str) -> Resolved:
        """What a branch, a tag or a whole name of a reference stands for now.

        Raises:
            SourceError: nothing, or two things.
        """
        whole = ref == "HEAD" or ref.startswith("refs/")
        asked = [ref] if whole else [f"refs/heads/{ref}", f"refs/tags/{ref}"]
        self._git.prepare()
        command = ["ls-remote", "--quiet", "--", address.url, *asked, *(f"{each}^{{}}" for each in asked)]
        said = self._git.run(command, address=address).decode("utf-8", "replace")
        found = {match[2]: match[1] for line in said.splitlines() if (match := _LINE.fullmatch(line))}
        there = [each for each in asked if each in found]
        if len(there) > 1:
            raise SourceError(
                f"{address.shown} has a branch and a tag of the name {ref}", hint=f"write refs/tags/{ref} or {there[0]}"
            )
        if not there:
            raise SourceError(f"{address.shown} has neither a branch nor a tag {ref}", hint="check `ref`")
        peeled = found.get(f"{there[0]}^{{}}")
        return Resolved(peeled, found[there[0]]) if peeled else Resolved(found[there[0]], None)

    def gather(self, address: Address, wanted: str) -> Git:
        """A repository that holds a commit, or a tag and its commit; fetched unless it is here.

        Raises:
            SourceError: it cannot be fetched.
            StoreError: the disk refuses.
        """
        for git in (self._spare, self._git):
            if git is not None and (git.folder / _MARKS / wanted).is_file():
                return git
        self._git.prepare()
        command = ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"]
        begun = self._stored()
        told = 0

        def tick() -> int:
            nonlocal told
            stored = max(0, self._stored() - begun)
            if stored > BYTES_MAX:
                raise SourceError(f"{address.shown} sends more than {BYTES_MAX} bytes")
            if stored > told:
                self._progress.advance(stored - told)
                told = stored
            return told

        self._progress.start(f"fetch {address.shown}")
        try:
            self._git.run([*command, "--", address.url, wanted], address=address, tick=tick)
        finally:
            self._progress.finish()
        with storing(self._git.folder):
            (self._git.folder / _MARKS).mkdir(exist_ok=True)
            (self._git.folder / _MARKS / wanted).touch()
        return self._git

    def forget(self) -> None:
        """Let go of all objects: what they hold was damaged, and is fetched again."""
        with storing(self._git.folder):
            shutil.rmtree(self._git.folder, ignore_errors=True)
        self._spare = None

    def _stored(self) -> int:
        """The bytes of all packs, also of one that is still coming."""
        total = 0
        for path in (self._git.folder / "objects/pack").glob("*"):
            try:
                total += path.stat().st_size
            except FileNotFoundError:
                continue
        return total


def form_of(name: str) -> str:
    """How a repository names its objects, by one of the names."""
    return LENGTHS[len(name)]
