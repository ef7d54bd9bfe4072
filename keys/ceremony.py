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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from securesystemslib.signer import Signer
from tuf.api.metadata import Targets

from sealift.durable import TEMPORARY, make_folder, storing, sync_folder, write_file
from sealift.errors import UsageError
from sealift.root_terms import Purpose

from . import depot as depots
from . import request_file as requests
from .committing import begin
from .keyfile import SCHEMES, generate
from .lineup import KEYS_MAX, Lineup, Rule, make_root
from .metadata import sign, sign_all
from .pbes2 import KDF_ROUNDS
from .proposing import ROOT_DAYS, first_root
from .public import Public, refuse_doubled
from .repository import ROLE_DAYS
from .state import verify

ROOT_KEYS_MAX = KEYS_MAX
"""Root keys at most."""


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
    scheme: str = SCHEMES[0],
    purpose: Purpose = "production",
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
        scheme: what every key is, one of `keyfile.SCHEMES`.
        purpose: what the root is for.
        unsafe_unencrypted: leave the keys in the clear when there is no passphrase.

    Raises:
        UsageError: something is at `depot` already, the numbers are out of range, or there is no passphrase.
        StoreError: the disk refused; the depot is there whole or not at all.
    """
    check_numbers(root_keys, threshold)
    now = now.astimezone(UTC)

    def fill(building: Path) -> str:
        names = [*(f"root-{number}.pem" for number in range(1, root_keys + 1)), depots.ONLINE]
        make = _maker(building, passphrase, rounds, scheme, unsafe_unencrypted)
        *signers, online = [make(name) for name in names]
        line = Lineup(
            root=Rule(keys=tuple(signer.public_key for signer in signers), threshold=threshold),
            online=Rule(keys=(online.public_key,), threshold=1),
            purpose=purpose,
        )
        root = make_root(line, version=1, expires=now + timedelta(days=root_days))
        targets = Targets(expires=now + timedelta(days=days))
        contents = sign_all(targets, root, online, others={}, snapshot_version=1, timestamp_version=1)
        make_folder(building / depots.METADATA)
        begin(building / depots.METADATA, (root, sign(root, root, signers)), contents)
        write_file(building / depots.SETTINGS, depots.encode(depots.Settings()))
        return verify(building).fingerprint

    _build(depot, fill)
    state = verify(depot)
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


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A depot whose first root waits for the signatures of its holders."""

    depot: Path
    request: Path
    """What each holder signs."""
    digest: str
    """SHA-256 of what is signed, which the holders compare."""
    root_keys: tuple[str, ...]
    """Their key ids."""
    threshold: int
    online_key: str
    """Where the online key lives."""


def prepare(
    depot: Path,
    *,
    root_keys: Sequence[Public],
    threshold: int,
    passphrase: bytes | None,
    now: datetime,
    online: Public | None = None,
    rounds: int = KDF_ROUNDS,
    scheme: str = SCHEMES[0],
    purpose: Purpose = "production",
    unsafe_unencrypted: bool = False,
) -> Prepared:
    """Make a depot whose root keys stay with their holders: its first root waits for their signatures.

    Args:
        depot: as for `init`.
        root_keys: the holders' public keys; all of them must sign the first root.
        threshold: how many of them a later root needs.
        passphrase: encrypts the online key, where one is made.
        now: the time, aware, from which expiry is counted.
        online: the online key, and the place where it lives; one is made where None.
        rounds: the cost of the passphrase (PBKDF2 iterations).
        scheme: what the online key is, one of `keyfile.SCHEMES`.
        purpose: what the root is for.
        unsafe_unencrypted: leave the online key in the clear when there is no passphrase.

    Raises:
        UsageError: something is at `depot` already, a key is named twice, or the numbers are out of range.
        PolicyError: a key would have two roles.
        StoreError: the disk refused; the depot is there whole or not at all.
    """
    refuse_doubled([public.key for public in root_keys])
    check_numbers(len(root_keys), threshold)
    if online is not None and online.place is None:
        raise UsageError(
            f"it is not known where the online key {online.key.keyid[:8]} lives",
            hint="make its file with its place: sealift-keys key hsm:… --out online.json",
        )

    def fill(building: Path) -> str:
        make_folder(building / depots.Settings().keys, mode=0o700)
        if online is None:
            key = _maker(building, passphrase, rounds, scheme, unsafe_unencrypted)(depots.ONLINE).public_key
        else:
            key = online.key
        line = Lineup(
            root=Rule(keys=tuple(public.key for public in root_keys), threshold=threshold),
            online=Rule(keys=(key,), threshold=1),
            purpose=purpose,
        )
        request = first_root(line, now=now)
        make_folder(building / depots.METADATA)
        make_folder(building / depots.REQUESTS)
        write_file(building / depots.REQUESTS / f"{request.name}{requests.ENDING}", requests.encode(request))
        settings = depots.Settings() if online is None else depots.Settings(places={key.keyid: online.place or ""})
        write_file(building / depots.SETTINGS, depots.encode(settings))
        return request.digest

    digest = _build(depot, fill)
    made = depot / depots.Settings().keys / depots.ONLINE
    return Prepared(
        depot=depot,
        request=depot / depots.REQUESTS / f"root-1{requests.ENDING}",
        digest=digest,
        root_keys=tuple(public.key.keyid for public in root_keys),
        threshold=threshold,
        online_key=str(made) if online is None or online.place is None else online.place,
    )


def _build(depot: Path, fill: Callable[[Path], str]) -> str:
    """Let `fill` make a depot under a temporary name, and place it at `depot`; what `fill` returned."""
    place = Path(os.path.realpath(depot))
    mode = refuse_occupied(place)
    make_folder(place.parent)
    with storing(place):
        building = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{place.name}.", dir=place.parent))
    try:
        result = fill(building)
        with storing(place):
            os.chmod(building, mode)
        _place(building, place)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return result


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


def _maker(
    depot: Path, passphrase: bytes | None, rounds: int, scheme: str, unsafe_unencrypted: bool
) -> Callable[[str], Signer]:
    """What makes a key file of a name in the depot's folder of keys."""
    folder = depot / depots.Settings().keys
    make_folder(folder, mode=0o700)

    def make(name: str) -> Signer:
        return generate(
            folder / name,
            passphrase=passphrase,
            scheme=scheme,
            rounds=rounds,
            unsafe_unencrypted=unsafe_unencrypted,
        )

    return make


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
