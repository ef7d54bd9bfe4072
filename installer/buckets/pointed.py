"""What the targets in a bucket share: a prefix of it, what the site remembers, and a pointer to what holds."""

from __future__ import annotations

from functools import cached_property

from sealift.bucket.address import Bucket
from sealift.bucket.objects import Objects

from ..network.line import objects
from ..target import Workplace
from .memory import Memory
from .pointer import Pointer


class Pointed:
    """A prefix of a bucket, with a pointer in it; nobody is asked before something is."""

    def __init__(self, kind: str, bucket: Bucket, prefix: str, pointer: str, place: str, workplace: Workplace) -> None:
        """Take where it is.

        Args:
            kind: of the target.
            bucket: the bucket.
            prefix: what its keys begin with: nothing, or something that ends with a slash.
            pointer: the pointer's key below that.
            place: what the target is called.
            workplace: what it may use.
        """
        self.place = place
        self.owns = " ".join(filter(None, (place, bucket.endpoint, bucket.account)))
        """The same name means another place with each endpoint and account."""
        self._kind = kind
        self._bucket = bucket
        self._prefix = prefix
        self._pointer_key = f"{prefix}{pointer}"
        self._workplace = workplace
        self._room = workplace.room(kind, f"{bucket.endpoint} {bucket.account} {place}")
        self._memory = Memory(self._room)

    @cached_property
    def _objects(self) -> Objects:
        return objects(self._bucket, self._kind)

    @cached_property
    def _pointer(self) -> Pointer:
        return Pointer(self._objects, self._pointer_key)

    def current(self) -> str | None:
        """The release that the pointer names.

        Raises:
            UsageError: something else stands in its place.
            DeployError: the bucket cannot be read.
        """
        return self._pointer.identity()
