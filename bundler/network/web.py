"""The web, as far as a fetch meets it: addresses, redirects, proxies, certificates, and what an answer means.

Invariants:
- TLS certificates are always verified, no step leads from https to http, and no request bears
  credentials, except a proxy's own to that proxy, and those that a caller's line has for the very origin.
- No message holds the query or the credentials of an address.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import urllib3
from urllib3.exceptions import HTTPError, LocationValueError
from urllib3.util import Timeout, parse_url

from sealift.errors import SealiftError, SourceError, UsageError
from sealift.names import visible
from sealift.wire.failure import meaning

from .connections import OPENER

if TYPE_CHECKING:
    from .line import Line

REDIRECTS = 5

_ETAG = re.compile(r'"[\x21\x23-\x7e]{0,500}"')
_DATE = re.compile(r"[A-Za-z0-9 ,:+-]{16,64}")
_DATE_MARGIN = 60.0
"""Seconds between a change and the answer from which on Last-Modified names one content (RFC 9110, 8.8.2.2)."""


class Again(Exception):
    """An attempt failed, and another may not.

    Args:
        error: what to raise when there is none left.
        after: seconds that the server asked to wait.
    """

    def __init__(self, error: SealiftError, after: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.after = after


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


def public(url: str) -> str:
    """`url` as a lock may hold it, without credentials, query and fragment; empty where it is no address."""
    try:
        parsed = parse_url(url)
    except LocationValueError:
        return ""
    return visible(parsed._replace(auth=None, query=None, fragment=None).url)


@contextlib.contextmanager
def answer(
    url: str, headers: Mapping[str, str], timeout: Timeout, *, line: Line | None = None
) -> Iterator[urllib3.BaseHTTPResponse]:
    """The response to which `url` leads, its body unread; its own `url` is the last address of the way.

    Args:
        url: an http or https address.
        headers: what every host on the way is told.
        timeout: how long to wait.
        line: the connections to use and keep; without it each request opens its own.
    """
    here = url
    for _ in range(REDIRECTS + 1):
        with contextlib.nullcontext(line.pools(here)) if line else OPENER.pools(here) as pools:
            said = {**headers, **line.headers(here)} if line else headers
            response = pools.request(
                "GET", here, headers=said, redirect=False, retries=False, timeout=timeout, preload_content=False
            )
            try:
                location = response.headers.get("location")
                if response.status not in (301, 302, 303, 307, 308) or location is None:
                    response.url = here
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


def understood(error: HTTPError, shown: str) -> Again | SourceError:
    """What to raise for a failure of the line to `shown`."""
    reason, hint, lasting = meaning(error)
    failure = SourceError(f"{shown}: {reason}", hint=hint)
    return failure if lasting else Again(failure)


def retry_after(asked: str | None, now: float) -> float | None:
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


def validator(headers: Mapping[str, str]) -> str | None:
    """What names this very content for If-Range: a strong ETag, or a date old enough to be one (RFC 9110, 8.8)."""
    if "etag" in headers:
        return headers["etag"] if _ETAG.fullmatch(headers["etag"]) else None
    modified, now = _moment(headers.get("last-modified", "")), _moment(headers.get("date", ""))
    if modified is None or now is None or now - modified < _DATE_MARGIN:
        return None
    return headers["last-modified"]


def is_validator(text: str) -> bool:
    """Whether `text` has the form of what `validator` returns."""
    return bool(_ETAG.fullmatch(text) or _DATE.fullmatch(text))
