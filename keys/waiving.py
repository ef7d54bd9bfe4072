"""Which timestamp a waiver is to be for: the one in a late bundle."""

from __future__ import annotations

from pathlib import Path

from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Timestamp

from sealift.container import Reader
from sealift.errors import TrustError

from .metadata import parse, read
from .state import State

_MEMBER = "metadata/timestamp.json"


def timestamp_of(late: Path, state: State) -> tuple[bytes, int]:
    """The timestamp metadata of a bundle, or in a file of its own, and its version.

    Raises:
        MalformedError: it is neither.
        TrustError: the depot's newest root does not name the key that signed it: no waiver would help.
        StoreError: it cannot be read.
    """
    if late.suffix == ".json":
        content = read(late, Timestamp)
    else:
        with Reader(late) as bundle:
            content = bundle.read(bundle.find(_MEMBER))
    metadata = parse(content, Timestamp, f"the timestamp of {late}")
    try:
        state.root.verify_delegate(Timestamp.type, metadata.signed_bytes, metadata.signatures)
    except UnsignedMetadataError as error:
        raise TrustError(
            f"{late} is not signed by the keys of root {state.root.version}, which no waiver can replace",
            hint="make a fresh export of the same release, and carry that",
        ) from error
    return content, metadata.signed.version
