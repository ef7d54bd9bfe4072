"""Keys in PKCS#11 tokens: SoftHSM2 with two of them, opened through `securesystemslib` as any other place."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from told import Told

from keys import depot as depots
from keys.ceremony import Prepared, prepare
from keys.pending import held
from keys.places import open_signer
from keys.public import Public, encode, read
from keys.publishing import publish_request
from keys.repository import online_signer, publish, verify
from keys.request import Request
from sealift.errors import TrustError

PIN = "123456"
TOLD = Told(PIN.encode())
LIBRARIES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm.so", "/usr/lib64/pkcs11/libsofthsm2.so")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tokens, `root-a` with keys on P-256 and P-384, and `root-b` with another key under the same id."""
    library = next((path for path in LIBRARIES if os.path.exists(path)), None)
    if library is None or not shutil.which("pkcs11-tool"):
        pytest.skip("missing: softhsm2, opensc")
    pytest.importorskip("pkcs11")
    folder = tmp_path_factory.mktemp("hsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    os.environ.update(SOFTHSM2_CONF=str(folder / "softhsm2.conf"), PYKCS11LIB=library)
    for label in ("root-a", "root-b"):
        _run("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "12345678")
        for number, curve in (("02", "prime256v1"), ("03", "secp384r1")):
            login = ("--module", library, "--token-label", label, "--login", "--pin", PIN)
            _run("pkcs11-tool", *login, "--keypairgen", "--key-type", f"EC:{curve}", "--id", number)
    return folder


def _place(label: str, number: int = 2) -> str:
    return f"hsm:{number}?label={quote(label)}"


def _public(place: str) -> Public:
    return Public(key=open_signer(place, None, TOLD).public_key, place=place)


@pytest.fixture
def waiting(tokens: Path, tmp_path: Path, now: datetime) -> tuple[Prepared, Request]:
    """A depot whose root key and online key live in token `root-a`, and the request for its first root."""
    made = prepare(
        tmp_path / "depot",
        root_keys=[_public(_place("root-a"))],
        threshold=1,
        passphrase=None,
        now=now,
        online=_public(_place("root-a", 3)),
        unsafe_unencrypted=True,
    )
    return made, held(made.depot)[0]


@pytest.mark.parametrize(("number", "scheme"), [(2, "ecdsa-sha2-nistp256"), (3, "ecdsa-sha2-nistp384")])
def test_a_token_signs(tokens: Path, number: int, scheme: str) -> None:
    """The public key comes from the token without its PIN, and what it signs verifies."""
    asked = Told()
    key = open_signer(_place("root-a", number), None, asked).public_key
    assert asked.asked == []
    assert key.scheme == scheme
    signer = open_signer(_place("root-a", number), key, TOLD)
    key.verify_signature(signer.sign(b"data"), b"data")


def test_a_depot_lives_with_its_keys_in_a_token(
    waiting: tuple[Prepared, Request], addition: Callable[..., Any], now: datetime
) -> None:
    """The first root and a publication are signed in the token; `depot.json` names the place, and no secret."""
    made, request = waiting
    request = request.sign(open_signer(_place("root-a"), None, TOLD))
    signer_for = online_signer(made.depot, TOLD)
    publish_request(made.depot, request, signer_for=signer_for, now=now)
    publish(made.depot, addition(), signer_for=signer_for, now=now, published=now)
    assert [entry.version for entry in verify(made.depot).entries] == ["1.0.0"]
    settings = (made.depot / "depot.json").read_text()
    assert _place("root-a", 3) in settings
    assert PIN not in settings
    assert list((made.depot / "keys").iterdir()) == []


def test_the_pin_is_asked_for_once(waiting: tuple[Prepared, Request], now: datetime) -> None:
    """Targets, snapshot and timestamp are three signatures, and one question."""
    made, request = waiting
    pin = Told(PIN.encode())
    request = request.sign(open_signer(_place("root-a"), None, TOLD))
    publish_request(made.depot, request, signer_for=online_signer(made.depot, pin), now=now)
    assert pin.asked == [f"{_place('root-a', 3)} (PIN)"]


def test_a_wrong_pin_signs_nothing_and_is_tried_once(waiting: tuple[Prepared, Request]) -> None:
    """Attack 14: a wrong PIN is named, is not tried again by itself, and the hint warns of the lock."""
    _, request = waiting
    wrong = Told(b"999999")
    with pytest.raises(TrustError, match="the PIN is wrong") as caught:
        request.sign(open_signer(_place("root-a"), None, wrong))
    assert len(wrong.asked) == 1
    assert "locks itself" in (caught.value.hint or "")


def test_a_wrong_slot_is_no_signer(waiting: tuple[Prepared, Request]) -> None:
    """Attack 13: the key that another token holds under the same id may not sign."""
    _, request = waiting
    with pytest.raises(TrustError, match="may not sign root-1"):
        request.sign(open_signer(_place("root-b"), None, TOLD))


def test_a_wrong_slot_that_signs_silently_is_noticed(waiting: tuple[Prepared, Request], tmp_path: Path) -> None:
    """Attack 13: a key file that names the wrong token signs without an error, with another key: this is refused."""
    _, request = waiting
    file = tmp_path / "a.json"
    file.write_bytes(encode(replace(_public(_place("root-a")), place=_place("root-b"))))
    public = read(file)
    assert public.place is not None
    signer = open_signer(public.place, public.key, TOLD)
    signer.sign(b"the token itself does not complain")
    with pytest.raises(TrustError, match="does not verify"):
        request.sign(signer)


def test_an_online_key_in_the_wrong_slot_publishes_nothing(waiting: tuple[Prepared, Request], now: datetime) -> None:
    """Attack 13: the depot's first root is not published where its online token was exchanged."""
    made, request = waiting
    keyid = next(iter(request.next_root.roles["timestamp"].keyids)) if request.next_root else ""
    depots.note(made.depot, places={keyid: _place("root-b", 3)})
    request = request.sign(open_signer(_place("root-a"), None, TOLD))
    with pytest.raises(TrustError, match="does not verify"):
        publish_request(made.depot, request, signer_for=online_signer(made.depot, TOLD), now=now)
    assert list((made.depot / "metadata").iterdir()) == []


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("hsm:2?label=nowhere", "no PKCS#11 token found|No PKCS#11 token found"),
        ("hsm:9?label=root-a", "could not find ECDSA key"),
        ("hsm:x?label=root-a", "does not open"),
    ],
)
def test_a_place_without_a_key_is_named(tokens: Path, place: str, words: str) -> None:
    """A token or a key that is not there is said, with the place."""
    with pytest.raises(TrustError, match=words):
        open_signer(place, None, TOLD)


def test_without_the_tokens_library_the_hint_names_the_variable(tokens: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PYKCS11LIB is what is missing."""
    monkeypatch.delenv("PYKCS11LIB")
    with pytest.raises(TrustError) as caught:
        open_signer(_place("root-a"), None, TOLD)
    assert "PYKCS11LIB=" in (caught.value.hint or "")
