"""Programs in a network namespace of their own: no network at all, or one server on the loopback and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

PORT = 8080
"""In an enclave every port is free."""
URL = f"http://127.0.0.1:{PORT}/"
_INSIDE = """
import fcntl, json, socket, struct, subprocess, sys, time
plan = json.loads(sys.argv[1])
with socket.socket() as line:
    fcntl.ioctl(line, 0x8914, struct.pack("16sh14s", b"lo", 1, b""))  # SIOCSIFFLAGS, IFF_UP
server = subprocess.Popen(plan["server"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    for _ in range(400):
        with socket.socket() as line:
            if line.connect_ex(("127.0.0.1", plan["port"])) == 0:
                break
        time.sleep(0.05)
    for command in plan["commands"]:
        code = subprocess.run(command).returncode
        if code:
            break
finally:
    server.terminate()
    server.wait()
sys.exit(code)
"""


def without_network() -> list[str]:
    """What runs a program in a namespace without a network; nothing where that cannot be had."""
    if os.geteuid() == 0 and shutil.which("unshare"):
        command = ["unshare", "--net"]
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    if os.environ.get("SEALIFT_REQUIRE_ALL") == "1":
        pytest.fail("unshare --net needs root")
    return []


def enclave(
    server: Sequence[str | Path],
    *commands: Sequence[str | Path],
    folder: Path,
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run commands, up to the first that fails, beside a server at `URL`, with no other network.

    The test is skipped where there is no such thing.
    """
    prefix = without_network()
    if not prefix:
        pytest.skip("unshare --net needs root")
    plan = {"server": list(map(str, server)), "port": PORT, "commands": [list(map(str, each)) for each in commands]}
    return subprocess.run(
        [*prefix, sys.executable, "-c", _INSIDE, json.dumps(plan)],
        cwd=folder,
        env={"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "HOME": str(folder), **(variables or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def plain_server(folder: Path) -> list[str | Path]:
    """Python's own web server, which knows nothing of what it serves."""
    return [sys.executable, "-m", "http.server", str(PORT), "--bind", "127.0.0.1", "--directory", folder]


def nginx(settings: str, folder: Path) -> list[str | Path]:
    """Nginx with a server's settings, as a page of the documentation has them; its log is `access.log` in `folder`."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if program is None:
        if os.environ.get("SEALIFT_REQUIRE_ALL") == "1":
            pytest.fail("nginx is missing")
        pytest.skip("nginx is missing")
    conf = folder / "nginx.conf"
    temporary = "".join(
        f"{what}_temp_path {folder}/{what};\n" for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    conf.write_text(
        f"daemon off;\nuser root;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n"
        "events { worker_connections 64; }\n"
        f"http {{\n{temporary}log_format it '$status $uri';\naccess_log {folder}/access.log it;\n"
        f"types {{ text/html html; }}\n{settings}\n}}\n"
    )
    return [program, "-p", folder, "-c", conf]
