"""The two sides of an index: the one that is served, and the one that becomes what is served next.

    indexes/{a,b} {a,b}.json    the sides, and what each is made of
    indexes/mend                something was found damaged: the next switch makes both sides anew

A switch brings the other side to what should be served and turns the link; then `level` brings the side that was left
to the same. Both cost what differs, and only a side that a kill left half-changed costs more.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from sealift.digest import sha256
from sealift.durable import storing, write_file
from sealift.errors import DeployError, StoreError, UsageError

from ..folders.shelf import CURRENT, Shelf
from .form import Form
from .pool import Pool, is_blob
from .record import Contributions, Hold, Holds, Record
from .side import Mark, Side

SIDES = ("a", "b")
FOLDER = "indexes"
MEND = "mend"


class Pair:
    """The sides of the index in a folder."""

    def __init__(self, root: Path, form: Form, pool: Pool, contributions: Contributions) -> None:
        self.root = root
        self._form = form
        self._pool = pool
        self._contributions = contributions
        self._shelf = Shelf(root, FOLDER)
        self._flag = self._shelf.releases / MEND
        self._sides = {name: Side(self._shelf.releases / name) for name in SIDES}

    def prepare(self) -> None:
        """Make the folders that are missing, and clear what a kill left.

        Raises:
            StoreError: the disk refuses.
        """
        self._shelf.prepare()

    def live(self) -> tuple[Side, Mark] | None:
        """The side that is served, and what it is made of; None where none is.

        Raises:
            UsageError: something else stands there.
            StoreError: it cannot be read.
        """
        name = self._shelf.current()
        if name is None:
            return None
        mark = self._sides[name].mark() if name in SIDES else None
        if mark is None:
            raise UsageError(
                f"{self.root / CURRENT} leads to {name}, which is no index that sealift made",
                hint="move it away, or name another path in the environment",
            )
        there, wanted = (form.partition(" ")[0] for form in (mark.form, self._form.name))
        if there != wanted:
            raise UsageError(
                f"{self.root} is an index of the kind {there}, and not {wanted}",
                hint="name another path in the environment",
            )
        return self._sides[name], mark

    @property
    def mending(self) -> bool:
        """Whether the next switch makes both sides anew."""
        return self._flag.exists()

    def mend(self) -> None:
        """Let the next switch make both sides anew.

        Raises:
            StoreError: the disk refuses.
        """
        write_file(self._flag, b"")

    def switch(self, holds: dict[str, Hold]) -> None:
        """Serve an index that is made of `holds`.

        Raises:
            DeployError: they do not go together.
            StoreError: the disk refuses; what was served is served on.
        """
        found = self.live()
        mend = self.mending
        if found is None or mend or found[1].holds != holds or found[1].form != self._form.name:
            left = found[0] if found else None
            side = self._other(left)
            self._fill(side, left, holds, mend=mend)
            self._shelf.switch(side.folder.name)
        self.level(mend=mend)
        found = self.live()
        if mend and found and self.wrong(found) is None:
            with storing(self._flag):
                self._flag.unlink(missing_ok=True)

    def level(self, *, mend: bool = False) -> None:
        """Bring the side that is not served to the one that is, so that the next switch costs what it changes.

        Where the disk refuses, nothing is lost: the next switch makes that side anew.

        Args:
            mend: whether the side is not to be believed.
        """
        found = self.live()
        if found is None:
            return
        source, mark = found
        side = self._other(source)
        before = None if mend else self._readable(side)
        with contextlib.suppress(StoreError):
            if before != mark:
                side.begin()
                if before is None:
                    side.clear()
                    side.copy(source)
                else:
                    self._follow(side, before, source, mark)
                side.end(mark)

    def _other(self, side: Side | None) -> Side:
        return self._sides[SIDES[side is self._sides[SIDES[0]]]]

    def _fill(self, side: Side, left: Side | None, holds: dict[str, Hold], *, mend: bool) -> None:
        """Make a side, that is not served, of `holds`."""
        served = self._readable(left) if left and not mend else None
        before = None if mend else self._readable(side)
        listed = self._listed(holds)
        side.begin()
        if before is None:
            side.clear()
            if left and served:
                side.copy(left)
                before = served
        changed = set(listed) if before is None or served is None else set()
        for each in (before, served):
            changed |= self._differing(each.holds, holds) if each else set()
        for name in sorted(changed):
            folder, page = self._form.page(name, listed.get(name, ()))
            side.put(folder, page, self._pool)
        cover = self._form.cover(listed, left.folder if left else None)
        for path, content in cover.items():
            side.write(path, content)
        for path in before.cover if before else ():
            if path not in cover:
                side.remove(path)
        digests = {path: sha256(content) for path, content in cover.items()}
        side.end(Mark(form=self._form.name, holds=holds, cover=digests))

    def _follow(self, side: Side, before: Mark, source: Side, mark: Mark) -> None:
        """Change on a side what differs on the other."""
        listed = self._listed(mark.holds)
        for name in sorted(self._differing(before.holds, mark.holds)):
            folder, page = self._form.page(name, listed.get(name, ()))
            paths = {*page.written, *page.taken}
            for path in sorted(paths):
                side.link(f"{folder}/{path}", f"{source.folder}/{folder}/{path}")
            side.keep_only(folder, paths)
        for path in mark.cover:
            side.link(path, f"{source.folder}/{path}")
        for path in before.cover:
            if path not in mark.cover:
                side.remove(path)

    def _readable(self, side: Side) -> Mark | None:
        """What a side is made of, if it is of this form and every listing is there."""
        with contextlib.suppress(StoreError):
            mark = side.mark()
            if mark is not None and mark.form == self._form.name:
                for environment, hold in mark.holds.items():
                    self._records(environment, hold)
                return mark
        return None

    def _records(self, environment: str, hold: Hold) -> tuple[Record, ...]:
        return self._contributions.read(environment, hold.identity, hold.sha256).records

    def _listed(self, holds: Holds) -> dict[str, list[Record]]:
        """The records of each page, in the order of their slots; what several releases have stands there once."""
        slots: dict[str, tuple[str, Record]] = {}
        for environment, hold in sorted(holds.items()):
            for record in self._records(environment, hold):
                other, known = slots.setdefault(record.slot, (environment, record))
                if known.sha256 != record.sha256:
                    raise DeployError(
                        f"{record.name} of the environment {environment} has other content than {known.name} of the "
                        f"environment {other}",
                        hint="let one of them run a release without it, or give them folders of their own",
                    )
        listed: dict[str, list[Record]] = defaultdict(list)
        for slot in sorted(slots):
            record = slots[slot][1]
            listed[record.page].append(record)
        return dict(sorted(listed.items()))

    def _differing(self, one: Holds, other: Holds) -> set[str]:
        """The pages that differ between what an index is made of and what another is."""
        pages: set[str] = set()
        for environment in {*one, *other}:
            before, after = one.get(environment), other.get(environment)
            if before != after:
                former, later = (self._pages_of(environment, hold) for hold in (before, after))
                pages.update(page for _, page in former ^ later)
        return pages

    def _pages_of(self, environment: str, hold: Hold | None) -> set[tuple[tuple[str, str], str]]:
        records = self._records(environment, hold) if hold else ()
        return {((record.slot, record.sha256), record.page) for record in records}

    def wrong(self, found: tuple[Side, Mark]) -> str | None:
        """What of the side that is served, as `live` gave it, is not what it should be.

        Raises:
            StoreError: a listing is damaged.
        """
        side, mark = found
        for name, records in self._listed(mark.holds).items():
            folder, page = self._form.page(name, records)
            if path := side.wrong(folder, page):
                return path
            for taken, digest in page.taken.items():
                path = f"{side.folder}/{folder}/{taken}"
                if not is_blob(path, digest):
                    return path
        for covering, digest in mark.cover.items():
            path = f"{side.folder}/{covering}"
            if not is_blob(path, digest):
                return path
        return None


def holds_with(mark: Mark | None, environment: str, hold: Hold | None) -> dict[str, Hold]:
    """What an index is made of once an environment contributes another release, or none."""
    others: Mapping[str, Hold] = mark.holds if mark else {}
    found = {name: each for name, each in others.items() if name != environment}
    return {**found, environment: hold} if hold else found
