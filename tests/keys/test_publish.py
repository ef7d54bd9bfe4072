"""Publishing: what is signed, what is left alone, what is refused, and that a kill leaves old or new."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner, Signature, Signer
from told import Told
from tuf.api.metadata import Root
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from keys.repository import Addition, Published, metadata_files, online_signer, publish, verify
from sealift import durable
from sealift.errors import MalformedError, StoreError, TrustError, UsageError
from sealift.tuf_rules import CAPS

Adding = Callable[..., dict[str, Addition]]
Publishing = Callable[..., Published]


def _snapshot(depot: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (depot / "metadata").iterdir()}


def _walk(depot: Path, now: datetime) -> TrustedMetadataSet:
    """The client workflow of tuf over the current files."""
    *roots, timestamp, snapshot, targets = (path.read_bytes() for path in metadata_files(depot))
    trusted = TrustedMetadataSet(roots[0], EnvelopeType.METADATA)
    trusted.reference_time = now
    for root in roots[1:]:
        trusted.update_root(root)
    trusted.update_timestamp(timestamp)
    trusted.update_snapshot(snapshot)
    trusted.update_targets(targets)
    return trusted


def _never(_: Root) -> Signer:
    raise AssertionError("the key was unlocked")


def test_a_release_is_listed_with_kind_and_time(
    depot: Path, publishing: Publishing, addition: Adding, now: datetime
) -> None:
    """The client of tuf finds the target, its length and digest, and Sealift's description."""
    made = publishing(addition(), published=now - timedelta(days=400))
    assert (made.root, made.targets, made.snapshot, made.timestamp, made.changed) == (1, 2, 2, 2, True)
    target = _walk(depot, now).targets.targets["releases/shop/1.0.0.json"]
    assert target.length == 2
    assert target.custom == {"sealift": {"type": "release", "published": "2025-01-25T12:00:00Z"}}


def test_a_bundle_is_listed_under_its_own_digest(depot: Path, publishing: Publishing, addition: Adding) -> None:
    """A bundle manifest's path is its digest."""
    digest = "ab" * 32
    publishing({**addition(), f"bundles/{digest}.json": Addition(length=7, sha256=digest, kind="bundle")})
    bundle, release = verify(depot).entries
    assert (bundle.kind, bundle.name, bundle.sha256, bundle.length) == ("bundle", None, digest, 7)
    assert (release.kind, release.name, release.version) == ("release", "shop", "1.0.0")
    assert release.published == "2026-03-01T12:00:00Z"


def test_the_files_come_in_a_bundles_order(depot: Path, publishing: Publishing, addition: Adding) -> None:
    """Roots, timestamp, snapshot, targets: the same from the publication and from the depot."""
    made = publishing(addition())
    names = ["1.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"]
    assert [path.name for path in made.files] == names
    assert metadata_files(depot) == list(made.files)


def test_a_time_of_publication_in_the_future_is_refused(
    depot: Path, publishing: Publishing, addition: Adding, now: datetime
) -> None:
    """A mistyped SOURCE_DATE_EPOCH signs nothing."""
    before = _snapshot(depot)
    with pytest.raises(UsageError, match="lies in the future"):
        publishing(addition(), published=now + timedelta(days=2))
    assert _snapshot(depot) == before


def test_a_later_release_keeps_the_earlier_one(
    depot: Path, publishing: Publishing, addition: Adding, now: datetime
) -> None:
    """Every release stays listed, with the time at which it was published."""
    publishing(addition())
    before = verify(depot).entries[0]
    later = now + timedelta(days=31)
    publishing(addition(version="1.1.0"), now=later, published=later)
    state = verify(depot)
    assert state.entries[0] == before
    assert [entry.version for entry in state.entries] == ["1.0.0", "1.1.0"]


def test_publishing_the_same_again_signs_nothing(
    depot: Path, publishing: Publishing, addition: Adding, now: datetime
) -> None:
    """A second export is byte-identical, and does not even unlock the key."""
    first = publishing(addition())
    before = _snapshot(depot)
    later = now + timedelta(days=89)
    again = publish(depot, addition(), signer_for=_never, now=later, published=later)
    assert not again.changed
    assert again.files == first.files
    assert again.targets == first.targets
    assert _snapshot(depot) == before


@pytest.mark.parametrize("days", [90, 179, 180, 400])
def test_what_has_little_time_left_is_signed_anew(
    depot: Path, publishing: Publishing, addition: Adding, now: datetime, days: int
) -> None:
    """With half of its life gone, or all of it, the same content is renewed, unchanged."""
    publishing(addition())
    entries = verify(depot).entries
    later = now + timedelta(days=days)
    made = publishing(addition(), now=later, published=later)
    assert (made.changed, made.targets, made.snapshot, made.timestamp) == (True, 3, 3, 3)
    assert verify(depot).entries == entries
    trusted = _walk(depot, later)
    assert trusted.timestamp.expires == trusted.targets.expires == later + timedelta(days=180)


def test_no_additions_renew_too(depot: Path, publishing: Publishing, now: datetime) -> None:
    """An empty publication is how a depot is kept alive."""
    assert not publishing({}).changed
    assert publishing({}, now=now + timedelta(days=100)).changed


def test_a_release_never_changes(depot: Path, publishing: Publishing, addition: Adding) -> None:
    """Other content under a published name and version is refused, and nothing is written."""
    publishing(addition())
    before = _snapshot(depot)
    with pytest.raises(UsageError) as caught:
        publishing({**addition(content=b"other"), **addition(version="2.0.0")})
    assert caught.value.message == "release shop 1.0.0 was already published with other content"
    assert caught.value.hint == "a release never changes: give it a new version"
    assert caught.value.exit_code == 2
    assert _snapshot(depot) == before


def test_a_version_that_differs_by_case_is_refused(publishing: Publishing, addition: Adding) -> None:
    """Two releases that a case-insensitive disk could not keep apart are not both published."""
    publishing(addition(version="1.0-RC1"))
    with pytest.raises(UsageError, match="only by case"):
        publishing(addition(version="1.0-rc1"))
    with pytest.raises(UsageError, match="only by case"):
        publishing({**addition(version="2-A"), **addition(version="2-a")})


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("releases/shop/1.0.0.json", "bundle"),
        ("releases/shop.json", "release"),
        ("releases/../1.0.0.json", "release"),
        ("releases/shop/1..0.json", "release"),
        ("releases/Shop/1.0.0.json", "release"),
        ("/releases/shop/1.0.0.json", "release"),
        (f"bundles/{'cd' * 32}.json", "bundle"),
        (f"bundles/{'ab' * 32}.json", "release"),
        ("elsewhere/x.json", "release"),
        ("", "release"),
    ],
)
def test_a_target_path_of_another_form_is_refused(publishing: Publishing, path: str, kind: str) -> None:
    """Only the two forms of the format are ever signed."""
    with pytest.raises(MalformedError):
        publishing({path: Addition(length=1, sha256="ab" * 32, kind=kind)})  # type: ignore[arg-type]


def test_a_digest_of_another_form_is_refused(publishing: Publishing) -> None:
    """A digest is 64 lower-case hexadecimal digits."""
    with pytest.raises(MalformedError, match="no sha-256 digest"):
        publishing({"releases/shop/1.0.0.json": Addition(length=1, sha256="AB" * 32, kind="release")})


def test_an_expired_root_stops_publication(depot: Path, publishing: Publishing, now: datetime) -> None:
    """Nothing is signed under a root that no site accepts, and the remedy is named."""
    before = _snapshot(depot)
    with pytest.raises(TrustError, match="expired on 2028-02-29") as caught:
        publishing({}, now=now + timedelta(days=730))
    assert caught.value.hint is not None
    assert "root keys" in caught.value.hint
    assert _snapshot(depot) == before


@pytest.mark.parametrize("key", ["root-1.pem", "stranger"])
def test_a_key_that_the_root_does_not_name_may_not_sign(
    depot: Path, addition: Adding, now: datetime, passphrase: bytes, key: str
) -> None:
    """A stranger's key, or a root key, publishes nothing."""
    stranger = CryptoSigner.generate_ed25519()
    if key != "stranger":
        shutil.copy(depot / "keys" / key, depot / "keys" / "online.pem")
    signer_for = (lambda _: stranger) if key == "stranger" else online_signer(depot, Told(passphrase))
    before = _snapshot(depot)
    with pytest.raises(TrustError, match="may not sign targets: root 1 does not name it") as caught:
        publish(depot, addition(), signer_for=signer_for, now=now, published=now)
    assert caught.value.hint is not None
    assert "sealift-keys show" in caught.value.hint
    assert _snapshot(depot) == before


def test_a_strangers_key_under_the_online_keys_id_may_not_sign(depot: Path, addition: Adding, now: datetime) -> None:
    """A key id is not enough: the public key itself must be the root's."""
    keyid = verify(depot).root.roles["targets"].keyids[0]
    stranger = CryptoSigner.generate_ed25519(keyid)
    with pytest.raises(TrustError, match="may not sign"):
        publish(depot, addition(), signer_for=lambda _: stranger, now=now, published=now)


def test_a_signature_that_does_not_verify_is_noticed(
    depot: Path, addition: Adding, now: datetime, signer_for: Callable[[Root], Signer]
) -> None:
    """Attack 13: a device that signs with another key than it says publishes nothing."""

    class WrongSlot(Signer):
        public_key = signer_for(verify(depot).root).public_key

        @classmethod
        def from_priv_key_uri(cls, *args: object, **options: object) -> WrongSlot:
            raise NotImplementedError

        def sign(self, payload: bytes) -> Signature:
            other = CryptoSigner.generate_ed25519().sign(payload)
            return Signature(self.public_key.keyid, other.signature)

    before = _snapshot(depot)
    with pytest.raises(TrustError, match="does not verify"):
        publish(depot, addition(), signer_for=lambda _: WrongSlot(), now=now, published=now)
    assert _snapshot(depot) == before


def test_more_than_a_site_reads_is_not_signed(
    depot: Path, publishing: Publishing, addition: Adding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Targets metadata that outgrows the cap of tuf's client is refused before it is written."""
    before = _snapshot(depot)
    monkeypatch.setitem(CAPS, "targets", 1000)
    crowd = {path: each for number in range(10) for path, each in addition(version=str(number)).items()}
    with pytest.raises(UsageError, match="would list more than the 1000 bytes of targets"):
        publishing(crowd)
    assert _snapshot(depot) == before


def test_a_wrong_passphrase_publishes_nothing(depot: Path, addition: Adding, now: datetime) -> None:
    """The online key does not open, and the depot stays as it was."""
    before = _snapshot(depot)
    with pytest.raises(TrustError, match=r"passphrase for .*online\.pem is wrong"):
        publish(depot, addition(), signer_for=online_signer(depot, Told(b"wrong")), now=now, published=now)
    assert _snapshot(depot) == before


def test_no_depot_is_wrong_usage(tmp_path: Path, now: datetime) -> None:
    """A folder that is no depot is named, with the command that makes one."""
    with pytest.raises(UsageError, match="is no depot") as caught:
        publish(tmp_path, {}, signer_for=_never, now=now, published=now)
    assert caught.value.hint is not None
    assert "sealift-keys init" in caught.value.hint


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_refuses_leaves_old_or_new(
    depot: Path,
    publishing: Publishing,
    addition: Adding,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    failing_at: Callable[..., Callable[..., object]],
    call: str,
) -> None:
    """Attack 82: whichever fsync or rename fails, the state verifies, and the next publication completes it."""
    real = getattr(os, call)
    failures = 0
    for nth in range(50):
        before = verify(depot).targets.version
        monkeypatch.setattr(os, call, failing_at(real, nth + 1, 28))
        try:
            publishing(addition(version=str(nth)))
        except StoreError:
            failures += 1
            monkeypatch.setattr(os, call, real)
            assert verify(depot).targets.version in (before, before + 1)
            _walk(depot, now)
            publishing(addition(version=str(nth)))
            assert f"releases/shop/{nth}.json" in _walk(depot, now).targets.targets
        else:
            break
    assert failures == nth > 2
    assert not [path.name for path in (depot / "metadata").iterdir() if path.name.startswith(".")]


def test_a_killed_publication_leaves_old_or_new(
    depot: Path,
    publishing: Publishing,
    addition: Adding,
    now: datetime,
    killed_at: Callable[[int, Callable[[], object]], bool],
) -> None:
    """Attack 79: a process that ends at any fsync or rename leaves a state that verifies and goes on."""
    seen = set()
    for nth in range(1, 50):
        before = verify(depot).targets.version
        if not killed_at(nth, partial(publishing, addition(version=str(nth)))):
            break
        seen.add(verify(depot).targets.version - before)
        _walk(depot, now)
        publishing(addition(version=str(nth)))
        assert f"releases/shop/{nth}.json" in _walk(depot, now).targets.targets
    assert nth > 6
    assert seen == {0, 1}


def test_other_content_over_an_orphan_is_what_gets_published(
    depot: Path, publishing: Publishing, addition: Adding, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of an unfinished publication are overwritten, and what they listed is not there."""
    write = durable.write_file

    def stop(path: Path, content: bytes) -> None:
        if path.name == "timestamp.json":
            raise StoreError("stopped")
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr("keys.committing.write_file", stop)
        with pytest.raises(StoreError):
            publishing(addition(version="1.0.0"))
    assert (depot / "metadata" / "2.targets.json").exists()
    assert verify(depot).entries == ()
    publishing(addition(version="2.0.0"))
    assert list(_walk(depot, now).targets.targets) == ["releases/shop/2.0.0.json"]
