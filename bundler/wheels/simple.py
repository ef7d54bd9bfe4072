"""The simple repository API: which files an index has of a project, as JSON (PEP 691) or as HTML (PEP 503).

An index is not trusted: what it offers counts only where a digest is known that it must have. Links of other projects,
to other places than http and https, with credentials, or without a file name that means something are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

import msgspec
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    NormalizedName,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

from sealift.errors import MalformedError, UsageError
from sealift.listing import decode
from sealift.names import check_path
from sealift.patience import Patience

from ..network.line import Line
from ..network.pages import page
from ..network.web import check_url, redacted

PAGE_MAX = 64 << 20
"""Bytes of a page at most."""
LINKS_MAX = 200_000
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
STRONG = ("sha256", "sha384", "sha512")
"""Digests that identify a file, by hashlib's names."""
_HASH = re.compile(r"(sha256|sha384|sha512)=([0-9a-fA-F]{64,128})")


class Link(NamedTuple):
    """A file that an index offers."""

    filename: str
    url: str
    version: Version
    wheel: bool
    hashes: Mapping[str, str]
    """By algorithm, of `STRONG`."""
    size: int | None
    """Bytes, where the index says."""


class _File(msgspec.Struct, frozen=True):
    filename: str
    url: str
    hashes: dict[str, str]
    size: int | None = None


class _Meta(msgspec.Struct, frozen=True):
    api_version: str = msgspec.field(name="api-version")


class _Page(msgspec.Struct, frozen=True):
    meta: _Meta
    files: list[_File]


def links(index: str, project: NormalizedName, line: Line, patience: Patience) -> list[Link] | None:
    """What an index has of a project; None where it does not know it.

    Raises:
        SourceError: it cannot be asked.
        MalformedError: its answer is no page of the API.
    """
    url = f"{index}/{project}/"
    found = page(url, line, patience, limit=PAGE_MAX, accept=ACCEPT)
    if found is None:
        return None
    offered = _from_json(found.content, url) if found.kind.endswith("+json") else _from_html(found.content, url)
    return [link for file in offered if (link := _link(file, found.url, project))]


def _from_json(content: bytes, url: str) -> Iterator[_File]:
    said = decode(content, _Page, f"the page {redacted(url)}")
    if said.meta.api_version.partition(".")[0] != "1":
        raise MalformedError(f"the page {redacted(url)} is of another version of the API than 1")
    _check_count(len(said.files), url)
    yield from said.files


class _Anchors(HTMLParser):
    """Collects the links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.base: str | None = None
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if href and tag == "base" and self.base is None:
            self.base = href
        elif href and tag == "a":
            self.found.append(href)


def _from_html(content: bytes, url: str) -> Iterator[_File]:
    anchors = _Anchors()
    anchors.feed(content.decode("utf-8", "replace"))
    _check_count(len(anchors.found), url)
    for href in anchors.found:
        try:
            place = urljoin(anchors.base, href) if anchors.base else href
            parts = urlsplit(place)
            name = unquote(parts.path.rpartition("/")[2], errors="strict")
        except (ValueError, UnicodeDecodeError):
            continue
        hashes = {found[1]: found[2] for found in _HASH.finditer(parts.fragment)}
        yield _File(filename=name, url=place, hashes=hashes)


def _check_count(count: int, url: str) -> None:
    if count > LINKS_MAX:
        raise MalformedError(f"the page {redacted(url)} has more than {LINKS_MAX} links")


def _link(file: _File, base: str, project: NormalizedName) -> Link | None:
    """The link, if it is one of the project's that may be followed."""
    named = parsed(file.filename)
    if named is None or named[0] != project:
        return None
    try:
        url = check_url(urljoin(base, file.url).partition("#")[0])
    except (UsageError, ValueError):
        return None
    if base.startswith("https:") and not url.startswith("https:"):
        return None
    hashes = {name: value.lower() for name, value in file.hashes.items() if name in STRONG}
    size = file.size if file.size is not None and file.size >= 0 else None
    return Link(file.filename, url, named[1], named[2], hashes, size)


def parsed(filename: str) -> tuple[NormalizedName, Version, bool] | None:
    """The project, the version, and whether it is a wheel, of a file's name; None where the name is of no such file."""
    try:
        if "/" in check_path(filename):
            return None
        if filename.endswith(".whl"):
            name, version, _, _ = parse_wheel_filename(filename)
            return name, version, True
        name, version = parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename, MalformedError):
        return None
    return name, version, False
