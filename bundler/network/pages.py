"""Pages: answers by HTTP that are read whole and not kept, such as what an index says. Bounded, and asked for again."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

import urllib3
from urllib3.exceptions import DecodeError, HTTPError
from urllib3.util import Timeout

from sealift import __version__
from sealift.errors import SourceError
from sealift.patience import Patience

from .line import Line
from .web import Again, answer, check_url, redacted, retry_after, understood

_PIECE = 1 << 16
_HINT = "check its address, and the credentials that are configured for it"


class Page(NamedTuple):
    """An answer."""

    content: bytes
    kind: str
    """Its media type, without parameters."""
    url: str
    """Where it came from in the end: what relative addresses in it start from."""


def page(url: str, line: Line, patience: Patience, *, limit: int, accept: str = "*/*") -> Page | None:
    """The page at `url`; None where there is none.

    Args:
        url: an http or https address.
        line: the connections.
        patience: how long to wait, and for what.
        limit: bytes of it at most, decompressed.
        accept: which media types are wanted.

    Raises:
        UsageError: `url` is no address that may be fetched.
        SourceError: whoever has it cannot be asked, refuses, or sends too much.
    """
    check_url(url)
    attempt = 0
    while True:
        attempt += 1
        try:
            return _ask(url, line, patience, limit, accept)
        except Again as again:
            if attempt >= patience.attempts:
                raise again.error from again
            if wait := patience.before(attempt, again.after):
                patience.sleep(wait)


def _ask(url: str, line: Line, patience: Patience, limit: int, accept: str) -> Page | None:
    shown = redacted(url)
    headers = {"Accept": accept, "Accept-Encoding": "gzip", "User-Agent": f"sealift/{__version__}"}
    try:
        timeout = Timeout(connect=patience.connect, read=patience.read)
        with answer(url, headers, timeout, line=line) as response:
            status = response.status
            if status in (404, 410):
                return None
            if status == 429 or status >= 500:
                after = retry_after(response.headers.get("retry-after"), patience.clock())
                raise Again(SourceError(f"{shown}: the server answers {status}", hint="try again later"), after)
            if status != 200:
                raise SourceError(f"{shown}: the server answers {status}", hint=_HINT)
            content = bytearray()
            for piece in _decoded(response, limit):
                content += piece
                if len(content) > limit:
                    raise SourceError(f"{shown} is longer than {limit} bytes", hint="ask another server")
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            return Page(bytes(content), kind, response.url or url)
    except DecodeError as error:
        raise SourceError(f"{shown}: the answer cannot be decompressed", hint="ask another server") from error
    except HTTPError as error:
        raise understood(error, shown) from error


def _decoded(response: urllib3.BaseHTTPResponse, limit: int) -> Iterator[bytes]:
    """The body, decompressed. What arrives is bounded as well: gzip can go on for ever and give nothing."""
    coding = response.headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity", "gzip", "x-gzip"):
        raise DecodeError("a coding that was not asked for")
    engine = zlib.decompressobj(31) if "gzip" in coding else None
    came, members = 0, 0
    while piece := response.read1(_PIECE, decode_content=False):
        came += len(piece)
        if came > 2 * limit + _PIECE:
            raise DecodeError("more arrives than it can hold")
        if engine is None:
            yield piece
            continue
        while piece:
            if engine.eof:
                engine, members = zlib.decompressobj(31), members + 1
            try:
                yield engine.decompress(piece, _PIECE)
            except zlib.error as error:
                if members:
                    return  # what is behind the last member does not count
                raise DecodeError("no gzip") from error
            piece = engine.unused_data if engine.eof else engine.unconsumed_tail
