"""Private key files: made private, kept private, refused when they are not."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from securesystemslib.signer import SSlibKey

from keys import keyfile
from sealift.errors import StoreError, TrustError, UsageError


def _never() -> bytes:
    raise AssertionError("the passphrase was asked for")


@pytest.fixture
def key(tmp_path: Path, passphrase: bytes) -> Path:
    """An encrypted key file."""
    path = tmp_path / "key.pem"
    keyfile.generate(path, passphrase=passphrase, rounds=10)
    return path


def test_a_generated_key_loads_and_its_signature_verifies(tmp_path: Path, passphrase: bytes) -> None:
    """What was generated is what loads, under securesystemslib's own key id."""
    made = keyfile.generate(tmp_path / "key.pem", passphrase=passphrase, rounds=10)
    loaded = keyfile.load(tmp_path / "key.pem", lambda: passphrase)
    made.public_key.verify_signature(loaded.sign(b"message"), b"message")
    public = made.public_key
    assert isinstance(public, SSlibKey)
    assert loaded.public_key == SSlibKey.from_crypto(public._crypto_key())


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o277])
def test_a_generated_key_is_private_under_any_umask(tmp_path: Path, passphrase: bytes, umask: int) -> None:
    """The file's mode is 0600, whatever the umask."""
    before = os.umask(umask)
    try:
        keyfile.generate(tmp_path / "key.pem", passphrase=passphrase, rounds=10)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


def test_a_generated_key_is_encrypted(key: Path) -> None:
    """The PEM says that it is encrypted, and holds no key in the clear."""
    assert key.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n")


def test_an_existing_key_is_never_overwritten(key: Path, passphrase: bytes) -> None:
    """Generating over a key is refused, and the key stays."""
    before = key.read_bytes()
    with pytest.raises(UsageError, match="already there"):
        keyfile.generate(key, passphrase=passphrase, rounds=10)
    assert key.read_bytes() == before


def test_a_dangling_link_is_not_followed(tmp_path: Path, passphrase: bytes) -> None:
    """A link that was planted at the key's name receives no key."""
    (tmp_path / "key.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError):
        keyfile.generate(tmp_path / "key.pem", passphrase=passphrase, rounds=10)
    assert not (tmp_path / "elsewhere").exists()


def test_a_failed_write_leaves_no_key(tmp_path: Path, passphrase: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk refuses, nothing is left at the key's name."""

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreError, match="no space left"):
        keyfile.generate(tmp_path / "key.pem", passphrase=passphrase, rounds=10)
    assert list(tmp_path.iterdir()) == []


def test_a_key_needs_a_passphrase_unless_told_otherwise(tmp_path: Path) -> None:
    """No passphrase is an error, not a key in the clear."""
    with pytest.raises(UsageError, match="needs a passphrase"):
        keyfile.generate(tmp_path / "key.pem", passphrase=None)
    assert not (tmp_path / "key.pem").exists()


def test_a_key_in_the_clear_is_refused_unless_allowed_by_name(tmp_path: Path) -> None:
    """An unencrypted key loads only with the option that says so, and asks for no passphrase."""
    made = keyfile.generate(tmp_path / "key.pem", passphrase=None, unsafe_unencrypted=True)
    with pytest.raises(TrustError, match="in the clear"):
        keyfile.load(tmp_path / "key.pem", _never)
    assert keyfile.load(tmp_path / "key.pem", _never, unsafe_unencrypted=True).public_key == made.public_key


def test_an_unknown_scheme_is_refused(tmp_path: Path, passphrase: bytes) -> None:
    """A scheme that is not on the list makes no key."""
    with pytest.raises(UsageError, match="no signature scheme"):
        keyfile.generate(tmp_path / "key.pem", passphrase=passphrase, scheme="rsa")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666])
def test_a_mode_that_grants_anything_to_others_is_refused(key: Path, mode: int) -> None:
    """Attack 15: a key file that others may read, write or execute."""
    key.chmod(mode)
    with pytest.raises(TrustError, match="open to other users") as caught:
        keyfile.load(key, _never)
    assert caught.value.hint is not None
    assert f"chmod 600 {key}" in caught.value.hint


def test_a_key_that_another_user_owns_is_refused(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key file of another user, who is not root, is not trusted."""
    if os.geteuid() == 0:
        os.chown(key, 12345, 0)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(TrustError, match="belongs to another user"):
        keyfile.load(key, _never)


@pytest.mark.parametrize("kind", ["folder", "fifo", "device"])
def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    """A folder, a FIFO or a device in place of a key is refused at once."""
    path = tmp_path / "key.pem"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
    else:
        path = Path("/dev/zero")
    with pytest.raises(TrustError, match="no regular file"):
        keyfile.load(path, _never)


def test_an_over_long_key_is_refused(key: Path) -> None:
    """More than 64 KiB are not read."""
    with key.open("ab") as file:
        file.write(b"\n" * keyfile.LIMIT)
    with pytest.raises(TrustError, match="longer than"):
        keyfile.load(key, _never)


def test_a_missing_key_is_an_error_of_the_disk(tmp_path: Path) -> None:
    """A key that is not there is named."""
    with pytest.raises(StoreError, match=r"key\.pem"):
        keyfile.load(tmp_path / "key.pem", _never)


def test_a_wrong_passphrase_says_so(key: Path) -> None:
    """Any wrong passphrase gives the same clear words, however the padding falls out."""
    for number in range(300):
        with pytest.raises(TrustError, match=r"passphrase for .* is wrong"):
            keyfile.load(key, f"wrong {number}".encode)


@pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN RSA PRIVATE KEY-----\n", b"\xff" * 100])
def test_what_is_no_pkcs8_is_refused(key: Path, content: bytes) -> None:
    """Other content is refused before any passphrase is asked for."""
    key.write_bytes(content)
    with pytest.raises(TrustError, match="no PKCS#8"):
        keyfile.load(key, _never)


def test_a_damaged_key_is_refused(key: Path, passphrase: bytes) -> None:
    """A key whose PEM was cut is refused with a hint at the backup."""
    key.write_bytes(key.read_bytes()[:150])
    with pytest.raises(TrustError, match="damaged"):
        keyfile.load(key, lambda: passphrase)


def test_a_damaged_key_in_the_clear_is_refused(tmp_path: Path) -> None:
    """The same without encryption."""
    keyfile.generate(tmp_path / "key.pem", passphrase=None, unsafe_unencrypted=True)
    (tmp_path / "key.pem").write_bytes((tmp_path / "key.pem").read_bytes()[:60])
    with pytest.raises(TrustError, match="no private key that can be read"):
        keyfile.load(tmp_path / "key.pem", _never, unsafe_unencrypted=True)


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_scheme_that_is_not_on_the_list_is_refused(key: Path, passphrase: bytes, encrypted: bool) -> None:
    """Attack 7: an RSA key does not load, though the library could use it."""
    private = generate_private_key(65537, 2048)
    sealed = BestAvailableEncryption(passphrase) if encrypted else NoEncryption()
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed))
    with pytest.raises(TrustError, match="rsassa-pss-sha256"):
        keyfile.load(key, lambda: passphrase, unsafe_unencrypted=True)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_reads_the_key(tmp_path: Path) -> None:
    """`openssl pkey` unlocks the key at its full cost, and finds the same public key."""
    made = keyfile.generate(tmp_path / "key.pem", passphrase=b"correct horse")
    command = ["openssl", "pkey", "-in", str(tmp_path / "key.pem"), "-passin", "pass:correct horse", "-pubout"]
    public = subprocess.run([*command, "-outform", "DER"], check=True, capture_output=True).stdout
    assert public[-32:].hex() == made.public_key.keyval["public"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_key_that_openssl_made_loads(tmp_path: Path, passphrase: bytes) -> None:
    """A key encrypted by `openssl pkcs8` is accepted."""
    path = tmp_path / "key.pem"
    plain = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519"], check=True, capture_output=True).stdout
    command = ["openssl", "pkcs8", "-topk8", "-iter", "10", "-out", str(path)]
    subprocess.run([*command, "-passout", f"pass:{passphrase.decode()}"], input=plain, check=True)
    path.chmod(0o600)
    assert keyfile.load(path, lambda: passphrase).public_key.scheme == "ed25519"
