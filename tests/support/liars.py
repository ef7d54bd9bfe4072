"""A registry that lies, breaks off, dawdles or leads astray: a pile of blobs, and what is done about some requests."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from images import Pile, Value
from threaded import threaded

Twist = Callable[["Exchange"], bool]
"""Answers a request in its own way, or returns False and leaves it to the registry."""


class Exchange(BaseHTTPRequestHandler):
    """One request to a liar."""

    protocol_version = "HTTP/1.1"
    server: Liar

    def _any(self) -> None:
        self.server.seen.append((self.command, self.path, self.headers.get("Authorization")))
        for pattern, twist in self.server.twists:
            if re.search(pattern, f"{self.command} {self.path}") and twist(self):
                return
        found = re.fullmatch(r"/v2/shop/web/(manifests|blobs)/(.+)", self.path)
        digest = self.server.tags.get(found[2], found[2]) if found else ""
        content = self.server.pile.blobs.get(digest)
        if found is None or content is None:
            self.say(404, b"{}")
        else:
            kind = self.server.pile.types.get(digest, "application/octet-stream")
            self.say(200, content, Content_Type=kind, Docker_Content_Digest=digest)

    def __getattr__(self, name: str) -> Any:
        """Every method of HTTP is answered alike."""
        if name.startswith("do_"):
            return self._any
        raise AttributeError(name)

    def say(self, status: int, body: bytes = b"", *, length: int | None = None, **headers: str) -> bool:
        """Answer; `length` is said in place of the body's own."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if length is not None:
            self.close_connection = True
        return True

    def reset(self) -> bool:
        """End the connection as a crash does."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.rfile.close()
        self.close_connection = True
        return True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Liar(ThreadingHTTPServer):
    """A registry with one repository, `shop/web`."""

    def __init__(self, pile: Pile, tags: dict[str, Value]) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.pile = pile
        self.tags = {tag: str(root["digest"]) for tag, root in tags.items()}
        self.twists: list[tuple[str, Twist]] = []
        self.seen: list[tuple[str, str, str | None]] = []

    @property
    def host(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_port}"

    def twist(self, pattern: str, twist: Twist) -> None:
        """Answer requests in which `pattern` is found, as in `GET /v2/`, in another way."""
        self.twists.append((pattern, twist))

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what is wanted."""


@contextlib.contextmanager
def lying(pile: Pile, tags: dict[str, Value]) -> Iterator[Liar]:
    """A liar that answers."""
    with Liar(pile, tags) as server, threaded(server):
        yield server
