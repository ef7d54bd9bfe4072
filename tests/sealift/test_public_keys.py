"""Which public keys are acceptable, and that a hybrid holds only with both halves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import CryptoSigner, Signature

from keys.hybrid_signer import HybridSigner
from sealift.digest import sha256
from sealift.errors import MalformedError, TrustError
from sealift.public_keys import SINCE, key_id, parts
from sealift.trust import anchor, refresh
from tests.tufmaker import NOW, Depot, dump, seal, signature


def _hybrid() -> HybridSigner:
    return HybridSigner(Ed25519PrivateKey.generate(), MLDSA65PrivateKey.generate())


def _makers() -> list[Any]:
    return [
        CryptoSigner.generate_ed25519,
        CryptoSigner.generate_ecdsa,
        lambda: CryptoSigner.generate_ecdsa(scheme="ecdsa-sha2-nistp384"),
        CryptoSigner.generate_mldsa,
        _hybrid,
    ]


@pytest.mark.parametrize("make", _makers())
def test_a_site_follows_every_kind_of_key(make: Any) -> None:
    """Each kind can hold every role, and a new root of one hands over to the next."""
    depot = Depot(keys={role: [make()] for role in ("root", "timestamp", "snapshot", "targets")})
    root = depot.root()
    trust = anchor(root, sha256(root), reference=NOW)
    after = depot.rotated("root", "targets")
    refreshed = refresh(trust, after.offer(2, roots={2: after.root(2, former=depot)}), reference=NOW)
    assert refreshed.root_version == 2


def test_every_kind_is_tried() -> None:
    """The kinds that are made here are all that there are."""
    keys = [make().public_key for make in _makers()]
    assert {(key.keytype, key.scheme) for key in keys} == set(SINCE)


def test_a_hybrid_verifies_what_it_signed() -> None:
    """Both halves verify, and the key id is the digest of the key."""
    signer = _hybrid()
    key = signer.public_key
    key.verify_signature(signer.sign(b"data"), b"data")
    assert key.keyid == key_id(key.keytype, key.scheme, key.keyval)


@pytest.mark.parametrize("half", ["first", "second"])
@pytest.mark.parametrize("how", ["stripped", "zeroed", "another key's", "of other data"])
def test_half_of_a_hybrid_is_not_enough(half: str, how: str) -> None:
    """Attack 11: a hybrid signature with one good half is refused, whatever stands for the other."""
    signer = _hybrid()
    made = bytes.fromhex(signer.sign(b"data").signature)
    other = bytes.fromhex((_hybrid().sign(b"data") if how == "another key's" else signer.sign(b"other")).signature)
    bad = {"stripped": b"", "zeroed": bytes(len(made))}.get(how, other)
    forged = made[:64] + bad[64:] if half == "second" else bad[:64] + made[64:]
    with pytest.raises(UnverifiedSignatureError):
        signer.public_key.verify_signature(Signature(signer.public_key.keyid, forged.hex()), b"data")


def test_half_of_a_hybrid_verifies_under_no_other_key() -> None:
    """Attack 11: a half that is taken out is no signature of the plain key that it was made with."""
    private = Ed25519PrivateKey.generate()
    signer = HybridSigner(private, MLDSA65PrivateKey.generate())
    half = signer.sign(b"data").signature[:128]
    plain = CryptoSigner(private).public_key
    plain.verify_signature(CryptoSigner(private).sign(b"data"), b"data")
    with pytest.raises(UnverifiedSignatureError):
        plain.verify_signature(Signature(plain.keyid, half), b"data")


def test_a_root_signed_by_half_a_hybrid_is_refused() -> None:
    """Attack 11: a site that trusts a hybrid root key admits no root that only its Ed25519 half signed."""
    signer = _hybrid()
    depot = replace(Depot(), keys={**Depot().keys, "root": [signer]})
    tree = depot.root_tree()
    good = signature(tree, signer)
    half = dump({"signatures": [{**good, "sig": good["sig"][:128]}], "signed": tree})
    with pytest.raises(TrustError, match="not signed by"):
        anchor(half, sha256(half), reference=NOW)
    whole = seal(tree, [signer])
    anchor(whole, sha256(whole), reference=NOW)


def test_two_keys_that_share_a_half_are_one_key() -> None:
    """Attack 4: a hybrid and the plain key of one of its halves would count twice toward a threshold."""
    private = Ed25519PrivateKey.generate()
    keys = [CryptoSigner(private), HybridSigner(private, MLDSA65PrivateKey.generate())]
    depot = Depot()
    depot = replace(depot, keys={**depot.keys, "root": keys}, thresholds={**depot.thresholds, "root": 2})
    root = depot.root()
    with pytest.raises(TrustError, match="one public key under two key ids"):
        anchor(root, sha256(root), reference=NOW)


@pytest.mark.parametrize(
    ("keytype", "scheme"),
    [
        ("sealift-hybrid", "ed25519"),
        ("sealift-hybrid", "ml-dsa-65/1"),
        ("ed25519", "ed25519+ml-dsa-65/1"),
        ("ml-dsa", "ml-dsa-44/1"),
        ("ml-dsa", "ed25519+ml-dsa-65/1"),
        ("rsa", "rsassa-pss-sha256"),
        ("eddsa", "pgp+eddsa-ed25519"),
        ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
    ],
)
def test_a_type_or_scheme_that_was_swapped_is_refused(keytype: str, scheme: str) -> None:
    """Attacks 6 and 7: a key is of one of the known kinds as a whole; weak and legacy schemes are none."""
    public = _hybrid().public_key.keyval
    with pytest.raises(TrustError, match="does not accept"):
        parts(keytype, scheme, public, "ab" * 32, "it")


@pytest.mark.parametrize("make", _makers())
@pytest.mark.parametrize("other", _makers())
def test_a_key_is_of_no_other_kind_than_its_own(make: Any, other: Any) -> None:
    """Attack 6: the public key of one kind has not the form of another."""
    key, kind = make().public_key, other().public_key
    if (key.keytype, key.scheme) != (kind.keytype, kind.scheme):
        with pytest.raises(TrustError, match="is no"):
            parts(kind.keytype, kind.scheme, key.keyval, key.keyid, "it")


@pytest.mark.parametrize("keyval", [{}, {"public": 1}, {"public": "ab" * 2049}, {"public": "", "private": ""}])
def test_a_value_of_another_form_is_refused(keyval: dict[str, Any]) -> None:
    """A key value is one public key, of bounded length."""
    with pytest.raises(MalformedError, match=r"not one public key|an unknown field"):
        parts("ed25519", "ed25519", keyval, "ab" * 32, "it")


@pytest.mark.parametrize("make", _makers())
def test_the_letter_case_of_a_signature_or_key_makes_no_second_one(make: Any) -> None:
    """Attack 8: upper-case digits are refused in keys, and in signatures where metadata is read."""
    signer = make()
    key = signer.public_key
    depot = replace(Depot(), keys={**Depot().keys, "root": [signer]})
    tree = depot.root_tree()
    made = signature(tree, signer)
    root = dump({"signatures": [{**made, "sig": made["sig"].upper()}], "signed": tree})
    with pytest.raises(MalformedError, match="not valid tuf metadata"):
        anchor(root, sha256(root), reference=NOW)
    if key.scheme in ("ed25519", "ed25519+ml-dsa-65/1"):
        with pytest.raises(TrustError, match="is no"):
            parts(key.keytype, key.scheme, {"public": key.keyval["public"].upper()}, key.keyid, "it")
