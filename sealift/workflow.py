"""TUF's client workflow, one file after the other: what may come next, and whether what came is acceptable.

Sections 5.3 to 5.6 of the specification (1.0), without I/O and without a clock. Whoever drives it brings the
files: `trust.refresh` from a bundle, the conformance client from a server. A step that refuses leaves the
workflow useless; one that returns has verified what it returns, byte for byte.

The rules (signatures, thresholds, expiry, rollback) are those of the library `tuf`. Its `TrustedMetadataSet` is
private to it, and is used nevertheless: the public `ngclient.Updater` around it writes as it goes and takes its
own time of day. `tuf_rules` adds what `tuf` lets pass.

Where this is stricter than `ngclient`: a known root, and metadata of a known version, must say what the trusted one
says; trusted metadata that no longer verifies is passed over only after a root rotation (which is how a site
recovers from versions that were driven too far ahead), and is an error otherwise; a root chain never changes what
it is for.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

from . import tuf_rules
from .errors import TrustError
from .strict_json import canonical
from .tuf_rules import Document

if TYPE_CHECKING:
    from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet

FRESH = "ask for a new export: `sealift-bundle export` of the same release makes one that fits"
STRANGER = "compare the root's fingerprint here with the one that the security team publishes"
_DAMAGED = "begin trust anew with the root and its fingerprint: `sealift-install enroll --recover`"
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)

Reading = Callable[[str, bytes, str], Document]
"""What makes a `Document` of a role's file with a name, or refuses: `tuf_rules.read`."""


class Workflow:
    """One walk from a trusted root to what is offered."""

    def __init__(
        self, root: Document, *, reference: datetime, read: Reading = tuf_rules.read, known_is_final: bool = True
    ) -> None:
        """Begin at `root`, which is trusted, although its own keys must have signed it.

        Args:
            root: the newest root that is trusted.
            reference: the time that nothing offered must have expired at.
            read: the gate that every file passes.
            known_is_final: refuse another content under a version that is trusted; otherwise the trusted one counts.

        Raises:
            TrustError: its own keys did not sign it.
        """
        self.root = root
        self.rotated = False
        """Whether the root moved forward."""
        self._read = read
        self._reference = reference
        self._known_is_final = known_is_final
        self._waived = False
        self._held_snapshot: Document | None = None
        with self._judged(root, None):
            self._chosen = _trusted_set()(root.content)
        self._chosen.reference_time = reference.astimezone(UTC)

    def next_root(self, content: bytes) -> Document:
        """Move to the root one version above.

        Raises:
            MalformedError, TrustError: it is not acceptable, or not signed by the old quorum and its own.
        """
        document = self._numbered("root", content, self.root.version + 1)
        with self._judged(document, None):
            self._chosen.update_root(content)
        if document.purpose != self.root.purpose:
            raise TrustError(
                f"{document.name} is a root for {document.purpose}, and the one before it is for {self.root.purpose}",
                hint="begin a new depot for the other purpose, and enrol other sites with it",
            )
        self.root, self.rotated = document, True
        return document

    def check_root(self) -> None:
        """Refuse to go on where the newest root has expired; nothing waives that.

        Raises:
            TrustError: it has.
        """
        check_expiry(self.root, self._reference)

    def waive(self) -> None:
        """Judge no expiry from here on, but for the root's; the caller has checked that somebody may ask for it."""
        self.check_root()
        self._waived = True
        self._chosen.reference_time = _NO_TIME

    def timestamp(self, content: bytes, held: bytes | None) -> Document:
        """Take a timestamp; the one that is `held` counts where it says the same version.

        Raises:
            MalformedError, TrustError: it is not acceptable.
        """
        self.check_root()
        old = self._recall("timestamp", held, self._chosen.update_timestamp)
        new = self._read("timestamp", content, "timestamp.json")
        with self._judged(new, old):
            self._unless_equal(new.content)
        self._check_same(new, old)
        if old and old.version == new.version:
            new = old
        self._check_expiry(new)
        return new

    def snapshot(self, content: bytes, version: int, held: bytes | None) -> Document:
        """Take the snapshot that the timestamp names.

        Raises:
            MalformedError, TrustError: it is not acceptable.
        """
        old = self._recall("snapshot", held, lambda known: self._chosen.update_snapshot(known, trusted=True))
        new = self._numbered("snapshot", content, version)
        with self._judged(new, old):
            self._chosen.update_snapshot(new.content)
        self._check_same(new, old)
        self._held_snapshot = old
        return new

    def targets(self, content: bytes, version: int, held: bytes | None) -> Document:
        """Take the top-level targets that the snapshot names.

        Raises:
            MalformedError, TrustError: they are not acceptable.
        """
        new = self._numbered("targets", content, version)
        with self._judged(new, None):
            self._chosen.update_targets(new.content)
        self._check_known("targets", new, held)
        return new

    def delegated(
        self, role: str, content: bytes, version: int, held: bytes | None, *, by: str = "targets"
    ) -> Document:
        """Take the targets of a role that `by` delegates to, and that the snapshot names.

        Raises:
            MalformedError, TrustError: they are not acceptable.
        """
        new = self._numbered(role, content, version)
        with self._judged(new, None):
            self._chosen.update_delegated_targets(new.content, role, by)
        self._check_known(role, new, held)
        return new

    def _numbered(self, role: str, content: bytes, version: int) -> Document:
        document = self._read(role, content, f"{version}.{role}.json")
        if document.version != version:
            raise TrustError(f"{document.name} says that it is version {document.version}", hint=FRESH)
        return document

    def _recall(self, role: str, held: bytes | None, load: Callable[[bytes], object]) -> Document | None:
        """Load what is trusted already, to notice rollback; None where there is none, or new keys replaced it."""
        from tuf.api.exceptions import BadVersionNumberError, ExpiredMetadataError, UnsignedMetadataError

        if held is None:
            return None
        document = self._read(role, held, f"the trusted {role}")
        try:
            load(held)
        except UnsignedMetadataError as error:
            if self.rotated:
                return None
            raise TrustError(f"the {role} that this site holds does not verify any more", hint=_DAMAGED) from error
        except (ExpiredMetadataError, BadVersionNumberError):
            pass  # loaded all the same: `tuf` keeps it as the bound that newer metadata must not fall below
        return document

    def _unless_equal(self, content: bytes) -> None:
        from tuf.api.exceptions import EqualVersionNumberError

        with contextlib.suppress(EqualVersionNumberError):
            self._chosen.update_timestamp(content)

    def _check_known(self, role: str, new: Document, held: bytes | None) -> None:
        """As `_check_same`, where the snapshot that the held file belongs to is still a bound."""
        if held is not None and (self._held_snapshot or not self.rotated):
            self._check_same(new, self._read(role, held, f"the trusted {role}"))

    def _check_same(self, new: Document, old: Document | None) -> None:
        if not (self._known_is_final and old and old.version == new.version):
            return
        if canonical(old.signed) != canonical(new.signed):
            raise TrustError(
                f"the bundle has another {new.role} {new.version} than the one that this site has already admitted",
                hint="its depot was probably restored from a backup: ask for a newer export",
            )

    def _check_expiry(self, document: Document) -> None:
        if not self._waived:
            check_expiry(document, self._reference)

    @contextlib.contextmanager
    def _judged(self, document: Document, old: Document | None) -> Iterator[None]:
        """Say what `tuf` thinks of `document` in our own words."""
        from securesystemslib.exceptions import Error as SecureSystemsError
        from tuf.api import exceptions

        try:
            yield
        except exceptions.ExpiredMetadataError as error:
            raise expired(document, self._reference) from error
        except exceptions.UnsignedMetadataError as error:
            raise TrustError(
                f"{document.name} is not signed by the keys that this site trusts ({error})", hint=STRANGER
            ) from error
        except exceptions.BadVersionNumberError as error:
            for what, new, known in _fallen(document, old):
                raise TrustError(
                    "this bundle is older than one that this site has already admitted"
                    f" ({what} {new}, the site has {known})",
                    hint=FRESH,
                ) from error
            raise TrustError(f"{document.name} has another version than the bundle says", hint=FRESH) from error
        except exceptions.LengthOrHashMismatchError as error:
            raise TrustError(
                f"{document.name} is not the {document.role} that the rest of the bundle was signed with", hint=FRESH
            ) from error
        except (exceptions.RepositoryError, SecureSystemsError, ValueError) as error:
            said = str(error)[:200]
            raise TrustError(f"{document.name} is not acceptable: {said[:1].lower()}{said[1:]}", hint=FRESH) from error


def check_expiry(document: Document, reference: datetime) -> None:
    """Refuse a document that has expired at `reference`.

    Raises:
        TrustError: it has.
    """
    if reference >= document.expires:
        raise expired(document, reference)


def expired(document: Document, reference: datetime) -> TrustError:
    """The error for a document that has expired, with the date and the remedy."""
    ended, now = document.expires, reference.astimezone(UTC)
    form = "%Y-%m-%d" if ended.date() != now.date() else "%Y-%m-%d %H:%M:%S"
    whose = "the root" if document.role == "root" else f"the bundle's {document.role}"
    remedy = (
        "ask the security team for a new root"
        if document.role == "root"
        else "ask for a fresh export, or the security team for a waiver of this one (`sealift-keys waive`)"
    )
    return TrustError(
        f"{whose} expired on {ended:{form}}, and it is {now:{form}} here",
        hint=f"check this machine's clock; where it is right, {remedy}",
    )


def _fallen(document: Document, old: Document | None) -> Sequence[tuple[str, int, int]]:
    """Which versions fall below the known ones: role, offered, known."""
    if old is None:
        return []
    pairs = [(document.role, document.version, old.version)]
    pairs += [(name.removesuffix(".json"), document.listed.get(name, 0), known) for name, known in old.listed.items()]
    return [pair for pair in pairs if pair[1] < pair[2]]


@cache
def _trusted_set() -> Callable[[bytes], TrustedMetadataSet]:
    """What begins a `TrustedMetadataSet`, imported without the rest of `tuf.ngclient`.

    The package imports its network client, which opens a socket when it is imported; an empty one stands in for it
    meanwhile.
    """
    import tuf

    from .hybrid import register

    register()
    name = "tuf.ngclient"
    there = name in sys.modules
    if not there:
        bare = ModuleType(name)
        bare.__path__ = [os.path.join(folder, "ngclient") for folder in tuf.__path__]
        sys.modules[name] = bare
    try:
        from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
        from tuf.ngclient.config import EnvelopeType
    finally:
        if not there:
            del sys.modules[name]
    return lambda root: TrustedMetadataSet(root, EnvelopeType.METADATA)
