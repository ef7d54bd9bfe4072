"""Settings: which registries npm is configured for on this machine, with their credentials.

Read as npm reads it: the files of the machine, the user and the project (`.npmrc`), then variables; what comes later
counts. The project may be somebody else's: its file says registries and nothing else, and no variables stand in it.

Invariants: what comes out as an address bears no credentials; credentials pass without TLS only to a registry that the
machine, the user or the spec names without it.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from sealift.errors import SourceError, UsageError
from sealift.names import visible
from sealift.reading import bounded

from ..network.connections import CA_VARIABLES
from ..network.line import Line, Origin, Place, basic, netrc_headers, origin_of, split_credentials
from ..network.web import check_url
from .lockfile import Locked

FILE_MAX = 1 << 20
"""Bytes of an .npmrc at most."""
_VARIABLE = re.compile(r"(?<!\\)\$\{([A-Za-z0-9_]+)\}")
_GLOBAL = ("/etc/npmrc", "/usr/etc/npmrc", "/usr/local/etc/npmrc")
_HINT = "write `registry: https://…` in the spec, or registry=https://… in an .npmrc"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where packages are, and how registries are asked."""

    registry: str | None
    """The address of the registry for packages without a scope of their own; None where nobody says."""
    scopes: Mapping[str, str] = field(default_factory=dict)
    """The registries of scopes, such as `@shop`."""
    headers: Mapping[Place, str] = field(default_factory=dict)
    """The Authorization header of each place that has one."""
    hosts: Mapping[str, str] = field(default_factory=dict)
    """The same by host, from the user's netrc file."""
    cafile: str | None = None

    def line(self) -> Line:
        """Connections with these credentials and certificates.

        Raises:
            UsageError: the certificates cannot be read.
        """
        context = None
        if self.cafile and not any(os.environ.get(name) for name in CA_VARIABLES):
            try:
                context = ssl.create_default_context(cafile=self.cafile)
            except OSError as error:
                raise UsageError(
                    f"the certificates in {visible(self.cafile)} cannot be read", hint="check cafile in .npmrc"
                ) from error
        return Line(headers=self.headers, hosts=self.hosts, context=context)

    def address(self, locked: Locked, default: str | None) -> str:
        """Where the tarball of a package is.

        What the lock file says counts, but for packages of npm's own default registry where another one is configured.

        Args:
            locked: the package.
            default: npm's own default registry, where that is known.

        Raises:
            SourceError: nobody says which registry has it.
            UsageError: the lock file's address bears credentials, or is none.
        """
        scope = locked.name.partition("/")[0] if locked.name.startswith("@") else ""
        registry = self.scopes.get(scope) or self.registry or default
        if locked.resolved is not None:
            url = check_url(locked.resolved.partition("#")[0])
            if default is None or registry is None or not url.startswith(default):
                return url
            return registry + url.removeprefix(default)
        if registry is None:
            raise SourceError("no registry of npm packages is configured here", hint=_HINT)
        return f"{registry}{locked.name}/-/{locked.file}"


def settings(environment: Mapping[str, str], project: Path, *, given: str | None = None) -> Settings:
    """Where packages are.

    Args:
        environment: variables.
        project: the folder of the lock file.
        given: the registry that the spec names.

    Raises:
        UsageError: a configuration cannot be read, or an address in it is none.
    """
    own = dict(_configured(environment))
    said = dict(_configured(environment, project))
    named = [value for name, value in own.items() if _is_registry(name)]
    headers = dict(_headers(said, {_origin(url) for url in (*named, given) if url}))
    registries = {name.removesuffix(":registry"): value for name, value in said.items() if name.endswith(":registry")}
    scopes = {name: _registry(value, headers) for name, value in registries.items() if name.startswith("@")}
    registry = given or said.get("registry")
    return Settings(
        registry=_registry(registry, headers) if registry else None,
        scopes={} if given else scopes,
        headers=headers,
        hosts=netrc_headers(environment),
        cafile=said.get("cafile") or None,
    )


def default_registry() -> str | None:
    """The registry that npm itself asks where nothing is configured; None where there is no npm that says so."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    nowhere = [f"--{whose}config=/nonexistent/{whose}" for whose in ("user", "global")]
    bare = [npm, "config", "get", "registry", *nowhere]
    clean = {name: value for name, value in os.environ.items() if not name.lower().startswith("npm_config_")}
    try:
        done = subprocess.run(bare, capture_output=True, text=True, timeout=60, check=False, cwd="/", env=clean)
    except (OSError, subprocess.TimeoutExpired):
        return None
    told = done.stdout.strip()
    try:
        return check_url(told).rstrip("/") + "/"
    except UsageError:
        return None


def _registry(url: str, headers: dict[Place, str]) -> str:
    plain, header = split_credentials(url)
    check_url(plain)
    if header:
        headers[Place(origin_of(plain))] = header
    return plain.rstrip("/") + "/"


def _origin(url: str) -> Origin:
    return origin_of(check_url(split_credentials(url)[0]))


def _is_registry(name: str) -> bool:
    return name == "registry" or (name.startswith("@") and name.endswith(":registry"))


def _headers(said: Mapping[str, str], named: Set[Origin]) -> Iterator[tuple[Place, str]]:
    """What `//host/path/:_authToken` and the like say; for http only where a registry is `named` there."""
    places = {name.rpartition(":")[0] for name in said if name.startswith("//")}
    for place in places:
        if token := said.get(f"{place}:_authToken"):
            header = f"Bearer {token}"
        elif pair := said.get(f"{place}:_auth"):
            header = f"Basic {pair}"
        elif (user := said.get(f"{place}:username")) and (password := said.get(f"{place}:_password")):
            header = basic(user, _decoded(password))
        else:
            continue
        path = "/" + place.removeprefix("//").partition("/")[2].strip("/")
        for scheme in ("https", "http"):
            origin = origin_of(f"{scheme}:{place}")
            if scheme == "https" or origin in named:
                yield Place(origin, path.rstrip("/") + "/"), header


def _decoded(password: str) -> str:
    try:
        return base64.b64decode(password, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise UsageError("a _password in an .npmrc is no base64", hint="log in again: npm login") from error


def _configured(environment: Mapping[str, str], project: Path | None = None) -> Iterator[tuple[str, str]]:
    """Names and values, the stronger ones later; those of the project where it is given."""
    home = Path(environment.get("HOME") or os.path.expanduser("~"))
    variables = {
        name.lower().removeprefix("npm_config_"): value
        for name, value in environment.items()
        if name.lower().startswith("npm_config_") and value
    }
    machine = [variables["globalconfig"]] if "globalconfig" in variables else _GLOBAL
    for path in (*map(Path, machine), Path(variables.get("userconfig") or home / ".npmrc")):
        if path.is_file():
            yield from _read(path, environment)
    if project is not None and (path := project / ".npmrc").is_file():
        yield from ((name, value) for name, value in _read(path, {}) if _is_registry(name))
    for name in ("registry", "cafile"):
        if name in variables:
            yield name, variables[name]


def _read(path: Path, environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    content = bounded(path, FILE_MAX, follow=True) or b""
    if len(content) > FILE_MAX:
        raise UsageError(f"{visible(str(path))} is longer than {FILE_MAX} bytes", hint="name another .npmrc")
    for raw in content.decode("utf-8", "replace").splitlines():
        line = raw.strip()
        if not line or line[0] in "#;[":
            continue
        name, equals, value = line.partition("=")
        value = value.strip().strip("\"'")
        if equals and value:
            yield name.strip(), _VARIABLE.sub(lambda found: environment.get(found[1], found[0]), value)
