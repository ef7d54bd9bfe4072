"""A registry, as the OCI distribution specification 1.1 has it: what it holds, and what is added to it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import IntegrityError, MalformedError
from ..names import visible
from .address import Address, NoAddress, quoted
from .model import MANIFEST_MAX, MANIFESTS, OCI_INDEX, Descriptor, Manifest, check, named, read
from .session import Again, Session
from .transport import Answer, Body, Content
from .upload import Upload

PAGES_MAX = 64
"""Pages of referrers of one manifest."""


@dataclass(frozen=True, kw_only=True)
class Tagged:
    """What a tag or a digest stands for at a registry."""

    descriptor: Descriptor
    content: bytes


class Registry:
    """One repository of a registry. It may be used by several threads at once."""

    def __init__(self, session: Session, repository: str, *, push: bool = False) -> None:
        self.session = session
        self.repository = repository
        self._scope = f"repository:{repository}:{'pull,push' if push else 'pull'}"

    @property
    def place(self) -> str:
        """Host and repository."""
        return f"{self.session.base.host}/{self.repository}"

    def _at(self, path: str) -> Address:
        base = self.session.base
        return Address(scheme=base.scheme, host=base.host, path=f"/v2/{self.repository}/{path}")

    def manifest(self, reference: str) -> Tagged | None:
        """What a tag or a digest stands for; None where there is no such thing.

        Raises:
            IntegrityError: the content has another digest than was asked for, or than the registry says.
            MalformedError: it is no manifest that is understood.
            SealiftError: the registry refuses or cannot be reached.
        """
        where, what = self._at(f"manifests/{reference}"), f"{self.place}:{reference}"

        def attempt() -> Tagged | None:
            with self.session.ask("GET", where, scope=self._scope, headers={"Accept": ", ".join(MANIFESTS)}) as answer:
                if answer.status == 404:
                    return None
                if answer.status != 200:
                    raise self.session.refused(answer.status, what)
                content = self._whole(answer, where, MANIFEST_MAX)
                said, kind = answer.header("docker-content-digest"), answer.header("content-type")
            descriptor = named(content, kind, what)
            wanted = reference if ":" in reference else said
            if wanted is not None and wanted.startswith("sha256:") and wanted != descriptor.digest:
                raise IntegrityError(
                    f"{what}: the registry sends other bytes than it says: {visible(wanted)[7:23]}… is due, "
                    f"{descriptor.digest[7:23]}… came",
                    hint="it is damaged or hostile: ask another one, or the one who keeps it",
                )
            return Tagged(descriptor=descriptor, content=content)

        return self.session.persist(attempt)

    def require(self, reference: str) -> Tagged:
        """What a tag or a digest stands for; raises as `manifest`, and where there is no such thing."""
        found = self.manifest(reference)
        if found is None:
            raise self.session.refused(404, f"{self.place}{'@' if ':' in reference else ':'}{reference}")
        return found

    def _whole(self, answer: Answer, where: Address, limit: int) -> bytes:
        """The body, complete: a server that says how long it is, and sends less, broke off."""
        content = b"".join(self.session.pieces(answer, where, limit))
        said = answer.header("content-length")
        if said is not None and said.isdigit() and int(said) != len(content):
            raise Again(self.session.terms.failure(f"{where.shown}: the connection broke off"))
        return content

    def digest_of(self, reference: str) -> str | None:
        """The digest that a tag stands for, or a digest itself where it is there; None where there is no such thing.

        Raises:
            SealiftError: the registry refuses or cannot be reached.
        """
        where = self._at(f"manifests/{reference}")

        def attempt() -> str | None:
            accept = {"Accept": ", ".join(MANIFESTS)}
            with self.session.ask("HEAD", where, scope=self._scope, headers=accept) as answer:
                if answer.status == 404:
                    return None
                if answer.status != 200:
                    raise self.session.refused(answer.status, f"{self.place}:{reference}")
                return answer.header("docker-content-digest") or ""

        said = self.session.persist(attempt)
        if said == "":
            found = self.manifest(reference)
            return found.descriptor.digest if found else None
        return said

    def referrers(self, digest: str) -> list[Descriptor] | None:
        """What the registry says refers to a manifest; None where it has no such list to offer (OCI 1.1).

        Raises:
            MalformedError: the list is none.
            SealiftError: the registry refuses or cannot be reached.
        """
        where = self._at(f"referrers/{digest}")
        found: list[Descriptor] = []
        for _ in range(PAGES_MAX):
            page = self.session.persist(lambda where=where: self._referrers(where))  # type: ignore[misc]
            if page is None:
                return None
            children, link = page
            found += children
            if link is None:
                return found
            where = link
        raise MalformedError(f"{self.place}: the list of what refers to {digest[:19]}… has more than {PAGES_MAX} pages")

    def _referrers(self, where: Address) -> tuple[tuple[Descriptor, ...], Address | None] | None:
        with self.session.ask("GET", where, scope=self._scope, headers={"Accept": OCI_INDEX}) as answer:
            kind = (answer.header("content-type") or "").partition(";")[0].strip()
            if answer.status in (400, 404, 405) or (answer.status == 200 and kind != OCI_INDEX):
                return None
            if answer.status != 200:
                raise self.session.refused(answer.status, where.shown)
            content = self._whole(answer, where, MANIFEST_MAX)
            link = answer.header("link")
        children = read(content, named(content, OCI_INDEX, where.shown)).children
        following = re.fullmatch(r'\s*<([^<>]{1,8192})>\s*;\s*rel="?next"?\s*', link) if link else None
        if following is None:
            return children, None
        try:
            there = where.join(following[1])
        except NoAddress as error:
            raise MalformedError(f"{where.shown}: the next page is at no address: {error}") from error
        if (there.scheme, there.host) != (where.scheme, where.host):
            raise MalformedError(f"{where.shown}: the next page is at another host")
        return children, there

    def has_blob(self, blob: Descriptor) -> bool:
        """Whether the repository holds a blob, of the size that is said.

        Raises:
            IntegrityError: it holds it with another size.
            SealiftError: the registry refuses or cannot be reached.
        """
        where = self._at(f"blobs/{blob.digest}")

        def attempt() -> bool:
            with self.session.ask("HEAD", where, scope=self._scope) as answer:
                if answer.status == 404:
                    return False
                if answer.status != 200:
                    raise self.session.refused(answer.status, where.shown)
                said = answer.header("content-length")
            if said is not None and said.isdigit() and int(said) != blob.size:
                raise IntegrityError(
                    f"{where.shown}: the registry holds {said} bytes, and {blob.size} are due",
                    hint="its storage is damaged: ask the one who keeps it",
                )
            return True

        return self.session.persist(attempt)

    @contextlib.contextmanager
    def blob(self, digest: str, start: int = 0) -> Iterator[tuple[Answer, Address]]:
        """The answer that holds a blob from the byte `start` on, or from its beginning (status 200); one attempt.

        Raises:
            Again: there was none, and another attempt may bring it.
            SealiftError: the registry refuses.
        """
        where = self._at(f"blobs/{digest}")
        headers = {"Range": f"bytes={start}-"} if start else {}
        with self.session.ask("GET", where, scope=self._scope, headers=headers) as answer:
            if answer.status not in (200, 206) or (answer.status == 206 and not start):
                if answer.status == 416 and start:
                    raise Again(self.session.terms.failure(f"{where.shown}: the registry refuses to resume"))
                raise self.session.refused(answer.status, f"{self.place}@{digest}")
            yield answer, where

    def put_manifest(self, reference: str, manifest: Descriptor, content: bytes) -> bool:
        """Add a manifest under a tag or its digest; return whether the registry minds its subject itself.

        Raises:
            IntegrityError: the registry made something else of it.
            SealiftError: the registry refuses or cannot be reached.
        """
        where, what = self._at(f"manifests/{reference}"), f"{self.place}:{reference}"

        def attempt() -> bool:
            headers = {"Content-Type": manifest.media_type}
            with self.session.ask("PUT", where, scope=self._scope, headers=headers, body=Content(content)) as answer:
                if answer.status not in (200, 201, 202):
                    raise self.session.refused(answer.status, what)
                made = answer.header("docker-content-digest")
                if made is not None and made != manifest.digest:
                    raise IntegrityError(
                        f"{what}: the registry made {visible(made)[:23]}… of {manifest.digest[:23]}…",
                        hint="it rewrites manifests: push to one that keeps them as they are",
                    )
                return answer.header("oci-subject") is not None

        return self.session.persist(attempt)

    def delete_tag(self, tag: str) -> bool:
        """Take a tag away; return whether the registry did, since many know no way to.

        Raises:
            SealiftError: the registry cannot be reached.
        """

        def attempt() -> bool:
            with self.session.ask("DELETE", self._at(f"manifests/{tag}"), scope=f"{self._scope},delete") as answer:
                return answer.status in (200, 202, 404)

        return self.session.persist(attempt)

    def mount(self, blob: Descriptor, source: str) -> bool:
        """Let the repository have a blob that the repository `source` beside it holds; return whether it has it now.

        Raises:
            SealiftError: the registry refuses or cannot be reached.
        """
        where = self._at("blobs/uploads/").with_query(f"mount={quoted(blob.digest)}&from={quoted(source)}")
        scope = f"{self._scope} repository:{source}:pull"

        def attempt() -> bool:
            with self.session.ask("POST", where, scope=scope, headers={"Content-Length": "0"}) as answer:
                if answer.status in (401, 403, 404, 405):
                    return False
                if answer.status not in (201, 202):
                    raise self.session.refused(answer.status, where.shown)
                return answer.status == 201

        return self.session.persist(attempt)

    def upload(self, blob: Descriptor, body: Body) -> None:
        """Add a blob, streamed; where the line breaks, it goes on from what has arrived.

        Raises:
            SealiftError: the registry refuses, cannot be reached, or holds that the content is another.
        """
        upload = Upload(self.session, self._scope, self._at("blobs/uploads/"), f"{self.place}@{blob.digest[:19]}…")
        self.session.persist(lambda: upload.attempt(blob, body))

    def check(self, manifest: Manifest) -> bool:
        """Whether the registry gives back a manifest as it is.

        Raises:
            IntegrityError: it gives back something else.
            SealiftError: the registry refuses or cannot be reached.
        """
        found = self.manifest(manifest.descriptor.digest)
        if found is None:
            return False
        check(found.content, manifest.descriptor, f"{self.place}@{manifest.descriptor.digest[:19]}…")
        return True
