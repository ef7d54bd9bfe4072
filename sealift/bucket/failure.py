"""What a failure of the library that speaks to a store means. Its own words may hold a signature: none is repeated."""

from __future__ import annotations

import re
from typing import NamedTuple

NO_BUCKET = "there is no such bucket"
_STATUS = re.compile(r"status code: ([1-5][0-9]{2})\b")
_CODE = re.compile(r"<Code>\s*(NoSuchBucket|ContainerNotFound|InvalidBucketName|RequestTimeTooSkewed)\s*</Code>")


class Missing(Exception):
    """There is no such object."""


class Refused(Exception):
    """A condition that a write was made under does not hold."""


class Unable(Exception):
    """The store knows no writes under a condition."""


class Failure(NamedTuple):
    """What went wrong, as parts of a message."""

    reason: str
    hint: str | None = None
    status: int | None = None


def meaning(error: BaseException) -> Failure:
    """What a failure means, told from its type, its status and a few words that stand for nothing else."""
    kind, text = type(error).__name__, str(error)[:20_000]
    found = _STATUS.search(text)
    status = int(found[1]) if found else None
    code = _CODE.search(text)
    if code and code[1] == "RequestTimeTooSkewed":
        return Failure("the store refuses this machine's clock", "set the time of this machine", status)
    if code or "container does not exist" in text:
        return Failure(NO_BUCKET, "check its name and the endpoint, or create it", status)
    if kind in ("PermissionDeniedError", "UnauthenticatedError") or status in (401, 403):
        return Failure(
            "the store refuses the credentials",
            "check which the environment holds, and what they may do",
            status,
        )
    if "redirect" in text.lower():
        return Failure("the store redirects without end, or to where it may not", "check `endpoint` and `region`")
    if status in (301, 302, 307, 308):
        return Failure("the store says that the bucket is elsewhere", "check `endpoint` and `region`", status)
    if "169.254.169.254" in text or "/metadata/identity" in text:
        return Failure(
            "there are no credentials for the bucket",
            "set those of the cloud in the environment, or write `anonymous: true`",
        )
    if status is not None:
        return Failure(f"the store answers {status}", "try again later" if status >= 500 else None, status)
    if "UnknownIssuer" in text or "InvalidCertificate" in text:
        return Failure(
            "the store's certificate is not trusted",
            "if the store's authority is your own, name its certificate in SEALIFT_CA_FILE",
        )
    if "builder error" in text:
        return Failure("the store would be asked without TLS", "write https://, or `unsafe_http: true`")
    if "dns error" in text:
        return Failure("the host's name is not known", "check `endpoint` and the network")
    if "ConnectionRefused" in text or "Connect" in text:
        return Failure("no connection to the store", "check `endpoint` and the network")
    if "TimedOut" in text or "timed out" in text:
        return Failure("the store does not answer in time", "try again later")
    return Failure("the connection broke off, or the answer cannot be understood", "run the same command again")
