"""Signing requests: what they show, who may sign, and that nothing is published before every quorum is met."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from office import Office, release, rule
from securesystemslib.signer import CryptoSigner, Signature

from keys import request_file as requests
from keys.changes import changes
from keys.lineup import Lineup, changed, make_root
from keys.pending import held, merge, save
from keys.proposing import next_waiver
from keys.request import Request
from sealift import waiver as waivers
from sealift.digest import sha256
from sealift.errors import MalformedError, PolicyError, SealiftError, StoreError, TrustError, UsageError
from sealift.trust import anchor, refresh

Line = Callable[[Lineup], Lineup]


@pytest.fixture
def office(tmp_path: Path, now: datetime) -> Office:
    """A depot with three root keys, two of which must sign."""
    return Office.open(tmp_path / "depot", now)


def adding(office: Office, role: str = "root", threshold: int | None = None) -> Line:
    """A new key for a role."""

    def change(line: Lineup) -> Lineup:
        new = changed(line.rule(role), add=[office.key().public_key], remove=(), threshold=threshold, role=role)
        return line.having(role, new)

    return change


def removing(role: str, keyid: str, threshold: int | None = None) -> Line:
    """A role without one of its keys."""
    return lambda line: line.having(
        role, changed(line.rule(role), add=(), remove=[keyid], threshold=threshold, role=role)
    )


def shown(request: Request) -> list[str]:
    """What a person reads."""
    return [f"{change.subject} {change.text}" for change in changes(request)]


def carried(request: Request, tmp_path: Path, edit: Callable[[dict[str, Any]], object] | None = None) -> Request:
    """The request as it is read on another machine, where somebody may have edited its file."""
    tree = json.loads(requests.encode(request))
    if edit:
        edit(tree)
    path = tmp_path / "carried.request.json"
    path.write_text(json.dumps(tree))
    return requests.read(path)


def test_a_request_says_in_words_what_changes(office: Office) -> None:
    """Version, expiry, threshold and every key that comes or goes, with its whole id."""
    line = adding(office, threshold=3)(office.line)
    gone, new = office.line.root.ids[0], line.root.ids[-1]
    line = removing("root", gone)(line)
    office.now += timedelta(days=30)
    assert shown(office.propose(line)) == [
        "version 1 → 2",
        "expires 2028-02-29 → 2028-03-30",
        "root threshold 2 of 3 → 3 of 3",
        f"root + key {new} (ed25519)",
        f"root - key {gone} (ed25519)",
    ]


def test_a_request_comes_back_from_another_machine_as_it_was(office: Office, tmp_path: Path) -> None:
    """Its file holds all of it, and what it shows is the same."""
    request = office.signed(office.propose(adding(office)(office.line)), office.of(office.line.root.keys[:1]))
    again = carried(request, tmp_path)
    assert (again.digest, shown(again), again.signatures) == (request.digest, shown(request), request.signatures)


def test_holders_who_never_meet_publish_a_root(office: Office, tmp_path: Path) -> None:
    """Each signs a copy of the request; the signature files are merged, and the root is published."""
    request = office.propose(adding(office)(office.line))
    save(office.depot, request)
    files = []
    for number, signer in enumerate(office.of(request.signers.values())):
        mine = carried(request, tmp_path).sign(signer)
        path = tmp_path / f"{number}.signature.json"
        path.write_bytes(requests.encode_signature(mine, signer.public_key.keyid))
        files.append(path)
    for path in files:
        save(office.depot, merge(held(office.depot), requests.read_signature(path)))
    office.publish(held(office.depot)[0])
    assert office.state.root.version == 2
    assert held(office.depot) == ()


def test_nothing_is_published_below_the_old_threshold(office: Office) -> None:
    """Attack 10: a root that too few of the former root's keys signed is not published."""
    stranger = office.key()
    request = office.propose(office.line.having("root", rule([stranger], 1)))
    before = sorted(os.listdir(office.depot / "metadata"))
    for signers in ([stranger], [stranger, *office.of(office.line.root.keys[:1])]):
        with pytest.raises(TrustError, match="not signed by enough keys of root 1"):
            office.publish(office.signed(request, signers))
    assert sorted(os.listdir(office.depot / "metadata")) == before
    assert office.state.root.version == 1


def test_nothing_is_published_below_the_new_threshold(office: Office) -> None:
    """Attack 2: the former quorum alone does not bring a new quorum into being."""
    new = [office.key(), office.key()]
    request = office.propose(office.line.having("root", rule(new, 2)))
    with pytest.raises(TrustError, match="not signed by enough keys of root 2"):
        office.publish(office.signed(request, [*office.of(office.line.root.keys), new[0]]))


def test_a_new_root_key_must_show_that_it_can_sign(office: Office) -> None:
    """A key that nobody holds never counts: each new root key signs the root that it comes with."""
    request = office.propose(adding(office)(office.line))
    with pytest.raises(TrustError, match="the keys that are new: 1 more"):
        office.publish(office.signed(request, office.of(office.line.root.keys)))
    office.publish(office.signed(request))


def test_a_doubled_signature_counts_once(office: Office) -> None:
    """Attack 3: one holder who signs twice is one holder."""
    request = office.propose(office.line)
    one = office.of(office.line.root.keys[:1])[0]
    request = request.sign(one).sign(one)
    assert len(request.signatures) == 1
    with pytest.raises(TrustError, match="1 more must sign"):
        office.publish(request)


def test_a_stranger_may_not_sign(office: Office) -> None:
    """A key that neither root names adds no signature, by whatever id."""
    request = office.propose(office.line)
    with pytest.raises(TrustError, match="may not sign root-2"):
        request.sign(CryptoSigner.generate_ed25519())
    with pytest.raises(TrustError, match="may not sign root-2"):
        request.sign(CryptoSigner.generate_ed25519(office.line.root.ids[0]))


def test_a_signature_for_another_request_is_refused(office: Office) -> None:
    """A signature is over one request, and over nothing else."""
    signer = office.of(office.line.root.keys[:1])[0]
    other = office.propose(office.line, days=10).sign(signer)
    request = office.propose(office.line, days=20)
    with pytest.raises(TrustError, match="does not verify"):
        request.with_signature(other.signatures[signer.public_key.keyid])


def test_a_signature_in_upper_case_or_with_more_behind_it_is_refused(office: Office, tmp_path: Path) -> None:
    """Attack 8: a signature has one form."""
    signer = office.of(office.line.root.keys[:1])[0]
    request = office.propose(office.line).sign(signer)

    def upper(tree: dict[str, Any]) -> None:
        tree["signatures"][0]["sig"] = tree["signatures"][0]["sig"].upper()

    with pytest.raises(MalformedError, match="not valid"):
        carried(request, tmp_path, upper)
    made = request.signatures[signer.public_key.keyid]
    with pytest.raises(TrustError, match="does not verify"):
        request.with_signature(Signature(made.keyid, made.signature + "00"))


@pytest.mark.parametrize("space", ["\n", " ", "\t"])
def test_a_signature_with_a_space_in_it_shuts_no_depot(office: Office, tmp_path: Path, space: str) -> None:
    """Attack 8: whoever carries a signature may add what a decoder passes over, and no root is published with it."""
    request = office.signed(office.propose(office.line))
    keyid, made = next(iter(request.signatures.items()))
    path = tmp_path / "signature.json"
    path.write_bytes(requests.encode_signature(request, keyid))
    tree = json.loads(path.read_bytes())
    path.write_bytes(json.dumps({**tree, "sig": tree["sig"] + space}).encode())
    with pytest.raises(MalformedError, match="is not valid"):
        requests.read_signature(path)
    with pytest.raises(MalformedError, match="is not valid tuf metadata"):
        office.publish(request.with_signature(Signature(keyid, made.signature + space)))
    assert office.state.root.version == 1
    office.publish(request)
    assert office.state.root.version == 2


@pytest.mark.parametrize("what", ["former root", "first root"])
def test_a_request_whose_roots_were_changed_is_not_shown(office: Office, tmp_path: Path, what: str) -> None:
    """The chain that a request follows is verified before anything is said about it."""
    office.change(adding(office))
    request = office.propose(office.line)

    def edit(tree: dict[str, Any]) -> None:
        at = 0 if what == "first root" else -1
        tree["roots"][at] = tree["roots"][at].replace('"threshold":2', '"threshold":1')

    with pytest.raises(TrustError, match="not signed as root"):
        carried(request, tmp_path, edit)


def test_a_request_of_a_strangers_chain_fails_at_the_fingerprint(office: Office, tmp_path: Path) -> None:
    """A forged chain is whole in itself; the fingerprint on paper is what refuses it."""
    request = office.propose(office.line)
    stranger = Office.open(tmp_path / "stranger", office.now)
    forged = carried(stranger.propose(stranger.line), tmp_path)
    with pytest.raises(TrustError, match="another fingerprint"):
        forged.check_fingerprint(office.state.fingerprint)
    request.check_fingerprint(office.state.fingerprint)


def test_the_fingerprint_of_any_root_of_the_chain_is_enough(office: Office) -> None:
    """The paper of the first ceremony stays good, and so does that of a later one."""
    office.change(adding(office))
    request = office.propose(office.line)
    for content in request.roots:
        request.check_fingerprint(sha256(content))
    with pytest.raises(TrustError, match="another fingerprint"):
        request.check_fingerprint("ab" * 32)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda tree: tree.update(comment="harmless, sign it"), "unknown field"),
        (lambda tree: tree["signed"].update(note="harmless"), "the field 'note', which nobody knows"),
        (lambda tree: tree["signed"].update(version=7), "is for root 7"),
        (lambda tree: tree["signed"].update(version=True), "not valid tuf metadata"),
        (lambda tree: tree["signed"]["roles"].update(mirror={"keyids": [], "threshold": 1}), "no others"),
        (lambda tree: tree["signed"]["roles"]["root"].update(threshold=0), "asks for 0 of"),
        (lambda tree: tree["signed"]["roles"]["root"].update(threshold=4), "asks for 4 of"),
        (
            lambda tree: tree["signed"]["roles"]["root"]["keyids"].append(tree["signed"]["roles"]["root"]["keyids"][0]),
            "counts a key id twice",
        ),
        (lambda tree: tree["signed"].update({"_type": "targets"}), "not root metadata"),
        (lambda tree: tree.update(role="waiver"), "the waiver is not valid"),
        (lambda tree: tree.update(role="../root"), "is no role"),
        (lambda tree: tree.update(role="team-a"), "not targets metadata"),
        (lambda tree: tree.update(roots=[]), "is for root 2, but follows root 0"),
        (lambda tree: tree["signed"].update({"x-sealift": {"purpose": "development"}}), "changes what the root is for"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_request_that_is_not_what_it_should_be_is_refused(
    office: Office, tmp_path: Path, edit: Callable[[dict[str, Any]], object], words: str
) -> None:
    """Attacks 3, 6, 16, 18, 31, 37 and 38: swapped roles, thresholds out of reach, fields that nobody is shown."""
    with pytest.raises(SealiftError, match=words):
        carried(office.propose(office.line), tmp_path, edit)


def test_a_request_with_a_key_twice_in_its_json_is_refused(office: Office, tmp_path: Path) -> None:
    """Attack 36: two readers cannot take a request for two things."""
    path = tmp_path / "twice.request.json"
    path.write_bytes(
        requests.encode(office.propose(office.line)).replace(b'{\n  "format"', b'{"role":"root",\n"format"')
    )
    with pytest.raises(MalformedError, match="stands twice"):
        requests.read(path)


def test_a_request_that_the_depot_has_moved_on_from_is_refused(office: Office) -> None:
    """A root is published once, and only after the root that it was made for."""
    old = office.signed(office.propose(office.line, days=10))
    office.change(lambda line: line)
    with pytest.raises(TrustError, match="follows root 1 of another chain than this depot's, which is at root 2"):
        office.publish(old)


def test_a_request_that_expired_while_it_waited_is_refused(office: Office) -> None:
    """What every site would refuse is not published."""
    request = office.signed(office.propose(office.line, days=5))
    office.now += timedelta(days=6)
    with pytest.raises(TrustError, match="root-2 expired on"):
        office.publish(request)


def test_a_signed_request_is_not_replaced_by_another(office: Office) -> None:
    """What holders have signed is not thrown away by a second wish."""
    save(office.depot, office.propose(office.line).sign(office.of(office.line.root.keys)[0]), fresh=True)
    with pytest.raises(UsageError, match="has some already"):
        save(office.depot, office.propose(office.line, days=3), fresh=True)


def test_a_revoked_online_key_signs_nothing_any_more(office: Office, now: datetime) -> None:
    """Attack 9: after a rotation the former key publishes nothing, and a site that follows refuses what it signed."""
    before, old = office.bundle(), office.of(office.line.online.keys)[0]
    office.rotate_online()
    trust = anchor(before["1.root.json"], sha256(before["1.root.json"]), reference=now)
    followed = refresh(trust, office.bundle(), reference=now).trust
    with pytest.raises(TrustError):
        refresh(followed, before, reference=now)
    from keys.repository import publish

    with pytest.raises(TrustError, match="may not sign targets"):
        publish(office.depot, release(), signer_for=lambda _: old, now=now, published=now)


def test_a_revoked_root_key_signs_no_further_root(office: Office) -> None:
    """Attack 9: a root key that is gone is no signer of the next root."""
    gone = office.line.root.keys[0]
    office.change(removing("root", gone.keyid))
    with pytest.raises(TrustError, match="may not sign root-3"):
        office.propose(office.line).sign(office.signers[gone.keyid])


@pytest.mark.parametrize("role", ["online", "waiver", "team-a"])
def test_a_root_key_gets_no_second_role(office: Office, role: str) -> None:
    """Attack 17: one stolen key must not do two things."""
    signer = office.of(office.line.root.keys)[0]
    line = office.line.having(role, rule([signer], 1)) if role != "team-a" else office.line
    give = partial(office.delegate, role, [signer]) if role == "team-a" else partial(office.propose, line)
    with pytest.raises(PolicyError, match="would be a key of"):
        give()


def test_the_online_key_waives_nothing(office: Office) -> None:
    """Attack 17: who publishes does not also say that late is not held back."""
    with pytest.raises(PolicyError, match="online and of waiver"):
        office.propose(office.line.having("waiver", office.line.online))


@pytest.mark.parametrize("threshold", [-1, 0, 4])
def test_a_threshold_out_of_range_is_refused(office: Office, threshold: int) -> None:
    """Attack 18: at least one key must sign, and at most all."""
    with pytest.raises(UsageError, match="out of range"):
        changed(office.line.root, add=(), remove=(), threshold=threshold, role="root")
    with pytest.raises(UsageError, match="out of range"):
        make_root(
            office.line.having("root", rule(office.of(office.line.root.keys), threshold)),
            version=2,
            expires=office.now,
        )


def test_several_online_keys_that_must_sign_together_are_refused(office: Office) -> None:
    """A threshold on one machine protects nothing."""
    with pytest.raises(PolicyError, match="sign together"):
        office.propose(office.line.having("online", rule([office.key(), office.key()], 2)))


def test_a_spare_online_key_can_publish(office: Office) -> None:
    """Two online keys are fine: either signs alone."""
    office.change(adding(office, "online"))
    first, spare = office.line.online.keys
    office.add(release())
    assert {first.keyid, spare.keyid} == set(office.line.online.ids)
    from keys.repository import publish

    published = publish(
        office.depot,
        release(version="2"),
        signer_for=lambda _: office.signers[spare.keyid],
        now=office.now,
        published=office.now,
    )
    assert published.changed


def test_a_kill_while_a_root_with_a_new_online_key_is_published_leaves_old_or_new(
    office: Office, killed_at: Callable[[int, Callable[[], object]], bool]
) -> None:
    """Attack 79: at any fsync or rename the depot verifies, as it was or as it is to be."""
    seen = set()
    for nth in range(1, 60):
        before = office.state.root.version
        request = office.signed(office.propose(office.line.having("online", rule([office.key()], 1))))
        killed = killed_at(nth, partial(office.publish, request))
        state = office.state
        seen.add(state.root.version - before)
        assert state.root.roles["timestamp"].keyids == list(office.line.online.ids)
        office.add(release(version=str(nth)))
        assert not (office.depot / "metadata" / f"{state.root.version}.timestamp.json").exists()
        if not killed:
            break
    assert nth > 8
    assert seen == {0, 1}


def test_what_a_killed_publication_left_does_not_come_back_with_another_root(
    office: Office, killed_at: Callable[[int, Callable[[], object]], bool]
) -> None:
    """The timestamp of a root that was never committed is not taken for that of another root with its version."""
    abandoned = office.signed(office.propose(office.line.having("online", rule([office.key()], 1))))
    stale = office.depot / "metadata" / "2.timestamp.json"
    for nth in range(1, 60):
        killed_at(nth, partial(office.publish, abandoned))
        if stale.exists():
            break
    assert office.state.root.version == 1
    office.change(adding(office))
    assert office.state.root.version == 2
    assert not stale.exists()


def test_a_disk_that_refuses_while_a_root_is_published_leaves_old_or_new(
    office: Office, monkeypatch: pytest.MonkeyPatch, failing_at: Callable[..., Callable[..., object]]
) -> None:
    """Attack 82: whichever rename fails, the same publication can be made again."""
    real = os.replace
    for nth in range(1, 30):
        request = office.signed(office.propose(office.line.having("online", rule([office.key()], 1))))
        monkeypatch.setattr(os, "replace", failing_at(real, nth, 28))
        try:
            office.publish(request)
        except StoreError:
            monkeypatch.setattr(os, "replace", real)
            if office.state.root.version < request.version:
                office.publish(request)
            office.add(release(version=str(nth)))
        else:
            break
    assert nth > 3


def test_a_reader_without_the_lock_sees_the_old_or_the_new_state(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A root that is published while somebody reads the depot is no damage."""
    from keys import state

    real = state._root
    moved: list[bool] = []

    def meanwhile(folder: Path, versions: set[int]) -> Any:
        if not moved:
            moved.append(True)
            monkeypatch.setattr(state, "_root", real)
            office.rotate_online()
        return real(folder, versions)

    monkeypatch.setattr(state, "_root", meanwhile)
    assert office.state.root.version == 2


def test_a_waiver_is_signed_by_its_own_role(office: Office) -> None:
    """A waiver names one timestamp; the waiver keys sign it at their threshold, and a site's reader accepts it."""
    keys = [office.key(), office.key()]
    office.change(lambda line: line.having("waiver", rule(keys, 2)))
    stamp = (office.depot / "metadata" / "timestamp.json").read_bytes()
    request = next_waiver(office.state, stamp, 1, now=office.now, days=30, reason="a late ship", site="plant-7")
    assert shown(request) == [
        f"timestamp 1, sha256:{sha256(stamp)}",
        "site plant-7",
        "holds from 2026-03-01T12:00:00Z to 2026-03-31T12:00:00Z",
        "reason a late ship",
    ]
    with pytest.raises(TrustError, match="1 more must sign"):
        office.publish(request.sign(keys[0]))
    outcome = office.publish(office.signed(request))
    found, signatures = waivers.read(outcome.path.read_bytes())
    assert (found.site, set(signatures)) == ("plant-7", {key.public_key.keyid for key in keys})
    trust = anchor(office.bundle()["1.root.json"], office.state.fingerprint, reference=office.now)
    late = office.now + timedelta(days=20)
    assert refresh(trust, office.bundle(), reference=late).root_version == 2


def test_a_waiver_needs_a_waiver_role_and_another_key_does_not_sign_it(office: Office) -> None:
    """Attack 30: without the role there is no waiver, and a root key signs none."""
    stamp = (office.depot / "metadata" / "timestamp.json").read_bytes()
    make = partial(next_waiver, timestamp=stamp, version=1, now=office.now, days=30, reason="late", site=None)
    with pytest.raises(TrustError, match="has no waiver role"):
        make(office.state)
    office.change(lambda line: line.having("waiver", rule([office.key()], 1)))
    with pytest.raises(TrustError, match="may not sign waiver-1"):
        make(office.state).sign(office.of(office.line.root.keys)[0])


@pytest.mark.parametrize("days", [0, 91])
def test_a_waiver_lives_90_days_at_most(office: Office, days: int) -> None:
    """A waiver is for one voyage."""
    office.change(lambda line: line.having("waiver", rule([office.key()], 1)))
    with pytest.raises(UsageError, match="cannot live"):
        next_waiver(office.state, b"", 1, now=office.now, days=days, reason="late", site=None)
