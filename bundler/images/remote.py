"""Origin: a registry, or a mirror of it. What the cache or a release of the depot holds is not fetched again."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from sealift.at_once import at_once
from sealift.errors import SealiftError, SourceError
from sealift.oci.address import Address
from sealift.oci.credentials import credential
from sealift.oci.hosts import Endpoint, endpoints
from sealift.oci.layout import Root
from sealift.oci.model import Descriptor, Manifest, named, read
from sealift.oci.names import Name, fallback_tag, hex_of
from sealift.oci.registry import Registry
from sealift.oci.session import Again, Session, Terms
from sealift.patience import Patience
from sealift.wire.wire import Wire

from ..network.cache import Part
from .shed import Shed

WORKERS = 4
"""Requests at once."""
SUFFIXES = ("sig", "att", "sbom")
"""What cosign's tags for a manifest end in."""
_FURTHER = 1 << 20
"""Bytes that an attempt must bring so that the attempts are counted anew."""
_START = re.compile(r"bytes ([0-9]{1,18})-")


class Remote:
    """An image in a registry."""

    def __init__(
        self,
        name: Name,
        shed: Shed,
        wire: Wire,
        *,
        unsafe_http: bool = False,
        token_host: str | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._name = name
        self._shed = shed
        self._wire = wire
        self._token_host = token_host
        self._patience = patience or Patience()
        self._endpoints = endpoints(name, os.environ, unsafe_http=unsafe_http)
        self._registry: Registry | None = None
        self._known: dict[str, bytes] = {}
        """Manifests that came with their digests' descriptors."""
        self._offers_list = True
        """Whether the registry knows the referrers API, as far as it was asked."""
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def opened(self) -> Iterator[Remote]:
        """This, while its line is open."""
        with self._wire:
            yield self

    def _open(self, endpoint: Endpoint) -> Registry:
        scheme = "http" if endpoint.http else "https"
        host, _, _ = endpoint.place.partition("/")
        own = endpoint == self._endpoints[-1]
        asked = self._name if own else Name(registry=endpoint.host, repository=endpoint.repository)
        terms = Terms(
            failure=SourceError,
            credential=lambda: credential(asked, os.environ),
            token_host=self._token_host,
            patience=self._patience,
        )
        session = Session(Address(scheme=scheme, host=host.lower(), path="/"), self._wire, terms)
        return Registry(session, endpoint.repository)

    def root(self, digest: str | None) -> Root:
        """The image by its digest or its tag, from the first endpoint that has it."""
        wanted = digest or self._name.digest
        if wanted and (held := self._held(wanted)) is not None:
            return Root(descriptor=held, name=self._name, tag=self._name.tag)
        failed: list[SealiftError] = []
        for endpoint in self._endpoints:
            registry = self._open(endpoint)
            try:
                found = registry.require(wanted or self._name.reference)
            except SourceError as error:
                failed.append(error)
                continue
            self._registry = registry
            self._known[found.descriptor.digest] = found.content
            return Root(descriptor=found.descriptor, name=self._name, tag=self._name.tag)
        last = failed[-1]
        hint = last.hint or "check the name and the network"
        raise SourceError("; ".join(error.message for error in failed), hint=hint) from last

    def _held(self, digest: str) -> Descriptor | None:
        """What names a manifest that the cache or the depot holds."""
        path = self._shed.lookup(digest)
        if path is None:
            return None
        content = path.read_bytes()
        self._known[digest] = content
        return named(content, None, f"manifest {digest[:19]}…")

    def _at(self) -> Registry:
        """The registry that has the image; found by asking, where the cache had its first manifest."""
        with self._lock:
            if self._registry is None:
                self._registry = self._open(self._endpoints[-1] if len(self._endpoints) == 1 else self._reachable())
            return self._registry

    def _reachable(self) -> Endpoint:
        for endpoint in self._endpoints[:-1]:
            with contextlib.suppress(SourceError):
                if self._open(endpoint).digest_of(next(iter(self._known))) is not None:
                    return endpoint
        return self._endpoints[-1]

    def manifest(self, descriptor: Descriptor) -> bytes:
        """A manifest's content, from the cache or the depot where they have it."""
        content = self._known.get(descriptor.digest)
        if content is None and (path := self._shed.obtain(descriptor)) is not None:
            content = path.read_bytes()
        if content is None:
            content = self._at().require(descriptor.digest).content
        return content

    def descriptor(self, digest: str) -> Descriptor:
        """What names the manifest of a digest."""
        held = self._held(digest)
        if held is not None:
            return held
        found = self._at().require(digest)
        self._known[digest] = found.content
        return found.descriptor

    def attached(self, manifests: Sequence[Manifest]) -> list[Root]:
        """What the registry lists, or keeps under the tags that stand for such a list, and cosign's tags."""
        found: dict[str, list[Root]] = {}

        def one(digest: str) -> None:
            found[digest] = [*self._listed(digest), *self._tagged(digest)]

        digests = tuple(manifest.descriptor.digest for manifest in manifests)
        if digests:
            one(digests[0])
            at_once(one, digests[1:], workers=WORKERS)
        return [root for digest in digests for root in found[digest]]

    def _listed(self, digest: str) -> list[Root]:
        listed = self._at().referrers(digest) if self._offers_list else None
        if listed is None:
            self._offers_list = False
            fallback = self._at().manifest(fallback_tag(digest))
            if fallback is None:
                return []
            listed = list(read(fallback.content, fallback.descriptor).children)
        return [Root(descriptor=each, name=self._name) for each in listed]

    def _tagged(self, digest: str) -> list[Root]:
        roots = []
        for suffix in SUFFIXES:
            tag = f"{fallback_tag(digest)}.{suffix}"
            if (found := self._at().manifest(tag)) is not None:
                self._known[found.descriptor.digest] = found.content
                roots.append(Root(descriptor=found.descriptor, name=self._name, tag=tag))
        return roots

    def blobs(self, wanted: Sequence[Descriptor]) -> dict[str, Path]:
        """The blobs, each from the cache or the depot where it is there, several at once."""
        found: dict[str, Path] = {}

        def one(blob: Descriptor) -> None:
            path = self._shed.obtain(blob)
            if path is not None:
                self._shed.progress.advance(blob.size)
            elif not blob.size:
                path = self._shed.keep(b"", blob.digest)
            else:
                path = self._fetch(self._at(), blob)
            found[blob.digest] = path

        at_once(one, tuple(sorted(wanted, key=lambda blob: -blob.size)), workers=WORKERS)
        return found

    def _fetch(self, registry: Registry, blob: Descriptor) -> Path:
        with self._shed.part(blob) as part:
            self._shed.progress.advance(part.length)
            registry.session.persist(lambda: self._attempt(registry, blob, part))
            return self._shed.finish(part, blob, f"{registry.place}@{blob.digest[:19]}…")

    def _attempt(self, registry: Registry, blob: Descriptor, part: Part) -> None:
        """Ask once for what a part lacks, and append it."""
        if part.length > blob.size:
            part.restart(None)
        if part.length == blob.size and (part.sha256 == hex_of(blob.digest) or not part.resumed):
            return
        if part.length == blob.size:
            part.restart(None)
        before = part.length
        with registry.blob(blob.digest, part.length) as (answer, where):
            if answer.status == 200 and part.length:
                part.restart(None)
            elif answer.status == 206:
                start = _START.match(answer.header("content-range") or "")
                if not start or int(start[1]) != part.length:
                    part.restart(None)
                    raise Again(SourceError(f"{where.shown}: the registry sends another range than was asked for"))
                part.resumed = True
            try:
                for piece in registry.session.pieces(answer, where, blob.size - part.length):
                    part.append(piece)
                    self._shed.progress.advance(len(piece))
            except Again as again:
                again.further = part.length - before >= _FURTHER
                raise
        if part.length < blob.size:
            raise Again(
                SourceError(f"{where.shown}: the connection broke off", hint="run the same command again: it resumes"),
                further=part.length - before >= _FURTHER,
            )
        if part.sha256 != hex_of(blob.digest) and part.resumed:
            part.restart(None)
            raise Again(SourceError(f"{where.shown}: what was resumed does not fit together"), 0.0)
