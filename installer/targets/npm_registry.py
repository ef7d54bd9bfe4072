"""Target `npm-registry`: a registry of npm packages as files, from which `npm` installs.

    /srv/npm/current/     what a web server gives at `base_url`, which `npm --registry` names

It is a shared index (`installer.indexes`): several environments may name one folder, with the same `base_url`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..indexes.packument import Packuments
from ..indexes.shared import SharedIndex
from ..target import Workplace

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "path": {
            "description": "The folder of the registry, as an absolute path; several environments may name the same.",
            "type": "string",
            "pattern": "^/[^\\u0000]*$",
            "maxLength": 3072,
        },
        "base_url": {
            "description": "Where 'current' in that folder is served: the addresses of tarballs begin with it.",
            "type": "string",
            "pattern": "^https?://[A-Za-z0-9.:\\[\\]-]+(/[A-Za-z0-9._~/-]*)?$",
            "maxLength": 2048,
        },
    },
    "required": ["path", "base_url"],
    "additionalProperties": False,
}


def target(settings: Mapping[str, Any], workplace: Workplace) -> SharedIndex:
    """The registry that `settings` names."""
    return SharedIndex(Path(settings["path"]), Packuments(settings["base_url"]), workplace)
