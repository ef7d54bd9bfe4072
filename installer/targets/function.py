"""Target `function`: an artifact as an immutable zip in a bucket, and an alias that says which version holds.

    <prefix>/<function>/versions/<sha256>.zip    the package; what it is called is its digest
    <prefix>/<function>/aliases/<alias>.json     the pointer: identity, object, digest, size, and the digest in base64

The switch is one write of the alias, which every store does whole or not at all; a way back is the former alias. No
function service of a cloud is told of it: whoever runs the function follows the alias.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from sealift.bucket.address import KEYS, PREFIX_PATTERN, read
from sealift.bucket.objects import PIECE
from sealift.durable import TEMPORARY, make_folder, storing
from sealift.errors import StoreError, UsageError
from sealift.strict_json import canonical

from ..buckets.bringing import whole
from ..buckets.pointed import Pointed
from ..buckets.pointer import FORMAT, POINTER_MAX
from ..buckets.zipping import pack
from ..storage.content import Contents
from ..storage.deployable import Deployable
from ..target import Staged, Workplace

UNPACKED_MAX = 262_144_000
"""Bytes that AWS Lambda unpacks; the least of the clouds."""
_NAME = "^[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?$"
_BYTES = {"type": "integer", "minimum": 1, "maximum": 1 << 40}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "bucket": {
            "description": "Where: s3://bucket/prefix, az://container/prefix or oss://bucket/prefix.",
            "type": "string",
            "pattern": PREFIX_PATTERN,
            "maxLength": 512,
        },
        **KEYS,
        "function": {
            "description": "The function's name: letters, digits, '_' and '-', up to 64; this target's alone.",
            "type": "string",
            "pattern": _NAME,
        },
        "artifact": {
            "description": "The artifact of the release that is the function; may be left out where there is only one.",
            "type": "string",
            "pattern": "^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$",
        },
        "alias": {
            "description": "The alias that is switched; 'live' where nothing is said.",
            "type": "string",
            "pattern": _NAME,
            "default": "live",
        },
        "unpacked_max": {
            **_BYTES,
            "description": "Bytes that the function's files may have together: what the platform allows. 262144000, as "
            "AWS Lambda has it, where nothing is said.",
            "default": UNPACKED_MAX,
        },
        "zipped_max": {
            **_BYTES,
            "description": "Bytes that the zip may have; as `unpacked_max` where nothing is said.",
        },
    },
    "required": ["bucket", "function"],
    "additionalProperties": False,
}


class _Alias(msgspec.Struct, frozen=True):
    """What an alias of ours says, as the site remembers it."""

    object: str
    sha256: str
    size: int


class FunctionTarget(Pointed):
    """A function's folder in a bucket, whose pointer is the alias."""

    def __init__(self, settings: Mapping[str, Any], workplace: Workplace) -> None:
        bucket, prefix = read(settings["bucket"], settings)
        prefix = f"{prefix.rstrip('/')}/".removeprefix("/") + f"{settings['function']}/"
        alias = f"aliases/{settings.get('alias', 'live')}"
        super().__init__("function", bucket, prefix, f"{alias}.json", f"{bucket.place}/{prefix}{alias}", workplace)
        self._artifact: str | None = settings.get("artifact")
        self._unpacked_max: int = settings.get("unpacked_max", UNPACKED_MAX)
        self._zipped_max: int = settings.get("zipped_max", self._unpacked_max)

    def stage(self, deployable: Deployable, former: Deployable | None) -> Staged:
        """Bring the release's package there, unless the bucket has it. The alias is left as it is.

        Raises:
            UsageError: it is not clear which artifact is the function, or it is too large for one.
            DeployError: the bucket refuses or cannot be reached.
            IntegrityError: the store is damaged.
            StoreError: the disk refuses.
        """
        self.current()
        package = self._room / f"{TEMPORARY}package.zip"
        make_folder(self._room, mode=0o700)
        try:
            content = self._packed(deployable, package)
            self._memory.keep(deployable.identity, content)
            said = msgspec.json.decode(content, type=_Alias)
            key = f"{self._prefix}{said.object}"
            seen = self._objects.look(key)
            if seen and seen.size == said.size and whole(self._objects, key, said.sha256, said.size):
                return Staged(folder=None, reused=said.size)
            with storing(package), package.open("rb") as file:
                self._objects.upload(key, _pieces(file), said.size)
            return Staged(folder=None, written=said.size)
        finally:
            package.unlink(missing_ok=True)

    def _packed(self, deployable: Deployable, package: Path) -> bytes:
        """Write the package; return what the alias is to say of it."""
        artifact = self._chosen(deployable)
        contents = Contents(deployable, self._workplace.store, [artifact])
        with storing(package), package.open("wb") as file:
            pack(contents, artifact, file, limit=self._unpacked_max, progress=self._workplace.progress.advance)
        with storing(package), package.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            size = os.fstat(file.fileno()).st_size
        if size > self._zipped_max:
            raise UsageError(
                f"the zip of artifact {artifact} has {size} bytes, more than the {self._zipped_max} that are allowed",
                hint="make it smaller, or raise `zipped_max` if the platform allows it",
            )
        return canonical(
            {
                "format": FORMAT,
                "identity": deployable.identity,
                "release": deployable.release.name,
                "version": deployable.release.version,
                "artifact": artifact,
                "object": f"versions/{digest.hexdigest()}.zip",
                "sha256": digest.hexdigest(),
                "sha256_base64": base64.b64encode(digest.digest()).decode(),
                "size": size,
            }
        )

    def _chosen(self, deployable: Deployable) -> str:
        names = [artifact.name for artifact in deployable.release.artifacts]
        if self._artifact is None and len(names) == 1:
            return names[0]
        if self._artifact not in names:
            problem = "several artifacts" if self._artifact is None else f"no artifact {self._artifact}"
            raise UsageError(
                f"{deployable.release.label} has {problem}, so it is not known which is the function",
                hint=f"write `artifact`: one of {', '.join(names[:20])}",
            )
        return self._artifact

    def activate(self, identity: str | None) -> None:
        """Let the alias name a staged release, or remove it.

        Raises:
            UsageError: something else stands in its place.
            DeployError: the bucket refuses or cannot be reached, or somebody else changed the alias meanwhile.
            StoreError: the site does not remember that it staged the release.
        """
        if identity is not None:
            self._pointer.put(self._memory.required(identity, POINTER_MAX))
        elif self._pointer.identity() is not None:
            self._pointer.remove()

    def check(self, deployable: Deployable, *, deep: bool) -> str | None:
        """Whether the alias names the release and its package is there; with `deep`, whether it is whole."""
        identity = deployable.identity
        serving = self.current()
        if serving != identity:
            return f"{self._pointer.place} names {serving or 'nothing'}, not {identity}"
        content = self._memory.required(identity, POINTER_MAX)
        if deep:
            package = self._room / f"{TEMPORARY}check.zip"
            try:
                content = self._packed(deployable, package)
            finally:
                package.unlink(missing_ok=True)
        if self._pointer.content() != content:
            return f"{self._pointer.place} names {identity}, but not the package that was put there"
        said = msgspec.json.decode(content, type=_Alias)
        key = f"{self._prefix}{said.object}"
        seen = self._objects.look(key)
        if seen is None or seen.size != said.size or (deep and not whole(self._objects, key, said.sha256, said.size)):
            return f"{self._bucket.place}/{key} is missing or was changed"
        return None

    def prune(self, keep: Collection[str]) -> int:
        """Remove the packages of releases that this site staged, other than `keep` and the one that the alias names.

        Raises:
            UsageError: something else stands in the alias's place.
            DeployError: the bucket refuses.
            StoreError: the disk refuses.
        """
        serving = self.current()
        stay = {*keep, serving}
        known = {identity: self._said(identity) for identity in self._memory.identities()}
        if serving is not None and serving not in known:
            return 0
        needed = {said.object for identity, said in known.items() if identity in stay}
        gone = [identity for identity in known if identity not in stay]
        for identity in gone:
            if known[identity].object not in needed:
                self._objects.delete(f"{self._prefix}{known[identity].object}")
            self._memory.forget(identity)
        return len(gone)

    def _said(self, identity: str) -> _Alias:
        try:
            return msgspec.json.decode(self._memory.required(identity, POINTER_MAX), type=_Alias)
        except msgspec.DecodeError as error:
            raise StoreError(
                f"what the site remembers of {identity} is damaged", hint=f"remove it from {self._room}"
            ) from error


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(PIECE):
        yield piece


def target(settings: Mapping[str, Any], workplace: Workplace) -> FunctionTarget:
    """The function that `settings` names; nobody is asked yet.

    Raises:
        UsageError: the settings do not fit together.
    """
    return FunctionTarget(settings, workplace)
