"""A team that leaves: what it published is vouched for by nobody, and its name is nobody else's."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from office import Office, release, rule

from keys.pending import held, save
from keys.proposing import next_team
from keys.publishing import delegate, dismiss
from keys.show import describe
from sealift.digest import sha256
from sealift.errors import PolicyError, TrustError, UsageError
from sealift.trust import Refreshed, anchor, refresh


@pytest.fixture
def office(tmp_path: Path, now: datetime) -> Office:
    """A depot with one root key, whose team has released something beside the depot's own releases."""
    made = Office.open(tmp_path / "depot", now, root_keys=1, threshold=1)
    made.delegate("team-a", [made.key()])
    made.add({**release("team-a/shop"), **release("plain")})
    return made


def crossed(office: Office, before: Refreshed | None = None) -> Refreshed:
    """What a site makes of today's bundle, which had admitted `before`, or was enrolled just now."""
    bundle = office.bundle()
    root = bundle["1.root.json"]
    trust = before.trust if before else anchor(root, sha256(root), reference=office.now)
    return refresh(trust, bundle, reference=office.now)


def end(office: Office) -> int:
    """Dismiss the team."""
    return dismiss(office.depot, "team-a", signer_for=office.online, now=office.now)


def test_nobody_vouches_for_the_releases_of_a_team_that_left(office: Office) -> None:
    """Neither a site that had admitted them nor a new one finds them any more, and the rest is as it was."""
    before = crossed(office)
    assert "releases/team-a/shop/1.0.0.json" in before.targets
    assert end(office) == 1
    for after in (crossed(office, before), crossed(office)):
        assert set(after.targets) == {"releases/plain/1.0.0.json"}
        assert after.versions.delegated == {"team-a": 1}
    assert [entry.name for entry in office.state.entries] == ["plain"]
    assert describe(office.depot, office.now).dismissed == ("team-a",)


def test_a_site_follows_through_all_that_comes_after(office: Office) -> None:
    """Publications, another team and a new online key keep the name that sites have seen."""
    before = crossed(office)
    end(office)
    office.add(release("plain", "1.1.0"))
    office.delegate("team-b", [office.key()])
    office.rotate_online()
    office.add(release("team-b/shop"))
    after = crossed(office, before)
    assert after.versions.delegated == {"team-a": 1, "team-b": 1}
    assert len(after.targets) == 3


def test_the_name_of_a_team_that_left_is_not_given_again(office: Office) -> None:
    """Sites hold what was released under it: neither a new team nor a release takes it."""
    end(office)
    before = office.bundle()
    for attempt in (
        lambda: office.delegate("team-a", [office.key()]),
        lambda: office.add(release("team-a/other")),
        lambda: end(office),
    ):
        with pytest.raises(UsageError, match="its name is not given again"):
            attempt()
    assert office.bundle() == before


def test_a_request_of_a_team_that_left_is_dropped(office: Office) -> None:
    """Attack 9: what waited is gone, and a copy of it is refused although the team signed it."""
    with pytest.raises(PolicyError):
        office.add(release("team-a/shop", "1.1.0"), team_signers=lambda _: ())
    (request,) = held(office.depot)
    end(office)
    assert held(office.depot) == ()
    with pytest.raises(UsageError, match="was dismissed"):
        office.publish(office.signed(request))


def test_a_team_that_never_released_anything_leaves_no_trace(office: Office) -> None:
    """Its name may be given again; a request of the first team of that name brings it not back."""
    keys = [office.key()]
    office.delegate("team-b", keys)
    request = office.signed(next_team(office.state, "team-b", now=office.now, days=30))
    assert dismiss(office.depot, "team-b", signer_for=office.online, now=office.now) == 0
    with pytest.raises(TrustError, match="a team that there is not"):
        office.publish(request)
    office.delegate("team-b", [office.key()])
    with pytest.raises(TrustError, match="made when other keys signed for team-b"):
        office.publish(request)
    with pytest.raises(UsageError, match="no team team-c"):
        dismiss(office.depot, "team-c", signer_for=office.online, now=office.now)


def test_a_depot_returned_to_an_earlier_state_is_noticed(office: Office) -> None:
    """Attack 19: newer files of a team that left still say that something is missing."""
    for version in ("1.1.0", "1.2.0"):
        office.add(release("team-a/shop", version))
    end(office)
    folder = office.depot / "metadata"
    (folder / "5.team-a.json").write_bytes((folder / "3.team-a.json").read_bytes())
    with pytest.raises(TrustError, match="holds team-a 5, but its timestamp still names 3"):
        _ = office.state


def test_a_team_that_fell_silent_is_named_before_a_bundle_is_made(office: Office) -> None:
    """No site would admit what it makes expire: the export says so, and goes on once the team is dismissed."""
    office.now += timedelta(days=181)
    with pytest.raises(PolicyError, match=r"what it signed expired on .*: no site would admit a bundle") as caught:
        office.add(release("plain", "1.1.0"), team_signers=lambda _: ())
    assert "sealift-keys dismiss team-a" in (caught.value.hint or "")
    end(office)
    office.add(release("plain", "1.1.0"), team_signers=lambda _: ())
    assert len(crossed(office).targets) == 2


def test_another_team_is_as_it_was(office: Office) -> None:
    """Only the team that is named goes."""
    keys = [office.key()]
    office.delegate("team-b", keys)
    office.add(release("team-b/shop"))
    end(office)
    delegate(office.depot, "team-b", rule(keys, 1), signer_for=office.online, now=office.now)
    assert "releases/team-b/shop/1.0.0.json" in crossed(office).targets


def test_a_dismissal_that_was_killed_is_ended_by_the_next(office: Office) -> None:
    """79: what waited for signatures, and was not yet dropped, is dropped then."""
    with pytest.raises(PolicyError):
        office.add(release("team-a/shop", "1.1.0"), team_signers=lambda _: ())
    (request,) = held(office.depot)
    end(office)
    save(office.depot, request)
    with pytest.raises(UsageError, match="was dismissed"):
        end(office)
    assert held(office.depot) == ()


def test_a_waiting_request_brings_no_revoked_key_back(office: Office) -> None:
    """9: it was made when a key still signed that was taken out since, and is refused whoever signs it."""
    gone, stays = office.key(), office.key()
    office.delegate("team-b", [gone, stays])
    office.add(release("team-b/shop"), team_signers=lambda _: [stays])
    with pytest.raises(PolicyError):
        office.add(release("team-b/shop", "1.1.0"), team_signers=lambda _: ())
    (request,) = held(office.depot)
    delegate(office.depot, "team-b", rule([stays], 1), signer_for=office.online, now=office.now)
    for signer in (stays, gone):
        with pytest.raises(TrustError, match="made when other keys signed for team-b"):
            office.publish(request.sign(signer))
