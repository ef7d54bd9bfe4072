"""The requests of a depot that wait for signatures: one file each in its folder `requests`."""

from __future__ import annotations

from pathlib import Path

from securesystemslib.signer import Signature

from sealift.durable import make_folder, storing, sync_folder, write_file
from sealift.errors import TrustError, UsageError

from . import depot as depots
from . import request_file as requests
from .request import Request
from .request_file import SignatureFile


def path_of(depot: Path, name: str) -> Path:
    """Where the request `name`, such as `root-2`, lies."""
    return depot / depots.REQUESTS / f"{name}{requests.ENDING}"


def held(depot: Path) -> tuple[Request, ...]:
    """Every request that waits, by name.

    Raises:
        MalformedError, TrustError: one does not have its form or does not verify.
        StoreError: one cannot be read.
    """
    folder = depot / depots.REQUESTS
    with storing(folder):
        names = sorted(path.name for path in folder.glob(f"*{requests.ENDING}")) if folder.is_dir() else []
    return tuple(requests.read(folder / name) for name in names)


def save(depot: Path, request: Request, *, fresh: bool = False) -> Path:
    """Keep `request` in the depot, and return its file.

    Args:
        depot: the depot, whose lock the caller holds.
        request: what waits.
        fresh: whether it is a new one, which must not take the place of one that somebody signed already.

    Raises:
        UsageError: a request of that name has signatures.
        StoreError: the disk refused it; the former file stays.
    """
    path = path_of(depot, request.name)
    if fresh and path.exists() and (former := requests.read(path)).signatures and former.digest != request.digest:
        raise UsageError(
            f"{path} waits for signatures, and has some already",
            hint=f"publish it first (sealift-keys publish), or give it up: rm {path}",
        )
    make_folder(path.parent)
    write_file(path, requests.encode(request))
    return path


def drop(depot: Path, request: Request) -> None:
    """Remove what was published.

    Raises:
        StoreError: the disk refused it.
    """
    path = path_of(depot, request.name)
    with storing(path):
        if path.exists():
            path.unlink()
            sync_folder(path.parent)


def merge(waiting: tuple[Request, ...], file: SignatureFile) -> Request:
    """The one of `waiting` that `file` signs, with that signature, once it was verified.

    Raises:
        TrustError: it is for none of them, its key may not sign, or it does not verify.
    """
    for request in waiting:
        if request.digest == file.request:
            return request.with_signature(Signature(file.keyid, file.sig))
    raise TrustError(
        f"the signature of key {file.keyid[:8]} is for no request that waits in this depot",
        hint="it was published already, or made anew: let its holder sign the request that is in the depot now",
    )
