"""The line to a registry, by urllib3: proxies and certificates as the environment and `certs.d` say."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from sealift.errors import SourceError
from sealift.names import visible
from sealift.oci.address import Address, is_here
from sealift.oci.haste import Hasty
from sealift.oci.hosts import certificates
from sealift.oci.transport import PIECE, Broken
from sealift.patience import Patience

from ..network.connections import manager, tls_context
from ..network.web import Failure, meaning

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
        self._managers: dict[tuple[str, str, bool], urllib3.PoolManager] = {}

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        for pools in self._managers.values():
            pools.clear()

    @contextlib.contextmanager
    def send(
        self, method: str, address: Address, headers: Mapping[str, str], body: Iterator[bytes | memoryview] | None
    ) -> Iterator[WireAnswer]:
        """The answer, its body unread.

        Raises:
            Broken: there was none.
            SourceError: a certificate or a proxy that is set up cannot be used.
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
            if key not in self._managers:
                context = self._context(address.host) if address.scheme == "https" else None
                pools = manager(address.text, context=context, connections=self._connections)
                elsewhere = address.led and pools.proxy is None
                pools.pool_classes_by_scheme = _ELSEWHERE if elsewhere else _ANYWHERE
                self._managers[key] = pools
            return self._managers[key]

    def _context(self, host: str) -> ssl.SSLContext:
        context, found = tls_context(), certificates(host, self._environment)
        with _reading("*.crt", host):
            for path in found.authorities:
                context.load_verify_locations(cafile=path)
        if found.client:
            with _reading("*.cert and *.key", host):
                context.load_cert_chain(*found.client)
        return context


@contextlib.contextmanager
def _reading(what: str, host: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(
            f"the certificates {what} that certs.d has for {visible(host)} cannot be read", hint="mend or remove them"
        ) from error


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
    try:
        yield
    except HTTPError as error:
        raise _broken(meaning(error)) from error


def _broken(failure: Failure) -> Broken:
    return Broken(failure.reason, hint=failure.hint, lasting=failure.lasting)


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
