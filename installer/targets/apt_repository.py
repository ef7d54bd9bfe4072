"""Target `apt-repository`: a repository of Debian packages, from which `apt-get` installs.

    /srv/debs/current/     what `URIs:` names, by a web server or as `file:/srv/debs/current`

It is a shared index (`installer.indexes`): several environments may name one folder. Its `InRelease` is signed with a
key of the site's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..indexes.archive import Archive
from ..indexes.openpgp import Key
from ..indexes.shared import SharedIndex
from ..storage.deployable import Deployable
from ..target import Staged, Workplace

_FOLDER = {"type": "string", "pattern": "^/[^\\u0000]*$", "maxLength": 3072}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "path": {
            **_FOLDER,
            "description": "The folder of the repository, as an absolute path; several environments may name the same.",
        },
        "gnupg": {**_FOLDER, "description": "The GnuPG home that holds the site's key, as an absolute path."},
        "key": {
            "description": "The whole fingerprint of the key that signs, without spaces.",
            "type": "string",
            "pattern": "^[0-9A-F]{40}([0-9A-F]{24})?$",
        },
        "suite": {
            "description": "What the suite is called; 'stable' where nothing is said.",
            "type": "string",
            "pattern": "^[a-z0-9][a-z0-9.-]*$",
            "maxLength": 64,
            "default": "stable",
        },
    },
    "required": ["path", "gnupg", "key"],
    "additionalProperties": False,
}


class AptRepository(SharedIndex):
    """A shared index whose lists are signed."""

    def __init__(self, root: Path, suite: str, key: Key, workplace: Workplace) -> None:
        super().__init__(root, Archive(suite, key, lambda: datetime.now(UTC)), workplace)
        self._key = key

    def stage(self, deployable: Deployable, former: Deployable | None) -> Staged:
        """As every shared index does; also the key must be there, before anything changes."""
        self._key.check()
        return super().stage(deployable, former)


def target(settings: Mapping[str, Any], workplace: Workplace) -> AptRepository:
    """The repository that `settings` names."""
    key = Key(Path(settings["gnupg"]), settings["key"])
    return AptRepository(Path(settings["path"]), settings.get("suite", "stable"), key, workplace)
