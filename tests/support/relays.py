"""A relay between a program and a store of objects: counts what is asked, breaks off, dawdles, kills who asks.

It also stands as an HTTP proxy, for addresses whose host's name nothing else here knows.
"""

from __future__ import annotations

import contextlib
import datetime
import http.client
import ipaddress
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from threaded import threaded
from worlds import Isolated

ROOT = Path(__file__).resolve().parents[2]

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
def relaying(endpoint: str, certificate: tuple[Path, Path] | None = None) -> Iterator[Relay]:
    """A relay to a store's endpoint, with TLS where it is given a certificate and its key."""
    with Relay(urllib.parse.urlsplit(endpoint).netloc) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        with threaded(server):
            yield server


class _Killer:
    """Kills a process at its n-th request that changes the bucket, before or after the store has it."""

    def __init__(self, number: int, side: str) -> None:
        self._left = number
        self._side = side
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self, request: Relayed) -> bool:
        if request.command in ("GET", "HEAD") or self.process is None:
            return False
        with request.server.lock:
            self._left -= 1
            if self._left:
                return False
        if self._side == "after":
            request.forward()
        os.kill(self.process.pid, signal.SIGKILL)
        return True


DEPLOY = """
import sys
from pathlib import Path
from worlds import Isolated
root = Path(sys.argv[1])
Isolated(root=root, folder=root / "site", srv=root / "srv").deploy(sys.argv[2], sys.argv[3])
"""


def killed_at_each_write(
    relay: Relay, isolated: Isolated, version: str, target: str, side: str, check: Callable[[], None]
) -> int:
    """Deploy a version, killed at its first request that changes the store, then at its second, until it completes.

    Args:
        relay: what stands before the store.
        isolated: the site.
        version: what is deployed.
        target: where to, behind the relay.
        side: `before` the store has the request, or `after`.
        check: looks at what a kill left, and brings back what was before.

    Returns:
        How often it was killed.
    """
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests/support")))
    for number in range(1, 100):
        relay.twist = killer = _Killer(number, side)
        killer.process = subprocess.Popen(
            [sys.executable, "-c", DEPLOY, str(isolated.root), version, target],
            env={**os.environ, "PYTHONPATH": paths},
        )
        ended = killer.process.wait(120)
        relay.twist = None
        if ended == 0:
            return number - 1
        assert ended == -signal.SIGKILL
        check()
    raise AssertionError("it never came to its end")


def chain(folder: Path) -> tuple[Path, tuple[Path, Path]]:
    """An authority, and a certificate for 127.0.0.1 that it signed, with its key; all in PEM."""
    now = datetime.datetime.now(datetime.UTC)
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("authority", "store")}
    names = {name: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in keys}
    for name, key in keys.items():
        made = (
            x509.CertificateBuilder()
            .subject_name(names[name])
            .issuer_name(names["authority"])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=9))
            .add_extension(x509.BasicConstraints(ca=name == "authority", path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .sign(keys["authority"], hashes.SHA256())
        )
        (folder / f"{name}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "store.key").write_bytes(
        keys["store"].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder / "authority.crt", (folder / "store.crt", folder / "store.key")
