"""The objects of a bucket, by the library obstore, which whoever may open sockets hands in.

Invariant: memory does not grow with an object. What is larger than `PART` goes up in parts, a few at a time, and
becomes visible when it is whole; what comes down comes in pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from .. import __version__
from ..errors import SealiftError, UsageError
from ..names import visible
from ..reading import bounded
from .address import Bucket
from .credentials import Access, access, provider
from .failure import NO_BUCKET, Failure, Missing, Refused, Unable, meaning

PART = 8 << 20
"""Bytes up to which an object goes up at once, and of a part where it does not."""
PARTS_MAX = 9000
"""Parts of one object; S3 allows 10,000."""
PARTS_AT_ONCE = 2
PIECE = 1 << 20
RETRIES = 4
_CA_MAX = 4 << 20


@dataclass(frozen=True, kw_only=True)
class Seen:
    """An object, as the store tells of it."""

    key: str
    size: int
    """Bytes."""
    tag: str
    """The ETag, which names this very content; empty where the store says none."""
    version: str | None
    """The version, of a bucket that keeps several."""


class Objects:
    """The objects of a bucket. Several threads may use it at once."""

    def __init__(
        self, library: ModuleType, bucket: Bucket, environment: Mapping[str, str], failure: type[SealiftError]
    ) -> None:
        """Take what is needed; nobody is asked yet.

        Args:
            library: `obstore`.
            bucket: the bucket.
            environment: the variables of the process.
            failure: what to raise where the store refuses.

        Raises:
            UsageError: the settings or the credentials are incomplete.
        """
        self._library = library
        self._errors: Any = library.exceptions
        self._failure = failure
        self.place = bucket.place
        found = access(bucket, environment)
        options = _client(bucket, environment)
        self._store = _opened(library, bucket, found, options, RETRIES)
        self._open_hasty = partial(_opened, library, bucket, found, options, 0)

    def look(self, key: str) -> Seen | None:
        """What the store tells of an object; None where there is none."""
        try:
            with self._asking(key, Missing):
                return _seen(self._library.head(self._store, key))
        except Missing:
            return None

    def read(self, key: str, limit: int) -> tuple[bytes, str] | None:
        """The content of a small object, cut off behind `limit` + 1 bytes, and its tag; None where there is none."""
        try:
            with self._asking(key, Missing):
                found = self._library.get(self._store, key)
                content = b""
                for piece in found.stream(min_chunk_size=min(limit + 1, PIECE)):
                    content += piece
                    if len(content) > limit:
                        break
                return content[: limit + 1], _tag(found.meta)
        except Missing:
            return None

    def opened(
        self, key: str, *, start: int = 0, tag: str = "", version: str | None = None
    ) -> tuple[Seen, Iterator[bytes]]:
        """What the store tells of an object, and its content from the byte `start` on.

        Args:
            key: the object.
            start: bytes to leave out; fewer than it has.
            tag: the content must still bear it, where it is not empty.
            version: the version that is meant, where the bucket keeps several.

        Raises:
            Missing: there is none.
            Refused: it bears another tag.
        """
        options: dict[str, Any] = {}
        if start:
            options["range"] = {"offset": start}
        if tag:
            options["if_match"] = f'"{tag}"'
        if version is not None:
            options["version"] = version
        with self._asking(key, Missing, Refused):
            found = self._library.get(self._store, key, options=options)
            return _seen(found.meta), self._streamed(key, found)

    def pieces(self, key: str) -> Iterator[bytes]:
        """The content of an object.

        Raises:
            Missing: there is none.
        """
        return self.opened(key)[1]

    def _streamed(self, key: str, found: Any) -> Iterator[bytes]:
        with self._asking(key, Missing, Refused):
            yield from found.stream(min_chunk_size=PIECE)

    def put(self, key: str, content: bytes) -> str:
        """Write a small object, atomically; return its tag."""
        with self._asking(key):
            return _tag(self._library.put(self._store, key, content, use_multipart=False))

    def upload(self, key: str, pieces: Iterator[bytes], size: int) -> str:
        """Write an object of `size` bytes, atomically; return its tag, which is empty where the store says none."""
        if size <= PART:
            return self.put(key, b"".join(pieces))
        part = max(PART, -(-size // PARTS_MAX))
        with self._asking(key):
            return _tag(self._library.put(self._store, key, pieces, chunk_size=part, max_concurrency=PARTS_AT_ONCE))

    def exchange(self, key: str, content: bytes, former: str | None) -> None:
        """Write a small object where it still bears the tag `former`, or, with None, where there is none.

        Raises:
            Refused: it bears another.
            Unable: the store knows no such condition; nothing was written.
        """
        # without another attempt: a store may have no answer but 501
        mode: Any = "create" if former is None else {"e_tag": f'"{former}"'}
        with self._asking(key, Refused, Unable):
            self._library.put(self._open_hasty(), key, content, mode=mode, use_multipart=False)

    def listed(self, prefix: str) -> Iterator[Seen]:
        """Every object whose key begins with `prefix` and a slash, in the store's order; all with an empty prefix."""
        with self._asking(f"{prefix}/"):
            for batch in self._library.list(self._store, prefix or None):
                for entry in batch:
                    yield _seen(entry)

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        try:
            with self._asking(key, Missing):
                self._library.delete(self._store, key)
        except Missing:
            return

    @contextmanager
    def _asking(self, key: str, *answers: type[Exception]) -> Iterator[None]:
        """Say what a failure means.

        Args:
            key: the object.
            answers: those of `Missing`, `Refused` and `Unable` that are an answer here, and no failure.

        Raises:
            Missing, Refused, Unable: as their names say, where they are an answer.
            SealiftError: of the type that failures have here; the store refuses or cannot be reached.
        """
        errors = self._errors
        try:
            yield
        except (errors.InvalidPathError, ValueError):
            raise self._failure(
                f"{self.place} has, below {visible(key)[:120]!r}, a key that cannot be carried",
                hint="no component of a key may be empty, '.' or '..': rename that object",
            ) from None
        except (FileNotFoundError, errors.BaseError) as error:
            found = meaning(error)
            answer = self._answer(error, found)
            if answer is not None and answer in answers:
                raise answer(key) from None
            raise self._told(found, key) from None

    def _answer(self, error: Exception, found: Failure) -> type[Exception] | None:
        """What a failure may be the answer to; None where it never is one."""
        errors = self._errors
        if isinstance(error, FileNotFoundError):
            return None if found.reason == NO_BUCKET else Missing
        if isinstance(error, (errors.PreconditionError, errors.AlreadyExistsError)):
            return None if found.reason == NO_BUCKET else Refused
        if isinstance(error, errors.NotSupportedError) or found.status in (400, 501):
            return Unable
        return None

    def _told(self, found: Failure, key: str) -> SealiftError:
        return self._failure(f"{self.place}/{visible(key)[:200]}: {found.reason}", hint=found.hint)


def _opened(library: ModuleType, bucket: Bucket, found: Access, options: Mapping[str, Any], retries: int) -> Any:
    store: Any = library.store
    retry = {"max_retries": retries, "retry_timeout": timedelta(seconds=120)}
    common = {"client_options": options, "retry_config": retry, "credential_provider": provider(found)}
    if bucket.anonymous:
        common["credential_provider"] = None
    endpoint = bucket.endpoint or found.settings.get("endpoint")
    region = bucket.region or found.settings.get("region")
    if bucket.cloud == "az":
        account = bucket.account or found.settings.get("account")
        if account is None:
            raise UsageError(
                f"it is not known which account {bucket.place} belongs to",
                hint="write `account`, or set AZURE_STORAGE_ACCOUNT",
            )
        config = {"account_name": account, "skip_signature": bucket.anonymous}
        return store.AzureStore(bucket.name, config=config | ({"endpoint": endpoint} if endpoint else {}), **common)
    virtual = bucket.virtual_host if bucket.virtual_host is not None else bucket.cloud == "oss"
    if endpoint is None and bucket.cloud == "oss":
        if region is None:
            raise UsageError(
                f"it is not known where {bucket.place} is", hint="write `region` or `endpoint`, or set OSS_REGION"
            )
        endpoint = f"https://s3.oss-{region.removeprefix('oss-')}.aliyuncs.com"
    config = {
        "region": (region or "us-east-1").removeprefix("oss-" if bucket.cloud == "oss" else ""),
        "virtual_hosted_style_request": virtual,
        "skip_signature": bucket.anonymous,
        "disable_bulk_delete": True,
    }
    if endpoint is not None:
        endpoint = endpoint.rstrip("/")
        if virtual:
            scheme, _, host = endpoint.partition("://")
            endpoint = f"{scheme}://{bucket.name}.{host}"
        config |= {"endpoint": endpoint, "aws_endpoint_url_s3": endpoint}
    return store.S3Store(bucket.name, config=config, **common)


def _client(bucket: Bucket, environment: Mapping[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {
        "allow_http": bucket.unsafe_http,
        "connect_timeout": timedelta(seconds=20),
        "read_timeout": timedelta(seconds=60),
        "timeout": timedelta(days=1),
        "user_agent": f"sealift/{__version__}",
    }
    place = environment.get("SEALIFT_CA_FILE") or environment.get("AWS_CA_BUNDLE")
    if place:
        content = bounded(Path(place), _CA_MAX, follow=True)
        if content is None or len(content) > _CA_MAX:
            raise UsageError(f"{visible(place)} cannot be read as certificates", hint="name a file of PEM certificates")
        options["root_certificate"] = content
    return options


def _seen(meta: Mapping[str, Any]) -> Seen:
    return Seen(key=meta["path"], size=meta["size"], tag=_tag(meta), version=meta["version"])


def _tag(meta: Mapping[str, Any]) -> str:
    """The ETag without its quotes, which lists of Azure leave out."""
    return (meta["e_tag"] or "").strip('"')
