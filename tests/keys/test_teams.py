"""Teams: who signs what, by which threshold, and what a depot refuses to publish for them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from office import Office, release, rule

from keys.changes import changes
from keys.lineup import changed
from keys.pending import held
from keys.proposing import next_team
from keys.publishing import delegate, proposed, still_signed
from keys.show import describe
from sealift.digest import sha256
from sealift.errors import PolicyError, TrustError, UsageError
from sealift.trust import anchor, refresh


@pytest.fixture
def office(tmp_path: Path, now: datetime) -> Office:
    """A depot with one root key."""
    return Office.open(tmp_path / "depot", now, root_keys=1, threshold=1)


def admitted(office: Office) -> set[str]:
    """The target paths that a site finds that enrolled with the first root and imports today's bundle."""
    bundle = office.bundle()
    trust = anchor(bundle["1.root.json"], sha256(bundle["1.root.json"]), reference=office.now)
    return set(refresh(trust, bundle, reference=office.now).targets)


def test_a_team_signs_its_own_releases(office: Office) -> None:
    """Two of three keys of the team sign; a site finds the release, and the top level does not list it."""
    keys = [office.key() for _ in range(3)]
    office.delegate("team-a", keys, threshold=2)
    office.add(
        {**release("team-a/shop"), **release("plain")}, team_signers=lambda each: office.of(each.keys[: each.threshold])
    )
    assert admitted(office) == {"releases/team-a/shop/1.0.0.json", "releases/plain/1.0.0.json"}
    assert list(office.state.targets.targets) == ["releases/plain/1.0.0.json"]
    assert {entry.name for entry in office.state.entries} == {"team-a/shop", "plain"}
    assert [path.name for path in office.state.files][-1] == "1.team-a.json"


def test_a_team_whose_keys_are_elsewhere_is_asked(office: Office) -> None:
    """Nothing is published, its request waits, and once it is signed the same publication goes through."""
    keys = [office.key(), office.key()]
    office.delegate("team-a", keys, threshold=2)
    before = office.bundle()
    with pytest.raises(PolicyError, match="team-a must sign its releases first: 1 more") as caught:
        office.add({**release("team-a/shop"), **release("plain")}, team_signers=lambda _: keys[:1])
    assert "sealift-keys sign" in (caught.value.hint or "")
    assert office.bundle() == before
    (request,) = held(office.depot)
    assert [change.text for change in changes(request)][-1].startswith("+ team-a/shop/1.0.0  manifest sha256:")
    office.publish(request.sign(keys[1]))
    office.add({**release("team-a/shop"), **release("plain")}, team_signers=lambda _: ())
    assert admitted(office) == {"releases/team-a/shop/1.0.0.json", "releases/plain/1.0.0.json"}


def test_the_online_key_publishes_nothing_for_a_team(office: Office) -> None:
    """Attack 32: content under a team's name needs the team's keys, whoever runs the export."""
    office.delegate("team-a", [office.key()])
    online = office.of(office.line.online.keys)
    with pytest.raises(TrustError, match="may not sign team-a-1"):
        office.add(release("team-a/shop"), team_signers=lambda _: online)
    assert admitted(office) == set()


def test_a_team_signs_nothing_for_another(office: Office) -> None:
    """Attack 32: another team's keys are no signers, and its releases are not published under this name."""
    mine, other = office.key(), office.key()
    office.delegate("team-a", [mine])
    office.delegate("team-b", [other])
    with pytest.raises(TrustError, match="may not sign team-a-1"):
        office.add(release("team-a/shop"), team_signers=lambda _: [other])
    honest = next_team(office.state, "team-a", now=office.now, days=30)
    signed = {**honest.signed, "targets": {"releases/team-b/shop/1.0.0.json": _target()}}
    forged = replace(honest, signed=signed)
    with pytest.raises(TrustError, match="may list nothing but releases/team-a"):
        _ = forged.next_team


def test_a_release_of_nobody_is_refused(office: Office) -> None:
    """Attack 32: a name with a namespace that no team has is not published."""
    with pytest.raises(UsageError, match="there is no team team-x") as caught:
        office.add(release("team-x/shop"))
    assert "sealift-keys delegate team-x" in (caught.value.hint or "")


def test_a_teams_release_never_changes(office: Office) -> None:
    """Other content under a published name is refused, by publication and by request."""
    key = office.key()
    office.delegate("team-a", [key])
    office.add(release("team-a/shop"))
    with pytest.raises(UsageError, match="already published with other content"):
        office.add(release("team-a/shop", content=b"other"))
    request = next_team(office.state, "team-a", now=office.now, days=30)
    path = "releases/team-a/shop/1.0.0.json"
    for targets, words in (({}, "a release never goes away"), ({path: _target()}, "a release never changes")):
        forged = replace(request, signed={**request.signed, "targets": targets})
        assert any(words in change.text for change in changes(forged))
        with pytest.raises(TrustError, match="changes or removes"):
            office.publish(forged.sign(key))


def test_a_teams_key_that_goes_takes_its_signatures_with_it(office: Office) -> None:
    """Attack 9: what the revoked key signed is signed anew by the others, together with the new rule."""
    keys = [office.key(), office.key()]
    office.delegate("team-a", keys, threshold=1)
    office.add(release("team-a/shop"), team_signers=lambda _: keys[:1])
    after = rule(keys[1:], 1)
    assert not still_signed(office.state, "team-a", proposed(office.depot, office.state, "team-a", after, office.now))
    with pytest.raises(TrustError, match="would no longer be signed"):
        delegate(office.depot, "team-a", after, signer_for=office.online, now=office.now)
    request = next_team(office.state, "team-a", now=office.now, days=30, rule=after)
    assert f"- key {keys[0].public_key.keyid} (ed25519)" in [change.text for change in changes(request)]
    with pytest.raises(TrustError, match="may not sign team-a-2"):
        request.sign(keys[0])
    office.publish(request.sign(keys[1]))
    assert admitted(office) == {"releases/team-a/shop/1.0.0.json"}
    assert describe(office.depot, office.now).roles[-1].keys == (keys[1].public_key.keyid[:8],)


def test_a_team_gets_a_higher_threshold_at_once_where_enough_have_signed(office: Office) -> None:
    """Where what is published holds under the new rule, no one has to sign again."""
    keys = [office.key(), office.key()]
    office.delegate("team-a", keys, threshold=1)
    office.add(release("team-a/shop"))
    delegate(office.depot, "team-a", rule(keys, 2), signer_for=office.online, now=office.now)
    assert office.state.targets.delegations is not None
    assert admitted(office) == {"releases/team-a/shop/1.0.0.json"}


def test_a_team_outlives_a_new_online_key(office: Office) -> None:
    """The online key signs that the team is there; after a rotation the new one does."""
    office.delegate("team-a", [office.key()])
    office.add(release("team-a/shop"))
    office.rotate_online()
    assert admitted(office) == {"releases/team-a/shop/1.0.0.json"}


def test_a_teams_request_of_another_version_is_refused(office: Office) -> None:
    """A request that was overtaken by a publication is not published over it."""
    office.delegate("team-a", [office.key()])
    old = office.signed(next_team(office.state, "team-a", now=office.now, days=30))
    office.add(release("team-a/shop"))
    with pytest.raises(TrustError, match="does not follow what team-a has published"):
        office.publish(old)


def test_a_teams_metadata_is_renewed_where_its_keys_are_at_hand(office: Office) -> None:
    """An empty publication renews a team whose metadata has lived half of its life, as it does for the rest."""
    office.delegate("team-a", [office.key()])
    office.add(release("team-a/shop"))
    office.now += timedelta(days=100)
    office.add({})
    assert office.state.teams["team-a"].expires == office.now + timedelta(days=180)
    office.now += timedelta(days=100)
    office.add({}, team_signers=lambda _: ())
    assert "team-a expires in 80 days" in " ".join(describe(office.depot, office.now).warnings)


def test_one_key_for_two_teams_is_warned_of(office: Office) -> None:
    """Attack 17: show says that a stolen key would hit both."""
    key = office.key()
    office.delegate("team-a", [key])
    office.delegate("team-b", [key])
    warnings = " ".join(describe(office.depot, office.now).warnings)
    assert f"key {key.public_key.keyid[:8]} signs for team-a and team-b" in warnings


@pytest.mark.parametrize("threshold", [0, 3])
def test_a_teams_threshold_out_of_range_is_refused(office: Office, threshold: int) -> None:
    """Attack 18, for a team."""
    with pytest.raises(UsageError, match="out of range"):
        office.delegate("team-a", [office.key(), office.key()], threshold)
    with pytest.raises(UsageError, match="out of range"):
        changed(None, add=[office.key().public_key], remove=(), threshold=threshold, role="team-a")


def _target() -> dict[str, object]:
    return {"length": 5, "hashes": {"sha256": "ab" * 32}}
