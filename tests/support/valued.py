"""A small release with templates, and environments that fill it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from worlds import Connected, Isolated

from installer.applying import Outcome
from installer.environments.environment import Environment, load

SCHEMA = {
    "type": "object",
    "properties": {
        "host": {"type": "string", "minLength": 1},
        "port": {"type": "integer", "minimum": 1, "default": 8080},
    },
    "required": ["host"],
    "additionalProperties": False,
}
APP = "host: ${{ host }}\nport: ${{ port }}\nrelease: ${{ sealift.version }} in ${{ sealift.environment }}\n"
VALUES = "values:\n  schema: config/schema.json\n  templates: [config/*.yaml]\n"
SECRET = "hunter-two-and-more"


def bundle(
    connected: Connected,
    version: str = "1.0.0",
    *,
    app: str = APP,
    schema: Any = SCHEMA,
    more: dict[str, bytes] | None = None,
) -> Path:
    """Export a release whose one template is `app`."""
    files = {
        "config/app.yaml": app.encode(),
        "config/schema.json": json.dumps(schema).encode(),
        "version.txt": f"{version}\n".encode(),
        **(more or {}),
    }
    return connected.bundle(version, files, more=VALUES)


def declared(site: Isolated, version: str = "1.0.0", text: str = "values: {host: db.example}\n") -> Environment:
    """An environment with some values."""
    return load(site.environment(version, more=text))


def deploy(site: Isolated, version: str = "1.0.0", text: str = "values: {host: db.example}\n") -> Outcome:
    """Apply it."""
    return site.installation.apply(declared(site, version, text))


def app(site: Isolated) -> str:
    """The filled file that serves."""
    return (site.srv / "current" / "config" / "app.yaml").read_text()
