"""The first ceremony: a depot with its keys, its root of trust and empty signed metadata, all or nothing.

The depot is built under a temporary name beside it and renamed into place, so that a killed run leaves no depot;
at most a `.tmp-…` folder with keys that nothing was ever signed for.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from securesystemslib.signer import Signer
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from sealift.durable import TEMPORARY, make_folder, storing, sync_folder, write_file
from sealift.errors import UsageError

from . import depot as depots
from .keyfile import generate
from .metadata import sign, sign_all
from .pbes2 import KDF_ROUNDS
from .repository import ROLE_DAYS
from .state import verify

ROOT_DAYS = 730
"""Days that a root lives. Renewing one gathers the holders of offline keys, and it must then be carried to every
site before the former one expires: two years leave room for a yearly ceremony that slips."""
ROOT_KEYS_MAX = 16
"""Root keys at most: a ceremony with more people does not happen."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What `init` made."""

    depot: Path
    root_keys: tuple[Path, ...]
    threshold: int
    """How many of the root keys must sign the next root."""
    online_key: Path
    root: Path
    """The first root, for a site's `enroll --root`."""
    fingerprint: str
    """SHA-256 of the first root's bytes."""
    root_expires: datetime
    expires: datetime
    """When targets, snapshot and timestamp expire."""
    encrypted: bool


def init(
    depot: Path,
    *,
    root_keys: int,
    threshold: int,
    passphrase: bytes | None,
    now: datetime,
    root_days: int = ROOT_DAYS,
    days: int = ROLE_DAYS,
    rounds: int = KDF_ROUNDS,
    unsafe_unencrypted: bool = False,
) -> Summary:
    """Make a depot at `depot`, which is missing or an empty folder.

    Args:
        depot: the new depot; the folder around it is made when missing.
        root_keys: how many root keys to make; each signs the first root.
        threshold: how many of them a later root needs.
        passphrase: encrypts every key.
        now: the time, aware, from which expiry is counted.
        root_days: how long the root lives.
        days: how long targets, snapshot and timestamp live.
        rounds: the cost of the passphrase (PBKDF2 iterations).
        unsafe_unencrypted: leave the keys in the clear when there is no passphrase.

    Raises:
        UsageError: something is at `depot` already, the numbers are out of range, or there is no passphrase.
        StoreError: the disk refused; the depot is there whole or not at all.
    """
    check_numbers(root_keys, threshold)
    place = Path(os.path.realpath(depot))
    mode = refuse_occupied(place)
    make_folder(place.parent)
    with storing(place):
        building = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{place.name}.", dir=place.parent))
    try:
        signers = _make_keys(building, root_keys, passphrase, rounds, unsafe_unencrypted)
        now = now.astimezone(UTC)
        _make_metadata(building, signers, threshold, now + timedelta(days=root_days), now + timedelta(days=days))
        write_file(building / depots.SETTINGS, msgspec.json.encode(depots.Settings(), order="sorted") + b"\n")
        state = verify(building)
        with storing(place):
            os.chmod(building, mode)
        _place(building, place)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    keys = depot / depots.Settings().keys
    return Summary(
        depot=depot,
        root_keys=tuple(keys / f"root-{number}.pem" for number in range(1, root_keys + 1)),
        threshold=threshold,
        online_key=keys / depots.ONLINE,
        root=depot / depots.METADATA / "1.root.json",
        fingerprint=state.fingerprint,
        root_expires=state.root.expires,
        expires=state.timestamp.expires,
        encrypted=passphrase is not None,
    )


def check_numbers(root_keys: int, threshold: int) -> None:
    """Refuse numbers of root keys that no ceremony can use.

    Raises:
        UsageError: they are out of range.
    """
    if not 1 <= root_keys <= ROOT_KEYS_MAX:
        raise UsageError(f"{root_keys} root keys are out of range", hint=f"make 1 to {ROOT_KEYS_MAX} root keys")
    if not 1 <= threshold <= root_keys:
        raise UsageError(
            f"a threshold of {threshold} is out of range for {root_keys} root keys",
            hint=f"use a threshold of 1 to {root_keys}",
        )


def refuse_occupied(depot: Path) -> int:
    """Refuse a place for a depot that is not missing and not an empty folder.

    Returns:
        The mode that the depot's folder is to have.

    Raises:
        UsageError: something is there.
        StoreError: it cannot be looked at.
    """
    with storing(depot):
        if (depot / depots.SETTINGS).exists():
            raise UsageError(f"{depot} is already a depot", hint="nothing is ever overwritten: name another folder")
        if not depot.exists():
            return 0o755
        if not depot.is_dir() or any(depot.iterdir()):
            raise UsageError(f"{depot} is not empty", hint="name a folder that is empty or does not exist yet")
        if os.path.realpath(depot) == os.getcwd():
            raise UsageError(f"{depot} is the current folder, which cannot be replaced", hint="run it from outside")
        return stat.S_IMODE(depot.stat().st_mode)


def _make_keys(
    depot: Path, root_keys: int, passphrase: bytes | None, rounds: int, unsafe_unencrypted: bool
) -> list[Signer]:
    """The root keys, then the online key."""
    folder = depot / depots.Settings().keys
    make_folder(folder, mode=0o700)
    names = [*(f"root-{number}.pem" for number in range(1, root_keys + 1)), depots.ONLINE]
    return [
        generate(folder / name, passphrase=passphrase, rounds=rounds, unsafe_unencrypted=unsafe_unencrypted)
        for name in names
    ]


def _make_metadata(
    depot: Path, signers: list[Signer], threshold: int, root_expires: datetime, expires: datetime
) -> None:
    *root_signers, online = signers
    root = Root(expires=root_expires, consistent_snapshot=True)
    for signer in root_signers:
        root.add_key(signer.public_key, Root.type)
    root.roles[Root.type].threshold = threshold
    for role in (Targets.type, Snapshot.type, Timestamp.type):
        root.add_key(online.public_key, role)

    folder = depot / depots.METADATA
    make_folder(folder)
    write_file(folder / "1.root.json", sign(root, root, root_signers))
    contents = sign_all(Targets(expires=expires), root, online, others={}, snapshot_version=1, timestamp_version=1)
    for name, content in contents.items():
        write_file(folder / name, content)


def _place(building: Path, depot: Path) -> None:
    try:
        os.rename(building, depot)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise UsageError(f"{depot} was made by somebody else meanwhile", hint="name another folder") from error
        if error.errno == errno.EBUSY:
            raise UsageError(f"{depot} is in use as a mount point", hint="name a folder below it") from error
        with storing(depot):
            raise
    with storing(depot):
        sync_folder(depot.parent)
