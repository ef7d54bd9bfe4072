"""What a site did, one line for each event, each line bound to the one before it by SHA-256.

`ledger.jsonl` is canonical JSON Lines: `seq` counts from 1, so that it is the line's number; `prev` is the digest
of the former line's bytes without its newline, 64 zeros before the first. Lines are only ever appended, under
the site's lock, and are on the disk before `append` returns.

A `Head` is a point in the ledger that somebody remembers elsewhere (the site does, in its marks). What stands
up to it must be there, unchanged, or the ledger was truncated or forked. What stands after it and does not
continue the chain can only be the rest of a write that a power cut tore: the next append cuts it off, and
records that as an event of its own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from sealift.digest import sha256
from sealift.durable import storing, sync_folder, write_all
from sealift.errors import IntegrityError, MalformedError, TrustError
from sealift.names import visible
from sealift.strict_json import canonical, parse

from .event import Event, event

LINE_MAX = 64 * 1024
"""Bytes of one line, its newline included."""
TORN = "torn-line-removed"
"""The event that records the removal of what a power cut tore."""

_ZEROS = "0" * 64


class Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A point in a ledger: its last line."""

    seq: int
    """The number of that line; 0 before the first."""
    sha256: str
    """The digest of that line without its newline."""
    size: int
    """How many bytes the ledger has up to and with that line."""


START = Head(seq=0, sha256=_ZEROS, size=0)
"""The head of an empty ledger."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of the ledger."""

    seq: int
    time: str
    event: str
    prev: str
    detail: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Tail:
    """What a ledger holds after a head that is remembered."""

    head: Head
    """The last line that continues the chain."""
    torn: int
    """How many bytes behind it do not."""
    committed: frozenset[tuple[int, int]]
    """Generation and ordinal of the events that belong to commits."""
    others: int
    """How many events belong to none."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What `Ledger.verify` found."""

    head: Head
    """The last line that is in order."""
    problem: str | None = None
    """What is wrong, in one sentence, where something is."""
    line: int | None = None
    """The number of the line that is."""
    torn: int = 0
    """Bytes after the last whole line. No problem: the next append removes them."""

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem is None


class Ledger:
    """The ledger in the file `path`, which may be missing as long as nothing was recorded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, name: str, detail: Mapping[str, object], time: datetime, *, after: Head = START) -> Head:
        """Record one event, durably. See `append_all`, and `event` for what a detail may be."""
        return self.append_all([event(name, detail, time)], after=after)

    def append_all(self, events: Sequence[Event], *, after: Head = START) -> Head:
        """Record `events` in one write, durably; the caller holds the site's lock.

        Args:
            events: what to record.
            after: a head that is remembered; nearer ones are quicker.

        Returns:
            The new head.

        Raises:
            TrustError: the ledger was truncated or changed before `after`.
            StoreError: the disk is full, read-only or faulty; what was written of `events` is cut off again
                where the disk allows it, and by the next append otherwise.
        """
        tail = self.tail(after)
        head, lines = tail.head, []
        if tail.torn and events:
            events = [event(TORN, {"bytes": tail.torn, "line": head.seq + 1}, events[0].time), *events]
        for each in events:
            line = _line(each, head)
            head = Head(seq=head.seq + 1, sha256=sha256(line), size=head.size + len(line) + 1)
            lines.append(line + b"\n")
        if not lines:
            return head
        with storing(self.path):
            fresh = not self.path.exists()
            descriptor = os.open(
                self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            try:
                if tail.torn:
                    os.ftruncate(descriptor, tail.head.size)
                try:
                    write_all(descriptor, b"".join(lines))
                    os.fsync(descriptor)
                except OSError:
                    with contextlib.suppress(OSError):
                        os.ftruncate(descriptor, tail.head.size)
                    raise
            finally:
                os.close(descriptor)
            if fresh:
                sync_folder(self.path.parent)
        return head

    def tail(self, after: Head) -> Tail:
        """What stands behind the head `after`, which must itself be in place.

        Raises:
            TrustError: the ledger is shorter than `after`, or its line there is another one.
            StoreError: it cannot be read.
        """
        committed: set[tuple[int, int]] = set()
        head, others = after, 0
        with storing(self.path), self._opened() as file:
            size = os.fstat(file.fileno()).st_size if file else 0
            if size < after.size:
                raise TrustError(
                    f"the ledger of this site is truncated: it has {size} bytes of the {after.size} that it had",
                    hint="restore ledger.jsonl from a backup; `sealift-install verify` says what is left of it",
                )
            if file:
                _check_last_line(file, after)
                for line in _lines(file):
                    try:
                        entry = _follow(line, head)
                    except MalformedError:
                        break
                    if (mark := _commit(entry)) is not None:
                        committed.add(mark)
                    else:
                        others += entry.event != TORN
                    head = Head(seq=entry.seq, sha256=sha256(line[:-1]), size=head.size + len(line))
        return Tail(head=head, torn=size - head.size, committed=frozenset(committed), others=others)

    def read(self) -> Iterator[Entry]:
        """Every entry in turn; a torn last line is passed over.

        Raises:
            IntegrityError: a line is not an entry that follows the one before it.
            StoreError: the file cannot be read.
        """
        head = START
        with storing(self.path), self._opened() as file:
            for line in _lines(file) if file else ():
                if not line.endswith(b"\n") and len(line) < LINE_MAX:
                    return
                try:
                    entry = _follow(line, head)
                except MalformedError as error:
                    raise IntegrityError(f"the ledger is not in order: {error.message}") from error
                head = Head(seq=entry.seq, sha256=sha256(line[:-1]), size=head.size + len(line))
                yield entry

    def verify(self, expected: Head | None) -> Verdict:
        """Check the whole chain, and that it holds the head that is remembered.

        Raises:
            StoreError: the file cannot be read.
        """
        head = START
        with storing(self.path), self._opened() as file:
            for line in _lines(file) if file else ():
                if not line.endswith(b"\n") and len(line) < LINE_MAX:
                    if not (expected and head.seq < expected.seq):
                        return Verdict(head=head, torn=len(line))
                    break
                try:
                    entry = _follow(line, head)
                except MalformedError as error:
                    return Verdict(head=head, problem=error.message, line=head.seq + 1)
                head = Head(seq=entry.seq, sha256=sha256(line[:-1]), size=head.size + len(line))
                if expected and head.seq == expected.seq and head != expected:
                    return Verdict(
                        head=head,
                        problem=f"line {head.seq} is not the one that this site remembers: edited or forked there",
                        line=head.seq,
                    )
        if expected and head.seq < expected.seq:
            return Verdict(
                head=head,
                problem=f"the ledger is truncated: it ends after line {head.seq}, and had {expected.seq} lines",
                line=head.seq + 1,
            )
        return Verdict(head=head)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[BinaryIO | None]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            yield None
            return
        with open(descriptor, "rb") as file:
            yield file


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(LINE_MAX):
        yield line


def _check_last_line(file: BinaryIO, head: Head) -> None:
    """Refuse `file` unless the line that ends where `head` does is the one; leave it positioned behind it."""
    start = max(0, head.size - LINE_MAX - 1)
    file.seek(start)
    content = file.read(head.size - start)
    last = content[content.rfind(b"\n", 0, -1) + 1 :]
    if head.seq and not (last.endswith(b"\n") and sha256(last[:-1]) == head.sha256):
        raise TrustError(
            f"the ledger of this site was changed: line {head.seq} is not the one that was written",
            hint="restore ledger.jsonl from a backup; `sealift-install verify` says where it breaks",
        )
    file.seek(head.size)


def _follow(line: bytes, head: Head) -> Entry:
    """The entry in `line`, which must follow `head`."""
    number = head.seq + 1
    if not line.endswith(b"\n"):
        raise MalformedError(f"line {number} has no end")
    tree = parse(line[:-1], f"line {number}", cap=LINE_MAX)
    try:
        entry = msgspec.convert(tree, Entry)
    except msgspec.ValidationError as error:
        raise MalformedError(f"line {number} is no entry: {visible(str(error))[:200]}") from error
    if entry.seq != number:
        raise MalformedError(f"line {number} says that it is line {entry.seq}: lines were removed or added before it")
    if entry.prev != head.sha256:
        before = "it does not begin this ledger" if head.seq == 0 else f"line {head.seq} was edited or exchanged"
        raise MalformedError(f"line {number} does not follow the one before it: {before}")
    return entry


def _commit(entry: Entry) -> tuple[int, int] | None:
    generation, ordinal = entry.detail.get("generation"), entry.detail.get("ordinal")
    return (generation, ordinal) if isinstance(generation, int) and isinstance(ordinal, int) else None


def _line(each: Event, head: Head) -> bytes:
    line = canonical(
        {
            "seq": head.seq + 1,
            "time": f"{each.time:%Y-%m-%dT%H:%M:%SZ}",
            "event": each.event,
            "prev": head.sha256,
            "detail": each.detail,
        }
    )
    if len(line) >= LINE_MAX:
        raise ValueError("an event is longer than a line may be")
    return line
