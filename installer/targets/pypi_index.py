"""Target `pypi-index`: a simple repository of Python packages, from which `pip` installs.

    /srv/pypi/current/simple/     what `--index-url` names, by a web server or by `file://`

It is a shared index (`installer.indexes`): several environments may name one folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..indexes.shared import SharedIndex
from ..indexes.simple import Simple
from ..target import Workplace

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "path": {
            "description": "The folder of the index, as an absolute path; several environments may name the same.",
            "type": "string",
            "pattern": "^/[^\\u0000]*$",
            "maxLength": 3072,
        },
    },
    "required": ["path"],
    "additionalProperties": False,
}


def target(settings: Mapping[str, Any], workplace: Workplace) -> SharedIndex:
    """The index that `settings` names."""
    return SharedIndex(Path(settings["path"]), Simple(), workplace)
