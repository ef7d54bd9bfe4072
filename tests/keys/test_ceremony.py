"""The first ceremony: what it makes, what it refuses, and that it makes all or nothing."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Root
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from keys import ceremony, keyfile
from keys.ceremony import Summary, init
from keys.repository import verify
from sealift.errors import StoreError, UsageError


@pytest.fixture
def make(now: datetime, passphrase: bytes) -> Callable[..., Summary]:
    """Runs a ceremony with cheap keys: two root keys unless told otherwise."""

    def run(depot: Path, root_keys: int = 2, threshold: int = 1) -> Summary:
        return init(depot, root_keys=root_keys, threshold=threshold, passphrase=passphrase, now=now, rounds=10)

    return run


def test_every_file_of_the_depot_is_made(depot: Path) -> None:
    """A new depot holds its settings, keys and metadata, and nothing else."""
    names = {str(path.relative_to(depot)) for path in depot.rglob("*") if path.is_file()}
    roots = {f"keys/root-{number}.pem" for number in (1, 2, 3)}
    metadata = {f"metadata/{name}.json" for name in ("1.root", "1.targets", "1.snapshot", "timestamp")}
    assert names == {"depot.json", "keys/online.pem", *roots, *metadata}
    assert json.loads((depot / "depot.json").read_bytes()) == {"format": 1, "keys": "keys"}


def test_the_keys_are_private(depot: Path) -> None:
    """Each key is 0600, in a folder that is 0700."""
    assert {stat.S_IMODE(path.stat().st_mode) for path in (depot / "keys").iterdir()} == {0o600}
    assert stat.S_IMODE((depot / "keys").stat().st_mode) == 0o700


def test_tuf_accepts_the_metadata_from_scratch(depot: Path, now: datetime) -> None:
    """The client workflow of tuf workflow walks from the root to the targets."""
    folder = depot / "metadata"
    trusted = TrustedMetadataSet((folder / "1.root.json").read_bytes(), EnvelopeType.METADATA)
    trusted.reference_time = now
    trusted.update_timestamp((folder / "timestamp.json").read_bytes())
    trusted.update_snapshot((folder / "1.snapshot.json").read_bytes())
    assert trusted.update_targets((folder / "1.targets.json").read_bytes()).targets == {}
    assert trusted.root.consistent_snapshot is True


def test_all_root_keys_sign_the_first_root(depot: Path) -> None:
    """The root has the threshold that was asked for, and every root key's signature."""
    metadata = Metadata[Root].from_file(str(depot / "metadata" / "1.root.json"))
    result = metadata.signed.get_verification_result("root", metadata.signed_bytes, metadata.signatures)
    assert (result.threshold, len(result.signed), len(result.unsigned)) == (2, 3, 0)


def test_the_online_key_signs_the_three_others_and_no_root(depot: Path, passphrase: bytes) -> None:
    """Attack 17: the online key and the root keys are different keys."""
    root = verify(depot).root
    online = keyfile.load(depot / "keys" / "online.pem", lambda: passphrase).public_key.keyid
    assert {role: online in root.roles[role].keyids for role in root.roles} == {
        "root": False,
        "targets": True,
        "snapshot": True,
        "timestamp": True,
    }
    assert len(root.roles["root"].keyids) == 3


def test_the_summary_tells_fingerprint_places_and_expiry(ceremony: Summary, now: datetime) -> None:
    """The fingerprint is the SHA-256 of the first root's bytes, and every path exists."""
    assert ceremony.fingerprint == sha256(ceremony.root.read_bytes()).hexdigest()
    assert all(path.is_file() for path in (*ceremony.root_keys, ceremony.online_key, ceremony.root))
    assert ceremony.root_expires == now + timedelta(days=730)
    assert ceremony.expires == now + timedelta(days=180)
    assert ceremony.encrypted


def test_a_time_in_another_zone_is_taken_as_utc(tmp_path: Path, passphrase: bytes) -> None:
    """Expiry is counted in UTC, whatever zone the time was given in."""
    there = datetime(2026, 3, 1, 14, 0, 0, tzinfo=timezone(timedelta(hours=2)))
    made = init(tmp_path / "depot", root_keys=1, threshold=1, passphrase=passphrase, now=there, rounds=10)
    assert made.expires == datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC) + timedelta(days=180)


@pytest.mark.parametrize(("root_keys", "threshold"), [(1, 0), (1, -1), (1, 2), (0, 0), (0, 1), (17, 1), (3, 4)])
def test_numbers_out_of_range_are_refused(
    make: Callable[..., Summary], tmp_path: Path, root_keys: int, threshold: int
) -> None:
    """Attack 18: a threshold of 0, below it, or above the number of keys."""
    with pytest.raises(UsageError, match="out of range"):
        make(tmp_path / "depot", root_keys, threshold)
    assert list(tmp_path.iterdir()) == []


def test_a_depot_is_never_overwritten(make: Callable[..., Summary], depot: Path) -> None:
    """A second ceremony on a depot is refused, and changes nothing."""
    before = {path: path.read_bytes() for path in depot.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="already a depot"):
        make(depot)
    assert {path: path.read_bytes() for path in depot.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("kind", ["file inside", "file"])
def test_an_occupied_place_is_refused(make: Callable[..., Summary], tmp_path: Path, kind: str) -> None:
    """What is no empty folder is left alone."""
    place = tmp_path / "depot"
    if kind == "file":
        place.write_bytes(b"mine")
    else:
        place.mkdir()
        (place / "mine").write_bytes(b"mine")
    with pytest.raises(UsageError, match="not empty"):
        make(place)
    assert [path.name for path in tmp_path.iterdir()] == ["depot"]


def test_the_current_folder_is_refused(
    make: Callable[..., Summary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder that a shell stands in is not replaced under it."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="current folder"):
        make(Path())


def test_an_empty_folder_is_fine_and_keeps_its_mode(make: Callable[..., Summary], tmp_path: Path) -> None:
    """A folder that was prepared for the depot stays as private as it was."""
    (tmp_path / "depot").mkdir()
    (tmp_path / "depot").chmod(0o750)
    make(tmp_path / "depot")
    assert stat.S_IMODE((tmp_path / "depot").stat().st_mode) == 0o750
    verify(tmp_path / "depot")


def test_missing_parents_are_made(make: Callable[..., Summary], tmp_path: Path) -> None:
    """The folders around the depot need not exist."""
    assert make(tmp_path / "a" / "b" / "depot").root.is_file()


def test_somebody_who_was_quicker_keeps_his_depot(
    make: Callable[..., Summary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the place fills up during the ceremony, it is refused and nothing of it is left."""
    place = ceremony._place

    def late(building: Path, depot: Path) -> None:
        depot.mkdir()
        (depot / "mine").write_bytes(b"mine")
        place(building, depot)

    monkeypatch.setattr(ceremony, "_place", late)
    with pytest.raises(UsageError, match="somebody else"):
        make(tmp_path / "depot")
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["depot", "depot/mine"]


@pytest.mark.parametrize("call", ["fsync", "replace", "rename"])
def test_a_disk_that_refuses_leaves_nothing_or_all(
    make: Callable[..., Summary],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing_at: Callable[..., Callable[..., object]],
    call: str,
) -> None:
    """Attack 82: whichever fsync or rename fails, there is no depot, or a whole one."""
    real = getattr(os, call)
    failures = 0
    for nth in range(100):
        place = tmp_path / str(nth) / "depot"
        place.parent.mkdir()
        monkeypatch.setattr(os, call, failing_at(real, nth + 1, 5))
        try:
            make(place, 1, 1)
        except StoreError:
            failures += 1
            monkeypatch.setattr(os, call, real)
            if place.exists():
                verify(place)
                assert [path.name for path in place.parent.iterdir()] == ["depot"]
            else:
                assert list(place.parent.iterdir()) == []
        else:
            break
    assert failures == nth > 0


def test_a_killed_ceremony_leaves_no_depot(
    make: Callable[..., Summary], tmp_path: Path, killed_at: Callable[[int, Callable[[], object]], bool]
) -> None:
    """Attack 79: a process that ends at any fsync or rename leaves no depot, or a whole one."""
    for nth in range(1, 100):
        place = tmp_path / str(nth) / "depot"
        place.parent.mkdir()
        if not killed_at(nth, partial(make, place, 1, 1)):
            break
        if place.exists():
            verify(place)
    assert nth > 10
    verify(place)
