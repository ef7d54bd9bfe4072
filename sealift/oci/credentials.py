"""Credentials, found where docker, podman and skopeo keep them.

The files are looked through in this order, and the first that knows the registry counts:

1. `REGISTRY_AUTH_FILE`, alone where it is set
2. `DOCKER_CONFIG`/config.json, alone where it is set
3. `XDG_RUNTIME_DIR`/containers/auth.json
4. ~/.config/containers/auth.json
5. ~/.docker/config.json

In a file the helper of a registry (`credHelpers`) comes first, then its own entry (`auths`), the longest that fits,
then the helper of all (`credsStore`). No message holds a secret.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..names import visible
from ..reading import bounded
from .names import DOCKER, DOCKER_HOST, Name

FILE_MAX = 1 << 20
HELPER_SECONDS = 30.0
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DOCKER_KEY = "https://index.docker.io/v1/"


@dataclass(frozen=True, kw_only=True)
class Credential:
    """Who asks, and how that is proved."""

    user: str = ""
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    """An identity token, in place of user and secret."""


def credential(name: Name, environment: Mapping[str, str]) -> Credential | None:
    """The credential for the repository that `name` is in; None where nobody has one.

    Args:
        name: what is asked for.
        environment: the variables of the process.

    Raises:
        UsageError: a file or a helper cannot be read, or what it says is no credential.
    """
    for path, must in _places(environment):
        tree = _read(path, must=must)
        if tree is not None and (found := _found(tree, name, path, environment)) is not None:
            return found
    return None


def _places(environment: Mapping[str, str]) -> list[tuple[Path, bool]]:
    """The files to look through, and whether each must be there."""
    if place := environment.get("REGISTRY_AUTH_FILE"):
        return [(Path(place), True)]
    if place := environment.get("DOCKER_CONFIG"):
        return [(Path(place) / "config.json", False)]
    places = []
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        places.append(Path(runtime) / "containers" / "auth.json")
    if home := environment.get("HOME"):
        config = environment.get("XDG_CONFIG_HOME") or f"{home}/.config"
        places += [Path(config) / "containers" / "auth.json", Path(home) / ".docker" / "config.json"]
    return [(place, False) for place in places]


def _read(path: Path, *, must: bool) -> dict[str, Any] | None:
    content = bounded(path, FILE_MAX, follow=True)
    if content is None:
        if must:
            raise UsageError(f"REGISTRY_AUTH_FILE names {visible(str(path))}, and there is no such file")
        return None
    try:
        tree = json.loads(content) if len(content) <= FILE_MAX else None
    except (ValueError, RecursionError):
        tree = None
    if not isinstance(tree, dict):
        raise _unreadable(path, "it is no json object of up to 1 MiB")
    return tree


def _unreadable(path: Path, reason: str) -> UsageError:
    return UsageError(f"{visible(str(path))} cannot be read as credentials: {reason}", hint="log in anew, or mend it")


def _keys(name: Name) -> list[str]:
    """What a file may call the repository, the longest first."""
    parts = name.repository.split("/")
    keys = [f"{name.registry}/{'/'.join(parts[:count])}" for count in range(len(parts), 0, -1)]
    hosts = [name.registry]
    if name.registry == DOCKER:
        hosts += [_DOCKER_KEY, f"index.{DOCKER}", DOCKER_HOST]
    for host in list(hosts):
        if "://" not in host:
            hosts += [
                f"https://{host}",
                f"https://{host}/",
                f"https://{host}/v1/",
                f"https://{host}/v2/",
                f"http://{host}",
            ]
    return keys + hosts


def _found(tree: dict[str, Any], name: Name, path: Path, environment: Mapping[str, str]) -> Credential | None:
    keys = _keys(name)
    helpers, auths, store = tree.get("credHelpers") or {}, tree.get("auths") or {}, tree.get("credsStore")
    if not isinstance(helpers, dict) or not isinstance(auths, dict):
        raise _unreadable(path, "'auths' or 'credHelpers' is no object")
    server = _DOCKER_KEY if name.registry == DOCKER else name.registry
    for key in keys:
        if key in helpers:
            return _helped(helpers[key], server, path, environment)
    for key in keys:
        entry = auths.get(key)
        if isinstance(entry, dict) and (found := _entry(entry, path)) is not None:
            return found
    if store:
        return _helped(store, server, path, environment)
    return None


def _entry(entry: dict[str, Any], path: Path) -> Credential | None:
    token = entry.get("identitytoken")
    if isinstance(token, str) and token:
        return Credential(token=token)
    auth = entry.get("auth")
    if isinstance(auth, str) and auth:
        try:
            user, colon, secret = base64.b64decode(auth, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            user, colon, secret = "", "", ""
        if not colon:
            raise _unreadable(path, "an 'auth' is not the base64 form of USER:PASSWORD")
        return Credential(user=user, secret=secret.strip("\0"))
    known, word = entry.get("username"), entry.get("password")
    if isinstance(known, str) and isinstance(word, str) and known:
        return Credential(user=known, secret=word)
    return None


def _helped(helper: object, server: str, path: Path, environment: Mapping[str, str]) -> Credential | None:
    """What a helper says (docker-credential-helpers: `get`, the server on standard input, json on standard output)."""
    if not isinstance(helper, str) or not _HELPER.fullmatch(helper):
        raise _unreadable(path, "a helper's name is none")
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"],
            input=server.encode(),
            capture_output=True,
            timeout=HELPER_SECONDS,
            check=False,
            env=dict(environment),
        )
    except FileNotFoundError as error:
        raise UsageError(
            f"{visible(str(path))} names the credential helper {program}, which is not installed",
            hint="install it, or take it out of that file",
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"the credential helper {program} does not answer") from error
    if done.returncode:
        if b"credentials not found" in done.stdout:
            return None
        raise UsageError(f"the credential helper {program} failed with exit code {done.returncode}")
    try:
        said = json.loads(done.stdout[:FILE_MAX])
        user, secret = said["Username"], said["Secret"]
    except (ValueError, KeyError, TypeError, RecursionError):
        user = secret = None
    if not isinstance(user, str) or not isinstance(secret, str):
        raise UsageError(f"the credential helper {program} says something that is no credential")
    return Credential(token=secret) if user == "<token>" else Credential(user=user, secret=secret)
