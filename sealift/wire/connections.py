"""Connections that a server cannot hold for ever, and those that do not lead to this machine itself."""

from __future__ import annotations

import http.client
import io
import socket
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from ..oci.address import is_here
from ..oci.transport import Broken
from ..patience import Patience
from .haste import Hasty


class _Response(http.client.HTTPResponse):
    """An answer that comes in time, or breaks off; a proxy's answer to CONNECT as well, which is not begun."""

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


ANYWHERE = {"http": _Plain, "https": _Tls}
"""urllib3's pools of such connections, by scheme."""
ELSEWHERE = {"http": _PlainElsewhere, "https": _TlsElsewhere}
"""The same, of those that lead to other machines alone."""
