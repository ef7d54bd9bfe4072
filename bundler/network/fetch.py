"""One file by HTTP or HTTPS into a cache whose names are digests, whatever the line does meanwhile.

An attempt asks, follows redirects and appends what arrives to a `.part` file; if the line fails, the
next one asks for the rest (RFC 9110, 14: Range with If-Range) and starts over where the server has
no rest to give. When the body is whole, its digest becomes its name.

Invariant: nothing is resumed unless the server named the content by a strong validator, and a digest that
does not match after a resumption is not believed before a whole fetch gave it too.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from sealift import __version__
from sealift.digest import check_form
from sealift.digest import sha256 as digest_of
from sealift.durable import locked, make_folder
from sealift.errors import IntegrityError, SourceError
from sealift.patience import Patience
from sealift.progress import Progress
from sealift.wire.failure import RESUMES

from .cache import PIECE, Fetched, Part, kept
from .web import Again, answer, check_url, redacted, retry_after, understood, validator

if TYPE_CHECKING:
    from .line import Line

MAX_BYTES = 64 << 30
"""Bytes of the longest body that is accepted."""

_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_CHANGED = "the file was changed where it comes from: check that, then run `sealift-bundle lock` again"
_REFUSED = "the server refuses the credentials that are configured for it: check them"
_STATUS_HINTS = {
    401: "the server wants credentials, which are never sent: fetch the file and use source `path`",
    403: "the server refuses: check `url`, and whether a proxy is needed (HTTPS_PROXY)",
    404: "check `url`: the server has no such file",
    407: "the proxy wants credentials: write them in HTTP_PROXY or HTTPS_PROXY",
    410: "check `url`: the file was taken away",
}


def fetch(
    url: str,
    *,
    cache: Path,
    spare: Path | None = None,
    progress: Progress,
    sha256: str | None = None,
    length: int | None = None,
    max_bytes: int = MAX_BYTES,
    also: Mapping[str, str] | None = None,
    line: Line | None = None,
    patience: Patience | None = None,
) -> Fetched:
    """The content of `url`, from `cache` where its digest is known and it is there.

    Args:
        url: the address, http or https.
        cache: the folder; created when missing.
        spare: another such folder, which is only read.
        progress: told of every body, in bytes.
        sha256: the digest that the content must have; without it, whatever comes whole is taken.
        length: the number of bytes that it must have.
        max_bytes: the number of bytes that it may have.
        also: further digests that it must have, by algorithm (`sha384`, `sha512`).
        line: the connections to use and keep.
        patience: how long to wait, and for what.

    Raises:
        UsageError: `url` is no address that may be fetched.
        SourceError: the server refuses, cannot be reached or trusted, or sends too much.
        IntegrityError: the content is not what `sha256` or `length` say; nothing of it is kept.
        StoreError: the cache cannot be written, or another command is fetching into it.
    """
    with opened(cache):
        return fetch_into(
            cache,
            Wanted(url=url, sha256=sha256, length=length, max_bytes=max_bytes, also=also or {}),
            spare=spare,
            progress=progress,
            line=line,
            patience=patience,
        )


@contextlib.contextmanager
def opened(cache: Path) -> Iterator[None]:
    """The cache, which no other command writes meanwhile.

    Raises:
        StoreError: another one does, or it cannot be made.
    """
    make_folder(cache)
    with locked(cache / "lock", what=f"the cache {cache}"):
        yield


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A file that is wanted, and what is known of it; as for `fetch`."""

    url: str
    sha256: str | None = None
    length: int | None = None
    max_bytes: int = MAX_BYTES
    also: Mapping[str, str] = field(default_factory=dict)


def fetch_into(
    cache: Path,
    wanted: Wanted,
    *,
    spare: Path | None = None,
    progress: Progress,
    line: Line | None = None,
    patience: Patience | None = None,
) -> Fetched:
    """As `fetch`, into a cache that the caller has opened; several threads may do so at once for several files."""
    check_url(wanted.url)
    sha256 = wanted.sha256
    if sha256 is not None:
        check_form(sha256, "the digest to fetch")
        places = [(spare, False), (cache, True)] if spare is not None else [(cache, True)]
        for place, mend in places:
            if found := kept(place / sha256, sha256, progress, mend=mend):
                return found
    key = sha256 or digest_of(wanted.url.encode())
    with Part(cache / f"{key}.part", progress, algorithms=tuple(wanted.also)) as part:
        return _persist(_Work(wanted=wanted, progress=progress, line=line), part, patience or Patience())


class _TooLongError(SourceError):
    """A body is longer than it may be."""


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What is to be fetched."""

    wanted: Wanted
    progress: Progress
    line: Line | None

    @property
    def shown(self) -> str:
        return redacted(self.wanted.url)

    def check_length(self, length: int) -> None:
        """Refuse a body that has, or is going to have, at least `length` bytes."""
        most, expected = self.wanted.max_bytes, self.wanted.length
        if expected is not None and length > expected:
            raise IntegrityError(f"{self.shown} is longer than the {expected} bytes of the lock", hint=_CHANGED)
        if length > most:
            raise _TooLongError(f"{self.shown} is longer than {most} bytes, the most that is accepted")

    def complaint(self, part: Part) -> str | None:
        """What is wrong with the whole content of `part`; None where nothing is."""
        wanted = self.wanted
        digests = {**({"sha256": wanted.sha256} if wanted.sha256 else {}), **wanted.also}
        for algorithm, expected in digests.items():
            if (found := part.digest(algorithm)) != expected:
                return f"does not match its digest: expected {expected[:16]}…, found {found[:16]}…"
        if wanted.length is not None and part.length != wanted.length:
            return f"has {part.length} bytes, not the {wanted.length} of the lock"
        return None


def _persist(work: _Work, part: Part, patience: Patience) -> Fetched:
    """Attempt it until it is whole or the patience is spent."""
    attempt = 0
    while True:
        attempt += 1
        try:
            if work.wanted.sha256 is None or part.length == 0 or part.sha256 != work.wanted.sha256:
                _attempt(work, part, patience)
            return _finish(work, part)
        except Again as again:
            if attempt >= patience.attempts:
                error = again.error
                raise type(error)(f"{error.message}, after {attempt} attempts", hint=error.hint) from again
            if wait := patience.before(attempt, again.after):
                patience.sleep(wait)
        except (IntegrityError, _TooLongError):
            part.delete()
            raise


def _finish(work: _Work, part: Part) -> Fetched:
    """Check the whole content of `part` and give it its name."""
    complaint = work.complaint(part)
    if complaint is None:
        digest = part.sha256
        return Fetched(path=part.keep(digest), sha256=digest, length=part.length)
    error = IntegrityError(f"{work.shown} {complaint}", hint=_CHANGED)
    if not part.resumed:
        raise error
    part.restart(None)
    raise Again(error, 0.0)


def _attempt(work: _Work, part: Part, patience: Patience) -> None:
    """Ask once for what `part` lacks, and append it."""
    headers = {"Accept-Encoding": "identity", "User-Agent": f"sealift/{__version__}"}
    ranged = part.length > 0 and part.validator is not None
    if ranged:
        headers |= {"Range": f"bytes={part.length}-", "If-Range": part.validator or ""}
    try:
        timeout = Timeout(connect=patience.connect, read=patience.read)
        with answer(work.wanted.url, headers, timeout, line=work.line) as response:
            total = _judge(work, part, response, ranged, patience)
            _receive(work, part, response, total)
    except HTTPError as error:
        raise understood(error, work.shown) from error


def _judge(work: _Work, part: Part, response: urllib3.BaseHTTPResponse, ranged: bool, patience: Patience) -> int | None:
    """The bytes that the body will have brought `part` to, where the server says so; `part` is made ready for it."""
    status, headers = response.status, response.headers
    if status == 206 and ranged:
        found = _RANGE.fullmatch(headers.get("content-range", ""))
        if found and int(found[1]) == part.length and int(found[2]) + 1 == int(found[3]):
            part.resumed = True
            work.check_length(int(found[3]))
            return int(found[3])
        part.restart(None)
        raise Again(SourceError(f"{work.shown}: the server sends another range than was asked for"), 0.0)
    if status == 416 and ranged:
        part.restart(None)
        raise Again(SourceError(f"{work.shown}: the server refuses to resume"), 0.0)
    if status == 429 or status >= 500:
        after = retry_after(headers.get("retry-after"), patience.clock())
        raise Again(SourceError(f"{work.shown}: the server answers {status}", hint="try again later"), after)
    if status != 200:
        told = work.line is not None and work.line.knows(work.wanted.url)
        hint = _REFUSED if told and status in (401, 403) else _STATUS_HINTS.get(status, "check `url`")
        raise SourceError(f"{work.shown}: the server answers {status}", hint=hint)
    total: int | None = None
    declared, coding = headers.get("content-length", ""), headers.get("transfer-encoding", "")
    if not coding and re.fullmatch(r"[0-9]{1,18}", declared):
        total = int(declared)
        work.check_length(total)
    elif work.wanted.sha256 is None and not work.wanted.also and "chunked" not in coding.lower():
        raise SourceError(
            f"{work.shown}: the server does not say where the body ends, so it cannot be told whether it is whole",
            hint="write the file's digest in the spec as `sha256`",
        )
    part.restart(validator(headers))
    return total


def _receive(work: _Work, part: Part, response: urllib3.BaseHTTPResponse, total: int | None) -> None:
    """Append the body to `part`."""
    work.progress.start(f"fetch {work.shown}", total)
    try:
        work.progress.advance(part.length)
        while piece := response.read1(PIECE, decode_content=False):
            work.check_length(part.length + len(piece))
            if total is not None and part.length + len(piece) > total:
                raise _TooLongError(f"{work.shown}: the server sends more than the {total} bytes that it declared")
            part.append(piece)
            work.progress.advance(len(piece))
    finally:
        work.progress.finish()
    if total is not None and part.length < total:
        raise Again(SourceError(f"{work.shown}: the connection broke off", hint=RESUMES))
