"""A depot that somebody changed: nothing in it is believed before it verifies."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner, Signer, SSlibKey
from tuf.api.metadata import Metadata, Root, Targets, Timestamp

from keys import keyfile
from keys.metadata import parse, sign
from keys.repository import Addition, Published, metadata_files, publish, verify
from sealift.errors import MalformedError, SealiftError, TrustError, UsageError

Adding = Callable[..., dict[str, Addition]]
Publishing = Callable[..., Published]
FILES = ("1.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json")


@pytest.fixture
def folder(depot: Path, publishing: Publishing, addition: Adding) -> Path:
    """The metadata of a depot with one release."""
    publishing(addition())
    return depot / "metadata"


def _edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document, sort_keys=True, separators=(",", ":")))


def _never(_: Root) -> Signer:
    raise AssertionError("the key was unlocked")


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_anywhere_is_refused_by_every_reader(
    depot: Path, folder: Path, addition: Adding, now: datetime, name: str
) -> None:
    """Attack 76: one bit, in any of many places of any file, and nothing is signed or named."""
    content = (folder / name).read_bytes()
    for place in range(0, len(content), 37):
        (folder / name).write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises((TrustError, MalformedError)):
            publish(depot, addition(version="2"), signer_for=_never, now=now, published=now)
        with pytest.raises((TrustError, MalformedError)):
            metadata_files(depot)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(depot: Path, folder: Path, name: str) -> None:
    """A file that is gone is named, with what to do."""
    (folder / name).unlink()
    with pytest.raises(TrustError, match=r"missing|not all there") as caught:
        verify(depot)
    assert caught.value.hint is not None
    assert "backup" in caught.value.hint


@pytest.mark.parametrize("name", FILES)
def test_an_over_long_file_is_refused(depot: Path, folder: Path, name: str) -> None:
    """No file is read beyond its role's cap."""
    os.truncate(folder / name, 6_000_000)
    with pytest.raises(TrustError, match="longer than"):
        verify(depot)


@pytest.mark.parametrize("name", FILES)
def test_a_fifo_in_place_of_a_file_is_refused_at_once(depot: Path, folder: Path, name: str) -> None:
    """Attack 89: nobody waits for a FIFO."""
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(TrustError, match="no regular file"):
        verify(depot)


@pytest.mark.parametrize("name", ["1.root.json", "timestamp.json"])
def test_stripped_signatures_are_refused(depot: Path, folder: Path, name: str) -> None:
    """Attack 1: metadata without signatures."""
    _edit(folder / name, lambda document: document["signatures"].clear())
    with pytest.raises(TrustError, match="not signed as root 1 demands"):
        verify(depot)


def test_a_root_below_its_threshold_is_refused(depot: Path, folder: Path) -> None:
    """Attack 2: one signature of the two that are needed."""
    _edit(folder / "1.root.json", lambda document: document["signatures"].__delitem__(slice(1, None)))
    with pytest.raises(TrustError, match="1/2 keys"):
        verify(depot)


def test_a_timestamp_that_a_stranger_signed_is_refused(depot: Path, folder: Path) -> None:
    """A well-formed timestamp of somebody else is not believed."""
    path = folder / "timestamp.json"
    metadata = Metadata[Any].from_file(str(path))
    metadata.sign(CryptoSigner.generate_ed25519())
    path.write_bytes(metadata.to_bytes())
    with pytest.raises(TrustError, match="does not verify"):
        verify(depot)


def test_a_depot_returned_to_an_earlier_state_is_noticed(
    depot: Path, folder: Path, publishing: Publishing, addition: Adding
) -> None:
    """Attack 19: an old timestamp beside newer files, under which a version number would be signed twice."""
    old = (folder / "timestamp.json").read_bytes()
    publishing(addition(version="2"))
    publishing(addition(version="3"))
    (folder / "timestamp.json").write_bytes(old)
    with pytest.raises(TrustError, match="returned to an earlier state"):
        publishing(addition(version="4"))


def test_mixed_versions_are_refused(depot: Path, folder: Path, publishing: Publishing, addition: Adding) -> None:
    """Attack 22: old targets under the new name."""
    publishing(addition(version="2"))
    (folder / "3.targets.json").write_bytes((folder / "2.targets.json").read_bytes())
    with pytest.raises(TrustError, match="does not match"):
        verify(depot)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe",
        b"[]",
        b'{"signed":{},"signatures":[],"signatures":[]}',
        b'{"signed":{},"signatures":[],"extra":1}',
        b'{"signed":{"version":1.0},"signatures":[]}',
        b'{"signed":{"version":1e400},"signatures":[]}',
        b'{"signed":{"version":NaN},"signatures":[]}',
        b'{"signed":{"version":' + b"9" * 9000 + b'},"signatures":[]}',
        b"[" * 16000,
        b'{"signed":{"_type":"timestamp"},"signatures":[]}',
    ],
)
def test_what_is_no_strict_json_is_refused(depot: Path, folder: Path, content: bytes) -> None:
    """Attacks 36 to 42: doubled keys, unsigned fields, floats, nesting, huge numbers, odd encodings."""
    (folder / "timestamp.json").write_bytes(content)
    with pytest.raises(MalformedError, match=r"timestamp\.json"):
        verify(depot)


def test_a_boolean_version_is_refused(folder: Path) -> None:
    """Attack 38: `true` is no version, though Python counts with it."""
    content = (folder / "timestamp.json").read_bytes()
    parse(content, Timestamp, "timestamp.json")
    with pytest.raises(MalformedError):
        parse(content.replace(b'"version":2', b'"version":true'), Timestamp, "timestamp.json")


def test_another_roles_metadata_is_refused(depot: Path, folder: Path) -> None:
    """Attack 31: snapshot metadata in place of the timestamp."""
    (folder / "timestamp.json").write_bytes((folder / "2.snapshot.json").read_bytes())
    with pytest.raises(MalformedError, match="not timestamp metadata"):
        verify(depot)


def test_a_second_root_continues_the_chain(
    depot: Path, folder: Path, passphrase: bytes, publishing: Publishing, now: datetime
) -> None:
    """A new root that the old and the new quorum signed is followed, and comes along in the bundle."""
    _write_root(depot, passphrase, 2, 2)
    assert verify(depot).root.version == 2
    assert [path.name for path in metadata_files(depot)][:3] == ["1.root.json", "2.root.json", "timestamp.json"]
    assert publishing({}, now=now + timedelta(days=100)).root == 2


def test_a_new_root_without_the_old_quorum_is_refused(depot: Path, folder: Path) -> None:
    """Attack 10: a stranger's root, signed by itself, does not continue the chain."""
    stranger = CryptoSigner.generate_ed25519()
    root = Metadata[Root].from_file(str(folder / "1.root.json")).signed
    root.version = 2
    root.roles["root"].keyids = []
    root.add_key(stranger.public_key, "root")
    root.keys = {keyid: root.keys[keyid] for role in root.roles.values() for keyid in role.keyids}
    root.roles["root"].threshold = 1
    (folder / "2.root.json").write_bytes(sign(root, root, [stranger]))
    with pytest.raises(TrustError, match="not signed as root 1 demands"):
        verify(depot)


@pytest.mark.parametrize("name", [2, 3])
def test_a_gap_or_a_lie_in_the_root_chain_is_refused(depot: Path, passphrase: bytes, name: int) -> None:
    """Attack 23: a root that says another version than its name, or follows nothing."""
    _write_root(depot, passphrase, 3, name)
    with pytest.raises(TrustError, match="not all there" if name == 3 else "says that it is version 3"):
        verify(depot)


def _write_root(depot: Path, passphrase: bytes, version: int, name: int) -> None:
    """Sign a root with the depot's own root keys."""
    folder = depot / "metadata"
    root = Metadata[Root].from_file(str(folder / "1.root.json")).signed
    root.version = version
    signers = [keyfile.load(depot / "keys" / f"root-{number}.pem", lambda: passphrase) for number in (1, 2)]
    (folder / f"{name}.root.json").write_bytes(sign(root, root, signers))


def _root() -> Root:
    """A root of one root key and one online key."""
    root, online = Root(), CryptoSigner.generate_ed25519()
    root.add_key(CryptoSigner.generate_ed25519().public_key, "root")
    for role in ("targets", "snapshot", "timestamp"):
        root.add_key(online.public_key, role)
    return root


def _double(root: Root, change: Callable[[SSlibKey], SSlibKey]) -> None:
    key = root.keys[root.roles["root"].keyids[0]]
    assert isinstance(key, SSlibKey)
    root.add_key(change(key), "root")


def _again(key: SSlibKey, public: str, **more: str) -> SSlibKey:
    """The same key in another spelling, under that spelling's own id."""
    from securesystemslib.signer._utils import compute_default_keyid

    keyval = {"public": public, **more}
    return SSlibKey(compute_default_keyid(key.keytype, key.scheme, keyval), key.keytype, key.scheme, keyval)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda root: _double(root, lambda key: SSlibKey("ab" * 32, "ed25519", "ed25519", key.keyval)),
            "two key ids",
        ),
        (
            lambda root: root.add_key(CryptoSigner.generate_ed25519("ab" * 32).public_key, "root"),
            "not its key's digest",
        ),
        (lambda root: _double(root, lambda key: _again(key, key.keyval["public"].upper())), "public key"),
        (lambda root: _double(root, lambda key: _again(key, key.keyval["public"], note="x")), "unknown field"),
        (lambda root: root.add_key(CryptoSigner.generate_rsa(size=2048).public_key, "root"), "rsa"),
        (lambda root: root.add_key(root.keys[root.roles["root"].keyids[0]], "targets"), "root key also signs targets"),
        (lambda root: setattr(root.roles["root"], "threshold", 2), "asks for 2 of 1 keys for the role root"),
        (lambda root: setattr(root.roles["targets"], "threshold", True), "threshold"),
        (lambda root: root.roles["targets"].keyids.append("ab" * 32), "names a key for the role targets"),
        (lambda root: setattr(root, "consistent_snapshot", False), "consistent snapshots"),
    ],
)
def test_a_root_that_tuf_accepts_and_we_do_not(change: Callable[[Root], object], words: str) -> None:
    """Attacks 4, 5, 7, 12, 17 and 18: keys doubled, misnamed, weak or shared, and thresholds out of reach."""
    root = _root()
    parse(Metadata(root).to_bytes(), Root, "root")
    change(root)
    with pytest.raises((TrustError, MalformedError), match=words):
        parse(Metadata(root).to_bytes(), Root, "root")


def test_too_few_signers_are_refused() -> None:
    """Nothing is handed out that is signed below its threshold."""
    root, signers = Root(), [CryptoSigner.generate_ed25519() for _ in range(2)]
    for signer in signers:
        root.add_key(signer.public_key, "targets")
    root.roles["targets"].threshold = 2
    with pytest.raises(TrustError, match="needs 2 signatures, and 1"):
        sign(Targets(), root, [signers[0], signers[0]])


@pytest.mark.parametrize("content", [b"", b"{", b'{"format":2}', b'{"format":1,"more":1}', b"[1]", b"\xff"])
def test_damaged_settings_are_refused(depot: Path, content: bytes) -> None:
    """A `depot.json` of another form or format is an error, not a default."""
    (depot / "depot.json").write_bytes(content)
    with pytest.raises(MalformedError, match=r"depot\.json"):
        verify(depot)


def test_missing_settings_are_refused(depot: Path) -> None:
    """Without `depot.json` it is no depot."""
    (depot / "depot.json").unlink()
    with pytest.raises(UsageError, match="is no depot"):
        verify(depot)


def test_a_missing_metadata_folder_is_no_bug(depot: Path) -> None:
    """A depot without metadata gives an error that a person can read."""
    (depot / "metadata").rename(depot / "gone")
    with pytest.raises(SealiftError, match="metadata"):
        verify(depot)


def test_targets_without_our_description_are_refused(
    depot: Path, publishing: Publishing, monkeypatch: pytest.MonkeyPatch, signer_for: Callable[[Root], Signer]
) -> None:
    """A target that another tool signed into the depot is named."""
    from dataclasses import replace

    from tuf.api.metadata import TargetFile

    state = verify(depot)
    foreign = Targets(targets={"x": TargetFile(1, {"sha256": "ab" * 32}, "x")})
    with pytest.raises(MalformedError, match="lacks Sealift's description"):
        _ = replace(state, targets=foreign).entries
