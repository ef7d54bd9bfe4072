"""A team signs for its own releases, and for nothing else: attacks 2, 9, 19, 22, 31, 32 and 33 on delegations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from teams import Team, delegations, offer

from sealift.digest import sha256
from sealift.errors import MalformedError, SealiftError, TrustError
from sealift.trust import Trust, Versions, anchor, refresh
from tests.tufmaker import NOW, PAST, Depot, Tree, dump, key_tree, load, signature, signer, target

OWN = {"releases/team-a/shop/1.0.0.json": target(b"{}")}
PLAIN = {"releases/shop/1.0.0.json": target(b"{}")}


@pytest.fixture(scope="module")
def depot() -> Depot:
    """A depot with one key a role."""
    return Depot()


@pytest.fixture(scope="module")
def team() -> Team:
    """A team with one key."""
    return Team()


@pytest.fixture
def enrolled(depot: Depot) -> Trust:
    """Trust in the first root of `depot`."""
    root = depot.root()
    return anchor(root, sha256(root), reference=NOW)


def _refused(trust: Trust, offered: Mapping[str, bytes], match: str, kind: type[SealiftError] = TrustError) -> None:
    with pytest.raises(kind, match=match) as caught:
        refresh(trust, offered, reference=NOW)
    assert type(caught.value) is kind


def test_a_team_lists_its_own_releases(depot: Depot, enrolled: Trust, team: Team) -> None:
    """What a delegated role lists counts beside what the top level lists, and is kept with its version."""
    content = team.targets(3, OWN)
    result = refresh(enrolled, offer(depot, 7, teams={team: content}, files=PLAIN), reference=NOW)
    assert {path: found.path for path, found in result.targets.items()} == {path: path for path in (*OWN, *PLAIN)}
    assert result.versions == Versions(root=1, timestamp=7, snapshot=7, targets=7, delegated={"team-a": 3})
    assert result.trust.delegated == {"team-a": content}


def test_a_team_that_published_nothing_yet_has_no_metadata(depot: Depot, enrolled: Trust, team: Team) -> None:
    """A delegation counts from the moment that the snapshot names the role's metadata."""
    assert refresh(enrolled, offer(depot, said=delegations(team)), reference=NOW).trust.delegated == {}


def test_metadata_that_nobody_delegates_to_is_passed_over(depot: Depot, enrolled: Trust, team: Team) -> None:
    """A file of a role without a delegation counts for nothing, whatever it holds."""
    offered = offer(depot, listed={"old-team.json": 4}) | {"4.old-team.json": b"whatever", "1.team-a.json": b"too"}
    result = refresh(enrolled, offered, reference=NOW)
    assert result.targets == {}
    assert result.versions.delegated == {"old-team": 4}


def test_two_teams_do_not_meet(depot: Depot, enrolled: Trust, team: Team) -> None:
    """Each of several roles is checked by its own keys."""
    other = Team(name="team-b")
    own = {"releases/team-b/shop/1.0.0.json": target(b"[]")}
    result = refresh(
        enrolled, offer(depot, teams={team: team.targets(1, OWN), other: other.targets(5, own)}), reference=NOW
    )
    assert set(result.targets) == {*OWN, *own}
    assert result.versions.delegated == {"team-a": 1, "team-b": 5}


def test_a_team_needs_its_threshold(depot: Depot, enrolled: Trust) -> None:
    """2: one of two needed signatures of a team is not enough, and two are."""
    pair = Team(keys=[signer(), signer()], threshold=2)
    _refused(enrolled, offer(depot, teams={pair: pair.targets(1, OWN, keys=pair.keys[:1])}), "1/2 keys")
    assert (
        refresh(enrolled, offer(depot, teams={pair: pair.targets(1, OWN)}), reference=NOW).targets.keys() == OWN.keys()
    )


def test_one_signature_does_not_count_twice_for_a_team(depot: Depot, enrolled: Trust) -> None:
    """3: the same key id twice among the signatures of a team is refused."""
    pair = Team(keys=[signer(), signer()], threshold=2)
    tree = load(pair.targets(1, OWN))["signed"]
    twice = dump({"signatures": [signature(tree, pair.keys[0])] * 2, "signed": tree})
    _refused(enrolled, offer(depot, teams={pair: twice}), "signed twice under one key id")


def test_another_teams_key_does_not_count(depot: Depot, enrolled: Trust, team: Team) -> None:
    """31: what team B signed is no metadata of team A, though both are trusted."""
    other = Team(name="team-b")
    teams = {team: team.targets(1, OWN, keys=other.keys), other: other.targets(1)}
    _refused(enrolled, offer(depot, teams=teams), r"1\.team-a\.json is not signed by the keys that this site trusts")


def test_the_online_key_does_not_sign_for_a_team(depot: Depot, enrolled: Trust, team: Team) -> None:
    """31: the top level's own key cannot sign in a team's place."""
    _refused(enrolled, offer(depot, teams={team: team.targets(1, OWN, keys=depot.keys["targets"])}), "not signed by")


def test_a_teams_metadata_is_not_the_top_level(depot: Depot, enrolled: Trust, team: Team) -> None:
    """31: a team's targets cannot stand in the place of the top-level targets."""
    offered = offer(depot, teams={team: team.targets(1, OWN)})
    offered["1.targets.json"] = offered["1.team-a.json"]
    _refused(enrolled, offered, "1.targets.json")


@pytest.mark.parametrize(
    "path",
    [
        "releases/team-b/shop/1.0.0.json",
        "releases/shop/1.0.0.json",
        f"bundles/{'0' * 64}.json",
        "releases/team-a/shop/deep/1.0.0.json",
        "releases/team-a/1.0.0.json",
        "releases/team-a/shop/1.0.0.txt",
        "Releases/team-a/shop/1.0.0.json",
        "releases/team-ab/shop/1.0.0.json",
        "x/team-a/shop/1.0.0.json",
    ],
)
def test_a_team_lists_nothing_outside_of_its_namespace(depot: Depot, enrolled: Trust, team: Team, path: str) -> None:
    """32: a signed path that is not the team's own refuses the bundle."""
    _refused(enrolled, offer(depot, teams={team: team.targets(1, {path: target()})}), "may list nothing but")


@pytest.mark.parametrize(
    "path",
    [
        "releases/team-a/Shop/1.json",
        "releases/team-a/shop/.json",
        "releases/team-a/shop/1_.json",
        "releases/team-a/a..b/1.json",
    ],
)
def test_a_teams_releases_have_valid_names(depot: Depot, enrolled: Trust, team: Team, path: str) -> None:
    """32: what no release may be called, a team does not list either."""
    _refused(enrolled, offer(depot, teams={team: team.targets(1, {path: target()})}), "no valid", MalformedError)


@pytest.mark.parametrize("path", [*OWN, "releases/unknown/shop/1.json", "RELEASES/team-a/shop/1.json"])
def test_the_top_level_lists_no_teams_release(depot: Depot, enrolled: Trust, team: Team, path: str) -> None:
    """32: a release with a namespace is its own role's to list, also where there is no such role yet."""
    files = {path: target()}
    _refused(enrolled, offer(depot, teams={team: team.targets()}, files=files), "which only the role '.*' may list")


@pytest.mark.parametrize(
    "changes",
    [
        {"paths": ["*"]},
        {"paths": ["releases/*/*/*.json"]},
        {"paths": ["releases/team-?/*/*.json"]},
        {"paths": ["releases/team-a/*/*.json", "releases/team-b/*/*.json"]},
        {"paths": []},
        {"terminating": False},
    ],
    ids=str,
)
def test_a_delegation_of_anything_else_is_refused(
    depot: Depot, enrolled: Trust, team: Team, changes: dict[str, object]
) -> None:
    """32: a pattern that could match another's releases is refused before it is asked for anything."""
    said = delegations(team) | {"roles": [team.rule(**changes)]}
    _refused(enrolled, offer(depot, teams={team: team.targets()}, said=said), "delegates other paths than")


@pytest.mark.parametrize("name", ["targets", "root", "waiver", "Team", "../x", "a/b", "", "-a", "a" * 33, "a.b"])
def test_a_role_needs_a_plain_name(depot: Depot, enrolled: Trust, name: str) -> None:
    """31: no delegated role bears a top-level role's name, or one that could be a path."""
    _refused(enrolled, offer(depot, said=delegations(Team(name=name))), "no name of a role")


def test_one_role_twice_is_refused(depot: Depot, enrolled: Trust, team: Team) -> None:
    """33: a second delegation to one role, by other keys, is refused (the diamond)."""
    said = delegations(team, Team(name=team.name))
    _refused(enrolled, offer(depot, said=said), "delegates to one role twice")


def test_a_team_does_not_delegate_further(depot: Depot, enrolled: Trust, team: Team) -> None:
    """33: there is one level, so no circle can be."""
    content = team.targets(1, OWN, delegations=delegations(Team(name="team-b")))
    _refused(enrolled, offer(depot, teams={team: content}), "delegates further")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"threshold": 0}, "asks for 0 of 1"),
        ({"threshold": 2}, "asks for 2 of 1"),
        ({"keyids": ["0" * 64]}, "not hold"),
    ],
)
def test_a_teams_rule_must_hold(
    depot: Depot, enrolled: Trust, team: Team, changes: dict[str, object], match: str
) -> None:
    """18: a delegated role's threshold and keys obey the rules of the root's roles."""
    said = delegations(team) | {"roles": [team.rule(**changes)]}
    _refused(enrolled, offer(depot, said=said), match)


def test_a_teams_keys_are_what_their_ids_say(depot: Depot, enrolled: Trust, team: Team) -> None:
    """4, 5: delegated keys obey the rules of the root's keys."""
    (only,) = delegations(team)["keys"]
    said = delegations(team)
    said["keys"]["ab" * 32] = said["keys"][only]
    _refused(enrolled, offer(depot, said=said), "one public key under two key ids")
    said = delegations(team)
    said["keys"][only] = key_tree(signer())
    _refused(enrolled, offer(depot, said=said), "key id that is not its key's digest")


def test_other_forms_of_delegation_are_refused(depot: Depot, enrolled: Trust, team: Team) -> None:
    """32: hashed bins and hash prefixes are not part of the format."""
    bins: Tree = {"keys": {}, "succinct_roles": {"keyids": [], "threshold": 1, "bit_length": 8, "name_prefix": "x"}}
    _refused(enrolled, offer(depot, said=bins), "not valid tuf metadata", MalformedError)
    hashed = delegations(team) | {"roles": [team.rule(path_hash_prefixes=["00"])]}
    _refused(enrolled, offer(depot, said=hashed), "not valid tuf metadata", MalformedError)


# Freshness


def test_a_teams_metadata_is_not_rolled_back(depot: Depot, enrolled: Trust, team: Team) -> None:
    """19: a newer snapshot cannot bring a team's older metadata back."""
    trust = refresh(enrolled, offer(depot, 7, teams={team: team.targets(3, OWN)}), reference=NOW).trust
    _refused(trust, offer(depot, 8, teams={team: team.targets(2)}), r"\(team-a 2, the site has 3\)")


def test_a_teams_metadata_of_a_known_version_is_final(depot: Depot, enrolled: Trust, team: Team) -> None:
    """22: another content under a team's known version is refused."""
    trust = refresh(enrolled, offer(depot, 7, teams={team: team.targets(3, OWN)}), reference=NOW).trust
    _refused(trust, offer(depot, 8, teams={team: team.targets(3)}), "another team-a 3 than the one")


def test_a_team_cannot_vanish_from_the_snapshot(depot: Depot, enrolled: Trust, team: Team) -> None:
    """19: a name that the snapshot listed once stays, so that its version cannot begin again."""
    trust = refresh(enrolled, offer(depot, 7, teams={team: team.targets(3, OWN)}), reference=NOW).trust
    _refused(trust, offer(depot, 8), r"\(team-a 0, the site has 3\)|missing info for 'team-a.json'")


def test_a_team_can_lose_its_delegation(depot: Depot, enrolled: Trust, team: Team) -> None:
    """9: a team that is not delegated to any more signs nothing that counts."""
    trust = refresh(enrolled, offer(depot, 7, teams={team: team.targets(3, OWN)}), reference=NOW).trust
    result = refresh(trust, offer(depot, 8, listed={"team-a.json": 3}), reference=NOW)
    assert result.targets == {}
    assert result.versions.delegated == {"team-a": 3}


def test_a_teams_revoked_key_is_a_strangers(depot: Depot, enrolled: Trust, team: Team) -> None:
    """9: after its keys changed, the former ones sign nothing."""
    trust = refresh(enrolled, offer(depot, 7, teams={team: team.targets(3, OWN)}), reference=NOW).trust
    after = Team()
    _refused(trust, offer(depot, 8, teams={after: after.targets(4, OWN, keys=team.keys)}), "not signed by the keys")
    fresh = offer(depot, 8, teams={after: after.targets(4, OWN)})
    assert refresh(trust, fresh, reference=NOW).versions.delegated == {"team-a": 4}


def test_a_teams_expired_metadata_is_refused(depot: Depot, enrolled: Trust, team: Team) -> None:
    """20: a team's metadata ends like all other."""
    _refused(enrolled, offer(depot, teams={team: team.targets(1, OWN, expires=PAST)}), "the bundle's team-a expired on")


def test_a_teams_metadata_must_be_there(depot: Depot, enrolled: Trust, team: Team) -> None:
    """20: what the snapshot names cannot be withheld."""
    offered = offer(depot, teams={team: team.targets(2, OWN)})
    del offered["2.team-a.json"]
    _refused(enrolled, offered, r"no metadata/2\.team-a\.json", MalformedError)


def test_a_teams_metadata_of_another_export_is_refused(depot: Depot, enrolled: Trust, team: Team) -> None:
    """22: the snapshot's digest decides which of two files of one version it is."""
    offered = offer(depot, teams={team: team.targets(2, OWN)})
    offered["2.team-a.json"] = team.targets(2)
    _refused(enrolled, offered, r"2\.team-a\.json is not the team-a that the rest of the bundle was signed with")


def test_new_keys_recover_a_team_that_was_driven_too_far(depot: Depot, enrolled: Trust, team: Team) -> None:
    """21: after a root with new online keys, a team's versions may begin again."""
    trust = refresh(enrolled, offer(depot, 7, teams={team: team.targets(2**53, OWN)}), reference=NOW).trust
    after = depot.rotated("timestamp", "snapshot", "targets")
    fresh = offer(after, 8, teams={team: team.targets(4, OWN)}, roots={2: after.root(2, former=depot)})
    assert refresh(trust, fresh, reference=NOW).versions.delegated == {"team-a": 4}


def test_a_root_that_changes_no_online_key_lets_nothing_begin_again(depot: Depot, enrolled: Trust, team: Team) -> None:
    """21: only new keys of the snapshot forget its versions; another new root does not."""
    trust = refresh(enrolled, offer(depot, 7, teams={team: team.targets(3, OWN)}), reference=NOW).trust
    fresh = offer(depot, 8, teams={team: team.targets(2)}, roots={2: depot.root(2)})
    _refused(trust, fresh, r"\(team-a 2, the site has 3\)")
    other = offer(depot, 8, teams={team: team.targets(3)}, roots={2: depot.root(2)})
    _refused(trust, other, "another team-a 3")


@pytest.mark.parametrize("name", ["../x.json", "Team.json", "root.json", "waiver.json", "team-a", "a/b.json"])
def test_a_snapshot_names_metadata_only(depot: Depot, enrolled: Trust, name: str) -> None:
    """31, 52: a snapshot's names are roles, and never paths."""
    _refused(enrolled, offer(depot, listed={name: 1}), "no metadata that it may name", MalformedError)


def test_a_timestamp_names_the_snapshot_only(depot: Depot, enrolled: Trust) -> None:
    """31: nothing but the snapshot stands in a timestamp."""
    offered = depot.offer()
    tree = load(offered["timestamp.json"])["signed"]
    tree["meta"]["team-a.json"] = {"version": 1}
    offered["timestamp.json"] = dump({"signatures": [signature(tree, depot.keys["timestamp"][0])], "signed": tree})
    _refused(enrolled, offered, "no metadata that it may name", MalformedError)


def test_depots_differ_by_their_keys_alone(enrolled: Trust, team: Team) -> None:
    """10: a stranger's depot with the same team is refused."""
    stranger = replace(Depot())
    _refused(enrolled, offer(stranger, teams={team: team.targets(1, OWN)}), "not signed by the keys")
