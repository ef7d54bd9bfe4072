"""The source `url` against a real server, a real proxy and a real certificate authority."""

from __future__ import annotations

import base64
import contextlib
import datetime
import gzip
import hashlib
import http.client
import ipaddress
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from threaded import threaded

from bundler.network import cache, connections, pages
from bundler.network.cache import Fetched
from bundler.network.fetch import fetch
from bundler.network.line import Line as Opened
from bundler.source import Found, Workshop
from bundler.sources import url
from sealift.durable import locked
from sealift.errors import IntegrityError, SealiftError, SourceError, StoreError, UsageError
from sealift.patience import Patience
from sealift.progress import Silent

BODY = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(BODY).hexdigest()
ETAG = '"one"'


class Exchange(BaseHTTPRequestHandler):
    """One request, answered by the next step of the server's script."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.note()
        script = self.server.script
        (script.pop(0) if len(script) > 1 else script[0])(self)
        self.close_connection = True

    def do_CONNECT(self) -> None:
        """Join the client with where it wants to go, as a proxy does."""
        self.note()
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), 5) as there:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pour, args=(there, self.connection))
            back.start()
            _pour(self.connection, there)
            back.join()
        self.close_connection = True

    def note(self) -> None:
        """Write down what was asked, each header's name in its usual form."""
        names = {"If-Range", "Range", "Accept-Encoding", "Authorization", "Proxy-Authorization"}
        found = {name: self.headers[name] for name in names if name in self.headers}
        self.server.seen.append((self.path, found))

    def head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def reset(self) -> None:
        """End the connection as a crash does."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.rfile.close()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


Step = Callable[[Exchange], None]


class Server(ThreadingHTTPServer):
    """A server that follows a script; its last step answers all further requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.script: list[Step] = [whole()]
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is part of the script."""


def _pour(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)


def whole(body: bytes = BODY, **headers: str) -> Step:
    """The whole body, whatever was asked for."""

    def step(exchange: Exchange) -> None:
        exchange.head(200, Content_Length=str(len(body)), **{"ETag": ETAG, **headers})
        exchange.wfile.write(body)

    return step


def broken(sent: int, **headers: str) -> Step:
    """The first `sent` bytes, then the end of the connection."""

    def step(exchange: Exchange) -> None:
        exchange.head(200, Content_Length=str(len(BODY)), **(headers or {"ETag": ETAG}))
        exchange.wfile.write(BODY[:sent])

    return step


def reset(sent: int) -> Step:
    """The first `sent` bytes, then a reset; the client may lose some that were on their way."""

    def step(exchange: Exchange) -> None:
        exchange.head(200, Content_Length=str(len(BODY)), ETag=ETAG)
        exchange.wfile.write(BODY[:sent])
        exchange.reset()

    return step


def rest(body: bytes = BODY, *, etag: str = ETAG, stop: int | None = None, shift: int = 0) -> Step:
    """What Range asks for, as RFC 9110 has it; `stop` ends the connection early, `shift` lies about the start."""

    def step(exchange: Exchange) -> None:
        asked = exchange.headers.get("Range")
        condition = exchange.headers.get("If-Range")
        if asked is None or condition not in (etag, formatdate(0, usegmt=True)):
            whole(body)(exchange)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            exchange.head(416, Content_Length="0")
            return
        exchange.head(
            206,
            Content_Length=str(len(body) - start),
            Content_Range=f"bytes {start + shift}-{len(body) - 1}/{len(body)}",
        )
        exchange.wfile.write(body[start:stop])

    return step


def status(code: int, **headers: str) -> Step:
    """An answer without a body."""
    return lambda exchange: exchange.head(code, Content_Length="0", **headers)


def redirect(location: str, code: int = 302) -> Step:
    """An answer that leads elsewhere."""
    return status(code, Location=location)


def chunked(body: bytes, *, complete: bool = True) -> Step:
    """The body in chunks, without its length."""

    def step(exchange: Exchange) -> None:
        exchange.head(200, Transfer_Encoding="chunked")
        for at in range(0, len(body), 50_000):
            piece = body[at : at + 50_000]
            exchange.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if complete:
            exchange.wfile.write(b"0\r\n\r\n")

    return step


@contextlib.contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Answer until the test has ended."""
    with server, threaded(server):
        yield server


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a proxy nor a certificate of this machine."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in connections.CA_VARIABLES:
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server, at first of the whole body."""
    with serving(Server()) as running:
        yield running


@dataclass
class Line:
    """Fetches into one cache, without waiting: what would have been waited is written down."""

    cache: Path
    waits: list[float] = field(default_factory=list)

    def fetch(self, address: str, **arguments: Any) -> Fetched:
        patience = Patience(
            sleep=self.waits.append, clock=lambda: 1_000_000.0, jitter=lambda: 1.0, connect=2.0, read=0.3
        )
        given: dict[str, Any] = {"cache": self.cache, "progress": Silent(), "patience": patience}
        return fetch(address, **(given | arguments))

    def names(self) -> list[str]:
        return sorted(place.name for place in self.cache.iterdir() if place.name != "lock")


@pytest.fixture
def line(tmp_path: Path) -> Line:
    """A line with an empty cache."""
    return Line(tmp_path / "cache")


def _fails(line: Line, address: str, kind: type[SealiftError] = SourceError, **arguments: Any) -> SealiftError:
    with pytest.raises(kind) as raised:
        line.fetch(address, **arguments)
    return raised.value


def _starts(server: Server) -> list[int]:
    """From which byte on each request asked."""
    return [int(headers.get("Range", "bytes=0-")[6:-1]) for _, headers in server.seen]


def test_a_body_is_cached_by_its_digest(server: Server, line: Line) -> None:
    """What was fetched has its digest for a name, and nothing else is left."""
    fetched = line.fetch(f"{server.url}/f", sha256=DIGEST, length=len(BODY))
    assert fetched == Fetched(path=line.cache / DIGEST, sha256=DIGEST, length=len(BODY))
    assert fetched.path.read_bytes() == BODY
    assert line.names() == [DIGEST]


def test_a_digest_is_found_out(server: Server, line: Line) -> None:
    """Without a digest whatever comes whole is taken."""
    assert line.fetch(f"{server.url}/f").sha256 == DIGEST


def test_an_empty_body_is_a_body(server: Server, line: Line) -> None:
    """A file of no bytes is fetched as any other."""
    server.script = [whole(b"")]
    assert line.fetch(f"{server.url}/f").length == 0


def test_a_cached_file_is_not_fetched_again(server: Server, line: Line) -> None:
    """The second fetch of a digest asks nobody."""
    line.fetch(f"{server.url}/f", sha256=DIGEST)
    line.fetch(f"{server.url}/f", sha256=DIGEST)
    assert len(server.seen) == 1


def test_a_damaged_cached_file_is_fetched_again(server: Server, line: Line) -> None:
    """A file in the cache is hashed before it is believed."""
    line.fetch(f"{server.url}/f", sha256=DIGEST).path.write_bytes(b"damaged")
    assert line.fetch(f"{server.url}/f", sha256=DIGEST).path.read_bytes() == BODY


def test_another_digest_is_refused_and_not_kept(server: Server, line: Line) -> None:
    """A body without the digest that was asked for is deleted, at once and without another attempt."""
    error = _fails(line, f"{server.url}/f", IntegrityError, sha256="0" * 64)
    assert error.exit_code == 5
    assert line.names() == []
    assert len(server.seen) == 1


@pytest.mark.parametrize("length", [len(BODY) - 1, len(BODY) + 1])
@pytest.mark.parametrize("script", [whole(), chunked(BODY)])
def test_another_length_is_refused(server: Server, line: Line, length: int, script: Step) -> None:
    """A body that is longer or shorter than the lock says is refused, its length declared or not."""
    server.script = [script]
    _fails(line, f"{server.url}/f", IntegrityError, length=length)
    assert line.names() == []


@pytest.mark.parametrize("script", [whole(), chunked(BODY)])
def test_a_body_beyond_the_bound_is_refused(server: Server, line: Line, script: Step) -> None:
    """What is longer than is accepted is not kept, its length declared or not."""
    server.script = [script]
    assert "longer than 1000 bytes" in _fails(line, f"{server.url}/f", max_bytes=1000).message
    assert line.names() == []


def test_a_chunked_body_is_taken(server: Server, line: Line) -> None:
    """A body whose length is not declared ends where its last chunk says."""
    server.script = [chunked(BODY)]
    assert line.fetch(f"{server.url}/f").sha256 == DIGEST


def test_a_chunked_body_that_breaks_off_is_not_taken(server: Server, line: Line) -> None:
    """Without its last chunk a body is not whole, and is fetched again."""
    server.script = [chunked(BODY, complete=False), chunked(BODY)]
    assert line.fetch(f"{server.url}/f").sha256 == DIGEST


def _endless(exchange: Exchange) -> None:
    exchange.head(200)
    exchange.wfile.write(BODY)


def test_a_body_without_an_end_needs_a_digest(server: Server, line: Line) -> None:
    """Where the end of the connection is the end of the body, only a digest tells whether it is whole."""
    server.script = [_endless]
    assert "where the body ends" in _fails(line, f"{server.url}/f").message
    assert line.fetch(f"{server.url}/f", sha256=DIGEST).length == len(BODY)


def test_a_content_coding_is_not_undone(server: Server, line: Line) -> None:
    """The bytes that the server sends are the bytes that are kept; none are asked to be compressed."""
    server.script = [whole(Content_Encoding="gzip")]
    assert line.fetch(f"{server.url}/f", sha256=DIGEST).length == len(BODY)
    assert server.seen[0][1]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("sha256", [DIGEST, None])
def test_a_broken_body_is_resumed(server: Server, line: Line, sha256: str | None) -> None:
    """After a break only the rest is asked for, if it is still of the same content."""
    server.script = [broken(100_000), rest(stop=150_000), rest()]
    assert line.fetch(f"{server.url}/f", sha256=sha256).path.read_bytes() == BODY
    assert _starts(server) == [0, 100_000, 150_000]
    assert [headers.get("If-Range") for _, headers in server.seen] == [None, ETAG, ETAG]


def test_a_reset_body_is_resumed(server: Server, line: Line) -> None:
    """A reset in the body is a break like any other."""
    server.script = [reset(100_000), rest()]
    assert line.fetch(f"{server.url}/f", sha256=DIGEST).path.read_bytes() == BODY


def test_a_later_run_resumes(server: Server, line: Line) -> None:
    """What arrived before the last attempt failed is kept for the next run."""
    server.script = [broken(100_000), status(503)]
    _fails(line, f"{server.url}/f", sha256=DIGEST)
    server.script = [rest()]
    assert line.fetch(f"{server.url}/f", sha256=DIGEST).length == len(BODY)
    assert _starts(server)[-1] == 100_000
    assert line.names() == [DIGEST]


def test_an_interrupted_run_is_resumed(server: Server, line: Line) -> None:
    """Ctrl-C keeps what arrived."""

    class Impatient(Silent):
        def advance(self, amount: int) -> None:
            if amount:
                raise KeyboardInterrupt

    server.script = [rest()]
    with pytest.raises(KeyboardInterrupt):
        line.fetch(f"{server.url}/f", sha256=DIGEST, progress=Impatient())
    assert line.fetch(f"{server.url}/f", sha256=DIGEST).length == len(BODY)
    assert _starts(server)[-1] > 0


def test_an_old_date_names_a_content(server: Server, line: Line) -> None:
    """Without an ETag a Last-Modified long before the answer is the condition of the resumption."""
    date = formatdate(0, usegmt=True)
    server.script = [broken(100_000, Last_Modified=date), rest()]
    line.fetch(f"{server.url}/f")
    assert server.seen[1][1]["If-Range"] == date


@pytest.mark.parametrize("headers", [{"ETag": 'W/"weak"'}, {"Last_Modified": "now"}, {"X_None": "1"}, {"ETag": "bare"}])
def test_nothing_is_resumed_without_a_strong_validator(server: Server, line: Line, headers: dict[str, str]) -> None:
    """Where the server cannot name one content, the fetch starts over."""
    now = formatdate(usegmt=True)  # when the test runs: a minute after it was collected, that time is an old one
    server.script = [
        broken(100_000, **{name: now if text == "now" else text for name, text in headers.items()}),
        rest(),
    ]
    line.fetch(f"{server.url}/f", sha256=DIGEST)
    assert _starts(server) == [0, 0]


def test_a_server_that_ignores_range_restarts(server: Server, line: Line) -> None:
    """An answer with the whole body replaces what was there."""
    server.script = [broken(100_000), whole()]
    assert line.fetch(f"{server.url}/f").path.read_bytes() == BODY


def test_a_content_that_changed_is_fetched_anew(server: Server, line: Line) -> None:
    """What arrived of the former content is not mixed with the new one."""
    server.script = [broken(100_000), rest(b"new" * 50_000, etag='"two"')]
    assert line.fetch(f"{server.url}/f").path.read_bytes() == b"new" * 50_000


@pytest.mark.parametrize("answer", [status(416), rest(shift=1), status(206), status(206, Content_Range="bytes x")])
def test_a_range_that_is_not_the_one_asked_for_restarts(server: Server, line: Line, answer: Step) -> None:
    """416 and a range from elsewhere start the fetch over, without a wait."""
    server.script = [broken(100_000), answer, rest()]
    assert line.fetch(f"{server.url}/f").path.read_bytes() == BODY
    assert _starts(server) == [0, 100_000, 0]
    assert line.waits == [1.0]


def test_a_resumed_mixture_is_fetched_anew(server: Server, line: Line) -> None:
    """A digest that does not match after a resumption is blamed on the mixture first."""
    server.script = [broken(100_000), rest(b"x" * len(BODY)), whole()]
    assert line.fetch(f"{server.url}/f", sha256=DIGEST).path.read_bytes() == BODY
    assert _starts(server) == [0, 100_000, 0]


def test_a_part_that_was_damaged_on_the_disk_is_fetched_anew(server: Server, line: Line) -> None:
    """The part of a former run is not trusted either."""
    server.script = [broken(100_000), status(503)]
    _fails(line, f"{server.url}/f", sha256=DIGEST)
    with (line.cache / f"{DIGEST}.part").open("r+b") as file:
        file.write(b"damage")
    server.script = [rest()]
    assert line.fetch(f"{server.url}/f", sha256=DIGEST).path.read_bytes() == BODY


def test_a_part_that_is_whole_already_is_only_named(server: Server, line: Line) -> None:
    """A run that was killed before it gave the name left nothing to fetch."""
    line.cache.mkdir()
    (line.cache / f"{DIGEST}.part").write_bytes(BODY)
    assert line.fetch(f"{server.url}/f", sha256=DIGEST).length == len(BODY)
    assert server.seen == []


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_server_in_trouble_is_asked_again(server: Server, line: Line, code: int) -> None:
    """Busy and failing servers get another chance."""
    server.script = [status(code), whole()]
    assert line.fetch(f"{server.url}/f").sha256 == DIGEST


def test_the_waits_double(server: Server, line: Line) -> None:
    """Five attempts, each after twice the wait; the message says how often it was tried."""
    server.script = [status(503)]
    assert "answers 503, after 5 attempts" in _fails(line, f"{server.url}/f").message
    assert line.waits == [1.0, 2.0, 4.0, 8.0]
    assert len(server.seen) == 5


def test_the_waits_are_spread() -> None:
    """Jitter takes up to half of a wait away, and the ceiling holds."""
    patience = Patience(jitter=lambda: 0.0)
    assert [patience.before(attempt, None) for attempt in (1, 2, 9)] == [0.5, 1.0, 15.0]


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        ("7", 7.0),
        ("3600", 60.0),
        (formatdate(1_000_030, usegmt=True), 30.0),
        (formatdate(0, usegmt=True), None),
        ("soon", 1.0),
    ],
)
def test_the_server_may_say_how_long_to_wait(server: Server, line: Line, asked: str, waited: float | None) -> None:
    """Retry-After counts in both its forms, up to a minute."""
    server.script = [status(503, Retry_After=asked), whole()]
    line.fetch(f"{server.url}/f")
    assert line.waits == ([] if waited is None else [waited])


@pytest.mark.parametrize("code", [204, 304, 400, 401, 403, 404, 410])
def test_a_refusal_is_final(server: Server, line: Line, code: int) -> None:
    """Other answers are not asked for again; the message has the status and no query."""
    server.script = [status(code)]
    error = _fails(line, f"{server.url}/f?token=secret")
    assert f"{server.url}/f?…: the server answers {code}" in error.message
    assert error.exit_code == 3
    assert len(server.seen) == 1


def test_a_refusal_keeps_what_arrived(server: Server, line: Line) -> None:
    """A server that refuses for a while does not cost what is there already."""
    server.script = [broken(100_000), status(404)]
    _fails(line, f"{server.url}/f", sha256=DIGEST)
    assert (line.cache / f"{DIGEST}.part").stat().st_size == 100_000


def test_a_slow_server_is_given_up(server: Server, line: Line) -> None:
    """A server that sends nothing for too long is asked again, and then given up."""
    done = threading.Event()

    def silent(_: Exchange) -> None:
        done.wait(5)

    server.script = [silent]
    try:
        patience = Patience(attempts=2, read=0.05, sleep=line.waits.append)
        assert "in time, after 2 attempts" in _fails(line, f"{server.url}/f", patience=patience).message
    finally:
        done.set()


def test_a_head_that_drips_is_given_up(server: Server, line: Line) -> None:
    """A header without end, of which each byte comes in time, is silence."""

    def drip(exchange: Exchange) -> None:
        exchange.close_connection = True
        with contextlib.suppress(OSError):
            exchange.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
            for _ in range(250):
                exchange.wfile.write(b"x")
                time.sleep(0.02)

    server.script = [drip]
    began = time.monotonic()
    patience = Patience(attempts=1, read=0.2)
    assert "in time, after 1 attempts" in _fails(line, f"{server.url}/f", patience=patience).message
    assert time.monotonic() - began < 3


def test_a_page_of_gzip_that_never_gives_anything_is_given_up(server: Server) -> None:
    """67: blocks without content are bytes that arrive, and count."""

    def endless(exchange: Exchange) -> None:
        exchange.head(200, Content_Encoding="gzip")
        exchange.wfile.write(b"\x1f\x8b\x08\0\0\0\0\0\0\x03")
        with contextlib.suppress(OSError):
            for _ in range(200):
                exchange.wfile.write(b"\0\0\0\xff\xff" * 13_000)

    server.script = [endless]
    with Opened() as opened, pytest.raises(SourceError, match="cannot be decompressed"):
        pages.page(f"{server.url}/simple/", opened, Patience(attempts=1), limit=1000)


def test_a_page_may_come_as_gzip_of_several_members(server: Server) -> None:
    """What is asked for compressed is read as it was before; what is behind the last member does not count."""
    body = gzip.compress(b"one ") + gzip.compress(b"two") + b"rest"

    def compressed(exchange: Exchange) -> None:
        exchange.head(200, Content_Encoding="gzip")
        exchange.wfile.write(body)

    server.script = [compressed]
    with Opened() as opened:
        found = pages.page(f"{server.url}/simple/", opened, Patience(attempts=1), limit=1000)
    assert found is not None
    assert found.content == b"one two"


def test_a_body_that_stalls_is_resumed(server: Server, line: Line) -> None:
    """Silence in the body is a break like any other."""
    done = threading.Event()

    def stall(exchange: Exchange) -> None:
        broken(100_000)(exchange)
        exchange.wfile.flush()
        done.wait(5)

    server.script = [stall, rest()]
    try:
        assert line.fetch(f"{server.url}/f").path.read_bytes() == BODY
    finally:
        done.set()
    assert _starts(server) == [0, 100_000]


def test_an_answer_that_is_no_http_is_tried_again(server: Server, line: Line) -> None:
    """Rubbish in place of an answer is a break like any other."""

    def rubbish(exchange: Exchange) -> None:
        exchange.wfile.write(b"\x00\x01 rubbish\r\n\r\n")

    server.script = [rubbish, whole()]
    assert line.fetch(f"{server.url}/f").sha256 == DIGEST


def test_a_port_where_nobody_listens_is_tried_again(line: Line) -> None:
    """A refused connection is tried five times, and the message holds no query."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        error = _fails(line, f"http://127.0.0.1:{closed.getsockname()[1]}/f?secret")
    assert "no connection to the host, after 5 attempts" in error.message
    assert "secret" not in error.message
    assert line.names() == []


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_followed(server: Server, line: Line, code: int) -> None:
    """Each kind of redirect leads on, relative ones too."""
    server.script = [redirect("/there", code), redirect(f"{server.url}/further", code), whole()]
    assert line.fetch(f"{server.url}/f").sha256 == DIGEST
    assert [place for place, _ in server.seen] == ["/f", "/there", "/further"]


def test_redirects_end(server: Server, line: Line) -> None:
    """A loop is left after five redirects, and not tried again."""
    server.script = [redirect("/f")]
    assert "more than 5 times" in _fails(line, f"{server.url}/f").message
    assert len(server.seen) == 6


@pytest.mark.parametrize(
    "location", ["ftp://127.0.0.1/f", "file:///etc/passwd", "http://user:secret@127.0.0.1/f", "http://[", "http://a b/"]
)
def test_a_redirect_elsewhere_is_refused(server: Server, line: Line, location: str) -> None:
    """Other schemes, credentials and what is no address are not followed."""
    server.script = [redirect(location)]
    error = _fails(line, f"{server.url}/f")
    assert "redirects to an address that is not followed" in error.message
    assert "secret" not in error.message


def test_two_commands_do_not_fetch_into_one_cache(server: Server, line: Line) -> None:
    """While one fetches, another is told so."""
    line.cache.mkdir()
    with locked(line.cache / "lock", what="this test"):
        _fails(line, f"{server.url}/f", StoreError)


def test_a_full_disk_keeps_what_arrived(server: Server, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails is an error of the disk, and not tried again."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "write_all", full)
    assert "no space left" in _fails(line, f"{server.url}/f", StoreError).message
    assert len(server.seen) == 1


def test_progress_is_told(server: Server, line: Line) -> None:
    """Every body is a phase: its length, what a former attempt brought, and what comes."""
    events: list[tuple[str, int | None]] = []

    class Watching(Silent):
        def start(self, label: str, total: int | None = None, *, unit: str = "B") -> None:
            events.append((label, total))

        def advance(self, amount: int) -> None:
            events[-1] = (events[-1][0], (events[-1][1] or 0) - amount)

    server.script = [broken(100_000), rest()]
    line.fetch(f"{server.url}/f?token=secret", progress=Watching())
    assert events == [(f"fetch {server.url}/f?…", len(BODY) - 100_000), (f"fetch {server.url}/f?…", 0)]


@dataclass(frozen=True)
class Authority:
    """A certificate authority of our own, and what it certified."""

    certificate: Path
    server: Path
    """The certificate and the key of 127.0.0.1."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority and a server's certificate, valid for a day."""
    folder = tmp_path_factory.mktemp("authority")
    now = datetime.datetime.now(datetime.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("authority", "server")]

    def certificate(number: int) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .issuer_name(names[0])
            .subject_name(names[number])
            .public_key(keys[number].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=number == 0, path_length=None), critical=True)
        )

    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    own = certificate(0).sign(keys[0], hashes.SHA256())
    served = certificate(1).add_extension(x509.SubjectAlternativeName([address]), False).sign(keys[0], hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = keys[1].private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "authority.pem").write_bytes(own.public_bytes(pem))
    (folder / "server.pem").write_bytes(served.public_bytes(pem) + private)
    return Authority(folder / "authority.pem", folder / "server.pem")


@pytest.fixture
def secure(authority: Authority) -> Iterator[Server]:
    """A server by HTTPS."""
    server = Server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.scheme = "https"
    with serving(server) as running:
        yield running


@pytest.mark.parametrize("variable", connections.CA_VARIABLES)
def test_an_authority_of_ones_own_is_trusted(
    secure: Server, line: Line, authority: Authority, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the variables may name the certificate of the server's authority."""
    monkeypatch.setenv(variable, str(authority.certificate))
    assert line.fetch(f"{secure.url}/f").sha256 == DIGEST


def test_a_stranger_is_not_trusted(secure: Server, line: Line) -> None:
    """A certificate by nobody known is refused at once; the hint names the variable."""
    error = _fails(line, f"{secure.url}/f?token=secret")
    assert "certificate is not trusted" in error.message
    assert "secret" not in error.message
    assert "SEALIFT_CA_FILE" in (error.hint or "")
    assert line.waits == []


def test_another_host_is_not_trusted(
    secure: Server, line: Line, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate for another name is refused."""
    monkeypatch.setenv("SEALIFT_CA_FILE", str(authority.certificate))
    assert "certificate is not trusted" in _fails(line, f"https://localhost:{secure.server_port}/f").message


def test_unusable_certificates_are_named(secure: Server, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that names no certificates is an error, and never means that none are needed."""
    monkeypatch.setenv("SEALIFT_CA_FILE", "/nowhere.pem")
    assert "SEALIFT_CA_FILE: /nowhere.pem" in _fails(line, f"{secure.url}/f").message


def test_https_does_not_lead_to_http(
    secure: Server, server: Server, line: Line, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A redirect that gives up the encryption is refused."""
    monkeypatch.setenv("SEALIFT_CA_FILE", str(authority.certificate))
    secure.script = [redirect(f"{server.url}/f")]
    assert "from https to http" in _fails(line, f"{secure.url}/f").message
    assert server.seen == []


def test_http_may_lead_to_https(
    secure: Server, server: Server, line: Line, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A redirect that gains encryption is followed."""
    monkeypatch.setenv("SEALIFT_CA_FILE", str(authority.certificate))
    server.script = [redirect(f"{secure.url}/f")]
    assert line.fetch(f"{server.url}/f").sha256 == DIGEST


def _forward(exchange: Exchange) -> None:
    """Ask for the client what it wants, as a proxy does."""
    parts = urlsplit(exchange.path)
    there = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        headers = {name: value for name, value in exchange.headers.items() if name.lower() != "proxy-authorization"}
        there.request("GET", parts.path, headers=headers)
        answer = there.getresponse()
        body = answer.read()
        exchange.head(answer.status, Content_Length=str(len(body)))
        exchange.wfile.write(body)
    finally:
        there.close()


@pytest.fixture
def proxy() -> Iterator[Server]:
    """A forward proxy."""
    running = Server()
    running.script = [_forward]
    with serving(running):
        yield running


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_http_goes_through_the_proxy(
    server: Server, proxy: Server, line: Line, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy of the environment is asked for the whole address."""
    monkeypatch.setenv(variable, proxy.url.removeprefix("http://"))
    assert line.fetch(f"{server.url}/f").sha256 == DIGEST
    assert [place for place, _ in proxy.seen] == [f"{server.url}/f"]


def test_https_goes_through_the_proxy(
    secure: Server, proxy: Server, line: Line, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy joins both ends, and the certificate that is verified is the server's."""
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("SEALIFT_CA_FILE", str(authority.certificate))
    assert line.fetch(f"{secure.url}/f").sha256 == DIGEST
    assert [place for place, _ in proxy.seen] == [f"127.0.0.1:{secure.server_port}"]


def test_a_stranger_behind_a_proxy_is_not_trusted(
    secure: Server, proxy: Server, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy does not weaken the verification."""
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    assert "certificate is not trusted" in _fails(line, f"{secure.url}/f").message


def test_a_host_may_do_without_the_proxy(
    server: Server, proxy: Server, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_PROXY names what is reached directly."""
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    line.fetch(f"{server.url}/f")
    assert proxy.seen == []


def test_a_proxys_credentials_go_to_the_proxy_alone(
    server: Server, proxy: Server, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy is told who asks, and the server is not."""
    monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//user:p%40ss@"))
    line.fetch(f"{server.url}/f")
    assert proxy.seen[0][1]["Proxy-Authorization"] == "Basic dXNlcjpwQHNz"
    assert not {"Proxy-Authorization", "Authorization"} & set(server.seen[0][1])


def test_a_proxys_password_may_have_any_letters(
    server: Server, proxy: Server, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are sent in UTF-8 (RFC 7617 leaves that to both)."""
    monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//user:%E2%82%AC@"))
    line.fetch(f"{server.url}/f")
    assert base64.b64decode(proxy.seen[0][1]["Proxy-Authorization"].split()[1]).decode() == "user:€"


@pytest.mark.parametrize("address", ["socks5://user:secret@127.0.0.1:1", "http://user:secret@127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used_is_reported(line: Line, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message speaks of the proxy, without its credentials."""
    monkeypatch.setenv("HTTP_PROXY", address)
    error = _fails(line, "http://example.invalid/f")
    assert "proxy" in error.message
    assert "secret" not in f"{error.message} {error.hint}"


@pytest.mark.parametrize(
    "address",
    [
        "ftp://127.0.0.1/f",
        "file:///etc/passwd",
        "127.0.0.1/f",
        "http:///f",
        "http://",
        "",
        "http://127.0.0.1:99999/f",
        "http://127.0.0.1/a b",
        "http://127.0.0.1\\@example.invalid/",
        "http://127.0.0.1/\n",
        "http://user:secret@127.0.0.1/f",
        "http://secret@127.0.0.1/f",
        "user:secret@127.0.0.1/f",
        "https:user:secret@127.0.0.1/f",
        "ftp://user:secret@127.0.0.1/f",
        "http://user:secret@127.0.0.1:99999/f",
    ],
)
def test_an_address_that_may_not_be_fetched_is_refused(line: Line, address: str) -> None:
    """Other schemes, credentials and deceptive characters are usage errors, and nothing secret is shown."""
    assert "secret" not in _fails(line, address, UsageError).message


def _collect(tmp_path: Path, **want: Any) -> list[Found]:
    return list(url.collect(want, Workshop(base=tmp_path, cache=tmp_path / "cache", progress=Silent())))


def test_the_file_bears_the_last_name_of_the_address(server: Server, tmp_path: Path) -> None:
    """Without `as` the name is the address's, decoded and without the query."""
    (found,) = _collect(tmp_path, url=f"{server.url}/a/my%20tool-%C3%A9?x=y/z", sha256=DIGEST)
    place = os.stat(found.origin)
    assert found == Found(
        "my tool-é", "file", False, len(BODY), str(tmp_path / "cache" / DIGEST), (place.st_ino, place.st_mtime_ns)
    )


def test_the_spec_may_name_the_file(server: Server, tmp_path: Path) -> None:
    """`as` and `executable` are what the tree says."""
    (found,) = _collect(tmp_path, url=f"{server.url}/", sha256=DIGEST, **{"as": "tool"}, executable=True)
    assert (found.path, found.executable) == ("tool", True)


@pytest.mark.parametrize("tail", ["", "a/", "a%2Fb", "..", "%2e%2e", "a%00b", "a%ffb", "a%5Cb", "%E2%80%AEtxt"])
def test_an_address_without_a_valid_name_is_refused(tmp_path: Path, tail: str) -> None:
    """What the last part of an address cannot be, `as` must say."""
    with pytest.raises(UsageError) as raised:
        _collect(tmp_path, url=f"http://127.0.0.1:1/{tail}", sha256=DIGEST)
    assert "`as`" in (raised.value.hint or "")


@pytest.mark.parametrize("name", ["a/b", "..", "a\nb", "/a", ""])
def test_a_name_that_no_file_may_bear_is_refused(tmp_path: Path, name: str) -> None:
    """`as` is one component of a path."""
    with pytest.raises(UsageError):
        _collect(tmp_path, url="http://127.0.0.1:1/f", sha256=DIGEST, **{"as": name})


@pytest.mark.parametrize(
    "want", [{"sha256": "0"}, {"sha256": "A" * 64}, {"sha256": DIGEST + "\n"}, {"executable": 1}, {"length": -1}]
)
def test_keys_of_the_wrong_form_are_refused(tmp_path: Path, want: dict[str, Any]) -> None:
    """A value that the schema would refuse is a usage error here too."""
    with pytest.raises(UsageError):
        _collect(tmp_path, **({"url": "http://127.0.0.1:1/f"} | want))


def test_nothing_is_collected_without_a_digest(server: Server, tmp_path: Path) -> None:
    """An address alone is no content: the hint says how to pin it, and the server is not asked."""
    with pytest.raises(SourceError, match="has no digest") as raised:
        _collect(tmp_path, url=f"{server.url}/f?secret")
    assert "sealift-bundle lock" in (raised.value.hint or "")
    assert "secret" not in raised.value.message
    assert server.seen == []


def test_a_pin_is_digest_and_length(server: Server, tmp_path: Path) -> None:
    """What `lock` writes down makes the next collection fetch nothing."""
    workshop = Workshop(base=tmp_path, cache=tmp_path / "cache", progress=Silent())
    pins = url.pin({"url": f"{server.url}/f"}, workshop)
    assert pins == {"sha256": DIGEST, "length": len(BODY)}
    assert len(_collect(tmp_path, url=f"{server.url}/f", **pins)) == 1
    assert len(server.seen) == 1


def test_a_pin_keeps_to_the_digest_of_the_spec(server: Server, tmp_path: Path) -> None:
    """A spec that names another digest is not overruled by what the server sends."""
    with pytest.raises(IntegrityError):
        url.pin(
            {"url": f"{server.url}/f", "sha256": "0" * 64},
            Workshop(base=tmp_path, cache=tmp_path / "cache", progress=Silent()),
        )
