"""Addresses of buckets and of what is in them: `s3://name/prefix`, `az://container/prefix`, `oss://name/prefix`.

`KEYS` are the keys by which a source or a target names a bucket; none of them holds a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import UsageError
from ..names import visible

Cloud = Literal["s3", "az", "oss"]
KEY_MAX = 1024
"""Bytes of a key, which is the least that any of the clouds allows."""

_NAME = r"\$?[a-z0-9](?:[a-z0-9-]|\.(?!\.)){0,61}[a-z0-9]"
_SEGMENT = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._+=@${}-]+"
_PREFIX = rf"(?:{_SEGMENT}/)*(?:{_SEGMENT})?"
_ENDPOINT = r"https?://[A-Za-z0-9._-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9._-]+)*/?"
_ADDRESS = re.compile(rf"(s3|az|oss)://({_NAME})(?:/(.*))?", re.DOTALL)

PREFIX_PATTERN = rf"^(?:s3|az|oss)://{_NAME}(?:/{_PREFIX})?$"
"""What the address of a place to deploy to looks like."""
KEYS: Mapping[str, Any] = {
    "endpoint": {
        "description": "The store's address, where it is not the cloud's own: of S3 and OSS without the bucket's name.",
        "type": "string",
        "pattern": f"^{_ENDPOINT}$",
        "maxLength": 512,
    },
    "region": {
        "description": "The region, where neither the environment nor a configuration file of the cloud says it.",
        "type": "string",
        "pattern": "^[a-z0-9-]+$",
        "maxLength": 64,
    },
    "account": {
        "description": "The storage account; of Azure alone, where the environment does not say it.",
        "type": "string",
        "pattern": "^[a-z0-9]{3,24}$",
    },
    "virtual_host": {
        "description": "Whether the bucket's name stands in the host's name: true of oss, false of s3 if left out.",
        "type": "boolean",
    },
    "anonymous": {
        "description": "Whether the store is asked without credentials; false if left out.",
        "type": "boolean",
        "default": False,
    },
    "unsafe_http": {
        "description": "Whether the store may be asked without TLS; false if left out.",
        "type": "boolean",
        "default": False,
    },
}


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A bucket, and how it is reached."""

    cloud: Cloud
    name: str
    endpoint: str | None = None
    region: str | None = None
    account: str | None = None
    virtual_host: bool | None = None
    anonymous: bool = False
    unsafe_http: bool = False

    @property
    def place(self) -> str:
        """What people call it."""
        return f"{self.cloud}://{self.name}"


def read(address: str, settings: Mapping[str, Any]) -> tuple[Bucket, str]:
    """The bucket that an address and the values of `KEYS` name, and the key or prefix in it.

    Raises:
        UsageError: it is no address of a bucket, or the settings do not fit to it.
    """
    found = _ADDRESS.fullmatch(address)
    if re.search(r"\?[^/]*=", address) or re.search("://[^/]*@", address):
        raise UsageError(
            f"{shown(address)} bears a query or a user, which may hold a secret",
            hint="leave out what stands behind '?' and before '@'; credentials come from the environment",
        )
    if found is None:
        raise UsageError(
            f"{shown(address)} is no address of a bucket",
            hint="write s3://bucket/prefix, az://container/prefix or oss://bucket/prefix",
        )
    cloud: Any = found[1]
    bucket = Bucket(cloud=cloud, name=found[2], **{key: settings[key] for key in KEYS if key in settings})
    if bucket.endpoint is not None and not re.fullmatch(_ENDPOINT, bucket.endpoint):
        raise UsageError(
            f"the endpoint of {bucket.place} is no plain http or https address",
            hint="write https://host:port, without user, query and the bucket's name",
        )
    if bucket.account is not None and cloud != "az":
        raise UsageError(f"{bucket.place} belongs to no account: that is of az:// alone", hint="leave out `account`")
    if bucket.virtual_host is not None and cloud == "az":
        raise UsageError(f"{bucket.place} has no virtual_host: that is of s3:// and oss:// alone", hint="leave it out")
    if bucket.endpoint is not None and bucket.endpoint.startswith("http://") and not bucket.unsafe_http:
        raise UsageError(
            f"the endpoint of {bucket.place} would be asked without TLS",
            hint="write https://, or `unsafe_http: true` where the line itself is safe",
        )
    return bucket, found[3] or ""


def check_key(key: str) -> str:
    """Return `key` if every store gives it back as it is.

    Raises:
        UsageError: it has an empty component, or one that is `.` or `..`, or is too long.
    """
    if len(key.encode("utf-8", "surrogatepass")) > KEY_MAX or any(part in ("", ".", "..") for part in key.split("/")):
        raise UsageError(
            f"{visible(key)[:80]!r} is no key that can be carried",
            hint=f"a key has at most {KEY_MAX} bytes, and no component is empty, '.' or '..'",
        )
    return key


def shown(address: str) -> str:
    """An address as it may be printed: without what could be a secret in it."""
    return visible(re.sub(r"(://)[^/]*@", r"\1***@", address).partition("?")[0])[:200]
