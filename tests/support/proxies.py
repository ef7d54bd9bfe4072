"""HAProxy and nginx before two slots, each an application that must be started anew to serve another release."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from registries import need

Kind = Literal["haproxy", "nginx"]
SLOTS = ("blue", "green")
_USER = "user root;" if os.geteuid() == 0 else ""
"""Whom the workers of nginx run as: who may read the folders of a test."""
_NGINX = """
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {inside}
}}
"""
_HAPROXY = """
global
    stats socket {folder}/admin.sock mode 600 level admin
    server-state-file {folder}/state
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend front
    bind 127.0.0.1:{port}
    default_backend shop
backend shop
    load-server-state-from-file global
    server blue 127.0.0.1:{blue} check inter 100ms disabled
    server green 127.0.0.1:{green} check inter 100ms disabled
"""


def free_ports(number: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


@dataclass
class Front:
    """A proxy that runs, and what is behind it."""

    kind: Kind
    folder: Path
    srv: Path
    port: int
    ports: dict[str, int]

    @property
    def start(self) -> Path:
        """The program that starts a slot's application."""
        return self.folder / "start"

    @property
    def settings(self) -> str:
        """The `proxy` of a strategy, in YAML."""
        if self.kind == "haproxy":
            where = f"socket: {self.folder}/admin.sock, backend: shop, state_file: {self.folder}/state"
            return f"{{kind: haproxy, {where}}}"
        nginx = f"/usr/sbin/nginx, -c, {self.folder}/nginx.conf"
        return (
            f"{{kind: nginx, file: {self.folder}/upstream.conf, upstream: shop, test: [{nginx}, -t], "
            f"reload: [{nginx}, -s, reload], drain: 1}}"
        )

    def strategy(self, kind: str, more: str = "") -> str:
        """The strategy of an environment, in YAML."""
        slots = ", ".join(f"{name}: '127.0.0.1:{port}'" for name, port in self.ports.items())
        return (
            f"strategy:\n  kind: {kind}\n  slots: {{{slots}}}\n  proxy: {self.settings}\n"
            f"  start: {{run: [{self.start}, '{{slot}}']}}\n"
            f"  health:\n    - {{path: /version.txt, retries: 20, interval: 0}}\n{more}"
        )

    def run(self) -> None:
        """Start the proxy."""
        if self.kind == "haproxy":
            program = [
                need("haproxy"),
                "-D",
                "-f",
                str(self.folder / "haproxy.cfg"),
                "-p",
                f"{self.folder}/haproxy.pid",
            ]
        else:
            program = [need("nginx"), "-c", str(self.folder / "nginx.conf")]
        subprocess.run(program, check=True, capture_output=True, timeout=20)

    def stop(self) -> None:
        """End the proxy, and wait until it has ended."""
        pid_file = self.folder / f"{self.kind}.pid"
        pids = pid_file.read_text().split() if pid_file.exists() else []
        _stop(pid_file)
        wait_for(lambda: not any(_lives(pid) for pid in pids))

    def get(self, path: str = "version.txt") -> str:
        """What the proxy answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=10) as answer:
            return str(answer.read().decode())


@contextlib.contextmanager
def front(kind: Kind, folder: Path, srv: Path) -> Iterator[Front]:
    """A proxy of a kind before two slots that lie below `srv`."""
    need(kind)
    need("nginx")
    folder.mkdir()
    port, *others = free_ports(3)
    made = Front(kind=kind, folder=folder, srv=srv, port=port, ports=dict(zip(SLOTS, others, strict=True)))
    (folder / "haproxy.cfg").write_text(_HAPROXY.format(folder=folder, port=port, **made.ports))
    (folder / "state").write_text("1\n")
    proxy = f"include {folder}/upstream*.conf; server {{ listen 127.0.0.1:{port}; include {folder}/location*.conf; }}"
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, user=_USER, inside=proxy))
    for name, number in made.ports.items():
        app = folder / name
        app.mkdir()
        inside = f"server {{ listen 127.0.0.1:{number}; root ROOT; }}"
        (app / "template").write_text(_NGINX.format(folder=app, user=_USER, inside=inside))
    made.start.write_text(
        f"#!/bin/sh\nset -e\ncd {folder}/$1\n"
        f'root=$(readlink -f {srv}/$1/current)\nsed "s,ROOT,$root," template >nginx.conf\n'
        "if [ -e nginx.pid ]; then kill $(cat nginx.pid); while [ -e nginx.pid ]; do sleep 0.02; done; fi\n"
        "setsid --wait /usr/sbin/nginx -c $PWD/nginx.conf\n"
    )
    made.start.chmod(0o755)
    try:
        made.run()
        (folder / "location.conf").write_text("location / { proxy_pass http://shop; }\n")
        yield made
    finally:
        made.stop()
        for name in SLOTS:
            _stop(folder / name / "nginx.pid")


def _lives(pid: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def _stop(pid_file: Path) -> None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for pid in map(int, pid_file.read_text().split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


@dataclass
class Load:
    """Requests that come without end, each by a connection of its own, and what became of them."""

    url: str
    least: int
    requests: int = 0
    failed: int = 0
    problems: list[str] = field(default_factory=list)
    _done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        program = shutil.which("ab") or "ab"
        while not self.problems and not (self._done.is_set() and self.requests >= self.least):
            ran = subprocess.run(
                [program, "-q", "-r", "-c", "4", "-n", "1000", self.url], capture_output=True, text=True, timeout=120
            )
            if ran.returncode:
                self.problems.append(ran.stderr)
                return
            self.requests += _figure(ran.stdout, "Complete requests")
            self.failed += _figure(ran.stdout, "Failed requests") + _figure(ran.stdout, "Non-2xx responses")


def _figure(text: str, what: str) -> int:
    found = re.search(rf"{what}:\s+(\d+)", text)
    return int(found[1]) if found else 0


def wait_for(what: Callable[[], object], patience: float = 20) -> None:
    """Wait until `what()` is true.

    Raises:
        AssertionError: it does not become so.
    """
    deadline = time.monotonic() + patience
    while not what():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
