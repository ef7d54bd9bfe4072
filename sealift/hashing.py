"""Hashing a bundle's packs on the side. It looks at no content, and imports little, so that it may begin early."""

from __future__ import annotations

import hashlib

from .at_once import Hands
from .container import Member, Reader
from .errors import IntegrityError
from .progress import Progress

_STRIDE = 1 << 20
"""Bytes that are hashed in one go: half a millisecond, in which other threads go on, and no more than stays near."""


class Hashing:
    """Checks on the side that packs have the digests that their names claim; says nothing of who signed for them.

    It may begin before anything is authenticated, since it looks at no content: a digest is a digest. Leaving
    the context ends it.
    """

    def __init__(self, bundle: Reader, packs: tuple[Member, ...], *, workers: int, progress: Progress) -> None:
        """Begin with `workers` threads; `progress` is told the bytes."""
        self._bundle = bundle
        self._progress = progress
        self._stopped = False
        self._hands = Hands(self._check, packs, workers=workers)

    def __enter__(self) -> Hashing:
        return self

    def __exit__(self, *problem: object) -> None:
        self._stopped = True
        self._hands.__exit__(*problem)

    def finish(self) -> None:
        """Wait for all of them.

        Raises:
            IntegrityError: one does not match.
            StoreError: the medium cannot be read.
        """
        self._hands.finish()

    def _check(self, pack: Member) -> None:
        running = hashlib.sha256()
        for piece in self._bundle.pieces(pack, _STRIDE):
            if self._stopped:
                return
            running.update(piece)
            self._progress.advance(len(piece))
        if running.hexdigest() != pack.digest:
            raise damaged_pack(pack.digest)


def damaged_pack(digest: str) -> IntegrityError:
    """The error for a pack of a bundle whose bytes are not the signed ones."""
    return IntegrityError(
        f"packs/{digest}.zst does not match its digest",
        hint="the copy is damaged or was changed: copy the bundle again and compare its sha-256",
    )
