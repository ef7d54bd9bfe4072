"""What is asked of apt: packages, from which repositories, for which architecture, and what is there already."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from sealift.errors import MalformedError, UsageError
from sealift.names import visible
from sealift.reading import opened

PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+](?:=(?:[0-9]+:)?[0-9A-Za-z][0-9A-Za-z.+~-]*)?")
LIST_MAX = 1 << 20
"""Bytes of a list of names."""
STATUS_MAX = 64 << 20
"""Bytes of a dpkg status file."""
PACKAGES_MAX = 10_000


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A repository that a spec names."""

    url: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    keyring: str | None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a spec asks for, its files read."""

    packages: tuple[str, ...]
    archives: tuple[Archive, ...]
    """None means those of this machine's own apt."""
    architecture: str
    recommends: bool
    installed: bytes
    """A dpkg status file of what is there already."""

    @property
    def digest(self) -> str:
        """What a lock remembers of it, so that a spec that asks for something else is noticed."""
        plain = {**asdict(self), "installed": hashlib.sha256(self.installed).hexdigest()}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def address(url: str, base: Path) -> str:
    """The address of a repository as apt is told it: `https`, `http`, or a folder of this machine.

    Raises:
        UsageError: it is another, or bears credentials.
    """
    from ..network.web import check_url

    if url.startswith(("https://", "http://")):
        return check_url(url).rstrip("/") + "/"
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", url) or "\0" in url or "\n" in url:
        raise UsageError(
            f"repository {visible(url)[:120]!r} is no http or https address and no folder",
            hint="write https://…, or the path of a folder with `dists` and `pool`",
        )
    return "file:" + quote(str((base / url).resolve())) + "/"


def check_package(text: str) -> str:
    """Return what names a package, with `=` and a version or without.

    Raises:
        MalformedError: it does not.
    """
    if not PACKAGE.fullmatch(text) or len(text) > 300:
        raise MalformedError(f"{visible(text)[:80]!r} is no name of a package", hint="write NAME or NAME=VERSION")
    return text


def listed(path: Path) -> tuple[str, ...]:
    """The names in a file: one on a line, `#` before what is not for us.

    Raises:
        UsageError: it cannot be read, or holds something else.
    """
    found = []
    for line in _content(path, LIST_MAX, "list").decode("utf-8", "replace").splitlines():
        if name := line.partition("#")[0].strip():
            try:
                found.append(check_package(name))
            except MalformedError as error:
                raise UsageError(f"list {visible(str(path))}: {error.message}", hint=error.hint) from error
    return tuple(found)


def status(path: Path) -> bytes:
    """A dpkg status file.

    Raises:
        UsageError: it cannot be read, or is none.
    """
    content = _content(path, STATUS_MAX, "installed")
    if not re.search(rb"^Package: [^\n]+\n(?:[^\n]+\n)*?Status: ", content, re.MULTILINE):
        raise UsageError(
            f"installed {visible(str(path))}: it is no status file of dpkg",
            hint="take /var/lib/dpkg/status out of the image: podman run --rm IMAGE cat /var/lib/dpkg/status",
        )
    return content


def _content(path: Path, limit: int, key: str) -> bytes:
    try:
        file = opened(path, follow=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"{key} {visible(str(path))}: {reason}", hint=f"check `{key}`") from error
    if file is None:
        raise UsageError(f"{key} {visible(str(path))} is no regular file", hint=f"check `{key}`")
    with file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise UsageError(f"{key} {visible(str(path))} is longer than {limit} bytes")
    return content
