"""Hauling: many files by HTTP into the cache, several at once over kept connections."""

from __future__ import annotations

from collections.abc import Sequence

from sealift.at_once import at_once
from sealift.progress import Progress

from .network.cache import Fetched
from .network.fetch import Wanted, fetch_into, opened
from .network.line import CONNECTIONS, Line
from .source import Workshop


class _Share:
    """The progress of one file among many: what it brings counts, and it has no phases of its own."""

    def __init__(self, whole: Progress) -> None:
        self._whole = whole

    def start(self, label: str, total: int | None = None, *, unit: str = "B") -> None:
        """Say nothing."""

    def advance(self, amount: int) -> None:
        """Tell the whole."""
        self._whole.advance(amount)

    def finish(self) -> None:
        """Say nothing."""


def haul(wanted: Sequence[Wanted], workshop: Workshop, line: Line, *, label: str) -> list[Fetched]:
    """The files, in the order of `wanted`; what the cache holds is not fetched.

    Args:
        wanted: addresses, and what is known of what lies there.
        workshop: whose cache keeps them.
        line: the connections.
        label: what the progress is called.

    Raises:
        UsageError: an address is none that may be fetched.
        SourceError: a server refuses, cannot be reached or trusted, or sends too much.
        IntegrityError: a content is not what is known of it; nothing of it is kept.
        StoreError: the cache cannot be written, or another command is fetching into it.
    """
    keys = [_key(each) for each in wanted]
    distinct = dict(zip(keys, wanted, strict=True))
    found: dict[str, Fetched] = {}
    share = _Share(workshop.progress)

    def one(key: str) -> None:
        found[key] = fetch_into(workshop.cache, distinct[key], spare=workshop.spare, progress=share, line=line)

    lengths = {key: each.length or 0 for key, each in distinct.items()}
    total = sum(lengths.values()) if all(each.length is not None for each in wanted) else None
    with opened(workshop.cache):
        workshop.progress.start(label, total)
        at_once(one, sorted(distinct, key=lambda key: -lengths[key]), workers=CONNECTIONS)
        workshop.progress.finish()
    return [found[key] for key in keys]


def _key(wanted: Wanted) -> str:
    """What tells a content from others: its SHA-256, or else its address and the digests that are known of it."""
    return wanted.sha256 or " ".join([wanted.url, *(f"{name}:{it}" for name, it in sorted(wanted.also.items()))])
