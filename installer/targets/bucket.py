"""Target `bucket`: immutable objects named by their digests, and one small pointer to the release that serves.

`installer.buckets.published` says what lies where. Staging brings what the bucket lacks, which nobody sees; the
switch is one write of the pointer, which every store does whole or not at all. A way back is the former pointer.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from typing import Any

from sealift.at_once import at_once
from sealift.bucket.address import KEYS, PREFIX_PATTERN, read
from sealift.digest import sha256
from sealift.errors import DeployError, MalformedError
from sealift.names import visible

from ..buckets import published
from ..buckets.bringing import READERS, Bringing, Inventory, Wanted, inventory, whole
from ..buckets.pointed import Pointed
from ..storage.chosen import ARTIFACTS
from ..storage.deployable import Deployable
from ..target import Staged, Workplace

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "bucket": {
            "description": "Where: s3://bucket/prefix, az://container/prefix or oss://bucket/prefix; the prefix is "
            "of this target of this environment alone.",
            "type": "string",
            "pattern": PREFIX_PATTERN,
            "maxLength": 512,
        },
        **KEYS,
        "artifacts": {
            **ARTIFACTS,
            "description": "The artifacts that are deployed here, by name; all of the release where nothing is said. "
            "One alone has no folder of its name.",
            "minItems": 1,
        },
    },
    "required": ["bucket"],
    "additionalProperties": False,
}


class BucketTarget(Pointed):
    """A prefix of a bucket."""

    def __init__(self, settings: Mapping[str, Any], workplace: Workplace) -> None:
        bucket, prefix = read(settings["bucket"], settings)
        prefix = prefix.rstrip("/") + "/" if prefix.rstrip("/") else ""
        super().__init__("bucket", bucket, prefix, published.CURRENT, f"{bucket.place}/{prefix}", workplace)
        self._artifacts: Collection[str] | None = settings.get("artifacts")

    def stage(self, deployable: Deployable, former: Deployable | None) -> Staged:
        """Bring what the bucket lacks, and the release's list behind it. The pointer is left as it is.

        Raises:
            UsageError: something else stands in the pointer's place, or the release has too many files, or lacks an
                artifact that is to be deployed.
            DeployError: the bucket refuses or cannot be reached.
            IntegrityError: the store is damaged.
            StoreError: the disk refuses.
        """
        deployable = deployable.taking(self._artifacts)
        self.current()
        found = inventory(deployable, self._workplace.store)
        identity = deployable.identity
        self._memory.keep(identity, found.content)
        bringing = Bringing(self._objects, self._prefix, self._memory, self._workplace.progress)
        bringing.run(found)
        self._write_list(identity, found.content)
        return Staged(folder=None, written=bringing.sent, reused=bringing.there)

    def _write_list(self, identity: str, content: bytes) -> None:
        key = f"{self._prefix}{published.list_key(identity)}"
        if not whole(self._objects, key, sha256(content), len(content)):
            self._objects.upload(key, iter([content]), len(content))

    def activate(self, identity: str | None) -> None:
        """Let the pointer name a staged release, or remove it.

        Raises:
            UsageError: something else stands in its place.
            DeployError: the bucket refuses or cannot be reached, or somebody else changed the pointer meanwhile.
            StoreError: the site does not remember that it staged the release.
        """
        if identity is None:
            if self._pointer.identity() is not None:
                self._pointer.remove()
            return
        content = self._memory.required(identity, published.LIST_MAX)
        self._pointer.put(published.pointer(identity, content))

    def check(self, deployable: Deployable, *, deep: bool) -> str | None:
        """Whether the pointer leads to the release; with `deep`, whether the bucket gives back all that it holds."""
        deployable = deployable.taking(self._artifacts)
        identity = deployable.identity
        serving = self.current()
        if serving != identity:
            return f"{self._pointer.place} names {serving or 'nothing'}, not {identity}"
        found = inventory(deployable, self._workplace.store) if deep else None
        content = found.content if found else self._memory.document(identity, published.LIST_MAX)
        if content is None:
            content = inventory(deployable, self._workplace.store).content
        if self._pointer.content() != published.pointer(identity, content):
            return f"{self._pointer.place} names {identity}, but not the list of it that was put there"
        key = published.list_key(identity)
        if not whole(self._objects, f"{self._prefix}{key}", sha256(content), len(content)):
            return f"{self.place}{key} is missing or was changed"
        return self._lacking(found) if found else None

    def _lacking(self, found: Inventory) -> str | None:
        """What the bucket lacks, told by reading all of it."""
        lacking: list[str] = []
        left, lock = threading.Event(), threading.Lock()

        def look(each: Wanted) -> None:
            if not whole(self._objects, f"{self._prefix}{each.key}", each.digest, each.size, left=left):
                lacking.append(each.path)
            with lock:
                self._workplace.progress.advance(each.size)

        self._workplace.progress.start(f"reading {self.place}", sum(each.size for each in found.wanted))
        try:
            at_once(look, found.wanted, workers=READERS, leave=left.set)
        finally:
            self._workplace.progress.finish()
        if not lacking:
            return None
        more = f" and {len(lacking) - 1} more" if lacking[1:] else ""
        return f"{self.place} lacks the content of {visible(min(lacking))}{more}, or has it changed"

    def prune(self, keep: Collection[str]) -> int:
        """Remove the lists of releases that this site staged, other than `keep` and the one that serves, and then
        the objects that these listed and no list that is left does.

        Raises:
            UsageError: something else stands in the pointer's place.
            DeployError: the bucket refuses, or holds a list that cannot be read: then no object is removed.
            StoreError: the disk refuses.
        """
        stay = {*keep, self.current()}
        gone = [identity for identity in self._memory.identities() if identity not in stay]
        if not gone:
            return 0
        names = {f"{self._prefix}{published.list_key(identity)}": identity for identity in gone}
        needed = self._needed(names)
        loose = set()
        for identity in gone:
            content = self._memory.required(identity, published.LIST_MAX)
            loose |= published.decode(content, f"what the site remembers of {identity}").objects.keys() - needed
        at_once(self._objects.delete, sorted(names), workers=READERS)
        keys = sorted(f"{self._prefix}{published.object_key(digest)}" for digest in loose)
        at_once(self._objects.delete, keys, workers=READERS)
        for identity in gone:
            self._memory.forget(identity)
        return len(gone)

    def _needed(self, without: Collection[str]) -> set[str]:
        """The digests of all that the lists of the bucket name, but for the lists of these keys."""
        needed: set[str] = set()
        for seen in self._objects.listed(f"{self._prefix}{published.RELEASES}"):
            if seen.key in without:
                continue
            found = self._objects.read(seen.key, published.LIST_MAX)
            if found is None:
                continue
            try:
                needed |= published.decode(found[0], f"{self._bucket.place}/{visible(seen.key)}").objects.keys()
            except MalformedError as error:
                raise DeployError(
                    f"{error.message}, so it cannot be told which objects are still needed",
                    hint="find out who put it there; nothing was removed",
                ) from error
        return needed


def target(settings: Mapping[str, Any], workplace: Workplace) -> BucketTarget:
    """The bucket that `settings` names; nobody is asked yet.

    Raises:
        UsageError: the settings do not fit together.
    """
    return BucketTarget(settings, workplace)
