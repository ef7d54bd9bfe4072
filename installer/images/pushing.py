"""Pushing: what a registry lacks of a release's images is brought there, by digests alone, and no tag is touched.

A manifest that is there vouches for what it lists, since a registry takes none whose parts it does not have: one
question for each manifest is all that an image costs that is there already. The blobs of the others are looked for
where they are to be, then mounted from a repository beside it, and sent only where neither helps. A manifest follows
what it lists, so that the registry finds nothing missing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sealift.at_once import at_once
from sealift.oci.model import OCI_INDEX, Descriptor, Manifest, named, read
from sealift.oci.names import fallback_tag
from sealift.oci.registry import Registry
from sealift.oci.transport import Streamed
from sealift.progress import Progress
from sealift.strict_json import canonical

from .images import Image

Open = Callable[[str], Registry]
"""The repository of a name, at the site's registry."""


@dataclass(frozen=True, kw_only=True)
class Placed:
    """An image and the repository that it belongs to."""

    image: Image
    repository: str


@dataclass(kw_only=True)
class Pushed:
    """What a push did."""

    sent: int = 0
    """Bytes of blobs that went over the line."""
    there: int = 0
    """Bytes of blobs that the registry had, or mounted."""
    tags: dict[tuple[str, str], str] = field(default_factory=dict)
    """The digest that each tag is to stand for, by repository and tag."""


@dataclass(kw_only=True)
class _Due:
    """A blob, and where it belongs."""

    blob: Descriptor
    image: Image
    """One that holds it."""
    unsure: dict[str, None] = field(default_factory=dict)
    """The repositories in which it has to be looked for, in order."""
    vouched: dict[str, None] = field(default_factory=dict)
    """The repositories that have a manifest which lists it."""


class Push:
    """Brings images to a registry."""

    def __init__(self, open_: Open, *, workers: int, progress: Progress, thorough: bool = False) -> None:
        """Take a registry.

        Args:
            open_: its repositories.
            workers: requests at once.
            progress: told the bytes of what is there.
            thorough: whether every blob is looked for, whatever manifests are there: for one that has lost some.
        """
        self._open = open_
        self._thorough = thorough
        self._workers = workers
        self._progress = progress
        self._lock = threading.Lock()
        self._done = Pushed()

    def run(self, placed: Sequence[Placed]) -> Pushed:
        """Bring everything there.

        Raises:
            DeployError: the registry refuses or cannot be reached.
            IntegrityError: the store is damaged, or the registry makes something else of what it is sent.
        """
        missing = self._missing(placed)
        due = self._due(placed, missing)
        self._done.there = sum(each.blob.size for each in due if not each.unsure)
        self._progress.advance(self._done.there)
        largest = sorted((each for each in due if each.unsure), key=lambda each: -each.blob.size)
        at_once(self._blob, tuple(largest), workers=self._workers)
        at_once(lambda each: self._manifests(each, missing), tuple(placed), workers=self._workers)
        for each in placed:
            self._tags(each)
        return self._done

    def _missing(self, placed: Sequence[Placed]) -> set[tuple[str, str]]:
        """The manifests that the registry lacks, by repository and digest."""
        asked = {(each.repository, digest) for each in placed for digest in each.image.graph.manifests}
        missing: set[tuple[str, str]] = set()

        def look(one: tuple[str, str]) -> None:
            repository, digest = one
            if self._open(repository).digest_of(digest) is None:
                missing.add(one)

        at_once(look, tuple(sorted(asked)), workers=self._workers)
        return missing

    def _due(self, placed: Sequence[Placed], missing: set[tuple[str, str]]) -> list[_Due]:
        """Every blob of the images, once."""
        found: dict[str, _Due] = {}
        for each in placed:
            graph = each.image.graph
            for manifest in graph.manifests.values():
                unsure = self._thorough or (each.repository, manifest.descriptor.digest) in missing
                for digest in (part.digest for part in (*manifest.blobs, *manifest.children)):
                    if digest not in graph.manifests:
                        due = found.setdefault(digest, _Due(blob=graph.blobs[digest], image=each.image))
                        (due.unsure if unsure else due.vouched)[each.repository] = None
        for due in found.values():
            if not self._thorough:
                due.unsure = {repository: None for repository in due.unsure if repository not in due.vouched}
        return list(found.values())

    def _blob(self, due: _Due) -> None:
        """Bring a blob to every repository that it belongs to."""
        blob = due.blob
        lacking = [repository for repository in due.unsure if not self._open(repository).has_blob(blob)]
        having = [*due.vouched, *(repository for repository in due.unsure if repository not in lacking)]
        sent = 0
        for repository in lacking:
            registry = self._open(repository)
            if not (having and registry.mount(blob, having[0])):
                registry.upload(blob, Streamed(blob.size, lambda start: self._pieces(due.image, blob, start)))
                sent += 1
            having.append(repository)
        with self._lock:
            self._done.sent += sent * blob.size
            self._done.there += blob.size if not sent else 0
            if not sent:
                self._progress.advance(blob.size)

    def _pieces(self, image: Image, blob: Descriptor, start: int) -> Iterator[bytes]:
        for piece in image.pieces(blob.digest, start):
            yield piece
            self._progress.advance(len(piece))

    def _manifests(self, placed: Placed, missing: set[tuple[str, str]]) -> None:
        registry = self._open(placed.repository)
        for manifest in _children_first(placed.image):
            if (placed.repository, manifest.descriptor.digest) in missing:
                registry.put_manifest(manifest.descriptor.digest, manifest.descriptor, manifest.content)
            self._progress.advance(manifest.descriptor.size)

    def _tags(self, placed: Placed) -> None:
        """Note the tags of an image, and those that stand for lists of referrers where the registry has no other."""
        for root in placed.image.roots:
            if root.tag:
                self._done.tags[(placed.repository, root.tag)] = root.descriptor.digest
        about: dict[str, list[Manifest]] = {}
        for manifest in placed.image.graph.manifests.values():
            if manifest.subject:
                about.setdefault(manifest.subject, []).append(manifest)
        registry = self._open(placed.repository)
        for subject, referrers in sorted(about.items()):
            if registry.referrers(subject) is None:
                digest = self._list(registry, placed.repository, subject, referrers)
                self._done.tags[(placed.repository, fallback_tag(subject))] = digest

    def _list(self, registry: Registry, repository: str, subject: str, referrers: list[Manifest]) -> str:
        """The digest of the list of what refers to `subject`, ours added to what the registry lists already."""
        former = registry.manifest(fallback_tag(subject))
        listed: dict[str, dict[str, object]] = {}
        if former is not None:
            listed = {each.digest: _entry(each) for each in read(former.content, former.descriptor).children}
        new = [each for each in referrers if each.descriptor.digest not in listed]
        if former is not None and not new:
            return former.descriptor.digest
        for each in sorted(new, key=lambda manifest: manifest.descriptor.digest):
            more: dict[str, object] = {"artifactType": each.artifact_type}
            if each.annotations:
                more["annotations"] = dict(each.annotations)
            listed[each.descriptor.digest] = _entry(each.descriptor) | more
        tree = {"manifests": list(listed.values()), "mediaType": OCI_INDEX, "schemaVersion": 2}
        content = canonical(tree)
        descriptor = named(content, OCI_INDEX, f"{repository}: a list of referrers")
        registry.put_manifest(descriptor.digest, descriptor, content)
        return descriptor.digest


def _entry(descriptor: Descriptor) -> dict[str, object]:
    entry: dict[str, object] = {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    }
    return entry | ({"annotations": dict(descriptor.annotations)} if descriptor.annotations else {})


def _children_first(image: Image) -> Iterator[Manifest]:
    """The manifests of an image, each behind what it lists."""
    seen: set[str] = set()

    def visit(digest: str) -> Iterator[Manifest]:
        manifest = image.graph.manifests.get(digest)
        if manifest is None or digest in seen:
            return
        seen.add(digest)
        for child in manifest.children:
            yield from visit(child.digest)
        yield manifest

    for root in image.roots:
        yield from visit(root.descriptor.digest)


def problem(open_: Open, placed: Sequence[Placed], *, workers: int) -> str | None:
    """What a registry lacks of these images, asked of the registry itself; None where it has everything.

    Raises:
        DeployError: the registry cannot be asked.
        IntegrityError: it gives back something else than it was given.
    """
    lacking: list[str] = []
    work: list[tuple[str, Descriptor | Manifest]] = []
    for each in placed:
        work += [(each.repository, manifest) for manifest in each.image.graph.manifests.values()]
        work += [
            (each.repository, blob)
            for blob in each.image.graph.blobs.values()
            if blob.digest not in each.image.graph.manifests
        ]

    def look(item: tuple[str, Descriptor | Manifest]) -> None:
        repository, what = item
        registry = open_(repository)
        there = registry.check(what) if isinstance(what, Manifest) else registry.has_blob(what)
        if not there:
            digest = what.descriptor.digest if isinstance(what, Manifest) else what.digest
            lacking.append(f"{registry.place}@{digest[:19]}…")

    at_once(look, tuple(work), workers=workers)
    if not lacking:
        return None
    return f"the registry lacks {min(lacking)}" + (f" and {len(lacking) - 1} more" if lacking[1:] else "")
