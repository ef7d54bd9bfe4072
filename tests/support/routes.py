"""A server on this machine whose answers a test writes down by path, and which remembers what it was asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from threaded import threaded


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a path is answered with."""

    body: bytes = b""
    status: int = 200
    kind: str = "application/octet-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    """Bytes of the body after which the connection ends, where it does."""
    authorization: str | None = None
    """What the request must say, or it is answered 401."""


class Routes(ThreadingHTTPServer):
    """Answers by path; all else is 404."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, str]] = []
        """Each path that was asked for, with its Authorization header."""
        self.connections = 0

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that went away."""

    @property
    def url(self) -> str:
        """Where it is, without `/` at the end."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def paths(self) -> list[str]:
        """The paths that were asked for."""
        return [path for path, _ in self.asked]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        assert isinstance(self.server, Routes)
        self.server.connections += 1
        super().setup()

    def do_GET(self) -> None:
        assert isinstance(self.server, Routes)
        said = self.headers.get("authorization", "")
        self.server.asked.append((self.path, said))
        answer = self.server.answers.get(self.path.partition("?")[0], Answer(status=404))
        if answer.authorization is not None and said != answer.authorization:
            answer = Answer(status=401)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body[: answer.cut])
        if answer.cut is not None:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving() -> Iterator[Routes]:
    """A server that serves."""
    with Routes() as server, threaded(server):
        yield server
