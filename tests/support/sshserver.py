"""OpenSSH's own server on this machine, for one key of this user."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from listening import listening
from registries import need


@dataclass(frozen=True, kw_only=True)
class SshServer:
    """A server that answers."""

    url: str
    """`ssh://user@host:port`; an absolute path follows it."""
    command: str
    """How ssh is called with the key, and with the server's own key known: for GIT_SSH_COMMAND."""
    command_without_key: str
    """The same, as somebody whom the server does not know."""


@contextlib.contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """A server with keys in `folder`."""
    program = need("sshd")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name in ("host", "user"):
        words = [need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / name)]
        subprocess.run(words, check=True)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = int(held.getsockname()[1])
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    configuration = folder / "sshd_config"
    configuration.write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'authorized'}\n"
        f"PidFile none\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n"
        "PermitRootLogin prohibit-password\nAllowTcpForwarding no\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-D", "-e", "-f", str(configuration)], stdin=subprocess.DEVNULL, stderr=log
        )
    try:
        listening(process, port, folder / "log", "sshd")
        plain = f"ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -o UserKnownHostsFile={known}"
        yield SshServer(
            url=f"ssh://{getpass.getuser()}@127.0.0.1:{port}",
            command=f"{plain} -i {folder / 'user'}",
            command_without_key=f"{plain} -i {folder / 'host'}",
        )
    finally:
        process.terminate()
        process.wait(10)
