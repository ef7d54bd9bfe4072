"""Where a registry is to be asked: mirrors of `registries.conf` (version 2), and certificates of `certs.d`.

As podman and skopeo read them, but for one thing: `insecure` stands here for plain http alone. TLS certificates
are always verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..names import visible
from ..reading import bounded
from .names import DOCKER, DOCKER_HOST, Name, is_host, is_repository

FILE_MAX = 1 << 20
FILES_MAX = 256
CONFIGURATION = "/etc/containers/registries.conf"
CERTIFICATES = ("/etc/containers/certs.d", "/etc/docker/certs.d")


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A place that has a repository."""

    host: str
    """With its port, where one is said."""
    repository: str
    http: bool
    """Whether it may be asked without TLS; it is, then."""

    @property
    def place(self) -> str:
        """Host and repository."""
        return f"{self.host}/{self.repository}"


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """What the folder of a host in `certs.d` holds."""

    authorities: tuple[Path, ...] = ()
    """PEM files (`*.crt`) that are trusted besides the system's."""
    client: tuple[Path, Path] | None = None
    """Certificate and key to show the server (`*.cert` and `*.key`)."""


def endpoints(name: Name, environment: Mapping[str, str], *, unsafe_http: bool = False) -> list[Endpoint]:
    """Where the repository of `name` is to be asked for, in this order.

    Args:
        name: what is asked for.
        environment: the variables of the process.
        unsafe_http: whether the registry itself is asked without TLS.

    Raises:
        UsageError: a configuration cannot be read, or blocks the registry.
    """
    own = Endpoint(
        host=DOCKER_HOST if name.registry == DOCKER else name.registry, repository=name.repository, http=unsafe_http
    )
    chosen: dict[str, Any] | None = None
    length = 0
    for table in _tables(environment):
        prefix = table.get("prefix") or table.get("location") or ""
        if _fits(str(prefix), name) and len(str(prefix)) >= length:
            chosen, length = table, len(str(prefix))
    if chosen is None:
        return [own]
    if chosen.get("blocked") is True:
        raise UsageError(f"{name.place} is blocked by registries.conf", hint="take the image from elsewhere")
    prefix = str(chosen.get("prefix") or chosen.get("location"))
    found = [_endpoint(mirror, prefix, name) for mirror in chosen.get("mirror") or () if isinstance(mirror, dict)]
    if chosen.get("location"):
        own = _endpoint(chosen, prefix, name)
        own = Endpoint(
            host=DOCKER_HOST if own.host == DOCKER else own.host,
            repository=own.repository,
            http=own.http or unsafe_http,
        )
    return [*found, own]


def _fits(prefix: str, name: Name) -> bool:
    if prefix.startswith("*."):
        host, slash, _ = prefix[1:].partition("/")
        return not slash and name.registry.endswith(host)
    return bool(prefix) and (name.place == prefix or name.place.startswith(f"{prefix}/"))


def _endpoint(table: dict[str, Any], prefix: str, name: Name) -> Endpoint:
    location = str(table.get("location") or prefix)
    whole = (
        name.place if prefix.startswith("*.") and not table.get("location") else location + name.place[len(prefix) :]
    )
    if prefix.startswith("*.") and table.get("location"):
        whole = f"{location}/{name.repository}"
    host, _, repository = whole.partition("/")
    if not is_host(host) or not is_repository(repository):
        raise UsageError(
            f"registries.conf leads {name.place} to {visible(whole)[:120]!r}, which is no place of a repository",
            hint="mend its 'location'",
        )
    return Endpoint(host=host, repository=repository, http=table.get("insecure") is True)


def _tables(environment: Mapping[str, str]) -> list[dict[str, Any]]:
    import tomllib

    place = environment.get("CONTAINERS_REGISTRIES_CONF")
    home = environment.get("HOME")
    own = Path(home) / ".config/containers/registries.conf" if home else None
    main = Path(place) if place else own if own and own.is_file() else Path(CONFIGURATION)
    files = [main]
    if not place:
        folders = [Path(f"{CONFIGURATION}.d"), *([own.with_name(f"{own.name}.d")] if own else [])]
        for folder in folders:
            files += sorted(folder.glob("*.conf"))[:FILES_MAX] if folder.is_dir() else []
    tables = []
    for file in files:
        content = bounded(file, FILE_MAX, follow=True)
        if content is None and not (place and file == main):
            continue
        try:
            tree = tomllib.loads((content or b"\0").decode()) if len(content or b"") <= FILE_MAX else None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
            tree = None
        registries = tree.get("registry", []) if tree is not None else None
        if not isinstance(registries, list) or not all(isinstance(table, dict) for table in registries):
            raise UsageError(f"{visible(str(file))} cannot be read as registries.conf", hint="mend it")
        tables += registries
    return tables


def certificates(host: str, environment: Mapping[str, str]) -> Certificates:
    """The certificates that are set up for `host`, with its port where one is said."""
    folders = [*CERTIFICATES]
    if home := environment.get("HOME"):
        folders.insert(0, f"{home}/.config/containers/certs.d")
    for base in folders:
        folder = Path(base) / host
        if folder.is_dir():
            client = next(
                (
                    (cert, cert.with_suffix(".key"))
                    for cert in sorted(folder.glob("*.cert"))
                    if cert.with_suffix(".key").is_file()
                ),
                None,
            )
            return Certificates(authorities=tuple(sorted(folder.glob("*.crt"))), client=client)
    return Certificates()
