"""Settings: which indexes pip is configured for on this machine, with their credentials.

Read as pip reads it: the files of the machine, the user and the virtual environment, then `PIP_CONFIG_FILE`, then
variables; what comes later counts. Of an index, credentials are kept apart from its address.

Invariant: what comes out as an address bears none.
"""

from __future__ import annotations

import configparser
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sealift.errors import SourceError, UsageError
from sealift.names import visible

from ..network.connections import CA_VARIABLES, OPENER
from ..network.line import Line, Place, netrc_headers, origin_of, split_credentials
from ..network.web import check_url

_SECTIONS = ("global", "download")
_NAMES = ("index-url", "extra-index-url", "no-index", "cert", "client-cert")
_TRUE = ("1", "true", "yes", "on")
_INDEX_HINT = "write `index: [https://…/simple]` in the spec, or PIP_INDEX_URL, or index-url in pip.conf"


@dataclass(frozen=True, kw_only=True)
class Access:
    """How indexes are asked: with which credentials and certificates."""

    headers: Mapping[Place, str] = field(default_factory=dict)
    """The Authorization header of each origin that has one."""
    hosts: Mapping[str, str] = field(default_factory=dict)
    """The same by host, from the user's netrc file."""
    cert: str | None = None
    """The file of certificates that verify the indexes."""
    client_cert: str | None = None
    """A file with a certificate and a key of the client's."""

    def line(self) -> Line:
        """Connections with these credentials and certificates.

        Raises:
            UsageError: the certificates cannot be read.
        """
        return Line(headers=self.headers, hosts=self.hosts, context=self._context())

    def _context(self) -> ssl.SSLContext | None:
        named = any(os.environ.get(name) for name in CA_VARIABLES)
        if (self.cert is None or named) and self.client_cert is None:
            return None
        try:
            if self.cert and not named:
                folder = os.path.isdir(self.cert)
                context = ssl.create_default_context(
                    capath=self.cert if folder else None, cafile=None if folder else self.cert
                )
            else:
                context = OPENER.context()
            if self.client_cert:
                context.load_cert_chain(self.client_cert)
        except OSError as error:
            raise UsageError(
                "the certificates that pip is configured with cannot be read", hint="check `cert` and `client-cert`"
            ) from error
        return context


def access(environment: Mapping[str, str]) -> Access:
    """How this machine's indexes are asked.

    Raises:
        UsageError: a configuration cannot be read.
    """
    said = dict(_configured(environment))
    headers: dict[Place, str] = {}
    for url in _indexes(said):
        plain, header = split_credentials(url)
        if header:
            headers[Place(origin_of(plain))] = header
    return Access(
        headers=headers,
        hosts=netrc_headers(environment),
        cert=said.get("cert") or None,
        client_cert=said.get("client-cert") or None,
    )


def indexes(
    environment: Mapping[str, str], *, given: tuple[str, ...] = (), in_file: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The simple repositories to look packages up in, in order, without credentials and without `/` at the end.

    Args:
        environment: variables.
        given: those that the spec names, which are asked alone.
        in_file: those that a requirements file names; asked where the spec names none.

    Raises:
        UsageError: a configuration cannot be read.
        SourceError: no index is configured.
    """
    said = dict(_configured(environment))
    asked = given or in_file
    if not asked:
        alone = said.get("index-url") or said.get("no-index", "").lower() in _TRUE
        asked = (*(() if alone else (default_index(),)), *_indexes(said))
    if not asked:
        raise SourceError("no index of Python packages is configured here", hint=_INDEX_HINT)
    return tuple(dict.fromkeys(check_url(split_credentials(url)[0]).rstrip("/") for url in asked))


def default_index() -> str:
    """The index that pip itself asks where nothing is configured, as its own help says.

    Raises:
        SourceError: there is no pip that says so.
    """
    command = [sys.executable, "-P", "-m", "pip", "download", "--help"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd="/").stdout
    except (OSError, subprocess.TimeoutExpired):
        told = ""
    found = re.search(r"--index-url.*?\(default\s+(https://[^\s)]+)\)", told, re.DOTALL)
    if not found:
        raise SourceError("no index of Python packages is configured here", hint=_INDEX_HINT)
    return found[1].rstrip("/")


def _indexes(said: Mapping[str, str]) -> Iterator[str]:
    """The configured indexes that are asked by HTTP; those of local files are pip's own."""
    for name in ("index-url", "extra-index-url"):
        for url in said.get(name, "").split():
            if name == "extra-index-url" and said.get("no-index", "").lower() in _TRUE:
                continue
            if url.lower().startswith(("http://", "https://")):
                yield url


def _configured(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Names and values, the stronger ones later."""
    for path in _files(environment):
        yield from _read(path)
    for name in _NAMES:
        if value := environment.get(f"PIP_{name.upper().replace('-', '_')}"):
            yield name, value


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    own = environment.get("PIP_CONFIG_FILE")
    if own == os.devnull:
        return
    home = Path(environment.get("HOME") or os.path.expanduser("~"))
    for folder in (environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":"):
        yield Path(folder) / "pip" / "pip.conf"
    yield Path("/etc/pip.conf")
    yield home / ".pip" / "pip.conf"
    yield Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
    yield Path(sys.prefix) / "pip.conf"
    if own:
        yield Path(own)


def _read(path: Path) -> Iterator[tuple[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (OSError, configparser.Error, UnicodeDecodeError) as error:
        raise UsageError(
            f"{visible(str(path))} cannot be read as pip's configuration", hint="mend it, or see `pip config debug`"
        ) from error
    for section in _SECTIONS:
        if parser.has_section(section):
            for name, value in parser.items(section):
                yield name.replace("_", "-"), value
