"""A relay between a program and a store of objects: counts what is asked, breaks off, dawdles, kills who asks.

It also stands as an HTTP proxy, for addresses whose host's name nothing else here knows.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Twist = Callable[["Relayed"], bool]
"""Answers a request in its own way, or returns False and leaves it to the store."""


class Relayed(BaseHTTPRequestHandler):
    """One request on its way."""

    protocol_version = "HTTP/1.1"
    server: Relay
    body: bytes

    def _any(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server.lock:
            self.server.seen.append((f"{self.command} {self.path}", dict(self.headers)))
        if self.server.twist and self.server.twist(self):
            return
        self.answer(*self.forward())

    def __getattr__(self, name: str) -> Any:
        """Every method of HTTP is relayed alike."""
        if name.startswith("do_"):
            return self._any
        raise AttributeError(name)

    def forward(self) -> tuple[int, dict[str, str], bytes]:
        """What the store says."""
        address = urllib.parse.urlsplit(self.path)
        path = address.path + (f"?{address.query}" if address.query else "")
        connection = http.client.HTTPConnection(self.server.store, timeout=60)
        try:
            connection.request(self.command, path, self.body, {**self.headers, "Connection": "close"})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> bool:
        """Say so to who asked; a body that is shorter than it should be ends the connection."""
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        length = headers.get("Content-Length") or headers.get("content-length") or str(len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self.close_connection = len(body) != int(length)
        return True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Relay(ThreadingHTTPServer):
    """A relay to the store at `host:port`."""

    daemon_threads = True

    def __init__(self, store: str) -> None:
        super().__init__(("127.0.0.1", 0), Relayed)
        self.store = store
        self.twist: Twist | None = None
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.lock = threading.Lock()

    @property
    def host(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_port}"

    def asked(self, pattern: str) -> list[str]:
        """The requests in which `pattern` is found, as in `PUT .*current`."""
        return [request for request, _ in self.seen if re.search(pattern, request)]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what is wanted."""


@contextlib.contextmanager
def relaying(endpoint: str) -> Iterator[Relay]:
    """A relay to a store's endpoint."""
    with Relay(urllib.parse.urlsplit(endpoint).netloc) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
