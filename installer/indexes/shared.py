"""An index that several environments share: a pure function of what their releases contribute.

    /srv/index/current -> indexes/a            what a web server serves
    /srv/index/indexes/                        two sides of which one is served (`pair`)
    /srv/index/releases/<environment>/…        what each release contributes (`record`)
    /srv/index/pool/…                          contents by their digests (`pool`)

Staging adds contents and a listing, which nobody sees; the switch is the turn of a link. An index is made of one
release of each environment at most, so that a rollback takes its own packages out, and those of no other.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from sealift.durable import locked, make_folder, storing
from sealift.errors import MalformedError, StoreError, UsageError

from ..storage.content import Contents
from ..storage.deployable import Deployable
from ..target import Staged, Workplace
from .form import Form
from .pair import Pair, holds_with
from .pool import Pool, is_blob, others_read
from .record import Contribution, Contributions, Record

LOCK = "lock"
WAIT = 60.0
"""Seconds to wait for another command that works on the index."""
_FAULTY = "it was made by a faulty program: ask who exported it"


class SharedIndex:
    """An index, as the target of one environment."""

    shared = True
    """Each environment changes its own part alone."""

    def __init__(self, root: Path, form: Form, workplace: Workplace) -> None:
        self.place = str(root)
        self._root = root
        self._form = form
        self._workplace = workplace
        self._environment = workplace.environment
        self._pool = Pool(root)
        self._contributions = Contributions(root)
        self._pair = Pair(root, form, self._pool, self._contributions)

    def current(self) -> str | None:
        """The release of this environment that the index is made of.

        Raises:
            UsageError: something else stands there.
            StoreError: the folder cannot be read.
        """
        found = self._pair.live()
        hold = found[1].holds.get(self._environment) if found else None
        return hold.identity if hold else None

    def stage(self, deployable: Deployable, former: Deployable | None) -> Staged:
        """Add the contents that are missing, and the release's listing. Nobody sees anything of it yet.

        Contents that are there count by their size; where damage was found, each is compared with its digest.

        Raises:
            UsageError: the release holds no package of this kind, or one that the index has with other content.
            MalformedError: a package is not what its name says.
            IntegrityError: the store is damaged.
            StoreError: the disk refuses.
        """
        contents, names = self._contents(deployable)
        self._pair.live()
        self._make()
        with self._locked():
            if self._pair.mending:
                self._let_go_of_damaged()
            records: dict[str, Record] = {}
            new, reused = self._known(contents, records, sure=self._pair.mending)
            written = 0
            with self._pool.adding():
                for name in names:
                    for path, pieces in contents.each(name, new[name]):
                        record = self._take(path, pieces, contents.key(name, path))
                        _admit(records, record)
                        written += record.size
                        self._workplace.progress.advance(record.size)
                self._refuse_others(deployable, records)
            listing = tuple(records[slot] for slot in sorted(records))
            contribution = Contribution(release=deployable.release.label, records=listing)
            self._contributions.keep(self._environment, deployable.identity, contribution)
        return Staged(folder=None, written=written, reused=reused)

    def _contents(self, deployable: Deployable) -> tuple[Contents, list[str]]:
        names = [artifact.name for artifact in deployable.release.artifacts if artifact.kind == self._form.kind]
        if not names:
            raise UsageError(
                f"{deployable.release.label} holds no artifact of the kind {self._form.kind}",
                hint="deploy it to a target of another kind, such as directory",
            )
        contents = Contents(deployable, self._workplace.store, names)
        for artifact, links in contents.links.items():
            for path in links:
                raise MalformedError(f"artifact {artifact}: {path} is a link, and no package", hint=_FAULTY)
        return contents, names

    def _known(
        self, contents: Contents, records: dict[str, Record], *, sure: bool
    ) -> tuple[Mapping[str, list[str]], int]:
        """Take what the pool has; return the paths of what it lacks by artifact, and the bytes that it has.

        Args:
            contents: the release's.
            records: what is taken is added here.
            sure: whether each content is compared with its digest.
        """
        known: dict[tuple[str, str], Record] = {}
        for environment, identity in self._contributions.all():
            with contextlib.suppress(StoreError):
                each = self._contributions.read(environment, identity)
                known.update(((record.name, record.key), record) for record in each.records)
        new: dict[str, list[str]] = defaultdict(list)
        reused = 0
        for name, files in contents.files.items():
            for path, file in files.items():
                record = known.get((path, contents.key(name, path)))
                if record is None:
                    new[name].append(path)
                elif self._whole(record, sure=sure):
                    _admit(records, record)
                    reused += file.size
                    self._workplace.progress.advance(file.size)
                else:
                    self._pair.mend()
                    new[name].append(path)
        return new, reused

    def _let_go_of_damaged(self) -> None:
        """Remove damaged contents that releases of this environment alone have: who stages them again writes them."""
        own: set[str] = set()
        others: set[str] = set()
        for environment, identity in self._contributions.all():
            with contextlib.suppress(StoreError):
                for record in self._contributions.read(environment, identity).records:
                    (own if environment == self._environment else others).update(record.blobs())
        for digest in own - others:
            if not is_blob(self._pool.path(digest), digest):
                self._pool.remove(digest)

    def _whole(self, record: Record, *, sure: bool) -> bool:
        if not self._pool.has(record.sha256, record.size) or not all(map(self._pool.has, record.beside.values())):
            return False
        return not sure or all(is_blob(self._pool.path(digest), digest) for digest in record.blobs())

    def _take(self, path: str, pieces: Iterator[bytes], key: str) -> Record:
        temporary, digest = self._pool.take(pieces)
        record, beside = self._form.examine(path, temporary, digest, key)
        self._pool.keep(digest)
        for content in beside.values():
            self._pool.add(content)
        return record

    def _refuse_others(self, deployable: Deployable, records: Mapping[str, Record]) -> None:
        """Refuse a package that a listing here has with other content: who installs it could not tell which it is."""
        for environment, identity in self._contributions.all():
            if (environment, identity) == (self._environment, deployable.identity):
                continue
            contribution = self._contributions.read(environment, identity)
            for record in contribution.records:
                own = records.get(record.slot)
                if own is not None and own.sha256 != record.sha256:
                    raise UsageError(
                        f"{own.name} of {deployable.release.label} has other content than {record.name} of "
                        f"{contribution.release}, which the environment {environment} keeps at {self._root}",
                        hint="give what changed a version of its own, or name another path in this environment",
                    )

    def activate(self, identity: str | None) -> None:
        """Let the index be made of a staged release of this environment instead of the one before; with None, of none.

        Raises:
            DeployError: what others contribute does not go with it.
            StoreError: the disk refuses; what was served is served on.
        """
        if not self._root.is_dir():
            return
        with self._locked():
            found = self._pair.live()
            hold = self._contributions.hold(self._environment, identity) if identity else None
            self._pair.switch(holds_with(found[1] if found else None, self._environment, hold))

    def check(self, deployable: Deployable, *, deep: bool) -> str | None:
        """Whether the index is made of the release; with `deep`, whether it is all that it should be, file by file.

        Damage is noted, so that the next switch mends it.
        """
        identity = deployable.identity
        while True:
            found = self._pair.live()
            hold = found[1].holds.get(self._environment) if found else None
            if found is None or hold is None or hold.identity != identity:
                return f"{self._root} is made of {hold.identity if hold else 'nothing'}, not of {identity}"
            wrong = self._pair.wrong(found) if deep else None
            if wrong is None:
                return None
            if self._pair.live() == found:
                with contextlib.suppress(StoreError):
                    self._pair.mend()
                return f"{wrong} is no longer what was deployed; apply another version, and then this one again"

    def prune(self, keep: Collection[str]) -> int:
        """Let go of releases of this environment other than `keep` and the one that serves, and of their contents.

        Raises:
            StoreError: the disk refuses.
        """
        if not self._root.is_dir():
            return 0
        with self._locked():
            self._pair.level()
            stay = {*keep, self.current()}
            gone = [each for each in self._contributions.all() if each[0] == self._environment and each[1] not in stay]
            for environment, identity in gone:
                self._contributions.remove(environment, identity)
            needed: set[str] = set()
            for environment, identity in self._contributions.all():
                for record in self._contributions.read(environment, identity).records:
                    needed.update(record.blobs())
            self._pool.prune(needed)
            return len(gone)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with others_read(), locked(self._root / LOCK, what=f"the index {self._root}", wait=WAIT):
            self._pair.prepare()
            self._contributions.sweep()
            yield

    def _make(self) -> None:
        with storing(self._root):
            if not self._root.is_dir():
                make_folder(self._root)
                os.chmod(self._root, 0o755)


def _admit(records: dict[str, Record], record: Record) -> None:
    other = records.setdefault(record.slot, record)
    if other.sha256 != record.sha256:
        raise MalformedError(
            f"{other.name} and {record.name} of one release are the same package with different contents", hint=_FAULTY
        )
