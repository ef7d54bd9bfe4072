"""The line to the site's store of objects, by obstore, which is imported when something is asked."""

from __future__ import annotations

import os
from types import ModuleType

from sealift.bucket.address import Bucket
from sealift.bucket.objects import Objects
from sealift.errors import DeployError, UsageError


def objects(bucket: Bucket, kind: str) -> Objects:
    """The objects of a bucket, for a target of a kind.

    Raises:
        UsageError: obstore is not installed, or the settings or the credentials are incomplete.
    """
    return Objects(_library(kind), bucket, os.environ, DeployError)


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
