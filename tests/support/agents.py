"""Agents that keep keys: OpenSSH's, GnuPG's, and one that answers what it is told to."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from registries import need

_GPG = {"ed25519": "ed25519", "ecdsa-sha2-nistp256": "nistp256", "ecdsa-sha2-nistp384": "nistp384"}
_SSH = {
    "ed25519": ["-t", "ed25519"],
    "ecdsa-sha2-nistp256": ["-t", "ecdsa", "-b", "256"],
    "ecdsa-sha2-nistp384": ["-t", "ecdsa", "-b", "384"],
    "rsa": ["-t", "rsa", "-b", "2048"],
}


@dataclass(frozen=True)
class Running:
    """An agent that answers."""

    path: Path
    """Its socket."""
    prints: dict[str, str]
    """What `ssh-add -l` calls its keys, by their scheme."""

    def place(self, scheme: str) -> str:
        """The place of its key of that scheme, whatever the environment says."""
        return f"ssh-agent:{self.prints[scheme]}?socket={self.path}"


def _run(*command: str, **environ: str) -> str:
    done = subprocess.run(
        command, env={**os.environ, **environ}, check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout


def _print(public: str, folder: Path) -> str:
    file = folder / "public"
    file.write_text(public)
    return _run(need("ssh-keygen"), "-l", "-f", str(file)).split()[1]


@contextlib.contextmanager
def ssh_agent() -> Iterator[Running]:
    """OpenSSH's agent, with a key of each kind, and one of RSA. Sockets have short names: they are in /tmp."""
    need("ssh-agent")
    folder = Path(tempfile.mkdtemp(prefix="agent-"))
    path = folder / "socket"
    said = _run("ssh-agent", "-a", str(path))
    found = re.search(r"SSH_AGENT_PID=(\d+)", said)
    assert found
    try:
        prints = {}
        for name, kind in _SSH.items():
            _run("ssh-keygen", "-q", *kind, "-N", "", "-f", str(folder / name))
            _run("ssh-add", "-q", str(folder / name), SSH_AUTH_SOCK=str(path))
            prints[name] = _print((folder / f"{name}.pub").read_text(), folder)
        yield Running(path, prints)
    finally:
        _run("ssh-agent", "-k", SSH_AUTH_SOCK=str(path), SSH_AGENT_PID=found[1])
        shutil.rmtree(folder)


@contextlib.contextmanager
def gpg_agent() -> Iterator[Running]:
    """GnuPG's agent, with an OpenPGP key of each kind that it offers to SSH."""
    need("gpg-agent")
    folder = Path(tempfile.mkdtemp(prefix="gpg-"))
    gpg = (need("gpg"), "--homedir", str(folder), "--batch")
    try:
        (folder / "gpg-agent.conf").write_text("enable-ssh-support\n")
        prints = {}
        for scheme, kind in _GPG.items():
            name = f"{kind}@example.org"
            _run(*gpg, "--passphrase", "", "--quick-generate-key", name, kind, "sign,auth", "0")
            listed = _run(*gpg, "--with-colons", "--with-keygrip", "--list-secret-keys", name)
            with (folder / "sshcontrol").open("a") as file:
                file.write(next(line.split(":")[9] for line in listed.splitlines() if line.startswith("grp:")) + "\n")
            prints[scheme] = _print(_run(*gpg, "--export-ssh-key", name), folder)
        path = _run("gpgconf", "--homedir", str(folder), "--list-dirs", "agent-ssh-socket").strip()
        yield Running(Path(path), prints)
    finally:
        _run("gpgconf", "--homedir", str(folder), "--kill", "all")
        shutil.rmtree(folder, ignore_errors=True)


def framed(body: bytes) -> bytes:
    """A message of the protocol."""
    return struct.pack(">I", len(body)) + body


def string(content: bytes) -> bytes:
    """A string of the protocol."""
    return struct.pack(">I", len(content)) + content


@contextlib.contextmanager
def lying_agent(answer: Callable[[bytes], bytes]) -> Iterator[Path]:
    """An agent that sends whatever `answer` makes of a request, and ends the connection; its socket."""
    folder = Path(tempfile.mkdtemp(prefix="liar-"))
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(folder / "socket"))
    listening.listen()

    def serve() -> None:
        while True:
            try:
                line, _ = listening.accept()
            except OSError:
                return
            with line, contextlib.suppress(OSError):
                (length,) = struct.unpack(">I", line.recv(4, socket.MSG_WAITALL))
                line.sendall(answer(line.recv(length, socket.MSG_WAITALL)))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield folder / "socket"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(10)
        shutil.rmtree(folder)
