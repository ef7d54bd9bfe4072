"""The HTTP health probe: one GET of a service inside the site. It follows no redirect and reads no body."""

from __future__ import annotations

import http.client
import io
import socket
import urllib.parse
from typing import Any

from sealift.wire.haste import Hasty


class _Answer(http.client.HTTPResponse):
    """An answer whose head comes in time, however it drips."""

    def __init__(self, sock: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        self.fp.close()
        self.fp = io.BufferedReader(Hasty(sock.makefile("rb", buffering=0), sock.gettimeout() or 0))


def probe(url: str, *, status: int, timeout: float) -> str | None:
    """What is wrong with the answer to a GET of `url`; None where it has the status that is wanted.

    Args:
        url: `http://` or `https://`; of the latter the certificate is checked.
        status: the HTTP status that means health.
        timeout: seconds for connecting, and again for the answer.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=timeout)
        connection.response_class = _Answer
    except ValueError as error:
        return f"cannot be asked: {error}"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET", path, headers={"User-Agent": "sealift", "Connection": "close"})
        answer = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return f"did not answer: {reason.lower()}"
    except UnicodeError:
        return "cannot be asked: its host is no name"
    finally:
        connection.close()
    return None if answer == status else f"answered with status {answer}, and {status} is wanted"
