"""Credentials of the clouds, found where their own tools keep them. No message, lock or manifest holds one.

| cloud | the first of these that is there |
| --- | --- |
| S3 | `AWS_ACCESS_KEY_ID` with `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`; the profile `AWS_PROFILE`, or \
`default`, of `AWS_SHARED_CREDENTIALS_FILE` or ~/.aws/credentials; the token file of a web identity, a container's \
address of credentials, the machine's own role |
| Azure | `AZURE_STORAGE_CONNECTION_STRING`; `AZURE_STORAGE_KEY` or `AZURE_STORAGE_ACCOUNT_KEY`; \
`AZURE_STORAGE_SAS_TOKEN`; a service principal by `AZURE_CLIENT_ID`, a federated token, the machine's own identity |
| OSS | `OSS_ACCESS_KEY_ID` with `OSS_ACCESS_KEY_SECRET` and `OSS_SESSION_TOKEN`; the same as \
`ALIBABA_CLOUD_ACCESS_KEY_ID`, `ALIBABA_CLOUD_ACCESS_KEY_SECRET` and `ALIBABA_CLOUD_SECURITY_TOKEN` |

What stands behind the last semicolon of a row is found by the library that speaks to the store.
"""

from __future__ import annotations

import configparser
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UsageError
from ..names import visible
from ..reading import bounded
from .address import Bucket

FILE_MAX = 1 << 20
Secret = Mapping[str, str | None]


@dataclass(frozen=True, kw_only=True)
class Access:
    """What the environment says of a bucket."""

    settings: Mapping[str, str]
    """Account, region and endpoint, where the bucket's own settings leave them out."""
    secret: Secret | None = field(default=None, repr=False)
    """The credential; None where it is for the library to find, or none is wanted."""


def access(bucket: Bucket, environment: Mapping[str, str]) -> Access:
    """How `bucket` is entered.

    Args:
        bucket: the bucket.
        environment: the variables of the process.

    Raises:
        UsageError: a half of a credential is missing, or a file of credentials cannot be read.
    """
    found = {"s3": _s3, "oss": _oss, "az": _azure}[bucket.cloud](environment)
    return Access(settings=found.settings) if bucket.anonymous else found


def _s3(environment: Mapping[str, str]) -> Access:
    settings = _first(
        environment,
        region=("AWS_REGION", "AWS_DEFAULT_REGION"),
        endpoint=("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    )
    profile = environment.get("AWS_PROFILE") or "default"
    if "region" not in settings and (told := _section(environment, "AWS_CONFIG_FILE", "config", profile)):
        settings |= {"region": told["region"]} if told.get("region") else {}
    secret = _pair(environment, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    if secret is None and (kept := _section(environment, "AWS_SHARED_CREDENTIALS_FILE", "credentials", profile)):
        secret = _pair(kept, "aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    return Access(settings=settings, secret=secret)


def _oss(environment: Mapping[str, str]) -> Access:
    settings = _first(environment, region=("OSS_REGION", "ALIBABA_CLOUD_REGION_ID"), endpoint=("OSS_ENDPOINT",))
    secret = _pair(environment, "OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN") or _pair(
        environment, "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN"
    )
    if secret is None:
        secret = {}
    return Access(settings=settings, secret=secret)


def _azure(environment: Mapping[str, str]) -> Access:
    settings = _first(
        environment,
        account=("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"),
        endpoint=("AZURE_STORAGE_ENDPOINT",),
    )
    secret: Secret | None = None
    if told := environment.get("AZURE_STORAGE_CONNECTION_STRING"):
        parts = dict(part.split("=", 1) for part in told.split(";") if "=" in part)
        known = {"AccountName": "account", "BlobEndpoint": "endpoint"}
        settings = {ours: parts[theirs] for theirs, ours in known.items() if theirs in parts}
        if "AccountKey" in parts:
            secret = {"access_key": parts["AccountKey"]}
        elif "SharedAccessSignature" in parts:
            secret = {"sas_token": parts["SharedAccessSignature"]}
        else:
            raise UsageError(
                "AZURE_STORAGE_CONNECTION_STRING holds neither AccountKey nor SharedAccessSignature",
                hint="copy it again from the account's access keys",
            )
    elif key := _first(environment, key=("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY")):
        secret = {"access_key": key["key"]}
    elif token := _first(environment, key=("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY")):
        secret = {"sas_token": token["key"].removeprefix("?")}
    return Access(settings=settings, secret=secret)


def _first(environment: Mapping[str, str], **names: tuple[str, ...]) -> dict[str, str]:
    """For each key the first of its variables that is set."""
    found = {key: next((environment[name] for name in of if environment.get(name)), None) for key, of in names.items()}
    return {key: value for key, value in found.items() if value is not None}


def _pair(values: Mapping[str, str], user: str, password: str, token: str) -> Secret | None:
    """An access key, if both of its halves are there."""
    if not values.get(user) and not values.get(password):
        return None
    if not values.get(user) or not values.get(password):
        raise UsageError(f"of {user} and {password} only one is there", hint="set both, or none")
    return {
        "access_key_id": values[user],
        "secret_access_key": values[password],
        "token": values.get(token) or None,
    }


def _section(environment: Mapping[str, str], variable: str, name: str, profile: str) -> Mapping[str, str] | None:
    """A profile of one of the files that the tools of AWS write."""
    place = environment.get(variable) or f"{environment.get('HOME', '')}/.aws/{name}"
    content = bounded(Path(place), FILE_MAX, follow=True)
    if content is None:
        return None
    parser = configparser.RawConfigParser(default_section="", strict=False)
    try:
        if len(content) > FILE_MAX:
            raise UnicodeError
        parser.read_string(content.decode())
    except (UnicodeError, configparser.Error):
        # configparser's own words quote the line, which may hold a secret
        raise UsageError(
            f"{visible(place)} is no configuration of profiles", hint="mend it, or set the variables"
        ) from None
    for section in (f"profile {profile}", profile) if name == "config" else (profile,):
        if parser.has_section(section):
            return dict(parser.items(section))
    return None


def provider(access: Access) -> Callable[[], dict[str, str | None]] | None:
    """What hands the credential to the library, so that it looks for no other; None where it is to look.

    Raises:
        UsageError: the cloud's convention knows no other place, and there is none.
    """
    secret = access.secret
    if secret is None:
        return None
    if not secret:
        raise UsageError(
            "there are no credentials for the bucket",
            hint="set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, or write `anonymous: true`",
        )
    return lambda: {**secret, "expires_at": None}
