"""A waiver admits one late bundle, and nothing else: attacks 20 and 30."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from teams import Team, offer
from termed import TermedDepot, waived

from sealift.digest import sha256
from sealift.errors import MalformedError, SealiftError, TrustError
from sealift.strict_json import canonical
from sealift.trust import Trust, anchor, refresh
from sealift.waiver import DAYS_MAX, WAIVER_MAX
from tests.tufmaker import NOW, PAST, Depot, Tree, dump, key_id, load, signer, target

FILES = {"releases/shop/1.0.0.json": target(b"{}")}
LATE = {"timestamp": PAST, "snapshot": PAST, "targets": PAST}


@pytest.fixture(scope="module")
def depot() -> TermedDepot:
    """A depot of which two of three holders may waive."""
    return TermedDepot(holders=[signer(), signer(), signer()], needed=2)


@pytest.fixture(scope="module")
def enrolled(depot: TermedDepot) -> Trust:
    """Trust in its first root."""
    root = depot.root()
    return anchor(root, sha256(root), reference=NOW)


@pytest.fixture(scope="module")
def late(depot: TermedDepot) -> dict[str, bytes]:
    """An offer of which everything but the root has expired."""
    return depot.offer(7, files=FILES, expires=LATE)


def _refused(
    trust: Trust, offered: dict[str, bytes], waiver: bytes, match: str, kind: type[SealiftError] = TrustError
) -> None:
    with pytest.raises(kind, match=match) as caught:
        refresh(trust, offered, reference=NOW, waiver=waiver, site="plant-7")
    assert type(caught.value) is kind


def test_a_late_offer_is_refused_without_a_waiver(enrolled: Trust, late: dict[str, bytes]) -> None:
    """20: the message has both dates, and the hint the two remedies."""
    with pytest.raises(TrustError, match="expired on 2026-05-01, and it is 2026-11-22 here") as caught:
        refresh(enrolled, late, reference=NOW)
    assert "fresh export" in (caught.value.hint or "")
    assert "sealift-keys waive" in (caught.value.hint or "")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_a_waiver_admits_a_late_offer(depot: TermedDepot, enrolled: Trust, role: str) -> None:
    """Whichever role has expired, two of three holders let it pass, and it is known who did."""
    offered = depot.offer(7, files=FILES, expires={role: PAST})
    content = waived(offered["timestamp.json"], depot.holders[:2])
    result = refresh(enrolled, offered, reference=NOW, waiver=content)
    assert set(result.targets) == set(FILES)
    assert result.waiver is not None
    assert result.waiver.waiver.reason == "the ship was late"
    assert result.waiver.sha256 == sha256(content)
    assert set(result.waiver.signers) == {key_id(key) for key in depot.holders[:2]}


def test_a_waiver_admits_a_teams_late_metadata(depot: TermedDepot, enrolled: Trust) -> None:
    """Delegated metadata is waived with the rest."""
    team = Team()
    offered = offer(depot, 7, teams={team: team.targets(1, expires=PAST)})
    content = waived(offered["timestamp.json"], depot.holders)
    assert refresh(enrolled, offered, reference=NOW, waiver=content).waiver is not None


def test_a_waiver_that_is_not_needed_is_not_used(depot: TermedDepot, enrolled: Trust) -> None:
    """For an offer in time it is checked, and counts for nothing."""
    offered = depot.offer(7)
    content = waived(offered["timestamp.json"], depot.holders)
    assert refresh(enrolled, offered, reference=NOW, waiver=content).waiver is None
    with pytest.raises(TrustError, match="signed by 0 of the 2"):
        refresh(enrolled, offered, reference=NOW, waiver=waived(offered["timestamp.json"], []))


def test_metadata_that_ends_this_second_needs_the_waiver(depot: TermedDepot, enrolled: Trust) -> None:
    """The very second of expiry is late, and the waiver that admits it is recorded."""
    offered = depot.offer(7, expires={"targets": f"{NOW:%Y-%m-%dT%H:%M:%SZ}"})
    content = waived(offered["timestamp.json"], depot.holders)
    assert refresh(enrolled, offered, reference=NOW, waiver=content).waiver is not None


def test_an_expired_root_is_never_waived(depot: TermedDepot, enrolled: Trust) -> None:
    """20: nobody waives the root's own end."""
    offered = depot.offer(7, expires=LATE, roots={2: depot.root(2, expires=PAST)})
    _refused(enrolled, offered, waived(offered["timestamp.json"], depot.holders), "the root expired on 2026-05-01")


def test_a_waived_offer_is_not_rolled_back_to(depot: TermedDepot, enrolled: Trust, late: dict[str, bytes]) -> None:
    """19: a waiver waives no version."""
    trust = refresh(enrolled, depot.offer(9), reference=NOW).trust
    _refused(trust, late, waived(late["timestamp.json"], depot.holders), r"timestamp 7, the site has 9")


def test_a_waived_offer_still_needs_its_signatures(depot: TermedDepot, enrolled: Trust) -> None:
    """1: a waiver waives no signature."""
    offered = depot.offer(7, expires=LATE)
    offered["timestamp.json"] = dump({**load(offered["timestamp.json"]), "signatures": []})
    _refused(enrolled, offered, waived(offered["timestamp.json"], depot.holders), "not signed by the keys")


# Forged and replayed


@pytest.mark.parametrize("signers", [0, 1])
def test_too_few_holders_waive_nothing(
    depot: TermedDepot, enrolled: Trust, late: dict[str, bytes], signers: int
) -> None:
    """30: fewer signatures than the role's threshold are not enough."""
    content = waived(late["timestamp.json"], depot.holders[:signers])
    _refused(enrolled, late, content, f"signed by {signers} of the 2 keys")


def test_other_keys_waive_nothing(depot: TermedDepot, enrolled: Trust, late: dict[str, bytes]) -> None:
    """30: neither strangers nor the root's or the online keys count."""
    others = [signer(), depot.keys["root"][0], depot.keys["timestamp"][0], depot.holders[0]]
    _refused(enrolled, late, waived(late["timestamp.json"], others), "signed by 1 of the 2 keys")


def test_a_forged_signature_is_named(depot: TermedDepot, enrolled: Trust, late: dict[str, bytes]) -> None:
    """30: a holder's signature over another waiver is not good here, though enough others are."""
    tree = load(waived(late["timestamp.json"], depot.holders))
    other = load(waived(late["timestamp.json"], depot.holders, reason="another"))
    tree["signatures"][0] = other["signatures"][0]
    _refused(enrolled, late, canonical(tree), "bears a signature of .* that is not good")


def test_one_holder_does_not_count_twice(depot: TermedDepot, enrolled: Trust, late: dict[str, bytes]) -> None:
    """3, 30: the same key id twice is refused."""
    tree = load(waived(late["timestamp.json"], depot.holders[:1]))
    tree["signatures"] *= 2
    _refused(enrolled, late, canonical(tree), "signed twice under one key id")


def test_a_root_without_the_role_waives_nothing(late: dict[str, bytes]) -> None:
    """30: where the root names nobody, nobody may."""
    plain = Depot()
    root = plain.root()
    trust = anchor(root, sha256(root), reference=NOW)
    offered = plain.offer(7, expires=LATE)
    _refused(trust, offered, waived(offered["timestamp.json"], [signer()]), "root 1 lets nobody waive")


def test_a_revoked_holder_waives_nothing(depot: TermedDepot, enrolled: Trust) -> None:
    """9, 30: the newest root decides, also the one that comes with the bundle."""
    after = TermedDepot(keys=depot.keys, holders=[signer()])
    offered = depot.offer(7, expires=LATE, roots={2: after.root(2)})
    _refused(enrolled, offered, waived(offered["timestamp.json"], depot.holders), "signed by 0 of the 1 keys")
    fresh = waived(offered["timestamp.json"], after.holders)
    assert refresh(enrolled, offered, reference=NOW, waiver=fresh).waiver is not None


def test_a_waiver_of_another_bundle_is_refused(depot: TermedDepot, enrolled: Trust, late: dict[str, bytes]) -> None:
    """30: another version, or another content of the same version, is not what was waived."""
    older = depot.offer(6, expires=LATE)
    _refused(enrolled, late, waived(older["timestamp.json"], depot.holders), "for another bundle: it names timestamp 6")
    twin = depot.offer(7, expires=LATE)
    _refused(enrolled, late, waived(twin["timestamp.json"], depot.holders), "for another bundle: it names timestamp 7")


def test_a_waiver_ends(depot: TermedDepot, enrolled: Trust, late: dict[str, bytes]) -> None:
    """30: a waiver that is replayed after its end counts no more, to the second."""
    content = waived(late["timestamp.json"], depot.holders, issued=NOW - timedelta(days=3), days=3)
    _refused(enrolled, late, content, "the waiver expired at 2026-11-22T09:30:00Z")
    just = refresh(enrolled, late, reference=NOW - timedelta(seconds=1), waiver=content)
    assert just.waiver is not None


@pytest.mark.parametrize("days", [DAYS_MAX, 1 / 86400])
def test_a_waiver_lives_as_long_as_it_may(
    depot: TermedDepot, enrolled: Trust, late: dict[str, bytes], days: float
) -> None:
    """Ninety days to the second, and one second, are in order."""
    content = waived(late["timestamp.json"], depot.holders, days=days)
    assert refresh(enrolled, late, reference=NOW, waiver=content).waiver is not None


def test_a_waiver_begins(depot: TermedDepot, enrolled: Trust, late: dict[str, bytes]) -> None:
    """30: a waiver of tomorrow does not count today."""
    content = waived(late["timestamp.json"], depot.holders, issued=NOW + timedelta(seconds=1))
    _refused(enrolled, late, content, "not valid before 2026-11-22T09:30:01Z")
    assert refresh(enrolled, late, reference=NOW + timedelta(seconds=1), waiver=content).waiver is not None


def test_a_waiver_of_another_site_is_refused(depot: TermedDepot, enrolled: Trust, late: dict[str, bytes]) -> None:
    """30, 34: a waiver for one site is for no other, and not for one without a name."""
    content = waived(late["timestamp.json"], depot.holders, site="plant-9")
    _refused(enrolled, late, content, "for the site plant-9, and this one is called plant-7")
    with pytest.raises(TrustError, match="this one is called nothing"):
        refresh(enrolled, late, reference=NOW, waiver=content)
    assert refresh(enrolled, late, reference=NOW, waiver=content, site="plant-9").waiver is not None


HOSTILE: dict[str, tuple[Tree, str]] = {
    "longer than allowed": ({"expires": "2027-02-20T09:30:01Z"}, f"not between 0 and {DAYS_MAX} days"),
    "no time at all": ({"expires": "2026-11-22T09:30:00Z"}, f"not between 0 and {DAYS_MAX} days"),
    "backwards": ({"expires": "2026-11-21T09:30:00Z"}, f"not between 0 and {DAYS_MAX} days"),
    "no such day": ({"issued": "2026-02-30T00:00:00Z"}, "no time"),
    "another type": ({"_type": "timestamp"}, "not valid"),
    "another version": ({"spec_version": "2.0"}, "not valid"),
    "an unknown field": ({"also": 1}, "unknown field `also`"),
    "no reason": ({"reason": ""}, "not valid"),
    "a long reason": ({"reason": "x" * 501}, "not valid"),
    "a reason of escapes": ({"reason": "\x1b[2J"}, "not printable"),
    "a reason with other spaces": ({"reason": "a\u00a0b"}, "not printable"),
    "a reason read backwards": ({"reason": "a\u202eb"}, "not printable"),
    "no timestamp": ({"timestamp": None}, "not valid"),
    "a stamp without a digest": ({"timestamp": {"version": 7}}, "not valid"),
    "a boolean as version": ({"timestamp": {"version": True, "sha256": "0" * 64}}, "not valid"),
    "a site with a path": ({"site": "../x"}, "no valid name"),
    "an empty site": ({"site": ""}, "no valid name"),
}


@pytest.mark.parametrize(("changes", "match"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_waiver_without_its_form_is_refused(
    depot: TermedDepot, enrolled: Trust, late: dict[str, bytes], changes: Tree, match: str
) -> None:
    """36 to 42: what is signed must still be a waiver."""
    content = waived(late["timestamp.json"], depot.holders, changes=changes)
    _refused(enrolled, late, content, match, MalformedError)


SPOILT: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a doubled key": (lambda c: c.replace(b'"reason"', b'"reason":"x","reason"'), "stands twice"),
    "an unsigned field": (lambda c: c[:-1] + b',"zz":1}', "unknown field `zz`"),
    "white space": (lambda c: c.replace(b":", b": ", 1), "not in canonical form"),
    "a newline": (lambda c: c + b"\n", "not in canonical form"),
    "an escape": (lambda c: c.replace(b"ship", b"\\u0073hip"), "not in canonical form"),
    "a byte-order mark": (lambda c: b"\xef\xbb\xbf" + c, "byte-order mark"),
    "too long": (lambda c: c + b" " * WAIVER_MAX, "more than the"),
    "nesting": (lambda c: b"[" * 9000, "levels deep"),
    "capital digits": (lambda c: c.replace(b'"sig":"', b'"sig":"AB'), "not valid"),
    "cut": (lambda c: c[:-5], "not valid json"),
    "empty": (lambda c: b"", "not valid json"),
}


@pytest.mark.parametrize(("change", "match"), SPOILT.values(), ids=SPOILT.keys())
def test_a_waiver_that_is_not_strict_is_refused(
    depot: TermedDepot, enrolled: Trust, late: dict[str, bytes], change: Callable[[bytes], bytes], match: str
) -> None:
    """36, 37, 39, 42: a waiver has one form, to the byte."""
    content = change(waived(late["timestamp.json"], depot.holders))
    _refused(enrolled, late, content, match, MalformedError)


def test_no_flipped_bit_of_a_waiver_passes(depot: TermedDepot, enrolled: Trust, late: dict[str, bytes]) -> None:
    """76: every byte of a waiver with as many signatures as needed counts."""
    content = waived(late["timestamp.json"], depot.holders[:2])
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << (position % 8)
        with pytest.raises((MalformedError, TrustError)):
            refresh(enrolled, late, reference=NOW, waiver=bytes(flipped))
