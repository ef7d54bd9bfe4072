"""What an image is called: `registry.example.com:5000/shop/web:1.2@sha256:…`.

Docker's short names are read as Docker reads them: `debian` is `docker.io/library/debian:latest`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import MalformedError
from ..names import visible

DOCKER, DOCKER_HOST = "docker.io", "registry-1.docker.io"
"""What Docker's registry is called in names, and where it answers."""
NAME_MAX = 1024

_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?){0,32}"
    r"|\[[0-9a-fA-F:]{2,45}\])(?::[0-9]{1,5})?"
)
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-{1,8})[a-z0-9]+){0,64}"
_REPOSITORY = re.compile(rf"(?=.{{1,255}}\Z){_COMPONENT}(?:/{_COMPONENT}){{0,32}}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Name:
    """An image's name."""

    registry: str
    """Host, and port where one is said; `docker.io` for Docker's."""
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def place(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    @property
    def text(self) -> str:
        """The whole name."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.place}{tag}{'@' + self.digest if self.digest else ''}"

    @property
    def reference(self) -> str:
        """What a registry is asked for: the digest where it is known, else the tag."""
        return self.digest or self.tag or "latest"


def parse(text: str) -> Name:
    """The name that `text` is, with the tag `latest` where it says neither tag nor digest.

    Raises:
        MalformedError: it is none.
    """
    rest, at, digest = text.partition("@")
    if len(text) > NAME_MAX or (at and not _DIGEST.fullmatch(digest)):
        raise _malformed(text, "what follows '@' must be 'sha256:' and 64 lower-case hexadecimal digits")
    head, slash, tail = rest.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        registry, path = head, tail
    else:
        registry, path = DOCKER, rest
    repository, colon, tag = path.partition(":")
    if registry in (DOCKER, f"index.{DOCKER}", DOCKER_HOST):
        registry = DOCKER
        repository = repository if "/" in repository else f"library/{repository}"
    if not is_host(registry) or not is_repository(repository) or (colon and not is_tag(tag)):
        raise _malformed(
            text, "write REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@sha256:…, lower-case but for the tag"
        )
    return Name(
        registry=registry,
        repository=repository,
        tag=tag or (None if digest else "latest"),
        digest=digest or None,
    )


def _malformed(text: str, hint: str) -> MalformedError:
    return MalformedError(f"{visible(text)[:120]!r} is no name of an image", hint=hint)


def is_host(text: str) -> bool:
    """Whether `text` is a host, with or without a port."""
    return bool(_HOST.fullmatch(text))


def is_repository(text: str) -> bool:
    """Whether `text` may name a repository."""
    return bool(_REPOSITORY.fullmatch(text))


def is_tag(text: str) -> bool:
    """Whether `text` may be a tag."""
    return bool(_TAG.fullmatch(text))


def is_digest(text: str) -> bool:
    """Whether `text` is a digest of the one kind that is understood: SHA-256."""
    return bool(_DIGEST.fullmatch(text))


def hex_of(digest: str) -> str:
    """The 64 digits of a digest, which name its blob's file in a layout."""
    return digest.removeprefix("sha256:")


def fallback_tag(digest: str) -> str:
    """The tag under which a registry without the referrers API lists what refers to `digest` (OCI 1.1)."""
    return digest.replace(":", "-")
