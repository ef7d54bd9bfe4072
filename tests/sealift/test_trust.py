"""Trust moves forward by what is signed, fresh and newer, and by nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sealift.digest import sha256
from sealift.errors import MalformedError, SealiftError, TrustError, UsageError
from sealift.trust import ROTATIONS_MAX, Trust, Versions, anchor, check_fingerprint, refresh
from sealift.tuf_rules import CAPS
from tests.tufmaker import (
    FUTURE,
    NOW,
    PAST,
    ROLES,
    Depot,
    Tree,
    dump,
    ecdsa_signer,
    key_tree,
    load,
    seal,
    signature,
    signer,
    target,
)

FILES = {"releases/shop/1.0.0.json": target(b"{}", custom={"sealift": {"type": "release"}})}


@pytest.fixture
def depot() -> Depot:
    """A depot with one key a role."""
    return Depot()


@pytest.fixture
def enrolled(depot: Depot) -> Trust:
    """Trust in the first root of `depot`."""
    return _anchored(depot.root())


def _anchored(root: bytes) -> Trust:
    return anchor(root, sha256(root), reference=NOW)


def _after(trust: Trust, offered: Mapping[str, bytes]) -> Trust:
    return refresh(trust, offered, reference=NOW).trust


def _refused_root(tree: Tree, depot: Depot, kind: type[SealiftError], match: str) -> None:
    root = seal(tree, depot.keys["root"])
    with pytest.raises(kind, match=match):
        _anchored(root)


def _refused(trust: Trust, offered: Mapping[str, bytes], match: str, kind: type[SealiftError] = TrustError) -> None:
    with pytest.raises(kind, match=match) as caught:
        refresh(trust, offered, reference=NOW)
    assert type(caught.value) is kind
    assert caught.value.message[0].islower() or caught.value.message[0].isdigit()
    assert not caught.value.message.endswith(".")


# Enrolment


def test_an_anchor_is_the_root_byte_for_byte(depot: Depot) -> None:
    """Trust begins with exactly the bytes whose fingerprint was given."""
    root = depot.root()
    assert anchor(root, sha256(root), reference=NOW) == Trust(roots=(root,))


@pytest.mark.parametrize(
    "shape", [str.upper, "SHA256:{}".format, lambda text: ":".join(text[i : i + 2] for i in range(0, 64, 2))]
)
def test_a_fingerprint_may_be_grouped_and_in_any_case(depot: Depot, shape: Callable[[str], str]) -> None:
    """How a person writes the fingerprint down makes no difference."""
    root = depot.root()
    check_fingerprint(root, shape(sha256(root)) + "\n")


def test_a_wrong_fingerprint_is_refused_before_the_root_is_parsed() -> None:
    """What is not the announced root is not even read as JSON."""
    with pytest.raises(TrustError, match="another fingerprint"):
        anchor(b"no json at all", sha256(b"the root"), reference=NOW)


def test_a_fingerprint_that_is_cut_short_is_a_usage_error(depot: Depot) -> None:
    """A prefix of a fingerprint does not count."""
    root = depot.root()
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        anchor(root, sha256(root)[:40], reference=NOW)


def test_a_root_that_did_not_sign_itself_is_no_anchor(depot: Depot) -> None:
    """A root must bear its own threshold of signatures, fingerprint or not."""
    root = seal(depot.root_tree(), [signer()])
    with pytest.raises(TrustError, match="not signed by the keys"):
        _anchored(root)


def test_an_expired_root_is_no_anchor(depot: Depot) -> None:
    """Enrolment refuses a root whose time is over."""
    with pytest.raises(TrustError, match="the root expired on 2026-05-01, and it is 2026-11-22 here"):
        _anchored(depot.root(expires=PAST))


def test_a_later_root_can_be_the_anchor(depot: Depot) -> None:
    """A site may be enrolled with root 3, and an offer's older roots are then passed over."""
    trust = _anchored(depot.root(3))
    result = refresh(trust, depot.offer(roots={1: depot.root(1), 3: depot.root(3)}), reference=NOW)
    assert result.root_version == 3


# What is admitted


def test_a_first_offer_becomes_trust(depot: Depot, enrolled: Trust) -> None:
    """An offer in order yields its versions, its expiry, its targets and the trust to store."""
    offered = depot.offer(7, files=FILES)
    result = refresh(enrolled, offered, reference=NOW)
    assert result.versions == Versions(root=1, timestamp=7, snapshot=7, targets=7)
    assert (result.timestamp_version, result.snapshot_version, result.targets_version) == (7, 7, 7)
    assert f"{result.expires:%Y-%m-%dT%H:%M:%SZ}" == FUTURE
    assert result.trust == Trust(
        roots=enrolled.roots,
        timestamp=offered["timestamp.json"],
        snapshot=offered["7.snapshot.json"],
        targets=offered["7.targets.json"],
    )
    found = result.target("releases/shop/1.0.0.json")
    assert found is not None
    assert (found.length, found.sha256) == (2, sha256(b"{}"))
    assert found.custom == {"sealift": {"type": "release"}}
    assert result.target("releases/shop/2.0.0.json") is None


def test_the_same_offer_twice_changes_nothing(depot: Depot, enrolled: Trust) -> None:
    """Importing the same bundle again leaves the same trust."""
    offered = depot.offer(7)
    trust = _after(enrolled, offered)
    assert _after(trust, offered) == trust


def test_a_newer_offer_follows_an_older_one(depot: Depot, enrolled: Trust) -> None:
    """Versions may grow."""
    trust = _after(enrolled, depot.offer(7))
    assert refresh(trust, depot.offer(9), reference=NOW).timestamp_version == 9


def test_expired_metadata_that_is_trusted_does_not_stop_a_fresh_offer(depot: Depot, enrolled: Trust) -> None:
    """What the site holds may have expired: only the offer must be fresh."""
    trust = _after(enrolled, depot.offer(7, expires={"timestamp": "2026-11-23T00:00:00Z"}))
    assert refresh(trust, depot.offer(8), reference=NOW + timedelta(days=9)).timestamp_version == 8


def test_ecdsa_keys_count(depot: Depot) -> None:
    """A root may be signed with ECDSA on P-256."""
    mixed = replace(depot, keys={**depot.keys, "root": [ecdsa_signer()]})
    assert refresh(_anchored(mixed.root()), mixed.offer(), reference=NOW).root_version == 1


def test_a_chain_of_three_rotations_is_walked(depot: Depot, enrolled: Trust) -> None:
    """Each new root is signed by the one before it, and the whole chain is kept."""
    chain = [depot]
    for _ in range(3):
        chain.append(chain[-1].rotated("root", "timestamp"))
    roots = {n + 1: chain[n].root(n + 1, former=chain[n - 1] if n else None) for n in range(4)}
    result = refresh(enrolled, chain[-1].offer(roots=roots), reference=NOW)
    assert result.root_version == 4
    assert result.trust.roots == tuple(roots.values())


def test_a_root_in_the_middle_may_have_expired(depot: Depot, enrolled: Trust) -> None:
    """Only the last root of a chain must be fresh."""
    second, third = depot.root(2, expires=PAST), depot.root(3)
    assert refresh(enrolled, depot.offer(roots={2: second, 3: third}), reference=NOW).root_version == 3


def test_rotated_keys_keep_the_versions_going(depot: Depot, enrolled: Trust) -> None:
    """Trusted metadata that the new keys did not sign does not stand in the way of newer metadata."""
    trust = _after(enrolled, depot.offer(7))
    after = depot.rotated("timestamp", "snapshot", "targets")
    result = refresh(trust, after.offer(8, roots={2: after.root(2, former=depot)}), reference=NOW)
    assert result.versions == Versions(root=2, timestamp=8, snapshot=8, targets=8)


def test_new_keys_recover_from_versions_that_were_driven_too_far(depot: Depot, enrolled: Trust) -> None:
    """After a fast-forward to 2^53, a root with new online keys lets the versions begin again."""
    trust = _after(enrolled, depot.offer(2**53))
    after = depot.rotated("timestamp", "snapshot", "targets")
    result = refresh(trust, after.offer(8, roots={2: after.root(2, former=depot)}), reference=NOW)
    assert result.timestamp_version == 8


def test_new_keys_may_sign_a_version_again(depot: Depot, enrolled: Trust) -> None:
    """What the old keys signed under a version binds nobody once all online keys are new, and binds before that."""
    trust = _after(enrolled, depot.offer(7))
    _refused(trust, depot.offer(7, files=FILES), "another timestamp 7")
    after = depot.rotated("timestamp", "snapshot", "targets")
    result = refresh(trust, after.offer(7, files=FILES, roots={2: after.root(2, former=depot)}), reference=NOW)
    assert set(result.targets) == set(FILES)


def test_the_instant_of_its_expiry_ends_a_root(depot: Depot) -> None:
    """20: the second before it is admitted, and that second is not."""
    root = depot.root(expires=f"{NOW:%Y-%m-%dT%H:%M:%SZ}")
    assert anchor(root, sha256(root), reference=NOW - timedelta(seconds=1)).roots == (root,)
    with pytest.raises(TrustError, match="the root expired"):
        anchor(root, sha256(root), reference=NOW)


def test_signatures_added_to_a_known_root_do_no_harm(depot: Depot, enrolled: Trust) -> None:
    """The bytes of a known root may differ in its signatures, as long as it says the same."""
    more = load(depot.root())
    more["signatures"].append(signature(more["signed"], signer()))
    trust = _after(enrolled, depot.offer(roots={1: dump(more)}))
    assert trust.roots == enrolled.roots


# Keys and signatures


@pytest.mark.parametrize("role", ROLES[1:])
def test_stripped_signatures_are_refused(depot: Depot, enrolled: Trust, role: str) -> None:
    """Metadata without signatures counts for nothing."""
    offered = depot.offer(files=FILES)
    for name in offered:
        if role in name:
            offered[name] = dump({**load(offered[name]), "signatures": []})
    _refused(enrolled, offered, "not signed by the keys|not the .* that the rest of the bundle was signed with")


def test_a_stripped_timestamp_is_named(depot: Depot, enrolled: Trust) -> None:
    """The message says how many signatures there are, and the hint what to compare."""
    offered = depot.offer()
    offered["timestamp.json"] = dump({**load(offered["timestamp.json"]), "signatures": []})
    with pytest.raises(TrustError, match="0/1 keys") as caught:
        refresh(enrolled, offered, reference=NOW)
    assert "fingerprint" in (caught.value.hint or "")


def test_fewer_signatures_than_the_threshold_are_refused() -> None:
    """One of two needed signatures is not enough for a new root."""
    depot = Depot.with_root_keys(3, 2)
    trust = _anchored(depot.root())
    second = seal(depot.root_tree(2), depot.keys["root"][:1])
    _refused(trust, depot.offer(roots={2: second}), "1/2 keys")


def test_enough_signatures_suffice() -> None:
    """Two of three root keys sign a root whose threshold is two."""
    depot = Depot.with_root_keys(3, 2)
    second = seal(depot.root_tree(2), depot.keys["root"][1:])
    assert refresh(_anchored(depot.root()), depot.offer(roots={2: second}), reference=NOW).root_version == 2


def test_one_signature_under_two_places_counts_once() -> None:
    """The same key id twice among the signatures is refused, not counted twice."""
    depot = Depot.with_root_keys(2, 2)
    trust = _anchored(depot.root())
    tree = depot.root_tree(2)
    twice = [signature(tree, depot.keys["root"][0])] * 2
    _refused(
        trust, depot.offer(roots={2: dump({"signatures": twice, "signed": tree})}), "signed twice under one key id"
    )


def test_a_key_id_twice_in_a_role_is_refused(depot: Depot) -> None:
    """A role cannot reach its threshold by naming one key id twice."""
    tree = depot.root_tree()
    tree["roles"]["targets"] = {"keyids": tree["roles"]["targets"]["keyids"] * 2, "threshold": 2}
    _refused_root(tree, depot, TrustError, "counts a key id twice for the role targets")


def test_one_public_key_under_two_key_ids_is_refused(depot: Depot) -> None:
    """The library would count such a key twice toward a threshold."""
    tree = depot.root_tree()
    (only,) = tree["roles"]["targets"]["keyids"]
    tree["keys"]["0" * 64] = tree["keys"][only]
    tree["roles"]["targets"] = {"keyids": [only, "0" * 64], "threshold": 2}
    _refused_root(tree, depot, TrustError, "one public key under two key ids")


def test_one_public_key_in_two_spellings_is_refused(depot: Depot) -> None:
    """Another way to write the same PEM gives another key id, but no other key."""
    key = ecdsa_signer()
    tree = depot.root_tree()
    plain, bare = key_tree(key), key_tree(key)
    bare["keyval"]["public"] = bare["keyval"]["public"].rstrip("\n")
    tree["keys"] |= {_computed_id(plain): plain, _computed_id(bare): bare}
    _refused_root(tree, depot, TrustError, "one public key under two key ids")


def _computed_id(tree: Tree) -> str:
    from sealift.public_keys import key_id as computed

    return computed(tree["keytype"], tree["scheme"], tree["keyval"])


def test_a_key_id_that_is_not_its_keys_digest_is_refused(depot: Depot) -> None:
    """A key id must be what the library computes from the key."""
    tree = depot.root_tree()
    (only,) = tree["roles"]["targets"]["keyids"]
    tree["keys"]["ab" * 32] = tree["keys"].pop(only)
    tree["roles"]["targets"]["keyids"] = ["ab" * 32]
    _refused_root(tree, depot, TrustError, "key id that is not its key's digest")


@pytest.mark.parametrize("threshold", [0, 2])
def test_a_threshold_out_of_reach_is_refused(depot: Depot, threshold: int) -> None:
    """A threshold is at least one, and at most the number of keys."""
    tree = depot.root_tree()
    tree["roles"]["targets"]["threshold"] = threshold
    _refused_root(tree, depot, TrustError, f"asks for {threshold} of 1 keys for the role targets")


def test_a_negative_threshold_is_refused(depot: Depot) -> None:
    """Negative numbers have no place in metadata."""
    tree = depot.root_tree()
    tree["roles"]["targets"]["threshold"] = -1
    _refused_root(tree, depot, MalformedError, "not between 0 and 2\\^53")


def test_a_role_whose_key_is_not_there_is_refused(depot: Depot) -> None:
    """A role may only name keys that the root holds."""
    tree = depot.root_tree()
    tree["keys"].pop(tree["roles"]["targets"]["keyids"][0])
    _refused_root(tree, depot, TrustError, "names a key for the role targets that it does not hold")


@pytest.mark.parametrize(
    ("keytype", "scheme"),
    [
        ("rsa", "rsa-pkcs1v15-sha256"),
        ("ed25519", "ecdsa-sha2-nistp256"),
        ("ecdsa", "ecdsa-sha2-nistp521"),
        ("new", "x"),
    ],
)
def test_an_unknown_kind_of_key_is_refused_by_name(depot: Depot, keytype: str, scheme: str) -> None:
    """The message names the key type and scheme, and the hint those that are known."""
    tree = depot.root_tree()
    (only,) = tree["roles"]["targets"]["keyids"]
    tree["keys"][only] |= {"keytype": keytype, "scheme": scheme}
    _refused_root(tree, depot, TrustError, f"a key of the kind {keytype}/{scheme}")


def test_a_key_of_another_curve_than_its_scheme_is_refused(depot: Depot) -> None:
    """A P-256 key cannot pass as one for P-384."""
    tree = depot.root_tree()
    key = key_tree(ecdsa_signer()) | {"scheme": "ecdsa-sha2-nistp384"}
    tree["keys"][_computed_id(key)] = key
    _refused_root(tree, depot, TrustError, "no ecdsa-sha2-nistp384 key")


def test_a_strangers_root_is_refused(depot: Depot, enrolled: Trust) -> None:
    """A bundle of another depot is recognised by its first root."""
    stranger = Depot()
    _refused(enrolled, stranger.offer(roots={1: stranger.root()}), "root 1 is not the root 1 of this site")


def test_a_strangers_next_root_is_refused(depot: Depot, enrolled: Trust) -> None:
    """A new root needs the signatures of the root before it."""
    stranger = Depot()
    _refused(enrolled, stranger.offer(roots={2: stranger.root(2)}), "2.root.json is not signed by the keys")


def test_a_new_root_that_its_own_keys_did_not_sign_is_refused(depot: Depot, enrolled: Trust) -> None:
    """A new root needs its own signatures besides the former root's."""
    after = depot.rotated("root")
    second = seal(after.root_tree(2), depot.keys["root"])
    _refused(enrolled, after.offer(roots={2: second}), "2.root.json is not signed by the keys")


def test_a_revoked_key_signs_nothing_any_more(depot: Depot, enrolled: Trust) -> None:
    """After the rotation the former timestamp key is a stranger's."""
    after = depot.rotated("timestamp")
    _refused(enrolled, depot.offer(roots={2: after.root(2, former=depot)}), "timestamp.json is not signed by the keys")


@pytest.mark.parametrize("role", ROLES[1:])
def test_metadata_by_a_stranger_is_refused(depot: Depot, enrolled: Trust, role: str) -> None:
    """Every role must be signed by its own key."""
    mixed = replace(depot, keys={**depot.keys, role: [signer()]})
    _refused(enrolled, mixed.offer(), f"{role}.json is not signed by the keys that this site trusts")


def test_a_role_cannot_pass_as_another(depot: Depot, enrolled: Trust) -> None:
    """Targets metadata in the timestamp's place is refused, though its signature is good."""
    offered = depot.offer()
    offered["timestamp.json"] = offered["1.targets.json"]
    _refused(enrolled, offered, "not timestamp metadata", MalformedError)


# Freshness


def test_an_older_timestamp_is_refused(depot: Depot, enrolled: Trust) -> None:
    """The message says which versions stand against each other, and the hint how to get on."""
    trust = _after(enrolled, depot.offer(7))
    with pytest.raises(TrustError, match=r"older than one .* \(timestamp 3, the site has 7\)") as caught:
        refresh(trust, depot.offer(3), reference=NOW)
    assert "sealift-bundle export" in (caught.value.hint or "")


def test_an_older_snapshot_is_refused(depot: Depot, enrolled: Trust) -> None:
    """A newer timestamp cannot bring an older snapshot back."""
    trust = _after(enrolled, depot.offer(7))
    _refused(trust, depot.offer(8, versions={"snapshot": 5}), r"\(snapshot 5, the site has 7\)")


def test_older_targets_are_refused(depot: Depot, enrolled: Trust) -> None:
    """A newer snapshot cannot bring older targets back."""
    trust = _after(enrolled, depot.offer(7))
    _refused(trust, depot.offer(8, versions={"targets": 5}), r"\(targets 5, the site has 7\)")


def test_another_root_of_a_known_version_is_refused(depot: Depot, enrolled: Trust) -> None:
    """Root 2 cannot be exchanged for another root 2, even with good signatures."""
    trust = _after(enrolled, depot.offer(roots={2: depot.root(2)}))
    other = depot.rotated("targets").root(2, former=depot)
    _refused(trust, depot.offer(2, roots={2: other}), "root 2 is not the root 2 of this site")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_other_metadata_of_a_known_version_is_refused(depot: Depot, enrolled: Trust, role: str) -> None:
    """A depot that was set back signs other metadata under a version that was used."""
    trust = _after(enrolled, depot.offer(7))
    later = dict.fromkeys(ROLES[1 : ROLES.index(role)], 8)
    offered = depot.offer(7, files=FILES, versions=later, expires={role: "2027-06-01T00:00:00Z"})
    _refused(trust, offered, f"another {role} 7 than the one that this site has already admitted")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_expired_metadata_is_refused(depot: Depot, enrolled: Trust, role: str) -> None:
    """A frozen bundle ends with its metadata, and the message has both dates."""
    offered = depot.offer(expires={role: PAST})
    _refused(enrolled, offered, f"the bundle's {role} expired on 2026-05-01, and it is 2026-11-22 here")


def test_an_expired_last_root_is_refused(depot: Depot, enrolled: Trust) -> None:
    """The newest root must be fresh."""
    _refused(enrolled, depot.offer(roots={2: depot.root(2, expires=PAST)}), "the root expired on 2026-05-01")


def test_the_known_timestamp_expires_too(depot: Depot, enrolled: Trust) -> None:
    """The bundle that was admitted yesterday is refused after its timestamp ended."""
    offered = depot.offer(7, expires={"timestamp": "2026-11-22T12:00:00Z"})
    trust = _after(enrolled, offered)
    with pytest.raises(
        TrustError, match="expired on 2026-11-22 12:00:00, and it is 2026-11-22 21:30:00 here"
    ) as caught:
        refresh(trust, offered, reference=NOW + timedelta(hours=12))
    assert "clock" in (caught.value.hint or "")


def test_metadata_ends_at_the_very_second(depot: Depot, enrolled: Trust) -> None:
    """The time of expiry itself is too late."""
    offered = depot.offer(expires={"timestamp": f"{NOW:%Y-%m-%dT%H:%M:%SZ}"})
    _refused(enrolled, offered, "the bundle's timestamp expired")


def test_a_gap_in_the_root_chain_is_refused(depot: Depot, enrolled: Trust) -> None:
    """The walk does not just stop where a root is missing."""
    offered = depot.offer(roots={2: depot.root(2), 4: depot.root(4)})
    _refused(enrolled, offered, "carries root 4, but root 3 is missing")


def test_more_rotations_than_allowed_are_refused(depot: Depot, enrolled: Trust) -> None:
    """An endless root chain is refused before any of it is read."""
    roots = dict.fromkeys(range(2, ROTATIONS_MAX + 3), b"not read")
    _refused(enrolled, depot.offer(roots=roots), "257 new roots, more than the 256")


def test_a_site_that_missed_more_rotations_follows_in_two_steps(depot: Depot, enrolled: Trust) -> None:
    """24: from root 1 to 301, over any number of rotations, by two bundles of which each carries what it may."""
    roots, former = {}, depot
    for number in range(2, 302):
        after = former.rotated("root") if number % 50 == 0 else former
        roots[number], former = after.root(number, former=former), after
    all_of_them = former.offer(9, roots=roots)
    with pytest.raises(TrustError, match="carries 300 new roots") as caught:
        refresh(enrolled, all_of_them, reference=NOW)
    assert "an older bundle first" in (caught.value.hint or "")
    first = {number: roots[number] for number in range(2, 258)}
    trust = _after(enrolled, depot.offer(8, roots=first))
    assert len(trust.roots) == 257
    assert refresh(trust, all_of_them, reference=NOW).root_version == 301


def test_a_root_under_another_name_is_refused(depot: Depot, enrolled: Trust) -> None:
    """A file's name and the version in it must agree."""
    _refused(enrolled, depot.offer(roots={2: depot.root(3)}), "2.root.json says that it is version 3")


def test_a_snapshot_of_another_export_is_refused(depot: Depot, enrolled: Trust) -> None:
    """A snapshot of the right version, but not the one that the timestamp names, is refused."""
    offered = depot.offer(7)
    offered["7.snapshot.json"] = depot.offer(7, files=FILES)["7.snapshot.json"]
    _refused(enrolled, offered, "7.snapshot.json is not the snapshot that the rest of the bundle was signed with")


def test_targets_of_another_export_are_refused(depot: Depot, enrolled: Trust) -> None:
    """Targets of the right version, but not those that the snapshot names, are refused."""
    offered = depot.offer(7)
    offered["7.targets.json"] = depot.offer(7, files=FILES)["7.targets.json"]
    _refused(enrolled, offered, "7.targets.json is not the targets that the rest of the bundle was signed with")


@pytest.mark.parametrize("name", ["timestamp.json", "1.snapshot.json", "1.targets.json"])
def test_a_missing_member_is_named(depot: Depot, enrolled: Trust, name: str) -> None:
    """An incomplete bundle is malformed, not distrusted."""
    offered = depot.offer()
    del offered[name]
    _refused(enrolled, offered, f"no metadata/{name}", MalformedError)


def test_an_older_member_under_a_newer_name_is_refused(depot: Depot, enrolled: Trust) -> None:
    """An older snapshot that was renamed is refused."""
    offered = depot.offer(7)
    offered["7.snapshot.json"] = depot.offer(6)["6.snapshot.json"]
    _refused(enrolled, offered, "7.snapshot.json says that it is version 6")


def test_trusted_metadata_that_does_not_verify_is_an_error(depot: Depot, enrolled: Trust) -> None:
    """Without a rotation nothing explains why stored metadata is not signed, so rollback could not be noticed."""
    trust = Trust(roots=enrolled.roots, timestamp=Depot().offer(7)["timestamp.json"])
    _refused(trust, depot.offer(8), "the timestamp that this site holds does not verify any more")


# Parsing


def _with(offered: dict[str, bytes], change: Callable[[bytes], bytes]) -> dict[str, bytes]:
    return {**offered, "timestamp.json": change(offered["timestamp.json"])}


def _edited(key: str, value: object) -> Callable[[bytes], bytes]:
    def edit(content: bytes) -> bytes:
        tree: dict[str, Any] = load(content)
        tree["signed"][key] = value
        return json.dumps(tree).encode()

    return edit


HOSTILE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "duplicate key": (lambda c: c.replace(b'"version":1', b'"version":1,"version":1'), "'version' stands twice"),
    "duplicate outer key": (lambda c: c[:-1] + b',"signatures":[]}', "'signatures' stands twice"),
    "unsigned outer field": (lambda c: c[:-1] + b',"note":"x"}', "unknown field `note`"),
    "unsigned field at a signature": (lambda c: c.replace(b'"keyid"', b'"extra":1,"keyid"'), "unknown field `extra`"),
    "float version": (_edited("version", 1.0), "1.0 is not an integer"),
    "exponent": (lambda c: c.replace(b'"version":1', b'"version":1e400'), "1e400 is not an integer"),
    "boolean version": (_edited("version", True), "expected `int`, got `bool`"),
    "text version": (_edited("version", "1"), "expected `int`, got `str`"),
    "version zero": (_edited("version", 0), "expected `int` >= 1"),
    "negative version": (_edited("version", -1), "-1 is not between 0 and 2"),
    "huge version": (_edited("version", 2**53 + 1), "is not between 0 and 2"),
    "very many digits": (lambda c: c.replace(b'"version":1', b'"version":' + b"9" * 6000), "is not between 0 and 2"),
    "not a number": (_edited("x", float("nan")), "NaN is not an integer"),
    "infinity": (_edited("x", float("-inf")), "-Infinity is not an integer"),
    "byte-order mark": (lambda c: b"\xef\xbb\xbf" + c, "byte-order mark"),
    "utf-16": (lambda c: c.decode().encode("utf-16"), "not valid utf-8"),
    "overlong utf-8": (lambda c: c.replace(b"timestamp", b"\xc1\xb4imestamp"), "not valid utf-8"),
    "lone surrogate": (lambda c: c.replace(b'"version"', b'"x":"\\ud800","version"'), "not valid utf-8"),
    "deep nesting": (_edited("x", json.loads("[" * 40 + "]" * 40)), "more than 32 levels deep"),
    "very deep nesting": (lambda c: b"[" * 8000, "more than 32 levels deep"),
    "too long": (lambda c: c + b" " * CAPS["timestamp"], "more than the 65536 that are allowed"),
    "two documents": (lambda c: c + c, "not valid json"),
    "cut short": (lambda c: c[:-9], "not valid json"),
    "no object": (lambda c: b"[]", "not a json object"),
    "empty": (lambda c: b"", "not valid json"),
    "no such day": (_edited("expires", "2027-02-31T00:00:00Z"), "which is no time"),
    "a loose date": (_edited("expires", "2027-2-1T0:0:0Z"), "expected `str` matching"),
    "no snapshot": (_edited("meta", {}), "does not name snapshot.json"),
    "capital hex digits": (lambda c: c.replace(b'"sig":"', b'"sig":"AB'), "expected `str` matching"),
    "a newline behind hex digits": (
        lambda c: c.replace(b'"}],"signed"', b'\\n"}],"signed"'),
        "expected `str` matching",
    ),
    "many signatures": (
        lambda c: dump({**load(c), "signatures": [{"keyid": f"{n:064x}", "sig": ""} for n in range(257)]}),
        "more than the 16384|of length <= 256",
    ),
}


@pytest.mark.parametrize(("change", "match"), HOSTILE.values(), ids=HOSTILE.keys())
def test_metadata_that_is_not_strict_is_malformed(
    depot: Depot, enrolled: Trust, change: Callable[[bytes], bytes], match: str
) -> None:
    """What two readers could take for two things is refused before the library sees it."""
    _refused(enrolled, _with(depot.offer(), change), match, MalformedError)


def test_brackets_in_a_string_are_no_nesting(depot: Depot, enrolled: Trust) -> None:
    """Only the structure counts toward the depth, escaped quotes and all."""
    files = {"releases/a/1.json": target(custom={"note": '"[{' * 100 + "\\"})}
    assert refresh(enrolled, depot.offer(files=files), reference=NOW).target("releases/a/1.json") is not None


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("../state.json", "component '..'"),
        ("releases/../../x", "component '..'"),
        ("/etc/passwd", "empty or absolute"),
        ("", "empty or absolute"),
        ("a\x00b", "not allowed in a name"),
        ("a\\b", "not allowed in a name"),
        ("a\nb", "not allowed in a name"),
        ("a\u202eb", "not allowed in a name"),
        ("a//b", "component ''"),
        ("x" * 300, "longer than 255 bytes"),
    ],
)
def test_an_unsafe_target_path_is_refused(depot: Depot, enrolled: Trust, path: str, match: str) -> None:
    """Even a trusted key cannot list a target whose path climbs or confuses."""
    _refused(enrolled, depot.offer(files={path: target()}), match, MalformedError)


@pytest.mark.parametrize(
    ("one", "other"), [("a/B.json", "a/b.json"), ("caf\u00e9", "cafe\u0301"), ("straße", "STRASSE")]
)
def test_target_paths_that_collide_are_refused(depot: Depot, enrolled: Trust, one: str, other: str) -> None:
    """Two targets cannot differ by case or Unicode form alone."""
    _refused(enrolled, depot.offer(files={one: target(), other: target()}), "collide", MalformedError)


def test_a_target_without_a_sha256_is_refused(depot: Depot, enrolled: Trust) -> None:
    """Nothing can be checked against another digest."""
    files = {"a": {"length": 1, "hashes": {"md5": "0" * 32}}}
    _refused(enrolled, depot.offer(files=files), "no sha-256 digest", MalformedError)


def test_a_root_without_consistent_snapshots_is_refused(depot: Depot) -> None:
    """Names with versions are part of the format."""
    _refused_root(depot.root_tree() | {"consistent_snapshot": False}, depot, MalformedError, "consistent snapshots")


def test_a_root_with_another_role_is_refused(depot: Depot) -> None:
    """A root has the four roles and no others."""
    tree = depot.root_tree()
    tree["roles"]["mirrors"] = tree["roles"]["targets"]
    _refused_root(tree, depot, MalformedError, "must have the roles")


def test_another_major_version_of_the_specification_is_refused(depot: Depot) -> None:
    """A root of TUF 2 is not guessed at."""
    _refused_root(depot.root_tree() | {"spec_version": "2.0.0"}, depot, TrustError, "not acceptable")


def test_no_flipped_bit_passes(depot: Depot, enrolled: Trust) -> None:
    """A flipped bit anywhere in the metadata is refused, or changes nothing that counts."""
    offered = depot.offer(3, files=FILES, roots={2: depot.root(2)})
    expected = refresh(enrolled, offered, reference=NOW)
    for name, content in offered.items():
        for position in range(0, len(content), 7):
            flipped = bytearray(content)
            flipped[position] ^= 1 << (position % 7)
            try:
                found = refresh(enrolled, {**offered, name: bytes(flipped)}, reference=NOW)
            except (MalformedError, TrustError):
                continue
            assert found.versions == expected.versions
            assert found.targets == expected.targets
            assert found.expires == expected.expires
