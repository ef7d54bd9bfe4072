"""What a failure of the line means."""

from __future__ import annotations

import ssl
from typing import NamedTuple

from urllib3.exceptions import (
    HTTPError,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as LateError

from ..names import visible

RESUMES = "run the same command again: it resumes where the server allows"


class Failure(NamedTuple):
    """What a failure of the line means."""

    reason: str
    """A part of a sentence; urllib3's own words may hold the query, so they are not repeated."""
    hint: str | None = None
    lasting: bool = False
    """Whether another attempt would meet the same."""


def meaning(error: HTTPError) -> Failure:
    """What a failure of the line means."""
    cause = error.args[-1] if error.args else None
    if isinstance(error, ProxyError):
        cause = error.original_error
        if not isinstance(cause, SSLError):
            return Failure("the proxy does not connect", "check HTTP_PROXY and HTTPS_PROXY")
        cause = cause.args[-1] if cause.args else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Failure(
            f"the certificate is not trusted: {visible(cause.verify_message)}",
            "if the server's authority is your own, name its certificate in SEALIFT_CA_FILE",
            lasting=True,
        )
    if isinstance(error, LocationValueError):
        return Failure("this address cannot be used", "check the name of the host", lasting=True)
    if isinstance(error, NameResolutionError):
        return Failure("the host's name is not known", "check the name and the network")
    if isinstance(error, NewConnectionError):
        return Failure("no connection to the host", "check the name and the network")
    if isinstance(error, LateError):
        return Failure("the server does not answer in time", RESUMES)
    if isinstance(error, (ProtocolError, SSLError)):
        return Failure("the connection broke off", RESUMES)
    return Failure(f"the answer cannot be understood ({type(error).__name__})", lasting=True)
