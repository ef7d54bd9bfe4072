"""A root never names a key that an enrolled site could not read."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from office import Office, rule
from securesystemslib.signer import CryptoSigner

from keys import depot as depots
from keys.clients import parse
from keys.hybrid_signer import HybridSigner
from sealift.errors import MalformedError, PolicyError, UsageError


@pytest.fixture
def office(tmp_path: Path, now: datetime) -> Office:
    """A depot with one root key."""
    return Office.open(tmp_path / "depot", now, root_keys=1, threshold=1)


def _young() -> list[Any]:
    return [CryptoSigner.generate_mldsa(), HybridSigner(Ed25519PrivateKey.generate(), MLDSA65PrivateKey.generate())]


@pytest.mark.parametrize("signer", _young(), ids=["ml-dsa", "hybrid"])
@pytest.mark.parametrize("role", ["root", "online", "waiver", "team-a"])
def test_a_key_that_a_site_cannot_read_is_refused_and_the_site_named(office: Office, signer: Any, role: str) -> None:
    """Attack 12: a site with an old sealift would be lost; once it is newer, the key may be used."""
    depots.note(office.depot, clients={"plant-7": "0.1.0", "ship-3": "0.2.0"})
    office.know(signer)

    def change() -> None:
        if role == "team-a":
            office.delegate("team-a", [signer])
        else:
            office.change(lambda line: line.having(role, rule([signer], 1)))

    with pytest.raises(PolicyError, match=r"^plant-7 \(0.1.0\) could not read a key of the kind ") as caught:
        change()
    assert "sealift-keys clients plant-7=0.2.0" in (caught.value.hint or "")
    assert office.state.root.version == 1
    depots.note(office.depot, clients={"plant-7": "0.2.0", "ship-3": "1.0.0"})
    change()
    assert office.bundle()


def test_without_any_known_site_a_young_kind_waits(office: Office) -> None:
    """Attack 12: what nobody noted is not taken for new enough."""
    with pytest.raises(PolicyError, match="no site's version is known"):
        office.change(lambda line: line.having("waiver", rule(_young()[:1], 1)))


def test_a_kind_that_every_sealift_reads_needs_no_note(office: Office) -> None:
    """ECDSA was there from the beginning."""
    key = office.know(CryptoSigner.generate_ecdsa(scheme="ecdsa-sha2-nistp384"))
    office.change(lambda line: line.having("online", rule([key], 1)))
    assert office.line.online.ids == (key.public_key.keyid,)


def test_a_request_is_checked_again_when_it_is_published(office: Office) -> None:
    """A site that was noted while holders signed still counts."""
    depots.note(office.depot, clients={"plant-7": "0.2.0"})
    key = office.know(_young()[0])
    request = office.signed(office.propose(office.line.having("online", rule([key], 1))))
    depots.note(office.depot, clients={"plant-7": "0.1.0"})
    with pytest.raises(PolicyError, match="plant-7"):
        office.publish(request)


def test_versions_are_read(office: Office) -> None:
    """A site's name and three numbers."""
    assert parse(["plant-7=0.2.0", "ship.3=10.0.1"]) == {"plant-7": "0.2.0", "ship.3": "10.0.1"}


@pytest.mark.parametrize("text", ["plant-7", "plant-7=", "plant-7=new", "plant-7=0.2", "plant-7=0.2.0-rc1", "=0.2.0"])
def test_other_words_are_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises((UsageError, MalformedError)):
        parse([text])
