"""Debian's docker-registry, started for tests: plain, with TLS and passwords, or with bearer tokens."""

from __future__ import annotations

import base64
import contextlib
import datetime
import ipaddress
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from images import INDEX, Pile, Value, encoded
from listening import listening
from threaded import threaded

Mode = Literal["plain", "tls", "token"]
USER, PASSWORD = "robot", "pass"
_BCRYPT = "$2b$04$a6Qc5nzfuf3ItOGfy5CB7ubis6g10t58Z.WvuTCGAg2WOdMTiodqC"
"""Of `PASSWORD`."""


def need(program: str) -> str:
    """Where a program is; the test is skipped where it is not, but never in CI."""
    found = shutil.which(program)
    if found is None:
        if os.environ.get("SEALIFT_REQUIRE_ALL"):
            pytest.fail(f"{program} is missing: see tests/servers.txt")
        pytest.skip(f"{program} is missing: see tests/servers.txt")
    return found


@dataclass
class Running:
    """A registry that answers."""

    mode: Mode
    host: str
    storage: Path
    authority: Path | None = None
    """The certificate that signs for it, in PEM."""
    tokens: list[str] = field(default_factory=list)
    """The scopes that the token server was asked for."""

    @property
    def base(self) -> str:
        """The address of its API."""
        return f"{'https' if self.mode == 'tls' else 'http'}://{self.host}/v2"

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes, Any]:
        """Ask it, with no code of ours: status, body and headers of the answer."""
        return self._send(method, f"{self.base}/{path}", body, headers)

    def _send(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes, Any]:
        request = urllib.request.Request(url, data=body, method=method)  # noqa: S310 our own registry
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.mode == "tls":
            request.add_header("Authorization", f"Basic {basic}")
        if self.mode == "token":
            repository = re.match(r".*/v2/(.+?)/(?:blobs|manifests|tags|referrers)/", url)
            scope = f"repository:{repository[1]}:pull,push,delete" if repository else "registry:catalog:*"
            request.add_header("Authorization", f"Bearer {self.grant([scope])}")
        context = ssl.create_default_context(cafile=str(self.authority)) if self.authority else None
        handlers: list[Any] = [urllib.request.ProxyHandler({})]
        if context and self.mode == "tls":
            handlers.append(urllib.request.HTTPSHandler(context=context))
        try:
            with urllib.request.build_opener(*handlers).open(request) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), error.headers

    grant: Callable[[list[str]], str] = lambda _: ""
    """Makes the token that a test's own requests bear."""

    def push(self, pile: Pile, repository: str, tags: dict[str, Value]) -> None:
        """Put a pile there, blobs first, and give some of its manifests tags."""
        for digest, content in pile.blobs.items():
            if digest not in pile.types:
                status, _, headers = self.request("POST", f"{repository}/blobs/uploads/", b"")
                assert status == 202, status
                where = f"{headers['Location']}&digest={urllib.parse.quote(digest)}"
                status, said, _ = self._send("PUT", where, content, {"Content_Type": "application/octet-stream"})
                assert status == 201, said
        for digest, kind in pile.types.items():
            self._put(repository, digest, pile.blobs[digest], kind)
        for tag, root in tags.items():
            self._put(repository, tag, pile.blobs[root["digest"]], root["mediaType"])

    def _put(self, repository: str, reference: str, content: bytes, kind: str) -> None:
        status, said, _ = self.request("PUT", f"{repository}/manifests/{reference}", content, Content_Type=kind)
        assert status == 201, said

    def manifest(self, repository: str, reference: str) -> bytes | None:
        """What it has under a tag or a digest."""
        accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
        status, body, _ = self.request("GET", f"{repository}/manifests/{reference}", Accept=accept)
        return body if status == 200 else None

    def tags(self, repository: str) -> set[str]:
        """The tags of a repository."""
        status, body, _ = self.request("GET", f"{repository}/tags/list")
        return set(json.loads(body)["tags"] or ()) if status == 200 else set()

    def push_referrer(self, pile: Pile, repository: str, subject: Value, *referrers: Value) -> None:
        """List referrers under the tag that OCI 1.1 has for a registry that cannot."""
        listed = [{**each, "artifactType": "application/example"} for each in referrers]
        tree = {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}
        self._put(repository, subject["digest"].replace(":", "-"), encoded(tree), INDEX)

    def forget(self, digest: str) -> None:
        """Lose a blob, as a damaged disk does."""
        hexadecimal = digest.removeprefix("sha256:")
        shutil.rmtree(self.storage / "docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal)


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs for itself, and its key."""
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{name}.crt", folder / f"{name}.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


class TokenServer(ThreadingHTTPServer):
    """Gives bearer tokens to `USER`, as the distribution project specifies them."""

    def __init__(self, certificate: Path, key: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Token)
        self.scopes: list[str] = []
        self.lifetime = 300
        loaded = serialization.load_pem_private_key(key.read_bytes(), None)
        assert isinstance(loaded, rsa.RSAPrivateKey)
        self._key = loaded
        der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(serialization.Encoding.DER)
        self._chain = base64.b64encode(der).decode()

    def token(self, scopes: list[str]) -> str:
        """A token for these scopes."""
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        head = {"typ": "JWT", "alg": "RS256", "x5c": [self._chain]}
        claims = {
            "iss": "test",
            "sub": USER,
            "aud": "registry",
            "exp": now + self.lifetime,
            "nbf": now - 10,
            "iat": now,
            "jti": str(time.monotonic_ns()),
            "access": access,
        }
        signed = f"{_plain(json.dumps(head).encode())}.{_plain(json.dumps(claims).encode())}"
        return f"{signed}.{_plain(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _plain(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class _Token(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: TokenServer

    def do_GET(self) -> None:
        expected = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
        if self.headers.get("Authorization") != expected:
            self._say(401, b"{}")
            return
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        scopes = [part for scope in query.get("scope", []) for part in scope.split(" ")]
        self.server.scopes += scopes
        self._say(200, json.dumps({"token": self.server.token(scopes)}).encode())

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def registry(folder: Path, mode: Mode = "plain") -> Iterator[Running]:
    """A registry with an empty storage in `folder`."""
    program = need("docker-registry")
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    host = f"127.0.0.1:{port}"
    storage = folder / "storage"
    running = Running(mode=mode, host=host, storage=storage)
    http: dict[str, Any] = {"addr": host}
    settings: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(storage)}, "delete": {"enabled": True}},
        "http": http,
    }
    with contextlib.ExitStack() as stack:
        if mode == "tls":
            running.authority, key = certificate(folder, "registry")
            http["tls"] = {"certificate": str(running.authority), "key": str(key)}
            passwords = folder / "htpasswd"
            passwords.write_text(f"{USER}:{_BCRYPT}\n")
            settings["auth"] = {"htpasswd": {"realm": "test", "path": str(passwords)}}
        if mode == "token":
            authority, key = certificate(folder, "tokens")
            tokens = stack.enter_context(TokenServer(authority, key))
            stack.enter_context(threaded(tokens))
            running.tokens = tokens.scopes
            running.grant = tokens.token
            settings["auth"] = {
                "token": {
                    "realm": f"http://127.0.0.1:{tokens.server_port}/token",
                    "service": "registry",
                    "issuer": "test",
                    "rootcertbundle": str(authority),
                }
            }
        configuration = folder / "registry.json"
        configuration.write_text(json.dumps(settings))
        process = subprocess.Popen(
            [program, "serve", configuration],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stack.enter_context((folder / "log").open("wb")),
            env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
        )
        try:
            listening(process, port, folder / "log", "docker-registry")
            yield running
        finally:
            process.terminate()
            process.wait(10)


def logged_in(folder: Path, running: Running) -> Path:
    """A file of credentials for a registry, as `podman login` writes it."""
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    path = folder / "auth.json"
    path.write_text(json.dumps({"auths": {running.host: {"auth": auth}}}))
    return path
