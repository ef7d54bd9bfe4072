"""One file by HTTP or HTTPS into a cache whose names are digests, whatever the line does meanwhile.

An attempt asks, follows redirects and appends what arrives to a `.part` file; if the line fails, the
next one asks for the rest (RFC 9110, 14: Range with If-Range) and starts over where the server has
no rest to give. When the body is whole, its digest becomes its name.

Invariants:
- A name in the cache is the SHA-256 of its content: checked before the name is given, and again
  before a file that was there already is handed out.
- Nothing is resumed unless the server named the content by a strong validator, and a digest that
  does not match after a resumption is not believed before a whole fetch gave it too.
- TLS certificates are always verified, no step leads from https to http, and no request bears
  credentials, except a proxy's own to that proxy.
- No message holds the query or the credentials of an address.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import unquote, urljoin
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import (
    HTTPError,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ProxySchemeUnknown,
    SSLError,
)
from urllib3.exceptions import TimeoutError as LateError
from urllib3.util import Timeout, make_headers, parse_url

from sealift import __version__
from sealift.digest import check_form
from sealift.digest import sha256 as digest_of
from sealift.durable import locked, make_folder, storing, sync_folder, write_all, write_file
from sealift.errors import IntegrityError, SealiftError, SourceError, UsageError
from sealift.names import visible
from sealift.progress import Progress

PIECE = 1 << 20
"""Bytes that are read at once."""
MAX_BYTES = 64 << 30
"""Bytes of the longest body that is accepted."""
REDIRECTS = 5
RETRY_AFTER_MAX = 60.0
"""Seconds that a server may ask to wait."""
CA_VARIABLES = ("SEALIFT_CA_FILE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
"""Environment variables that name the certificates to trust in place of the system's; the first that is set counts."""

_ETAG = re.compile(r'"[\x21\x23-\x7e]{0,500}"')
_DATE = re.compile(r"[A-Za-z0-9 ,:+-]{16,64}")
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_CHANGED = "the file was changed where it comes from: check that, then run `sealift-bundle lock` again"
_RESUMES = "run the same command again: it resumes where the server allows"
_STATUS_HINTS = {
    401: "the server wants credentials, which are never sent: fetch the file and use source `path`",
    403: "the server refuses: check `url`, and whether a proxy is needed (HTTPS_PROXY)",
    404: "check `url`: the server has no such file",
    407: "the proxy wants credentials: write them in HTTP_PROXY or HTTPS_PROXY",
    410: "check `url`: the file was taken away",
}
_DATE_MARGIN = 60.0
"""Seconds between a change and the answer from which on Last-Modified names one content (RFC 9110, 8.8.2.2)."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait, and for what; the clock and what waits, so that a test need not."""

    attempts: int = 5
    base: float = 1.0
    """Seconds before the second attempt; each further one waits twice as long."""
    ceiling: float = 30.0
    """Seconds before any attempt at most, unless the server asks for more."""
    connect: float = 20.0
    read: float = 60.0
    """Seconds without a byte."""
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time
    jitter: Callable[[], float] = random.random
    """A number from 0 to 1 that spreads the waits, so that many clients do not return at once."""

    def before(self, attempt: int, asked: float | None) -> float:
        """Seconds to wait after `attempt` attempts failed; `asked` is what the server asked for."""
        if asked is not None:
            return min(max(asked, 0.0), RETRY_AFTER_MAX)
        return float(min(self.ceiling, self.base * 2 ** (attempt - 1)) * (0.5 + self.jitter() / 2))


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A file in the cache."""

    path: Path
    sha256: str
    length: int
    """Bytes."""


def fetch(
    url: str,
    *,
    cache: Path,
    progress: Progress,
    sha256: str | None = None,
    length: int | None = None,
    max_bytes: int = MAX_BYTES,
    patience: Patience | None = None,
) -> Fetched:
    """The content of `url`, from `cache` where its digest is known and it is there.

    Args:
        url: the address, http or https.
        cache: the folder; created when missing.
        progress: told of every body, in bytes.
        sha256: the digest that the content must have; without it, whatever comes whole is taken.
        length: the number of bytes that it must have.
        max_bytes: the number of bytes that it may have.
        patience: how long to wait, and for what.

    Raises:
        UsageError: `url` is no address that may be fetched.
        SourceError: the server refuses, cannot be reached or trusted, or sends too much.
        IntegrityError: the content is not what `sha256` or `length` say; nothing of it is kept.
        StoreError: the cache cannot be written, or another command is fetching into it.
    """
    check_url(url)
    patience = patience or Patience()
    if sha256 is not None:
        check_form(sha256, "the digest to fetch")
    make_folder(cache)
    with locked(cache / "lock", what=f"the cache {cache}"):
        if sha256 is not None and (kept := _kept(cache / sha256, sha256, progress)):
            return kept
        key = sha256 or digest_of(url.encode())
        with _Part(cache / f"{key}.part", progress) as part:
            work = _Work(url=url, sha256=sha256, length=length, max_bytes=max_bytes, progress=progress)
            return _persist(work, part, patience)


def check_url(url: str) -> str:
    """Return `url` if it is one that may be fetched.

    Raises:
        UsageError: it is no http or https address, or bears credentials.
    """
    try:
        parsed = parse_url(url) if not re.search(r"[\x00-\x20\x7f-\xa0\\]", url) else None
    except LocationValueError:
        parsed = None
    if parsed is None or parsed.scheme not in ("http", "https") or not parsed.host:
        raise UsageError(f"{redacted(url)} is no http or https address")
    if parsed.auth is not None:
        raise UsageError(
            f"url {redacted(url)} bears credentials, which a spec must not hold",
            hint="leave out what stands before '@'; for a file that needs them, fetch it and use source `path`",
        )
    return url


def redacted(url: str) -> str:
    """`url` without credentials and query, safe to print."""
    try:
        parsed = parse_url(url)
    except LocationValueError:
        parsed = None
    if parsed is None or parsed.scheme not in ("http", "https") or not parsed.host:
        return "the url"
    path = re.sub(r"[^/]+:[^/]*@", "***@", parsed.path or "")
    return visible(f"{parsed.scheme}://{parsed.netloc}{path}{'?…' if parsed.query is not None else ''}")[:300]


class _TooLongError(SourceError):
    """A body is longer than it may be."""


class _Again(Exception):
    """An attempt failed, and another may not.

    Args:
        error: what to raise when there is none left.
        after: seconds that the server asked to wait.
    """

    def __init__(self, error: SealiftError, after: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.after = after


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What is to be fetched."""

    url: str
    sha256: str | None
    length: int | None
    max_bytes: int
    progress: Progress

    @property
    def shown(self) -> str:
        return redacted(self.url)

    def check_length(self, length: int) -> None:
        """Refuse a body that has, or is going to have, at least `length` bytes."""
        if self.length is not None and length > self.length:
            raise IntegrityError(f"{self.shown} is longer than the {self.length} bytes of the lock", hint=_CHANGED)
        if length > self.max_bytes:
            raise _TooLongError(f"{self.shown} is longer than {self.max_bytes} bytes, the most that is accepted")


def _persist(work: _Work, part: _Part, patience: Patience) -> Fetched:
    """Attempt it until it is whole or the patience is spent."""
    attempt = 0
    while True:
        attempt += 1
        try:
            if work.sha256 is None or part.length == 0 or part.sha256 != work.sha256:
                _attempt(work, part, patience)
            return _finish(work, part)
        except _Again as again:
            if attempt >= patience.attempts:
                error = again.error
                raise type(error)(f"{error.message}, after {attempt} attempts", hint=error.hint) from again
            if wait := patience.before(attempt, again.after):
                patience.sleep(wait)
        except (IntegrityError, _TooLongError):
            part.delete()
            raise


def _finish(work: _Work, part: _Part) -> Fetched:
    """Check the whole content of `part` and give it its name."""
    digest, complaint = part.sha256, None
    if work.sha256 is not None and digest != work.sha256:
        complaint = f"does not match its digest: expected {work.sha256[:16]}…, found {digest[:16]}…"
    elif work.length is not None and part.length != work.length:
        complaint = f"has {part.length} bytes, not the {work.length} of the lock"
    if complaint is None:
        return Fetched(path=part.keep(digest), sha256=digest, length=part.length)
    error = IntegrityError(f"{work.shown} {complaint}", hint=_CHANGED)
    if not part.resumed:
        raise error
    part.restart(None)
    raise _Again(error, 0.0)


def _attempt(work: _Work, part: _Part, patience: Patience) -> None:
    """Ask once for what `part` lacks, and append it."""
    headers = {"Accept-Encoding": "identity", "User-Agent": f"sealift/{__version__}"}
    ranged = part.length > 0 and part.validator is not None
    if ranged:
        headers |= {"Range": f"bytes={part.length}-", "If-Range": part.validator or ""}
    try:
        with _answer(work.url, headers, patience) as response:
            total = _judge(work, part, response, ranged, patience)
            _receive(work, part, response, total)
    except HTTPError as error:
        raise _understood(error, work.shown) from error


def _judge(
    work: _Work, part: _Part, response: urllib3.BaseHTTPResponse, ranged: bool, patience: Patience
) -> int | None:
    """The bytes that the body will have brought `part` to, where the server says so; `part` is made ready for it."""
    status, headers = response.status, response.headers
    if status == 206 and ranged:
        found = _RANGE.fullmatch(headers.get("content-range", ""))
        if found and int(found[1]) == part.length and int(found[2]) + 1 == int(found[3]):
            part.resumed = True
            work.check_length(int(found[3]))
            return int(found[3])
        part.restart(None)
        raise _Again(SourceError(f"{work.shown}: the server sends another range than was asked for"), 0.0)
    if status == 416 and ranged:
        part.restart(None)
        raise _Again(SourceError(f"{work.shown}: the server refuses to resume"), 0.0)
    if status == 429 or status >= 500:
        after = _retry_after(headers.get("retry-after"), patience.clock())
        raise _Again(SourceError(f"{work.shown}: the server answers {status}", hint="try again later"), after)
    if status != 200:
        raise SourceError(f"{work.shown}: the server answers {status}", hint=_STATUS_HINTS.get(status, "check `url`"))
    total: int | None = None
    declared, coding = headers.get("content-length", ""), headers.get("transfer-encoding", "")
    if not coding and re.fullmatch(r"[0-9]{1,18}", declared):
        total = int(declared)
        work.check_length(total)
    elif work.sha256 is None and "chunked" not in coding.lower():
        raise SourceError(
            f"{work.shown}: the server does not say where the body ends, so it cannot be told whether it is whole",
            hint="write the file's digest in the spec as `sha256`",
        )
    part.restart(_validator(headers))
    return total


def _receive(work: _Work, part: _Part, response: urllib3.BaseHTTPResponse, total: int | None) -> None:
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
        raise _Again(SourceError(f"{work.shown}: the connection broke off", hint=_RESUMES))


@contextlib.contextmanager
def _answer(url: str, headers: Mapping[str, str], patience: Patience) -> Iterator[urllib3.BaseHTTPResponse]:
    """The response to which `url` leads, its body unread."""
    timeout = Timeout(connect=patience.connect, read=patience.read)
    here = url
    for _ in range(REDIRECTS + 1):
        with _manager(here) as manager:
            response = manager.request(
                "GET", here, headers=headers, redirect=False, retries=False, timeout=timeout, preload_content=False
            )
            try:
                location = response.headers.get("location")
                if response.status not in (301, 302, 303, 307, 308) or location is None:
                    yield response
                    return
            finally:
                response.close()
        here = _next(here, location)
    raise SourceError(f"{redacted(url)} redirects more than {REDIRECTS} times", hint="check `url`")


def _next(here: str, location: str) -> str:
    """The address that `location` stands for."""
    try:
        there = check_url(urljoin(here, location[:8192]))
    except (UsageError, ValueError) as error:
        raise SourceError(
            f"{redacted(here)} redirects to an address that is not followed: "
            + (error.message if isinstance(error, UsageError) else "it cannot be read")
        ) from error
    if parse_url(here).scheme == "https" and parse_url(there).scheme != "https":
        raise SourceError(f"{redacted(here)} redirects to {redacted(there)}, from https to http: not followed")
    return there


def _manager(url: str) -> urllib3.PoolManager:
    """What opens the connection for `url`: by the environment's proxy and certificates."""
    parsed = parse_url(url)
    context = _context() if parsed.scheme == "https" else None
    proxies = getproxies()
    proxy = proxies.get(parsed.scheme or "") or proxies.get("all")
    if not proxy or proxy_bypass(parsed.netloc or ""):
        return urllib3.PoolManager(ssl_context=context)
    try:
        to = parse_url(proxy if "://" in proxy else f"http://{proxy}")
        if not to.host:
            raise LocationValueError("no host")
        return urllib3.ProxyManager(
            to._replace(auth=None).url,
            proxy_headers=make_headers(proxy_basic_auth=unquote(to.auth)) if to.auth else None,
            ssl_context=context,
            proxy_ssl_context=_context() if to.scheme == "https" else None,
        )
    except (LocationValueError, ProxySchemeUnknown) as error:
        raise SourceError(
            f"the proxy of the environment for {parsed.scheme} is no http or https address",
            hint="write HTTP_PROXY and HTTPS_PROXY as http://host:port",
        ) from error


def _context() -> ssl.SSLContext:
    """A context that verifies, by the certificates that `CA_VARIABLES` name or by the system's."""
    for name in CA_VARIABLES:
        if not (place := os.environ.get(name)):
            continue
        try:
            if os.path.isdir(place):
                return ssl.create_default_context(capath=place)
            return ssl.create_default_context(cafile=place)
        except OSError as error:
            raise SourceError(
                f"{name}: {visible(place)} cannot be read as certificates", hint="name a file of PEM certificates"
            ) from error
    return ssl.create_default_context()


def _understood(error: HTTPError, shown: str) -> _Again | SourceError:
    """What a failure of the line means; urllib3's own words may hold the query, so they are not repeated."""
    cause = error.args[-1] if error.args else None
    if isinstance(error, ProxyError):
        cause = error.original_error
        if not isinstance(cause, SSLError):
            return _Again(SourceError(f"{shown}: the proxy does not connect", hint="check HTTP_PROXY and HTTPS_PROXY"))
        cause = cause.args[-1] if cause.args else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return SourceError(
            f"{shown}: the certificate is not trusted: {visible(cause.verify_message)}",
            hint="if the server's authority is your own, name its certificate in SEALIFT_CA_FILE",
        )
    if isinstance(error, LocationValueError):
        return SourceError(f"{shown}: this address cannot be used", hint="check the host's name in `url`")
    if isinstance(error, NameResolutionError):
        return _Again(SourceError(f"{shown}: the host's name is not known", hint="check `url` and the network"))
    if isinstance(error, NewConnectionError):
        return _Again(SourceError(f"{shown}: no connection to the host", hint="check `url` and the network"))
    if isinstance(error, LateError):
        return _Again(SourceError(f"{shown}: the server does not answer in time", hint=_RESUMES))
    if isinstance(error, (ProtocolError, SSLError)):
        return _Again(SourceError(f"{shown}: the connection broke off", hint=_RESUMES))
    return SourceError(f"{shown}: the answer cannot be understood ({type(error).__name__})")


def _retry_after(asked: str | None, now: float) -> float | None:
    """Seconds to wait by a Retry-After header (RFC 9110, 10.2.3)."""
    if asked is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", asked):
        return float(asked)
    moment = _moment(asked)
    return None if moment is None else moment - now


def _moment(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() if _DATE.fullmatch(date) else None
    except (ValueError, OverflowError):
        return None


def _validator(headers: Mapping[str, str]) -> str | None:
    """What names this very content for If-Range: a strong ETag, or a date old enough to be one (RFC 9110, 8.8)."""
    if "etag" in headers:
        return headers["etag"] if _ETAG.fullmatch(headers["etag"]) else None
    modified, now = _moment(headers.get("last-modified", "")), _moment(headers.get("date", ""))
    if modified is None or now is None or now - modified < _DATE_MARGIN:
        return None
    return headers["last-modified"]


def _kept(path: Path, digest: str, progress: Progress) -> Fetched | None:
    """The file that the cache holds, if it still has its digest; one that has not is deleted."""
    if not os.path.lexists(path):
        return None
    with storing(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            hasher, length = _hashed(descriptor, progress)
        finally:
            os.close(descriptor)
        if hasher.hexdigest() == digest:
            return Fetched(path=path, sha256=digest, length=length)
        os.unlink(path)
    return None


def _hashed(descriptor: int, progress: Progress) -> tuple[hashlib._Hash, int]:
    """The SHA-256 and the length of what `descriptor` holds from its start on."""
    hasher, length = hashlib.sha256(), 0
    if size := os.fstat(descriptor).st_size:
        progress.start("check the cache", size)
        try:
            while piece := os.read(descriptor, PIECE):
                hasher.update(piece)
                length += len(piece)
                progress.advance(len(piece))
        finally:
            progress.finish()
    return hasher, length


class _Part:
    """The `.part` file: what has arrived so far, and what the server called it."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path = path
        self._label = path.with_suffix(".validator")
        with storing(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            try:
                self._hasher, self.length = _hashed(self._descriptor, progress)
                self.validator = self._read_label()
            except BaseException:
                os.close(self._descriptor)
                raise
        self.resumed = self.length > 0
        """It holds the bodies of several answers."""

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        if not self.length:
            self.delete()

    @property
    def sha256(self) -> str:
        return self._hasher.hexdigest()

    def _read_label(self) -> str | None:
        try:
            text = self._label.read_bytes()[:1024].decode("ascii")
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        return text if _ETAG.fullmatch(text) or _DATE.fullmatch(text) else None

    def restart(self, validator: str | None) -> None:
        """Empty it, for a content that the server calls `validator`."""
        with storing(self._path):
            self._label.unlink(missing_ok=True)
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
        if validator is not None:
            write_file(self._label, validator.encode("ascii"))
        self._hasher, self.length, self.validator, self.resumed = hashlib.sha256(), 0, validator, False

    def append(self, piece: bytes) -> None:
        with storing(self._path):
            write_all(self._descriptor, piece)
        self._hasher.update(piece)
        self.length += len(piece)

    def keep(self, digest: str) -> Path:
        """Give it its name in the cache, durably."""
        kept = self._path.with_name(digest)
        with storing(kept):
            os.fsync(self._descriptor)
            os.replace(self._path, kept)
            self._label.unlink(missing_ok=True)
            sync_folder(kept.parent)
        return kept

    def delete(self) -> None:
        with storing(self._path):
            self._path.unlink(missing_ok=True)
            self._label.unlink(missing_ok=True)
