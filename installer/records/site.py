"""A site: one folder that holds what an isolated place trusts, admitted and did.

    lock  state.json  marks.json  ledger.jsonl  store/{packs,trees,index,manifests}/  environments/<name>/

Every change happens under the lock and in one order: the state (the rename of `state.json` is the commit), the
commit's events in the ledger, the marks. After a kill or a failure at any point the site is either as before
or as after: whoever opens or locks it next appends the events that the ledger still lacks, each exactly once,
and writes the marks. A reader takes no lock: it reads the marks first, so that what it reads after them can
only be newer.

Enrolment follows the same order, which makes the one moment without marks unambiguous (see `state`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from sealift import durable
from sealift.digest import sha256
from sealift.errors import SealiftError, StoreError, TrustError
from sealift.names import check_release, visible
from sealift.root_terms import Purpose
from sealift.trust import Versions, anchor, check_fingerprint, check_purpose
from sealift.tuf_rules import read as read_metadata

from . import ledger as ledgers
from .event import Event, event
from .folder import check_owner, check_vacant, folders, has_content, has_files, is_there, sweep
from .ledger import Head, Ledger
from .state import (
    SINCE,
    Marks,
    State,
    check_against_marks,
    fallen_versions,
    missing_marks,
    missing_state,
    read_marks,
    read_state,
    write_marks,
    write_state,
)

PATIENCE = 2.0
"""Seconds that a command waits for another one to end before it is refused."""

_ENROL = "begin one with `sealift-install enroll`"
_COMMIT_KEYS = {"generation", "ordinal"}


class Site:
    """An enrolled site. Make it with `create` or `open`."""

    def __init__(self, path: Path, *, created: bool = False) -> None:
        self.path = path
        self.ledger = Ledger(path / "ledger.jsonl")
        self.created = created
        """Whether `create` enrolled it just now, rather than found it enrolled with the same root."""
        self.just_named = False
        """Whether `create` gave a site that had none its name just now."""
        self._held = False
        self._dirty = False
        self._state, self._digest, self._marks = self._load()

    @property
    def state(self) -> State:
        """The state as last read: when the site was opened or locked, or by the last commit."""
        return self._state

    @property
    def marks(self) -> Marks | None:
        """The high-water marks as last read; None right after an enrolment that was cut short."""
        return self._marks

    @property
    def store(self) -> Path:
        """The folder of the store."""
        return self.path / "store"

    @property
    def environments(self) -> Path:
        """The folder that has one folder for each environment."""
        return self.path / "environments"

    @classmethod
    def create(
        cls,
        path: Path,
        root: bytes,
        fingerprint: str,
        now: datetime,
        *,
        name: str | None = None,
        purpose: Purpose = "production",
    ) -> Site:
        """Enrol the folder `path` with a root; with the root that it has already, nothing changes.

        Args:
            path: a folder that is empty or missing, or was enrolled with the same root.
            root: root metadata.
            fingerprint: its SHA-256, as it came by another way.
            now: the time.
            name: what the site is called, for bundles that are meant for it alone.
            purpose: what the root must be for.

        Raises:
            UsageError: `fingerprint` is not one.
            MalformedError: `root` is no root metadata, or `name` no name.
            TrustError: the fingerprint is another root's, the root does not hold or is for another purpose, the site
                is enrolled with another root or under another name, or its state is missing or damaged.
            StoreError: the folder holds something else, or cannot be written.
        """
        now = now.astimezone(UTC).replace(microsecond=0)
        check_fingerprint(root, fingerprint)
        if name is not None:
            check_release(name)
        if is_there(path / "state.json"):
            return cls._reopened(path, root, name, purpose, now)
        trust = anchor(root, fingerprint, reference=max(now, SINCE), purpose=purpose)
        check_vacant(path)
        durable.make_folder(path, mode=0o700)
        with durable.storing(path):
            check_owner(path)
            os.chmod(path, 0o700)
        with durable.locked(path / "lock", what="this site"):
            if is_there(path / "state.json"):
                return cls._reopened(path, root, name, purpose, now)
            check_vacant(path)
            sweep(path)
            for folder in folders(path):
                durable.make_folder(folder, mode=0o700)
            version = read_metadata("root", root, "the root").version
            state = State(
                generation=1,
                name=name if name is not None else visible(path.resolve().name)[:64],
                named=name is not None,
                enrolled=now,
                trust=trust,
                versions=Versions(root=version),
                newest=SINCE,
                outbox=_numbered([event("enrolled", {"root": version, "fingerprint": sha256(root)}, now)], 1),
            )
            write_state(path / "state.json", state)
            site = cls(path, created=True)
            site._finish()
            return site

    @classmethod
    def open(cls, path: Path) -> Site:
        """Open an enrolled site, and finish what a kill left undone where that is possible now.

        Raises:
            TrustError: the folder is not this user's alone to write, or its state or ledger is missing, damaged,
                older than what the site has seen, or of a newer format.
            StoreError: there is no site, or it cannot be read.
        """
        with durable.storing(path):
            if not path.is_dir():
                raise StoreError(f"{path} is no site: there is no such folder", hint=_ENROL)
            check_owner(path)
        site = cls(path)
        if site._unfinished:
            with contextlib.suppress(StoreError), site.lock():
                pass  # busy or read-only: the next command that can lock the site finishes it
        return site

    @contextlib.contextmanager
    def lock(self, *, wait: float = PATIENCE) -> Iterator[None]:
        """Hold the site's lock for a change, on the newest state; finishes what a kill left undone.

        Args:
            wait: seconds to wait for another command; by default, long enough for the workers of one that was
                killed to notice.

        Raises:
            StoreError: another command holds it, or the folder cannot be written.
            TrustError: see `open`.
        """
        if self._held:
            raise RuntimeError("the lock of this site is held already")
        with durable.locked(self.path / "lock", what="this site", wait=wait):
            self._held = True
            try:
                sweep(self.path)
                self._settle()
                yield
            finally:
                self._held = False

    def commit(self, state: State, events: Sequence[Event]) -> State:
        """Make `state` the site's, and `events` part of its ledger, in one step; the lock is held.

        Args:
            state: made from `self.state` as it is under the lock. Its generation and outbox are set here, and
                its newest time never goes back.
            events: what the change is, from `event.event`.

        Returns:
            The state as it is now.

        Raises:
            TrustError: a version would fall below one that the site has seen.
            StoreError: the disk refused, or the site changed since `state` was made. The site is as before, or
                as after where the disk failed behind the rename; it is never in between.
        """
        self._check_held()
        if self._dirty:
            self._settle()
        former = self._state
        if state.generation != former.generation:
            raise StoreError("the site has changed meanwhile", hint="run the same command again")
        if fallen := fallen_versions(state.versions, former.versions):
            raise TrustError(f"this would take the site back to something older ({fallen})")
        generation = former.generation + 1
        state = msgspec.structs.replace(
            state,
            generation=generation,
            newest=max(state.newest.astimezone(UTC).replace(microsecond=0), former.newest),
            outbox=_numbered(events, generation),
        )
        self._dirty = True
        try:
            digest = write_state(self.path / "state.json", state)
            self._state, self._digest = state, digest
            self._finish()
        except StoreError as error:
            if not self._has_reached(generation):
                raise
            raise StoreError(
                f"the change is made, but the ledger does not say so yet: {error.message}",
                hint="make room; the next command that opens the site writes what is missing",
            ) from error
        self._dirty = False
        return state

    def record(self, name: str, detail: Mapping[str, object], now: datetime) -> None:
        """Add an event that changes nothing, such as a refusal, to the ledger; the lock is held.

        Raises:
            StoreError: the disk refused.
        """
        self._check_held()
        if _COMMIT_KEYS & detail.keys():
            raise ValueError("the detail of an event says nothing about generations")
        noted = event(name, detail, now)
        if self._dirty:
            self._settle()
        after = self._marks.ledger if self._marks else ledgers.START
        self._dirty = True
        head = self.ledger.append_all([noted], after=after)
        self._remember(head)
        self._dirty = False

    def reference(self, now: datetime) -> datetime:
        """The time to judge expiry by: the clock, but never before the newest signed time that this site has seen."""
        return self._state.reference(now)

    @classmethod
    def _reopened(cls, path: Path, root: bytes, name: str | None, purpose: Purpose, now: datetime) -> Site:
        site = cls.open(path)
        if site.state.trust.roots[0] != root:
            raise TrustError(
                f"{path} is enrolled already, with another root", hint="enrol a new site folder for another depot"
            )
        check_purpose(read_metadata("root", root, "the root"), purpose)
        if name is not None and name != site.state.called:
            if site.state.named:
                raise TrustError(
                    f"{path} is called {site.state.name}", hint="a site keeps its name: enrol a new site folder"
                )
            with site.lock():
                named = msgspec.structs.replace(site.state, name=name, named=True)
                site.commit(named, [event("named", {"name": name}, now)])
            site.just_named = True
        return site

    @property
    def _unfinished(self) -> bool:
        return self._marks is None or self._marks.generation != self._state.generation

    def _has_reached(self, generation: int) -> bool:
        """Whether the state on the disk is that generation, whatever failed behind its rename."""
        with contextlib.suppress(SealiftError):
            found = read_state(self.path / "state.json")
            return found is not None and found[0].generation == generation
        return False

    def _check_held(self) -> None:
        if not self._held:
            raise RuntimeError("the lock of this site is not held")

    def _load(self) -> tuple[State, str, Marks | None]:
        """Read marks, state and ledger, in this order; again, where a commit came between."""
        self._dirty = False
        while True:
            marks = read_marks(self.path / "marks.json")
            try:
                return *self._match(marks), marks
            except TrustError:
                if read_marks(self.path / "marks.json") == marks:
                    raise

    def _match(self, marks: Marks | None) -> tuple[State, str]:
        """The state and its digest, which must fit to the marks and to the ledger."""
        found = read_state(self.path / "state.json")
        if found is None:
            if marks or has_content(self.path):
                raise missing_state(marks)
            raise StoreError(f"{self.path} is no site", hint=_ENROL)
        state, digest = found
        if marks:
            check_against_marks(state, digest, marks)
            self.ledger.tail(marks.ledger)
        else:
            tail = self.ledger.tail(ledgers.START)
            own = {(1, ordinal) for ordinal in range(len(state.outbox))}
            if state.generation != 1 or tail.others or not tail.committed <= own or has_files(self.path):
                raise missing_marks(state)
        return state, digest

    def _settle(self) -> None:
        """Under the lock: read everything again, and finish what was left undone."""
        self._state, self._digest, self._marks = self._load()
        self._finish()

    def _finish(self) -> None:
        """Append the events that the ledger lacks, and bring the marks up to the state and the ledger."""
        after = self._marks.ledger if self._marks else ledgers.START
        tail = self.ledger.tail(after)
        head = tail.head
        if self._unfinished:
            missing = [
                each
                for ordinal, each in enumerate(self._state.outbox)
                if (self._state.generation, ordinal) not in tail.committed
            ]
            head = self.ledger.append_all(missing, after=after)
        if self._unfinished or head != after:
            self._remember(head)

    def _remember(self, head: Head) -> None:
        self._marks = write_marks(self.path / "marks.json", self._state, self._digest, head)


def _numbered(events: Sequence[Event], generation: int) -> tuple[Event, ...]:
    return tuple(
        msgspec.structs.replace(each, detail={**each.detail, "generation": generation, "ordinal": ordinal})
        for ordinal, each in enumerate(events)
    )
