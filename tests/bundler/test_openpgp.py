"""Checks of OpenPGP signatures: what documents that unpack without end may cost before a signature counts."""

from __future__ import annotations

import base64
import resource
import zlib
from pathlib import Path

import pytest
from gnupg import clear_signed, fingerprint

from bundler import openpgp
from sealift.errors import TrustError

SIZE = 2 << 30


@pytest.fixture(scope="module")
def packed() -> bytes:
    """A message of two megabytes that unpacks into `SIZE` bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = packer.compress(b"\xcb\xff" + (SIZE + 6).to_bytes(4, "big") + b"b" + bytes(5))
    head += packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    content = b"\1" + head + piece * (SIZE >> 20) + packer.flush()
    return b"\xc8\xff" + len(content).to_bytes(4, "big") + content


@pytest.fixture
def keys(gnupg: Path, tmp_path: Path) -> Path:
    """A keyring with one key."""
    return openpgp.keyring([gnupg / "good.pgp"], tmp_path)


def test_a_signed_text_is_what_was_signed(gnupg: Path, keys: Path, tmp_path: Path) -> None:
    """What gpgv writes is the text, and it says whose key signed it."""
    (tmp_path / "text").write_bytes(clear_signed(gnupg, b"hello\n"))
    found = openpgp.check_clear(tmp_path / "text", keys, tmp_path / "signed", "it")
    assert found == (fingerprint(gnupg),)
    assert (tmp_path / "signed").read_bytes() == b"hello\n"


def test_a_packed_message_is_no_signed_text(keys: Path, packed: bytes, tmp_path: Path) -> None:
    """67: what would unpack onto the disk is refused before it does."""
    (tmp_path / "text").write_bytes(packed)
    with pytest.raises(TrustError, match="no text with an OpenPGP signature around it"):
        openpgp.check_clear(tmp_path / "text", keys, tmp_path / "signed", "it")
    assert not (tmp_path / "signed").exists()


def test_gpgv_writes_no_more_than_the_document_holds(keys: Path, packed: bytes, tmp_path: Path) -> None:
    """67: a message that unpacks into more ends the check, however it is wrapped."""
    signed = tmp_path / "signed"
    (tmp_path / "text").write_bytes(packed)
    assert not openpgp._run(["--output", str(signed), str(tmp_path / "text")], keys, 1 << 20)
    assert signed.stat().st_size <= 1 << 20


def test_a_check_ends_in_time(keys: Path, packed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """67: a signature that is packed data costs the allowed time and no more."""
    monkeypatch.setattr(openpgp, "SECONDS_MAX", 1)
    (tmp_path / "content").write_bytes(b"hello\n")
    armour = base64.encodebytes(packed)
    (tmp_path / "sig").write_bytes(b"-----BEGIN PGP SIGNATURE-----\n\n" + armour + b"-----END PGP SIGNATURE-----\n")
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    with pytest.raises(TrustError, match="no good signature"):
        openpgp.check_detached(tmp_path / "content", tmp_path / "sig", keys, "it")
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 2
