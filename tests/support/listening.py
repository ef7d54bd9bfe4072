"""A program that was started as a server, once it listens."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from pathlib import Path

SECONDS = 20
"""How long it may take."""


def listening(process: subprocess.Popen[bytes], port: int, log: Path, name: str) -> None:
    """Wait until it does.

    Raises:
        AssertionError: it has ended, or takes too long; the end of its log says why.
    """
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError(f"{name} does not answer: {log.read_text()[-2000:]}")
