"""The import, from a bundle to admitted releases: bundle → trust → store.

Nothing is parsed or decompressed before it is authentic. Packs are hashed while they are copied, so that
the bytes that were checked are the bytes that are kept. Trust and content are committed by one rename at
the end; until then the site is what it was. Packs that arrived whole stay for the next try.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from sealift import opening
from sealift.at_once import at_once
from sealift.container import Reader
from sealift.digest import check
from sealift.durable import TEMPORARY, Draft, storing, sync_folder, write_file
from sealift.errors import SealiftError, StoreError, TrustError
from sealift.hashing import damaged_pack
from sealift.listing import Blob, sound
from sealift.manifest import Part
from sealift.opening import Content, Opened, listings, member_of, packs_of
from sealift.progress import Progress
from sealift.waiver import Accepted

from .records.event import event
from .records.folder import STORE
from .records.site import Site
from .records.state import Admitted, State, fallen_versions
from .storage.rebuilding import bases_of, rebuild
from .storage.store import Store


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import did."""

    identity: str
    """The bundle's id."""
    admitted: tuple[Admitted, ...]
    """The releases that the bundle holds."""
    new: tuple[str, ...]
    """Labels of those that the site did not have."""
    written: int
    """Bytes of packs that were written."""
    present: int
    """Bytes of packs that were there already."""
    repaired: tuple[str, ...]
    """Digests of packs that were there and damaged."""
    root: int
    timestamp: int
    """The versions of the metadata that it was admitted under."""
    expires: datetime
    """Until when this bundle is admitted by a site that has seen no newer one."""
    waived: str | None
    """Why it was admitted although it has expired; None where it has not."""


def admit(
    site: Site, path: Path, *, now: datetime, workers: int, progress: Progress, waiver: bytes | None = None
) -> Imported:
    """Check the bundle at `path` and take its releases into the site, all or nothing.

    A refusal is recorded in the ledger; the site is otherwise untouched.

    Args:
        site: which takes them.
        path: the bundle.
        now: the time by the clock.
        workers: how many packs are copied at a time.
        progress: told the bytes.
        waiver: the file of a waiver, for a bundle that has expired.

    Raises:
        MalformedError, IntegrityError, TrustError: the bundle is refused.
        StoreError: the medium or the disk fails, or another command is at work.
    """
    with site.lock():
        generation = site.state.generation
        try:
            with Reader(path) as bundle:
                return _admit(site, bundle, now, workers, progress, waiver)
        except SealiftError as error:
            if site.state.generation == generation:
                refuse(site, error, {"bundle": str(path)}, now)
            raise


def refuse(site: Site, error: SealiftError, detail: Mapping[str, object], now: datetime) -> None:
    """Record a refusal; where even that cannot be written, say so in the error's hint."""
    said = {**detail, "error": error.message, "exit_code": error.exit_code}
    try:
        site.record("refused", said, now)
    except StoreError as failure:
        error.hint = f"{error.hint + '; ' if error.hint else ''}the ledger could not be written: {failure.message}"


def _admit(
    site: Site, bundle: Reader, now: datetime, workers: int, progress: Progress, waiver: bytes | None
) -> Imported:
    store = Store(site.store)
    state = site.state
    opened = opening.authenticate(bundle, state.trust, reference=site.reference(now), waiver=waiver, site=state.called)
    if fallen := fallen_versions(opened.refreshed.versions, state.versions):
        raise TrustError(
            f"this bundle is older than one that this site has seen ({fallen})", hint="ask for a new export"
        )
    _check_audience(state, opened)
    _check_unchanged(site, opened)
    bases = [bases_of(state, store, content) for content in opened.contents]
    _check_room(bundle, opened, store)
    copied = _Copies(bundle, store, progress)
    beside = _beside(state, opened, store) if any(bases) else 0
    parts = []
    for content, held in zip(opened.contents, bases, strict=True):
        if not content.part.base:
            _keep_listings(bundle, content, store)
            parts.append(content.part)
        elif not held:
            known = state.release(content.release.name, content.release.version)
            assert known is not None
            copied.present += sum(pack.length for pack in known.part.packs)
            parts.append(known.part)
        else:
            rebuilt = rebuild(bundle, content, held, store, workers=workers, progress=progress, beside=beside)
            _keep_manifest(bundle, content, store)
            copied.written += rebuilt.written
            copied.present += rebuilt.present
            parts.append(rebuilt.part)
    packs = packs_of(opened)
    progress.start(f"importing {bundle.path.name}", sum(pack.length for pack in packs))
    at_once(copied.take, packs, workers=workers)
    progress.finish()
    with storing(store.folder):
        for kind in STORE:
            sync_folder(store.folder / kind)
    return _commit(site, opened, parts, copied, now)


def _check_audience(state: State, opened: Opened) -> None:
    """Refuse a bundle that is for other sites."""
    audience = opened.manifest.audience
    if not audience or state.called in audience:
        return
    shown = ", ".join(audience[:5]) + (" and others" if len(audience) > 5 else "")
    if state.called is None:
        raise TrustError(
            f"the bundle is for the sites {shown}, and this site has no name",
            hint="where it is one of them, name it with the root it was enrolled with: sealift-install enroll --name",
        )
    raise TrustError(
        f"the bundle is for the sites {shown}, and this one is {state.called}", hint="carry it to one of those"
    )


def _check_unchanged(site: Site, opened: Opened) -> None:
    """Refuse a release that this site admitted with another manifest: a release never changes."""
    for content in opened.contents:
        said = content.part.release
        known = site.state.release(said.name, said.version)
        if known and known.part.release.sha256 != said.sha256:
            raise TrustError(
                f"the bundle has another {known.label} than the one that this site has already admitted",
                hint="a release never changes: ask for it under a new version",
            )


def _check_room(bundle: Reader, opened: Opened, store: Store) -> None:
    """Refuse before anything is written where the disk cannot take what is missing."""
    missing = 0
    files = {
        store.path(kind, blob): blob.length
        for content in opened.contents
        for kind, blobs in opening.blobs_of(content)
        for blob in blobs
    }
    statements = [content.release.provenance for content in opened.contents]
    files |= {store.manifest(blob): blob.length for blob in statements if blob}
    for path, length in files.items():
        with contextlib.suppress(OSError):
            if path.stat().st_size == length:
                continue
        missing += length
    store.require(missing, bundle.path.name)


def _beside(state: State, opened: Opened, store: Store) -> int:
    """Bytes of packs that come whole, less those of no other releases: what an earlier try left, or what these have."""
    coming = sum(pack.length for pack in packs_of(opened) if not store.pack(pack).exists())
    own = {(content.release.name, content.release.version) for content in opened.contents}
    others = {
        store.pack(pack) for each in state.admitted if (each.name, each.version) not in own for pack in each.part.packs
    }
    with storing(store.folder):
        loose = (path for path in (store.folder / "packs").glob("*.zst") if path not in others)
        return coming - sum(path.stat().st_size for path in loose)


def _keep_listings(bundle: Reader, content: Content, store: Store) -> None:
    checked = {(kind, blob.sha256): blob for kind, blob, _ in listings(bundle, content)}
    for (kind, digest), blob in checked.items():
        path = store.path(kind, blob)
        if not sound(path, blob):
            compressed = bundle.read(member_of(bundle, kind, blob))
            check(compressed, digest, path.name)
            write_file(path, compressed)
    _keep_manifest(bundle, content, store)


def _keep_manifest(bundle: Reader, content: Content, store: Store) -> None:
    """Keep a release manifest, and before it the statement of provenance that it names."""
    for said in filter(None, (content.release.provenance, content.part.release)):
        if not sound(store.manifest(said), said):
            manifest = bundle.read(bundle.find(f"manifests/{said.sha256}.json"))
            check(manifest, said.sha256, f"{said.sha256}.json")
            write_file(store.manifest(said), manifest)


class _Copies:
    """Takes packs out of a bundle into the store."""

    def __init__(self, bundle: Reader, store: Store, progress: Progress) -> None:
        self._bundle = bundle
        self._store = store
        self._progress = progress
        self.written = self.present = 0
        self.repaired: list[str] = []

    def take(self, pack: Blob) -> None:
        path = self._store.pack(pack)
        there = path.exists()
        if there and sound(path, pack):
            self.present += pack.length
            self._progress.advance(pack.length)
            return
        self._copy(pack, path)
        self.written += pack.length
        if there:
            self.repaired.append(pack.sha256)

    def _copy(self, pack: Blob, path: Path) -> None:
        temporary = path.with_name(f"{TEMPORARY}{pack.sha256}")
        running = hashlib.sha256()
        with storing(path), Draft(temporary, mode=0o600) as draft:
            for piece in self._bundle.pieces(member_of(self._bundle, "packs", pack)):
                running.update(piece)
                draft.write(piece)
                self._progress.advance(len(piece))
            if running.hexdigest() != pack.sha256:
                raise damaged_pack(pack.sha256)
            draft.keep(path, sync=False)


def _commit(site: Site, opened: Opened, parts: Sequence[Part], copied: _Copies, now: datetime) -> Imported:
    former = site.state
    admitted = tuple(
        _admitted(former.release(part.release.name, part.release.version), part)
        or Admitted(part=part, bundle=opened.identity, time=now, published=content.published)
        for content, part in zip(opened.contents, parts, strict=True)
    )
    held = {(each.name, each.version): each for each in admitted}
    new = tuple(each for each in admitted if former.release(each.name, each.version) is None)
    events = [
        event(
            "admitted",
            {
                "release": each.label,
                "manifest": each.part.release.sha256,
                "bundle": opened.identity,
                "published": each.published,
                "root": opened.refreshed.root_version,
                "timestamp": opened.refreshed.timestamp_version,
            },
            now,
        )
        for each in new
    ]
    if waived := opened.refreshed.waiver:
        events.append(event("waived", _waived(waived, opened), now))
    if copied.repaired:
        events.append(event("repaired", {"packs": sorted(copied.repaired), "bundle": opened.identity}, now))
    state = msgspec.structs.replace(
        former,
        trust=opened.refreshed.trust,
        versions=opened.refreshed.versions,
        newest=max([former.newest, *_times(opened)]),
        admitted=tuple(held.get((each.name, each.version), each) for each in former.admitted) + new,
    )
    if state != former or events:
        site.commit(state, events)
    return Imported(
        identity=opened.identity,
        admitted=admitted,
        new=tuple(each.label for each in new),
        written=copied.written,
        present=copied.present,
        repaired=tuple(sorted(copied.repaired)),
        root=opened.refreshed.root_version,
        timestamp=opened.refreshed.timestamp_version,
        expires=opened.refreshed.expires,
        waived=waived.waiver.reason if waived else None,
    )


def _waived(waived: Accepted, opened: Opened) -> dict[str, object]:
    """What the ledger says of a waiver that was needed."""
    said = waived.waiver
    return {
        "bundle": opened.identity,
        "timestamp": said.timestamp.version,
        "waiver": waived.sha256,
        "signers": list(waived.signers),
        "reason": said.reason,
        "issued": said.issued,
        "expires": said.expires,
    }


def _admitted(known: Admitted | None, part: Part) -> Admitted | None:
    """What is known of a release, with where its content lies now."""
    return msgspec.structs.replace(known, part=part) if known else None


def _times(opened: Opened) -> Iterator[datetime]:
    """When the releases were published: signed times, so that a clock set far ahead leaves no trace.

    One that lies behind the end of the bundle's own metadata, or of its root, counts for nothing: every later
    bundle would be expired here, and whoever stole the online key could shut the site for good.
    """
    end = min(opened.refreshed.expires, opened.refreshed.root_expires)
    for content in opened.contents:
        with contextlib.suppress(ValueError):
            time = datetime.strptime(content.published, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
            if time < end:
                yield time
