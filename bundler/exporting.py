"""The export, from specs to a bundle: spec → sources → artifacts → release → publish → pack → bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sealift import FORMAT
from sealift.at_once import at_once
from sealift.container import HINT, Writer
from sealift.durable import storing
from sealift.errors import IntegrityError, UsageError
from sealift.listing import Blob, sound
from sealift.manifest import AUDIENCE_MAX, Bundle, target_of_bundle, target_of_release
from sealift.names import check_release, visible
from sealift.progress import Progress

from .bases import bases_for
from .carrying import Carried, carry
from .depots import sites
from .depots.depot import Depot
from .depots.holding import of_depot
from .depots.published import Reference, published_release, require
from .overlap import check_apart
from .reliance import reliance
from .scratch import scratch
from .sealing import Effort, Sealed, seal
from .spec import Spec

if TYPE_CHECKING:
    from securesystemslib.signer import Signer
    from tuf.api.metadata import Root

    from keys.lineup import Rule
    from keys.repository import State
    from sealift.receipt import Statement


@dataclass(frozen=True, kw_only=True)
class Times:
    """The times that an export works with; all come from its caller."""

    now: datetime
    """By which expiry is judged and set."""
    published: datetime
    """What new releases bear: now, or SOURCE_DATE_EPOCH."""
    epoch: int
    """What the members of the bundle bear, in seconds since 1970: 0, or SOURCE_DATE_EPOCH."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export made."""

    path: Path
    size: int
    """Bytes of the bundle."""
    identity: str
    carried: tuple[Carried, ...]
    root_fingerprint: str
    signed: bool
    """Whether anything had to be signed."""
    audience: tuple[str, ...]
    """The sites that it is for; every site where there are none."""
    asked: bool
    """Whether it was to be a difference."""
    inflates: bool = True
    """Whether zlib deflates at all the sites as it does here; otherwise archives cross as they are."""

    @property
    def sealed(self) -> tuple[Sealed, ...]:
        """The releases that the bundle holds."""
        return tuple(each.sealed for each in self.carried)


def export(
    wanted: Sequence[Spec | Reference],
    depot: Depot,
    out: Path,
    *,
    effort: Effort,
    signer_for: Callable[[Root], Signer],
    times: Times,
    progress: Progress,
    audience: Sequence[str] = (),
    team_signers: Callable[[Rule], Sequence[Signer]] = lambda _: (),
    since: Sequence[Reference] = (),
    receipts: Sequence[Statement] = (),
) -> Exported:
    """Seal what is wanted, publish it in the depot, and write it as one bundle to `out`.

    Args:
        wanted: specs, and releases that were published before.
        depot: where they are published.
        out: the bundle.
        effort: levels and workers.
        signer_for: unlocks the online key.
        times: the times that are written and judged by.
        progress: told the bytes of each step.
        audience: the names of the sites that alone may import it; every site where there are none.
        team_signers: unlocks the keys of a team that are at hand.
        since: releases that the sites hold, so that each release travels as a difference to them.
        receipts: of the sites that the bundle is for; what all of them hold is left out.

    Raises:
        PolicyError: a team must sign its release first; its request waits in the depot.
        MalformedError: a name in the audience is none.
        UsageError: a release was published with other content, is unknown, or would hold the depot or `out`; or
            what the sites hold is unknown or is what is wanted.
        SourceError: a source cannot be collected.
        TrustError: the depot's metadata does not verify, or the key is not entitled.
        StoreError: the disk refuses; `out` is whole or not there.
    """

    @cache
    def verified() -> State:
        from keys.repository import verify

        return verify(depot.folder)

    if len({(each.name, each.version) for each in wanted}) != len(wanted):
        raise UsageError("a release is named twice", hint="name each release once")
    check_places(wanted, depot, out)
    named = _audience(audience)
    with depot.lock(), scratch(depot.folder) as folder:
        sealed = tuple(_sealed(each, depot, verified, effort, progress) for each in wanted)
        from keys.repository import Addition, publish

        state = verified()
        known = tuple(sites.accept(depot, each, state.fingerprint) for each in receipts)
        relied = reliance(known)
        carried = tuple(
            carry(
                each,
                depot,
                of_depot(depot, each.release, each.part),
                bases_for(each.release, depot, state, since=since, sites=known),
                folder,
                effort=effort,
                progress=progress,
                relied=relied,
            )
            for each in sealed
        )
        parts = tuple(each.part for each in carried)
        manifest = Bundle(format=FORMAT, type="bundle", root_version=state.root.version, parts=parts, audience=named)
        blob, _ = depot.keep_manifest(manifest)
        additions = {target_of_bundle(blob.sha256): Addition(length=blob.length, sha256=blob.sha256, kind="bundle")}
        for part in parts:
            said = part.release
            additions[target_of_release(said.name, said.version)] = Addition(
                length=said.length, sha256=said.sha256, kind="release"
            )
        published = publish(
            depot.folder,
            additions,
            signer_for=signer_for,
            now=times.now,
            published=times.published,
            team_signers=team_signers,
        )
        _check_content([each for each in carried if not each.sealed.new], effort.threads, progress)
        size = _write(
            out, depot, blob, carried, published.files, times.epoch, workers=effort.threads, progress=progress
        )
        if known:
            sites.remember(depot, known, _sent(blob.sha256, carried, size, times.now))
    return Exported(
        path=out,
        size=size,
        identity=blob.sha256,
        carried=carried,
        root_fingerprint=state.fingerprint,
        signed=published.changed,
        audience=named,
        asked=bool(since or receipts),
        inflates=relied.zlib,
    )


def _sent(identity: str, carried: Sequence[Carried], size: int, now: datetime) -> sites.Sent:
    bases = {f"{base.name}@{base.version}": None for each in carried for base in each.part.base}
    return sites.Sent(
        bundle=identity,
        releases=tuple(each.release.label for each in carried),
        base=tuple(bases),
        size=size,
        time=f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
    )


def _audience(names: Sequence[str]) -> tuple[str, ...]:
    if len(set(names)) > AUDIENCE_MAX:
        raise UsageError(
            f"a bundle is for {AUDIENCE_MAX} sites at most, and {len(set(names))} are named",
            hint="export it twice, or for every site",
        )
    return tuple(sorted({check_release(name) for name in names}))


def check_places(wanted: Sequence[Spec | Reference], depot: Depot, out: Path) -> None:
    """Refuse specs that would take in what the export itself writes, and a bundle that has no place to be.

    Raises:
        UsageError: one would, or `out` is a folder, a device or the like, in no folder, or in the depot.
        StoreError: where `out` is cannot be read.
    """
    with storing(out):
        folder, nowhere = out.is_dir(), not out.parent.is_dir()
        special = out.exists() and not out.is_file()
        inside = out.resolve().is_relative_to(depot.folder.resolve())
    if folder or nowhere:
        raise UsageError(
            f"{visible(str(out))} is a folder" if folder else f"{visible(str(out.parent))} is no folder",
            hint="name the bundle's file, in a folder that exists",
        )
    if special:
        raise UsageError(
            f"{visible(str(out))} is no regular file, and would be replaced by one", hint="name the bundle's file"
        )
    if inside:
        raise UsageError(
            f"{visible(str(out))} lies in the depot, whose own files it might replace",
            hint="name a file outside the depot",
        )
    for each in wanted:
        if isinstance(each, Spec):
            check_apart(each, {"the depot": depot.folder, "the bundle": out})


def _sealed(
    wanted: Spec | Reference, depot: Depot, verified: Callable[[], State], effort: Effort, progress: Progress
) -> Sealed:
    if isinstance(wanted, Spec):
        name, version = wanted.name, wanted.version
        return seal(
            wanted,
            depot,
            lambda: published_release(verified(), name, version),
            effort=effort,
            progress=progress,
        )
    known = require(verified(), depot, wanted.name, wanted.version)
    return Sealed(part=depot.part(wanted.name, wanted.version), release=depot.release(known), new=False)


def _check_content(carried: Sequence[Carried], workers: int, progress: Progress) -> None:
    """Refuse to carry what was damaged in the depot since it was sealed."""
    blobs = tuple(_contents(carried))
    progress.start("checking the depot", sum(blob.length for _, _, blob in blobs))

    def one(item: tuple[str, Path, Blob]) -> None:
        _, path, blob = item
        if not sound(path, blob):
            raise IntegrityError(f"{path} is missing or damaged", hint="restore the depot from its backup")
        progress.advance(blob.length)

    at_once(one, blobs, workers=workers)
    progress.finish()


def _write(
    out: Path,
    depot: Depot,
    manifest: Blob,
    carried: Sequence[Carried],
    metadata: Sequence[Path],
    epoch: int,
    *,
    workers: int,
    progress: Progress,
) -> int:
    hint = {
        "format": FORMAT,
        "bundle": manifest.sha256,
        "volume": 1,
        "volumes": 1,
        "releases": [each.release.label for each in carried],
    }
    contents = _contents(carried)
    progress.start(f"writing {out.name}", sum(blob.length for _, _, blob in contents))
    with Writer(out, time=epoch) as bundle:
        bundle.add(HINT, msgspec.json.encode(hint) + b"\n")
        for path in metadata:
            bundle.add(f"metadata/{path.name}", path.read_bytes())
        statements = [each.release.provenance for each in carried]
        manifests: list[Blob] = [
            manifest,
            *(each.part.release for each in carried),
            *(statement for statement in statements if statement is not None),
        ]
        for blob in manifests:
            path = depot.path("manifests", blob)
            bundle.add(f"manifests/{path.name}", depot.read(path, blob))
        files = [(f"{kind}/{path.name}", path, blob.length) for kind, path, blob in contents]
        bundle.copy(files, workers=workers, progress=progress)
        size = bundle.finish()
    progress.finish()
    return size


def _contents(carried: Sequence[Carried]) -> list[tuple[str, Path, Blob]]:
    """Every distinct content file of a bundle, in the order of its members."""
    by_kind: dict[str, dict[str, tuple[Path, Blob]]] = {"trees": {}, "index": {}, "packs": {}}
    for each in carried:
        for kind, path, blob in each.files():
            by_kind[kind].setdefault(blob.sha256, (path, blob))
    return [(kind, path, blob) for kind, found in by_kind.items() for path, blob in found.values()]
