"""The line to the site's registry, by urllib3: proxies and certificates as the environment and `certs.d` say."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError, SSLError
from urllib3.exceptions import TimeoutError as LateError
from urllib3.util import Timeout, make_headers, parse_url

from sealift.errors import UsageError
from sealift.names import visible
from sealift.oci.address import Address, is_here
from sealift.oci.haste import Hasty
from sealift.oci.hosts import certificates
from sealift.oci.transport import PIECE, Broken
from sealift.patience import Patience

_AUTHORITIES = ("SEALIFT_CA_FILE", "SSL_CERT_FILE")
"""Environment variables that name the certificates to trust in place of the system's; the first that is set counts."""
_REST_MAX, _REST_SECONDS = 64 << 10, 1.0
"""Bytes and seconds of an answer that nobody reads up to which its connection is worth keeping."""


class _Response(http.client.HTTPResponse):
    """An answer that comes in time, or breaks off."""

    def __init__(self, sock: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        self.fp.close()
        self._hasty = Hasty(sock.makefile("rb", buffering=0), sock.gettimeout() or Patience().read)
        self.fp = io.BufferedReader(self._hasty)

    def begin(self) -> None:
        with self._hasty.within():
            super().begin()

    def read1(self, n: int = -1) -> bytes:
        with self._hasty.within():
            return super().read1(n)


class _Connection(HTTPConnection):
    response_class = _Response


class _ConnectionByTls(HTTPSConnection):
    response_class = _Response


class _Plain(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _Tls(urllib3.HTTPSConnectionPool):
    ConnectionCls = _ConnectionByTls


class _Elsewhere(_Connection):
    """A connection that ends, with nothing sent, where the other end is this machine itself."""

    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        if is_here(made.getpeername()[0]):
            made.close()
            raise Broken(
                "another host led there, and its name resolves to this machine itself or its link: not followed",
                lasting=True,
            )
        return made


class _ElsewhereByTls(_ConnectionByTls, _Elsewhere):
    """The same with TLS."""


class _PlainElsewhere(urllib3.HTTPConnectionPool):
    ConnectionCls = _Elsewhere


class _TlsElsewhere(urllib3.HTTPSConnectionPool):
    ConnectionCls = _ElsewhereByTls


_ANYWHERE = {"http": _Plain, "https": _Tls}
_ELSEWHERE = {"http": _PlainElsewhere, "https": _TlsElsewhere}


class Wire:
    """A `sealift.oci.transport.Transport`."""

    def __init__(self, environment: Mapping[str, str], patience: Patience, *, connections: int) -> None:
        self._environment = environment
        self._timeout = Timeout(connect=patience.connect, read=patience.read)
        self._connections = connections
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, str, bool], urllib3.PoolManager] = {}

    @contextlib.contextmanager
    def send(
        self, method: str, address: Address, headers: Mapping[str, str], body: Iterator[bytes | memoryview] | None
    ) -> Iterator[WireAnswer]:
        """The answer, its body unread.

        Raises:
            Broken: there was none.
            UsageError: a certificate or a proxy that is set up cannot be used.
        """
        with _breaking():
            response = self._manager(address).request(
                method,
                address.text,
                headers=dict(headers),
                body=cast("Iterable[bytes] | None", body),
                redirect=False,
                retries=False,
                timeout=self._timeout,
                preload_content=False,
            )
        try:
            yield WireAnswer(response)
            _end(response)
        finally:
            response.close()

    def _manager(self, address: Address) -> urllib3.PoolManager:
        key = (address.scheme, address.host, address.led)
        with self._lock:
            if key not in self._pools:
                self._pools[key] = self._opened(address)
            return self._pools[key]

    def _opened(self, address: Address) -> urllib3.PoolManager:
        context = self._context(address.host) if address.scheme == "https" else None
        proxies = getproxies()
        proxy = proxies.get(address.scheme) or proxies.get("all")
        if not proxy or proxy_bypass(address.host):
            pools = urllib3.PoolManager(ssl_context=context, maxsize=self._connections)
            pools.pool_classes_by_scheme = _ELSEWHERE if address.led else _ANYWHERE
            return pools
        try:
            to = parse_url(proxy if "://" in proxy else f"http://{proxy}")
            proxied = urllib3.ProxyManager(
                to._replace(auth=None).url,
                proxy_headers=make_headers(proxy_basic_auth=unquote(to.auth)) if to.auth else None,
                ssl_context=context,
                maxsize=self._connections,
            )
            proxied.pool_classes_by_scheme = _ANYWHERE
            return proxied
        except HTTPError as error:
            raise UsageError(
                f"the proxy of the environment for {address.scheme} is no http or https address",
                hint="write HTTP_PROXY and HTTPS_PROXY as http://host:port, or name the registry in NO_PROXY",
            ) from error

    def _context(self, host: str) -> ssl.SSLContext:
        place = next((self._environment[name] for name in _AUTHORITIES if self._environment.get(name)), None)
        try:
            folder = place is not None and os.path.isdir(place)
            context = ssl.create_default_context(cafile=None if folder else place, capath=place if folder else None)
            found = certificates(host, self._environment)
            for path in found.authorities:
                context.load_verify_locations(cafile=path)
            if found.client:
                context.load_cert_chain(*found.client)
        except OSError as error:
            raise UsageError(
                f"the certificates that are set up for {visible(host)} cannot be read",
                hint=f"check {' and '.join(_AUTHORITIES)}, and the folder of that registry in certs.d",
            ) from error
        return context


class WireAnswer:
    """A `sealift.oci.transport.Answer`."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self.status = response.status
        self._response = response

    def header(self, name: str) -> str | None:
        """A header's value."""
        return self._response.headers.get(name)

    def read(self) -> bytes:
        """The next bytes of the body.

        Raises:
            Broken: the connection did.
        """
        with _breaking():
            return self._response.read1(PIECE, decode_content=False)


@contextlib.contextmanager
def _breaking() -> Iterator[None]:
    """Say what a failure of the line means; urllib3's own words may hold a query, so they are not repeated."""
    try:
        yield
    except HTTPError as error:
        cause = error.args[-1] if error.args else None
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise Broken(
                f"the certificate is not trusted: {visible(cause.verify_message)}",
                hint="name the certificate of the site's authority in SEALIFT_CA_FILE",
                lasting=True,
            ) from error
        if isinstance(error, NewConnectionError):
            raise Broken("no connection to the registry", hint="check its name and that it runs") from error
        if isinstance(error, LateError):
            raise Broken("the registry does not answer in time") from error
        if isinstance(error, (ProtocolError, SSLError)):
            raise Broken("the connection broke off") from error
        raise Broken(f"there is no answer that can be understood ({type(error).__name__})", lasting=True) from error


def _end(response: urllib3.BaseHTTPResponse) -> None:
    """Read a short rest, so that the connection may be used again; a long one is not worth it."""
    length, until = 0, time.monotonic() + _REST_SECONDS
    with contextlib.suppress(HTTPError):
        while length <= _REST_MAX and (piece := response.read1(_REST_MAX, decode_content=False)):
            length += len(piece)
            if time.monotonic() > until:
                return
        if length <= _REST_MAX:
            response.release_conn()
