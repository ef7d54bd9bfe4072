"""A git server on this machine: git's own `http-backend`, behind basic authentication, with TLS or without."""

from __future__ import annotations

import base64
import contextlib
import gzip
import os
import ssl
import subprocess
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from registries import PASSWORD, USER, certificate, need
from threaded import threaded

_AUTHOR = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
    "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
}


def git(folder: Path, *arguments: str, content: bytes | None = None, variables: Mapping[str, str] | None = None) -> str:
    """Run git in a folder, with no configuration of this machine; what it says, without the last line's end."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ALLOW_PROTOCOL": "file:http:https:ext",
        "GIT_TERMINAL_PROMPT": "0",
        **_AUTHOR,
        **(variables or {}),
    }
    done = subprocess.run([need("git"), *arguments], cwd=folder, env=environment, input=content, capture_output=True)
    if done.returncode:
        raise AssertionError(f"git {' '.join(arguments)}: {done.stderr.decode()}")
    return done.stdout.decode().rstrip("\n")


@dataclass
class Repository:
    """A bare repository, and how to put commits into it."""

    folder: Path

    def git(self, *arguments: str, content: bytes | None = None, variables: Mapping[str, str] | None = None) -> str:
        """Run git in it."""
        return git(self.folder, *arguments, content=content, variables=variables)

    def blob(self, content: bytes) -> str:
        """The id of a file's content."""
        return self.git("hash-object", "-w", "--stdin", content=content)

    def tree(self, entries: Mapping[str, Any]) -> str:
        """The id of a folder.

        Args:
            entries: by name: bytes of a file, a mapping of a folder, or a mode and an object's id, of anything.
        """
        lines = b""
        for name, value in entries.items():
            if isinstance(value, bytes):
                mode, kind, there = "100644", "blob", self.blob(value)
            elif isinstance(value, Mapping):
                mode, kind, there = "040000", "tree", self.tree(value)
            else:
                mode, there = value
                kind = {"040000": "tree", "160000": "commit"}.get(mode, "blob")
            lines += f"{mode} {kind} {there}\t".encode() + os.fsencode(name) + b"\0"
        return self.git("mktree", "-z", "--missing", content=lines)

    def commit(self, entries: Mapping[str, Any], *, branch: str = "main", parent: str = "") -> str:
        """The id of a commit of these entries, which `branch` stands for then."""
        parents = ["-p", parent] if parent else []
        made = self.git("commit-tree", self.tree(entries), *parents, "-m", "made by a test")
        self.git("update-ref", f"refs/heads/{branch}", made)
        return made


def repository(folder: Path, *, form: str = "sha1") -> Repository:
    """An empty bare repository in a new folder."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", f"--object-format={form}", ".")
    return Repository(folder)


class _Server(ThreadingHTTPServer):
    root: Path
    secret: str | None
    requests: list[str]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        body = self._body()
        if self.server.secret is not None and self.headers.get("Authorization") != self.server.secret:
            self._say(401, {"WWW-Authenticate": 'Basic realm="git"'}, b"")
            return
        self.server.requests.append(f"{self.command} {self.path}")
        address = urllib.parse.urlsplit(self.path)
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.server.root),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": urllib.parse.unquote(address.path),
            "QUERY_STRING": address.query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_USER": USER,
            "REMOTE_ADDR": "127.0.0.1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run([need("git"), "http-backend"], input=body, env=variables, capture_output=True)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        self._say(int(headers.pop("Status", "200").split()[0]), headers, answer)

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _say(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@dataclass
class GitServer:
    """A server that answers."""

    root: Path
    """The folder of its repositories."""
    url: str
    """Where they are, without credentials; the path of a repository follows it."""
    authority: Path | None
    """The certificate that signs for it, in PEM."""
    requests: list[str] = field(default_factory=list)
    """What it was asked for by somebody with the password, such as `GET /shop.git/info/refs?service=…`."""

    def repository(self, name: str, *, form: str = "sha1", writable: bool = False) -> Repository:
        """A new, empty repository at `{url}/{name}`; with `writable`, one that can be pushed to."""
        made = repository(self.root / name, form=form)
        if writable:
            made.git("config", "http.receivepack", "true")
        return made

    def stored(self, folder: Path) -> Path:
        """A file of its credentials, as git's helper `store --file` reads it."""
        scheme, _, host = self.url.partition("://")
        path = folder / "git-credentials"
        path.write_text(f"{scheme}://{USER}:{PASSWORD}@{host}\n")
        path.chmod(0o600)
        return path


@contextlib.contextmanager
def git_server(folder: Path, *, tls: bool = True, password: bool = True) -> Iterator[GitServer]:
    """A server of the repositories below `folder`/repositories, for `USER` with `PASSWORD`."""
    need("git")
    root = folder / "repositories"
    root.mkdir(parents=True)
    authority = None
    with _Server(("127.0.0.1", 0), _Handler) as server:
        if tls:
            authority, key = certificate(folder, "git")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(authority, key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.root = root
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        server.secret = f"Basic {basic}" if password else None
        made = GitServer(root, f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}", authority)
        server.requests = made.requests
        with threaded(server):
            yield made
