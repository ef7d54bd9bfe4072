"""The runtime socket of HAProxy: one command, one answer. A local socket; nothing leaves the machine."""

from __future__ import annotations

import socket
from pathlib import Path

ANSWER_MAX = 16 << 20
"""Bytes of an answer."""


def ask(path: Path, command: str, *, timeout: float) -> str:
    """What HAProxy answers to a command.

    Args:
        path: its runtime socket.
        command: one line.
        timeout: seconds for connecting, and again for each part of the answer.

    Raises:
        OSError: it does not answer, or without end.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
        connection.sendall(command.encode("ascii") + b"\n")
        parts, size = [], 0
        while part := connection.recv(1 << 16):
            size += len(part)
            if size > ANSWER_MAX:
                raise OSError("its answer is too long")
            parts.append(part)
    return b"".join(parts).decode("utf-8", "replace")
