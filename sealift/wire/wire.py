"""The line to a registry: proxies and certificates as the environment and `certs.d` say."""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from ..names import visible
from ..oci.address import Address
from ..oci.hosts import certificates
from ..oci.transport import PIECE, Broken
from ..patience import Patience
from .connections import ELSEWHERE
from .failure import meaning
from .opener import Opener

_REST_MAX, _REST_SECONDS = 64 << 10, 1.0
"""Bytes and seconds of an answer that nobody reads up to which its connection is worth keeping."""


class Wire:
    """A `sealift.oci.transport.Transport`. As a context: leaving it closes its connections."""

    def __init__(self, opener: Opener, environment: Mapping[str, str], patience: Patience, *, connections: int) -> None:
        """Open nothing yet.

        Args:
            opener: what opens connections.
            environment: where `certs.d` is looked for.
            patience: how long to wait.
            connections: how many are kept for each host.
        """
        self._opener = opener
        self._environment = environment
        self._timeout = Timeout(connect=patience.connect, read=patience.read)
        self._connections = connections
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, str, bool], urllib3.PoolManager] = {}

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        for pools in self._pools.values():
            pools.clear()

    @contextlib.contextmanager
    def send(
        self, method: str, address: Address, headers: Mapping[str, str], body: Iterator[bytes | memoryview] | None
    ) -> Iterator[WireAnswer]:
        """The answer, its body unread.

        Raises:
            Broken: there was none.
            SealiftError: the opener's `failure`: a certificate or a proxy that is set up cannot be used.
        """
        with _breaking():
            response = self._opened(address).request(
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

    def _opened(self, address: Address) -> urllib3.PoolManager:
        key = (address.scheme, address.host, address.led)
        with self._lock:
            if key not in self._pools:
                context = self._context(address.host) if address.scheme == "https" else None
                pools = self._opener.pools(address.text, context=context, connections=self._connections)
                if address.led and pools.proxy is None:
                    pools.pool_classes_by_scheme = ELSEWHERE
                self._pools[key] = pools
            return self._pools[key]

    def _context(self, host: str) -> ssl.SSLContext:
        context, found = self._opener.context(), certificates(host, self._environment)
        with self._reading("*.crt", host):
            for path in found.authorities:
                context.load_verify_locations(cafile=path)
        if found.client:
            with self._reading("*.cert and *.key", host):
                context.load_cert_chain(*found.client)
        return context

    @contextlib.contextmanager
    def _reading(self, what: str, host: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._opener.failure(
                f"the certificates {what} that certs.d has for {visible(host)} cannot be read",
                hint="mend or remove them",
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
        reason, hint, lasting = meaning(error)
        raise Broken(reason, hint=hint, lasting=lasting) from error


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
