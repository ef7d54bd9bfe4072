"""Rebuilding: a difference becomes ordinary packs, trees and an index of the site's own.

The trees come first: what they give must have the digests of the signed release manifest. Then each frame is
read from the bundle, its digest checked, decompressed against the chunks of the bases that it refers to, and each
chunk that comes out must have the digest in the tree, before it counts. It is compressed anew, so that nothing
in the store depends on anything else. What the bases hold stays where it is: the new index names its frames.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import zstandard

from sealift import difference as differences
from sealift import index as indexes
from sealift.addition import WORTH, Addition, quickest
from sealift.container import Member, Reader
from sealift.content import Chunks, Content
from sealift.crew import Body, Channel, Crew
from sealift.difference import Inflated, Patch
from sealift.durable import write_file
from sealift.errors import IntegrityError, StoreError
from sealift.frame import compressible, seal, store
from sealift.hashing import damaged_pack
from sealift.heap import retain
from sealift.listing import Blob, packed, sound
from sealift.manifest import Part
from sealift.opening import Content as Offered
from sealift.opening import member_of
from sealift.progress import Progress

from ..records.state import Admitted, State
from .inventory import Inventory
from .packs import Packs
from .remaking import Aside, Remade, remake, space
from .store import Store
from .trees import rebuild_trees
from .window import Task, Window, size_of

LEVEL = 1
"""zstd's level for what is rebuilt: quick, since it crosses nothing any more."""
ROOM = 12 << 20
"""Bytes of decompressed frames of the bases that a worker keeps: what a reference mostly spans."""
RETAINED = 32 << 20
"""Bytes that a worker retains of its heap where there are many programs: of each it holds some pieces of megabytes."""


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What became of a difference."""

    part: Part
    """Where the whole release lies now."""
    written: int
    """Bytes of packs that were written."""
    present: int
    """Bytes of packs that were there already."""


class _Made(NamedTuple):
    frame: bytes
    size: int
    digest: str


def bases_of(state: State, store: Store, content: Offered) -> tuple[Admitted, ...]:
    """The releases that a difference refers to; none where the release came whole, or the site holds it whole.

    Raises:
        StoreError: the site does not hold them all.
    """
    part = content.part
    if part.base and (known := state.release(part.release.name, part.release.version)) and whole(store, known.part):
        return ()
    found = []
    missing = []
    for said in part.base:
        known = state.release(said.name, said.version)
        if known is None or known.part.release != said or not there(store, known.part):
            missing.append(f"{said.name}@{said.version}")
        else:
            found.append(known)
    if missing:
        raise StoreError(
            f"the bundle has only what {content.release.label} adds to {', '.join(missing)}, "
            "which this site does not hold",
            hint=_remedy(state, content),
        )
    return tuple(found)


def _remedy(state: State, content: Offered) -> str:
    held = [each.label for each in state.admitted if each.name == content.release.name]
    ask = f"sealift-bundle export {content.release.label} --depot DEPOT --out FILE"
    if not held:
        return f"ask for a whole bundle: {ask}"
    return f"ask for one that fits: {ask} --since {held[-1]} (or carry a receipt: sealift-install receipt)"


def there(store: Store, part: Part) -> bool:
    """Whether all packs of a part are there with their sizes; their digests are checked where they are read."""
    try:
        return all(store.pack(pack).stat().st_size == pack.length for pack in part.packs)
    except OSError:
        return False


def whole(store: Store, part: Part) -> bool:
    """Whether every file of an admitted part is there and sound."""
    try:
        return all(sound(path, blob) for path, blob in store.files_of(part))
    except IntegrityError:
        return False


def rebuild(
    bundle: Reader,
    content: Offered,
    bases: Sequence[Admitted],
    store: Store,
    *,
    workers: int,
    progress: Progress,
    beside: int = 0,
) -> Rebuilt:
    """Make a whole part of a difference, and write its packs, trees and index into the store.

    Args:
        bundle: the bundle that holds it.
        content: the difference.
        bases: the admitted releases that it refers to, in its order.
        store: the site's.
        workers: processes that decompress and compress.
        progress: told the bytes of content.
        beside: bytes that the disk must have for others; less than nothing where some of it may lie there already.

    Raises:
        IntegrityError: something does not match its digest, in the bundle or in the store.
        MalformedError: the difference breaks a rule of the format.
        StoreError: the disk or the medium refuses.
    """
    with Crew(1, lambda channel: channel.send(rebuild_trees(bundle, content, bases, store))) as crew:
        olds = [store.content(each.part) for each in bases]
        listings, digests, lengths = crew.channels[0].receive()
    held = bytearray(any(digest in old.numbers for old in olds) for digest in digests)
    index = content.part.index
    compressed = bundle.read(member_of(bundle, "index", index))
    taken = bytes(held)
    brought = list(
        differences.checked(compressed, index, content.part.packs, lengths, held, [old.sizes for old in olds])
    )
    if needed := space(brought):
        store.require(max(0, needed + beside), bundle.path.name)
    packs = Packs(store)
    progress.start(f"rebuilding {content.release.label}", sum(map(size_of, brought)))
    frames = Inventory(olds, [each.part for each in bases])
    for number, digest in enumerate(digests):
        if taken[number]:
            frames.held(number, digest)
    try:
        _carry_out(bundle, content, brought, digests, lengths, olds, packs, workers, progress)
        blobs = packs.finish()
    finally:
        packs.abandon()
    progress.finish()
    named, everything = frames.finish(packs.frames, blobs)
    file, own, _ = packed(indexes.KIND, (msgspec.json.encode(frame) for frame in everything))
    for listing, blob in listings:
        _keep(store.tree(blob), listing, blob)
    _keep(store.index(own), file, own)
    part = Part(release=content.part.release, index=own, packs=named, trees=tuple(blob for _, blob in listings))
    return Rebuilt(part=part, written=packs.written, present=packs.present)


def _keep(path: Path, content: bytes, blob: Blob) -> None:
    if not sound(path, blob):
        write_file(path, content)


def _carry_out(
    bundle: Reader,
    content: Offered,
    brought: Sequence[Patch | Inflated],
    digests: Sequence[bytes],
    lengths: Sequence[int],
    olds: Sequence[Content],
    packs: Packs,
    workers: int,
    progress: Progress,
) -> None:
    members = [member_of(bundle, "packs", pack) for pack in content.part.packs]
    numbered = (Task(part, [(digests[number], lengths[number]) for number in _numbers(part)]) for part in brought)
    aside = Aside(packs.folder, packs.folder.parent)
    values = sum(map(_values, brought))
    work = _rebuilder(bundle, members, olds, aside, quickest(values), RETAINED if values >= WORTH else 0)
    window = Window(numbered)
    with aside, Crew(workers, work) as crew:
        for answers in crew.in_order(window):
            for (number, task), one in zip(window.first(), answers, strict=True):
                progress.advance(size_of(task.part))
                if isinstance(one, _Made):
                    assert isinstance(task.part, Patch)
                    packs.add(one.frame, one.size, one.digest, task.part.chunks)
                    continue
                for frame, remade in aside.take(number, one):
                    packs.add(frame, remade.size, remade.digest, remade.chunks)
            window.written()


def _values(part: Patch | Inflated) -> int:
    """Values that are added to bytes."""
    patches = (part,) if isinstance(part, Patch) else part.patches
    return sum(patch.values for patch in patches)


def _numbers(part: Patch | Inflated) -> Iterator[int]:
    """The chunks that it brings."""
    return part.numbers() if isinstance(part, Patch) else part.recipe.numbers()


def _rebuilder(
    bundle: Reader, members: Sequence[Member], olds: Sequence[Content], aside: Aside, add: Addition, retained: int
) -> Body:
    def fetch(patch: Patch) -> bytes:
        member = members[patch.pack]
        frame = bundle.part(member, patch.offset, patch.length)
        if hashlib.sha256(frame).hexdigest() != patch.sha256:
            raise damaged_pack(member.digest)
        return frame

    def opened(patch: Patch, reference: bytes) -> bytes:
        return differences.content_of(patch, fetch(patch), reference, add)

    def body(channel: Channel) -> None:
        if retained:
            retain(retained)
        chunks = Chunks(olds, room=ROOM)
        probe = zstandard.ZstdCompressor(level=1)
        compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=False, write_content_size=True, threads=0)

        def again(content: memoryview) -> bytes:
            return seal([content], compressor) if compressible(content, probe) else store([content])

        def made(number: int, task: Task) -> _Made | list[Remade]:
            if isinstance(task.part, Patch):
                frame = _rebuilt(fetch(task.part), task.part, task.chunks, chunks, add, again)
                return _Made(frame, task.part.size, hashlib.sha256(frame).hexdigest())
            place, room = aside.place(number), aside.room(number)
            return remake(task.part, task.chunks, sizes, chunks, opened, again, place, room)

        sizes = [old.sizes for old in olds]
        while True:
            channel.send([made(number, task) for number, task in channel.receive()])

    return body


def _rebuilt(
    frame: bytes,
    patch: Patch,
    pieces: Sequence[tuple[bytes, int]],
    chunks: Chunks,
    add: Addition,
    again: Callable[[memoryview], bytes],
) -> bytes:
    """One frame for the store; one without reference stays as it came."""
    reference = b"".join(chunks.read(base, number) for base, number in patch.referred())
    content = memoryview(differences.content_of(patch, frame, reference, add))
    start = 0
    for digest, size in pieces:
        if hashlib.sha256(content[start : start + size]).digest() != digest:
            raise IntegrityError(
                "what a frame of the difference gives is not what was signed", hint="ask for a whole bundle"
            )
        start += size
    return again(content) if patch.reference else frame
