"""Beginning to trust anew, at a site whose own files were lost: `enroll --recover`.

Whoever can make a site forget can make it admit old bundles, so nothing of this happens by itself: it needs the
root and its fingerprint again, and stands in the ledger. What can still be read and makes the site stricter keeps
counting: the highest versions and the newest signed time of a state, of marks and of the ledger. What would make
it trust more is dropped: the metadata, and the list of what was admitted. The store's files are named by their
digests, so that importing again copies nothing twice.

The order of writes is that of every commit: state, ledger, marks. After a kill the same command does it again.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from sealift import durable
from sealift.digest import sha256
from sealift.errors import IntegrityError, StoreError, TrustError, UsageError
from sealift.names import check_release, visible
from sealift.root_terms import Purpose
from sealift.trust import Versions, anchor
from sealift.tuf_rules import read as read_metadata

from .records import ledger as ledgers
from .records.event import Event, event
from .records.folder import check_owner, folders, sweep
from .records.ledger import Head, Ledger
from .records.site import PATIENCE, Site
from .records.state import SINCE, Marks, NewerFormatError, State, read_marks, read_state, write_marks, write_state


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What a damaged site still knows, and never falls below."""

    generation: int
    versions: Versions
    newest: datetime
    ledger: Head | None
    """Where the ledger ends; None where it is not in order."""


def recover(
    path: Path,
    root: bytes,
    fingerprint: str,
    now: datetime,
    *,
    name: str | None = None,
    purpose: Purpose = "production",
) -> Site:
    """Let the site in the folder `path`, which refuses to work, trust `root` and nothing else.

    Args:
        path: the folder of a site that cannot be opened.
        root: root metadata, as for an enrolment.
        fingerprint: its SHA-256, as it came by another way.
        now: the time by the clock.
        name: what the site is called; what its state says, if that can be read and nothing is said.
        purpose: what the root must be for.

    Raises:
        UsageError: nothing is wrong with the site, or `fingerprint` is not one.
        MalformedError: `root` is no root metadata, or `name` no name.
        TrustError: the root does not hold, or the site's files are of a newer format, or not this user's alone.
        StoreError: there is no site, another command is at work, or the disk refuses.
    """
    now = now.astimezone(UTC).replace(microsecond=0)
    if name is not None:
        check_release(name)
    trust = anchor(root, fingerprint, reference=max(now, SINCE), purpose=purpose)
    version = read_metadata("root", root, "the root").version
    with durable.storing(path):
        if not path.is_dir():
            raise StoreError(f"{path} is no site: there is no such folder", hint="leave --recover out to begin one")
        check_owner(path)
    with durable.locked(path / "lock", what="this site", wait=PATIENCE):
        why = _problem(path)
        sweep(path)
        state, marks = _state(path), _marks(path)
        ledger = Ledger(path / "ledger.jsonl")
        known = _known(state, marks, ledger)
        versions = known.versions if known.versions.root >= version else Versions(root=version)
        detail: dict[str, object] = {
            "root": version,
            "fingerprint": sha256(root),
            "why": why,
            "not_before": f"{known.newest:%Y-%m-%dT%H:%M:%SZ}",
            "versions": msgspec.to_builtins(versions),
        }
        for folder in folders(path):
            durable.make_folder(folder, mode=0o700)
        head = known.ledger
        if head is None:
            detail["former_ledger"] = _set_aside(ledger)
            head = ledgers.START
        begun = State(
            generation=known.generation + 1,
            name=name or (state.name if state else visible(path.resolve().name)[:64]),
            named=name is not None or (state is not None and state.named),
            enrolled=now,
            trust=trust,
            versions=versions,
            newest=known.newest,
            outbox=(_numbered(event("trust-begun-anew", detail, now), known.generation + 1),),
        )
        digest = write_state(path / "state.json", begun)
        write_marks(path / "marks.json", begun, digest, ledger.append_all(begun.outbox, after=head))
    return Site.open(path)


def _problem(path: Path) -> str:
    """What keeps the site from being opened."""
    try:
        Site(path)
    except NewerFormatError:
        raise
    except TrustError as error:
        return error.message
    raise UsageError(
        f"nothing is wrong with the trust of the site in {path}",
        hint="a new root reaches a site by a bundle; to trust another depot, enrol a new site folder",
    )


def _state(path: Path) -> State | None:
    with contextlib.suppress(TrustError):
        found = read_state(path / "state.json")
        return found[0] if found else None
    return None


def _marks(path: Path) -> Marks | None:
    with contextlib.suppress(TrustError):
        return read_marks(path / "marks.json")
    return None


def _known(state: State | None, marks: Marks | None, ledger: Ledger) -> _Known:
    seen: list[State | Marks] = [each for each in (state, marks) if each]
    generations = [each.generation for each in seen]
    times = [SINCE, *(each.newest for each in seen)]
    all_versions = [each.versions for each in seen]
    with contextlib.suppress(IntegrityError):
        for entry in ledger.read():
            generation, root, timestamp = (entry.detail.get(key) for key in ("generation", "root", "timestamp"))
            if isinstance(generation, int):
                generations.append(generation)
            if entry.event == "admitted" and isinstance(root, int) and isinstance(timestamp, int):
                all_versions.append(Versions(root=root, timestamp=timestamp))
                times += _published(entry.detail.get("published"))
    verdict = ledger.verify(marks.ledger if marks else None)
    return _Known(
        generation=max(generations, default=1),
        versions=_highest(all_versions),
        newest=max(times),
        ledger=ledger.tail(verdict.head).head if verdict.sound else None,
    )


def _published(said: object) -> list[datetime]:
    """The time at which an admitted release was published, as the ledger says it; none where it does not."""
    with contextlib.suppress(ValueError):
        return [datetime.strptime(str(said), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)]
    return []


def _highest(several: list[Versions]) -> Versions:
    """The highest version of each role under the newest root that any of them knows."""
    root = max((each.root for each in several), default=0)
    newest = [each for each in several if each.root == root]
    roles = {role for each in newest for role in each.delegated}
    return Versions(
        root=root,
        timestamp=max((each.timestamp for each in newest), default=0),
        snapshot=max((each.snapshot for each in newest), default=0),
        targets=max((each.targets for each in newest), default=0),
        delegated={role: max(each.delegated.get(role, 0) for each in newest) for role in sorted(roles)},
    )


def _set_aside(ledger: Ledger) -> dict[str, object] | None:
    """Keep a ledger that is not in order beside the new one; say what it was."""
    with durable.storing(ledger.path):
        if not ledger.path.exists():
            return None
        content = ledger.path.read_bytes()
        aside = ledger.path.with_name(f"ledger-before-{sha256(content)[:16]}.jsonl")
        ledger.path.rename(aside)
        durable.sync_folder(aside.parent)
    return {"file": aside.name, "sha256": sha256(content), "bytes": len(content)}


def _numbered(noted: Event, generation: int) -> Event:
    return msgspec.structs.replace(noted, detail={**noted.detail, "generation": generation, "ordinal": 0})
