"""Settings: with which credentials and certificates Helm is told, in its `repositories.yaml`, to ask a repository."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sealift.errors import UsageError
from sealift.names import visible
from sealift.reading import bounded

from ..network.connections import CA_VARIABLES
from ..network.line import Line, Place, basic, netrc_headers, origin_of, split_credentials

FILE_MAX = 1 << 20
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_HINT = "mend it, or name another one in HELM_REPOSITORY_CONFIG"


def line_to(repository: str, environment: Mapping[str, str]) -> Line:
    """Connections to a chart repository, with the credentials that Helm has for its address.

    Raises:
        UsageError: a configuration or the certificates cannot be read.
    """
    said = _entry(repository, environment)
    headers, context = {}, None
    user, password = said.get("username"), said.get("password")
    if isinstance(user, str) and isinstance(password, str) and (user or password):
        headers[Place(origin_of(repository))] = basic(user, password)
    place = said.get("caFile")
    if isinstance(place, str) and place and not any(os.environ.get(name) for name in CA_VARIABLES):
        try:
            context = ssl.create_default_context(cafile=place)
        except OSError as error:
            raise UsageError(f"the certificates in {visible(place)} cannot be read", hint=_HINT) from error
    return Line(headers=headers, hosts=netrc_headers(environment), context=context)


def _entry(repository: str, environment: Mapping[str, str]) -> Mapping[str, Any]:
    """What Helm's configuration says of a repository."""
    home = Path(environment.get("HOME") or os.path.expanduser("~"))
    settings = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    folder = Path(environment.get("HELM_CONFIG_HOME") or settings / "helm")
    path = Path(environment.get("HELM_REPOSITORY_CONFIG") or folder / "repositories.yaml")
    if not path.is_file():
        return {}
    content = bounded(path, FILE_MAX, follow=True) or b""
    try:
        document = yaml.load(content[:FILE_MAX], Loader=_LOADER)  # noqa: S506 - it is the safe one
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{visible(str(path))} is no configuration of Helm", hint=_HINT) from error
    entries = document.get("repositories") if isinstance(document, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        url = entry.get("url") if isinstance(entry, dict) else None
        if isinstance(url, str) and split_credentials(url)[0].rstrip("/") == repository.rstrip("/"):
            return dict(entry)
    return {}
