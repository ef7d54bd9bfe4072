"""The line to the site's store of objects, by obstore, which is imported when something is asked."""

from __future__ import annotations

import os
from functools import lru_cache
from types import ModuleType

from sealift.bucket.address import Bucket
from sealift.bucket.objects import Objects
from sealift.errors import DeployError, UsageError


def objects(bucket: Bucket, kind: str) -> Objects:
    """The objects of a bucket, for a target of a kind.

    Raises:
        UsageError: obstore is not installed, or the settings or the credentials are incomplete.
    """
    library = _library(kind)
    return _shared(library, bucket, tuple(sorted(os.environ.items())))


@lru_cache(maxsize=32)
def _shared(library: ModuleType, bucket: Bucket, environment: tuple[tuple[str, str], ...]) -> Objects:
    """One client for all targets of a bucket: to open one takes as long as some ten requests."""
    return Objects(library, bucket, dict(environment), DeployError)


def _library(kind: str) -> ModuleType:
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the target {kind} needs the package {error.name}, which is not installed",
            hint="install sealift with its extra: sealift[bucket]",
        ) from error
    return obstore
