"""What a site is: whom it trusts and what it admitted, in one file, and the marks that it never falls below.

`state.json` holds trust and content together, so that one rename commits both. Its `outbox` holds the ledger
events of the commit that wrote it: they are appended after the rename, by whoever opens the site next if need
be. `marks.json` stands apart and is written last: the generation and digest of the state, the highest versions,
the newest time and the ledger's head. So at any instant the state is the marks' own, or one generation ahead;
anything else was restored from a backup, damaged or tampered with.

A state without marks is in order in one case alone, while enrolment writes its three files (state, ledger,
marks): generation 1, the outbox's own events and nothing else in the ledger, and an empty store. A site that
ever admitted anything has a higher generation, so that its marks cannot be deleted to have it forget.

The versions of timestamp, snapshot and targets may fall where the root moved forward, and only there: that is
how a depot recovers whose versions were driven too far ahead (TUF 1.0, section 5.3.11).
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from sealift.digest import sha256
from sealift.durable import write_file
from sealift.errors import StoreError, TrustError
from sealift.manifest import Part
from sealift.reading import bounded
from sealift.strict_json import INTEGER_MAX
from sealift.trust import Trust, Versions

from .event import Event
from .ledger import Head

FORMAT = 2
"""The format of a site's own files."""
STATE_MAX = 64 * 1024 * 1024
MARKS_MAX = 64 * 1024
"""Bytes that the two files may have."""

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
"""No metadata of Sealift was made before: a clock that says so is wrong, and a site's time begins here."""

_RESTORE = (
    "restore the site folder from a backup taken after {after}, or begin trust anew with the root and its"
    " fingerprint: `sealift-install enroll --recover`"
)
_Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Time = Annotated[datetime, Meta(tz=True)]


class Admitted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A release that the site holds, every byte of it verified."""

    part: Part
    """Its manifest, and where its content lies in the store."""
    bundle: str
    """The id of the bundle that brought it."""
    time: _Time
    """When it was admitted here."""
    published: str
    """When it was published, as signed."""

    @property
    def name(self) -> str:
        """The release's name."""
        return self.part.release.name

    @property
    def version(self) -> str:
        """The release's version."""
        return self.part.release.version

    @property
    def label(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


class State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a site committed itself to."""

    format: int = FORMAT
    generation: Annotated[int, Meta(ge=1, le=INTEGER_MAX)]
    """How many commits there were; enrolment is the first."""
    name: str
    """What it is called: as it was said at enrolment, or else the folder's name."""
    named: bool = False
    """Whether that was said. Only then may a bundle or a waiver be for this site by its name."""
    enrolled: _Time
    """When it began, by a clock that may have been wrong."""
    trust: Trust
    versions: Versions
    """The highest versions that this site has seen: those of the metadata in `trust`, or of trust that was lost."""
    newest: _Time
    """The newest signed time that this site has seen; its clock counts for nothing before it."""
    admitted: tuple[Admitted, ...] = ()
    approvers: dict[str, dict[str, str]] = {}
    """By role and name, the public keys (Ed25519, hexadecimal) of those who approve deployments."""
    outbox: tuple[Event, ...] = ()
    """The ledger events of this generation."""

    @property
    def called(self) -> str | None:
        """The name that bundles and waivers may be for; None where it was given none."""
        return self.name if self.named else None

    def reference(self, now: datetime) -> datetime:
        """The time to judge expiry by: `now`, which is a clock's, unless that is known to be wrong.

        A clock that stands before the newest signed time has lost its time. Then the time is at least that one, and
        at least the one at which the site was enrolled. Otherwise the enrolment's clock counts for nothing: it
        may have run ahead, and no signature says that it did not.
        """
        now = now.astimezone(UTC)
        return now if now >= self.newest else max(self.newest, self.enrolled)

    def release(self, name: str, version: str) -> Admitted | None:
        """The admitted release `name@version`, if there is one."""
        return next((each for each in self.admitted if (each.name, each.version) == (name, version)), None)


class Marks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a site never falls below."""

    format: int = FORMAT
    generation: Annotated[int, Meta(ge=1, le=INTEGER_MAX)]
    state: _Sha256
    """The digest of `state.json` in that generation."""
    versions: Versions
    newest: _Time
    ledger: Head


class NewerFormatError(TrustError):
    """A file of the site that only a newer Sealift reads."""


class _Format(msgspec.Struct, frozen=True):
    format: int


_T = TypeVar("_T", State, Marks)


def read_state(path: Path) -> tuple[State, str] | None:
    """The state in the file `path` and its digest, or None where there is no such file.

    Raises:
        TrustError: it is damaged.
        NewerFormatError: it is of a newer format.
        StoreError: it cannot be read.
    """
    content = bounded(path, STATE_MAX)
    if content is None:
        return None
    state = _decode(content, State, "trust state", STATE_MAX)
    if not state.trust.roots:
        raise TrustError("the trust state of this site holds no root", hint=_RESTORE.format(after="the last import"))
    return state, sha256(content)


def write_state(path: Path, state: State) -> str:
    """Replace the state in the file `path`, durably, and return its digest.

    Raises:
        StoreError: the disk refused, or the state grew beyond `STATE_MAX`.
    """
    content = msgspec.json.encode(state)
    if len(content) > STATE_MAX:
        raise StoreError(f"the trust state has {len(content)} bytes, more than {STATE_MAX}", hint="remove old releases")
    write_file(path, content, mode=0o600)
    return sha256(content)


def read_marks(path: Path) -> Marks | None:
    """The marks in the file `path`, or None where there is no such file.

    Raises:
        TrustError: they are damaged.
        NewerFormatError: they are of a newer format.
        StoreError: they cannot be read.
    """
    content = bounded(path, MARKS_MAX)
    return None if content is None else _decode(content, Marks, "high-water marks", MARKS_MAX)


def write_marks(path: Path, state: State, digest: str, ledger: Head) -> Marks:
    """Remember `state` with the digest `digest` and the ledger's head, durably.

    Raises:
        StoreError: the disk refused.
    """
    marks = Marks(
        generation=state.generation, state=digest, versions=state.versions, newest=state.newest, ledger=ledger
    )
    write_file(path, msgspec.json.encode(marks), mode=0o600)
    return marks


def check_against_marks(state: State, digest: str, marks: Marks) -> None:
    """Refuse a state that is not the marks' own and not the one right after it.

    Raises:
        TrustError: it is older, was edited, or is further ahead than a commit can leave it.
    """
    after = _RESTORE.format(after=f"{marks.newest:%Y-%m-%d %H:%M}")
    if state.generation < marks.generation:
        raise TrustError(
            f"the trust state of this site is older than what it has seen (commit {state.generation} of"
            f" {marks.generation}): it was restored from an old backup",
            hint=after,
        )
    if state.generation == marks.generation and digest != marks.state:
        raise TrustError("the trust state of this site was changed by something else than sealift", hint=after)
    if state.generation > marks.generation + 1:
        raise TrustError(
            f"the high-water marks of this site are older than its trust state (commit {marks.generation} of"
            f" {state.generation}): they were restored from an old backup",
            hint=_RESTORE.format(after=f"{state.newest:%Y-%m-%d %H:%M}"),
        )
    if fallen := fallen_versions(state.versions, marks.versions):
        raise TrustError(f"the trust state of this site is older than what it has seen ({fallen})", hint=after)
    if state.newest < marks.newest:
        raise TrustError("the trust state of this site is older than the time that it has seen", hint=after)


def fallen_versions(new: Versions, known: Versions) -> str | None:
    """Which version of `new` is below what is known, where that is no recovery by a new root."""
    if new.root < known.root:
        return f"root {new.root}, known is {known.root}"
    if new.root > known.root:
        return None
    pairs = {role: (getattr(new, role), getattr(known, role)) for role in ("timestamp", "snapshot", "targets")}
    pairs |= {role: (new.delegated.get(role, 0), version) for role, version in known.delegated.items()}
    for role, (has, had) in pairs.items():
        if has < had:
            return f"{role} {has}, known is {had}"
    return None


def missing_state(marks: Marks | None) -> TrustError:
    """The error for a site that was enrolled and has no trust state any more."""
    after = f"{marks.newest:%Y-%m-%d %H:%M}" if marks else "the last import"
    return TrustError("the trust state of this site is missing", hint=_RESTORE.format(after=after))


def missing_marks(state: State) -> TrustError:
    """The error for a site that has a trust state and no high-water marks any more."""
    return TrustError(
        "the high-water marks of this site are missing",
        hint=_RESTORE.format(after=f"{state.newest:%Y-%m-%d %H:%M}"),
    )


def _decode(content: bytes, kind: type[_T], what: str, cap: int) -> _T:
    damaged = TrustError(
        f"the {what} of this site cannot be read: the file is damaged", hint=_RESTORE.format(after="the last import")
    )
    if len(content) > cap:
        raise damaged
    try:
        found = msgspec.json.decode(content, type=_Format).format
        if found > FORMAT:
            raise NewerFormatError(
                f"the {what} of this site was written by a newer sealift (format {found}, this one knows {FORMAT})",
                hint="install the newer sealift here",
            )
        value = msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged from error
    if found != FORMAT:
        raise damaged
    return value
