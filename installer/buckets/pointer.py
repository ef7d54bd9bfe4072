"""The pointer: one small object that says which release holds. It is put last, and whole: that is the switch.

Where a store can write under a condition, the pointer is put only if nobody else changed it since it was read. Where
it cannot, it is simply put: nothing relies on the condition but the notice of a rival. Swift and OSS answer 501 to it;
Ceph's gateway, at 16.2, refuses a right tag as well, which shows in that the pointer is as it was.
"""

from __future__ import annotations

import re

from sealift.bucket.failure import Refused, Unable
from sealift.bucket.objects import Objects
from sealift.errors import DeployError, MalformedError, UsageError
from sealift.names import VERSION
from sealift.strict_json import parse

FORMAT = 1
POINTER_MAX = 16 << 10
"""Bytes of a pointer."""
_IDENTITY = re.compile(f"(?:{VERSION.pattern})-[0-9a-f]{{12}}(?:-[A-Za-z0-9._+~-]{{1,64}})?")


def is_identity(text: object) -> bool:
    """Whether `text` can be what a deployed release is called."""
    return isinstance(text, str) and _IDENTITY.fullmatch(text) is not None


class Pointer:
    """The pointer at a key of a bucket."""

    def __init__(self, objects: Objects, key: str) -> None:
        self._objects = objects
        self._key = key
        self.place = f"{objects.place}/{key}"

    def content(self) -> bytes | None:
        """What stands there now, cut off where it is too long for a pointer; None where nothing does.

        Raises:
            DeployError: the bucket cannot be read.
        """
        found = self._objects.read(self._key, POINTER_MAX)
        return found[0] if found else None

    def identity(self) -> str | None:
        """The release that it names; None where there is none.

        Raises:
            UsageError: something else stands there.
            DeployError: the bucket cannot be read.
        """
        content = self.content()
        return None if content is None else self._named(content)

    def _named(self, content: bytes) -> str:
        try:
            tree = parse(content, "it", cap=POINTER_MAX)
            identity = tree.get("identity")
            if tree.get("format") != FORMAT or not isinstance(identity, str) or not is_identity(identity):
                raise MalformedError("it names no release")
        except MalformedError as error:
            raise UsageError(
                f"{self.place} is no pointer that sealift put there",
                hint="move it away, or name another prefix in the environment",
            ) from error
        return identity

    def put(self, content: bytes) -> None:
        """Let it say `content`, atomically.

        Raises:
            UsageError: something else stands there.
            DeployError: the bucket refuses, or somebody else changed it meanwhile.
        """
        found = self._objects.read(self._key, POINTER_MAX)
        if found is not None:
            self._named(found[0])
            if found[0] == content:
                return
        try:
            self._objects.exchange(self._key, content, found[1] if found else None)
        except Unable:
            self._objects.put(self._key, content)
        except Refused as error:
            now = self._objects.read(self._key, POINTER_MAX)
            if now == found:
                self._objects.put(self._key, content)
            elif now is None or now[0] != content:
                raise DeployError(
                    f"{self.place} was changed by somebody else at the same time",
                    hint="find out who deploys to the same prefix: it belongs to one environment alone",
                ) from error

    def remove(self) -> None:
        """Let nothing serve.

        Raises:
            DeployError: the bucket refuses.
        """
        self._objects.delete(self._key)
