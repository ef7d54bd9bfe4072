"""Random ceremonies, publications and imports: an old trust never wins, and a good bundle is never refused.

Ceremonies change keys, kinds of keys and thresholds of any role, end in the same breath what was there, and let teams
come and go. Sites are late or follow at once, lose what they trusted, and are handed waivers, good and bad.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from securesystemslib.signer import Signer
from teams import Team, offer
from termed import TermedDepot, waived

from keys.hybrid_signer import HybridSigner
from sealift.digest import sha256
from sealift.errors import MalformedError, TrustError
from sealift.trust import Refreshed, Trust, Versions, anchor, refresh
from tests.tufmaker import NOW, PAST, Depot, ecdsa_signer, signer, target

SITE = "plant-7"
NAMES = ("team-a", "team-b")
KINDS = ("ed25519", "ecdsa", "hybrid")


def key(kind: str) -> Signer:
    """A new key of a kind."""
    if kind == "hybrid":
        return HybridSigner(Ed25519PrivateKey.generate(), MLDSA65PrivateKey.generate())
    return signer() if kind == "ed25519" else ecdsa_signer()


@dataclass(frozen=True, kw_only=True)
class Made:
    """A publication: what a bundle made then would hold."""

    number: int
    offered: dict[str, bytes]
    late: bool
    depot: TermedDepot
    targets: frozenset[str]
    root: int


class Walks(RuleBasedStateMachine):
    """A depot, whose holders do as they please, and a site that is handed any of its bundles in any order."""

    @initialize()
    def begin(self) -> None:
        """A depot with two root keys, and a site that trusts its first root."""
        self.depot = TermedDepot(holders=[signer()])
        self.roots = {1: self.depot.root(1)}
        self.teams: dict[str, tuple[Team, int, dict[str, Any]]] = {}
        self.named: dict[str, int] = {}
        self.files: dict[str, Any] = {}
        self.made: list[Made] = []
        self.trust = anchor(self.roots[1], sha256(self.roots[1]), reference=NOW)
        self.versions = Versions(root=1)
        self.at = -1
        self.first = 1
        self.publish(late=False)

    def _refresh(self, made: Made, **more: Any) -> Refreshed:
        return refresh(self.trust, made.offered, reference=NOW, site=SITE, **more)

    def _admitted(self, made: Made, result: Refreshed) -> None:
        assert frozenset(result.targets) == made.targets
        assert result.versions.timestamp == made.number + 1
        assert (result.waiver is not None) == made.late
        self.trust, self.versions, self.at = result.trust, result.versions, made.number

    # The depot

    @rule(late=st.booleans())
    def publish(self, late: bool) -> None:
        """The online key lists another release, and signs everything anew."""
        number = len(self.made)
        self.files[f"releases/shop/{number}.json"] = target(b"%d" % number)
        own = {team: team.targets(version, files) for team, version, files in self.teams.values()}
        listed = {f"{name}.json": version for name, version in self.named.items() if name not in self.teams}
        offered = offer(
            self.depot,
            number + 1,
            teams=own,
            files=self.files,
            roots=self.roots,
            expires={"timestamp": PAST} if late else None,
            listed=listed,
        )
        self.named |= {name: version for name, (_, version, _) in self.teams.items()}
        paths = {*self.files, *(path for _, _, files in self.teams.values() for path in files)}
        self.made.append(
            Made(
                number=number,
                offered=offered,
                late=late,
                depot=self.depot,
                targets=frozenset(paths),
                root=len(self.roots),
            )
        )

    @rule(
        roles=st.sets(st.sampled_from(["root", "timestamp", "snapshot", "targets"])),
        holders=st.booleans(),
        kind=st.sampled_from(KINDS),
    )
    def rotate(self, roles: set[str], holders: bool, kind: str) -> None:
        """The root's holders give roles new keys, of any kind, and publish what those sign."""
        former = self.depot
        keys = {role: [key(kind) for _ in range(former.thresholds[role])] for role in sorted(roles)}
        after = replace(former, keys={**former.keys, **keys})
        self.depot = replace(after, holders=[key(kind)], needed=1) if holders else after
        self._follow(former)

    @rule(
        role=st.sampled_from(["root", "timestamp", "snapshot", "targets", "waiver"]),
        threshold=st.integers(1, 2),
        revoked=st.booleans(),
        kind=st.sampled_from(KINDS),
    )
    def change_threshold(self, role: str, threshold: int, revoked: bool, kind: str) -> None:
        """A role asks for one key or for two; a key joins where it must, and the oldest one may leave."""
        former = self.depot
        keys = list(former.holders if role == "waiver" else former.keys[role])[revoked:]
        keys += [key(kind) for _ in range(threshold - len(keys))]
        if role == "waiver":
            self.depot = replace(former, holders=keys, needed=threshold)
        else:
            thresholds = {**former.thresholds, role: threshold}
            self.depot = replace(former, keys={**former.keys, role: keys}, thresholds=thresholds)
        self._follow(former)

    @rule()
    def renew(self) -> None:
        """The root's holders sign a root that says the same as the one before it."""
        self._follow(self.depot)

    def _follow(self, former: TermedDepot) -> None:
        """The next root, signed by both quorums, and what it lets be signed."""
        number = len(self.roots) + 1
        self.roots = {**self.roots, number: self.depot.root(number, former=former)}
        self.publish(late=False)

    @rule(name=st.sampled_from(NAMES))
    def team_publishes(self, name: str) -> None:
        """A team, new or known, lists another release of its own."""
        team, version, files = self.teams.get(name, (Team(name=name), self.named.get(name, 0), {}))
        path = f"releases/{name}/shop/{version + 1}.json"
        self.teams[name] = (team, version + 1, {**files, path: target(path.encode())})
        self.publish(late=False)

    @rule(name=st.sampled_from(NAMES), threshold=st.integers(1, 2), kind=st.sampled_from(KINDS))
    def team_gets_new_keys(self, name: str, threshold: int, kind: str) -> None:
        """A team's keys are replaced, more or fewer of them sign, and it signs its list anew."""
        if name in self.teams:
            _, version, files = self.teams[name]
            team = Team(name=name, keys=[key(kind) for _ in range(threshold)], threshold=threshold)
            self.teams[name] = (team, version + 1, files)
            self.publish(late=False)

    @rule(name=st.sampled_from(NAMES))
    def team_is_dismissed(self, name: str) -> None:
        """A team is not delegated to any more; the snapshot keeps its name."""
        if self.teams.pop(name, None):
            self.publish(late=False)

    # The site

    @rule(data=st.data())
    def hand_over_any(self, data: st.DataObject) -> None:
        """Newer bundles in time are admitted, older ones never, and the same one again changes nothing."""
        made = data.draw(st.sampled_from(self.made))
        if made.root < self.first:
            return  # of a root before the one that the site enrolled with last
        if made.number < self.at or made.late:
            with pytest.raises(TrustError):
                self._refresh(made)
        else:
            again, before = made.number == self.at, self.trust
            self._admitted(made, self._refresh(made))
            assert self.trust == before or not again

    @rule()
    def hand_over_the_newest(self) -> None:
        """Whatever came before, the newest bundle in time is admitted."""
        made = self.made[-1]
        if not made.late:
            self._admitted(made, self._refresh(made))

    @rule(data=st.data())
    def lose_everything(self, data: st.DataObject) -> None:
        """A site that lost its files enrols again with any root of the depot; only its newest bundle need do."""
        number = data.draw(st.sampled_from(sorted(self.roots)))
        self.trust = anchor(self.roots[number], sha256(self.roots[number]), reference=NOW)
        self.versions, self.at = Versions(root=number), -1
        self.first = number

    @rule(data=st.data())
    def hand_over_too_few_signatures(self, data: st.DataObject) -> None:
        """A newer publication of which a role lacks one signature is refused."""
        role = data.draw(st.sampled_from(["timestamp", "snapshot", "targets"]))
        short = replace(self.depot, keys={**self.depot.keys, role: list(self.depot.keys[role])[:-1]})
        threshold = self.depot.thresholds[role]
        if len(short.keys[role]) >= threshold:
            return
        with pytest.raises(TrustError):
            refresh(self.trust, offer(short, 10_000, roots=self.roots), reference=NOW)

    @rule(data=st.data())
    def hand_over_with_a_waiver(self, data: st.DataObject) -> None:
        """A waiver of the holders that the bundle's root names admits a late bundle, and nothing older."""
        made = data.draw(st.sampled_from([each for each in self.made if each.root >= self.first]))
        content = waived(
            made.offered["timestamp.json"], made.depot.holders, site=data.draw(st.sampled_from([None, SITE]))
        )
        if made.number < self.at:
            with pytest.raises(TrustError):
                self._refresh(made, waiver=content)
        else:
            self._admitted(made, self._refresh(made, waiver=content))

    @precondition(lambda self: any(made.late for made in self.made))
    @rule(data=st.data(), how=st.sampled_from(["stranger", "another", "ended", "elsewhere"]))
    def hand_over_with_a_bad_waiver(self, data: st.DataObject, how: str) -> None:
        """Neither forged nor replayed waivers admit anything."""
        made = data.draw(st.sampled_from([each for each in self.made if each.late]))
        other = self.made[made.number - 1] if made.number else made
        days = timedelta(days=60)
        content = {
            "stranger": lambda: waived(made.offered["timestamp.json"], [signer()]),
            "another": lambda: waived(other.offered["timestamp.json"], made.depot.holders),
            "ended": lambda: waived(made.offered["timestamp.json"], made.depot.holders, issued=NOW - days),
            "elsewhere": lambda: waived(made.offered["timestamp.json"], made.depot.holders, site="plant-9"),
        }[how]()
        if how == "another" and other is made:
            return
        with pytest.raises(TrustError):
            self._refresh(made, waiver=content)

    @rule(data=st.data())
    def mix_two_bundles(self, data: st.DataObject) -> None:
        """A file of one publication in the place of another's admits nothing that neither of them said."""
        one, other = data.draw(st.sampled_from(self.made)), data.draw(st.sampled_from(self.made))
        name = data.draw(st.sampled_from(sorted(set(one.offered) & set(other.offered))))
        try:
            result = refresh(self.trust, {**one.offered, name: other.offered[name]}, reference=NOW)
        except (TrustError, MalformedError):
            return
        assert result.versions.timestamp > self.at
        assert frozenset(result.targets) in (one.targets, other.targets)

    @rule(role=st.sampled_from(["timestamp", "snapshot", "targets"]))
    def a_stranger_signs(self, role: str) -> None:
        """Metadata that a role's key did not sign is refused, however new."""
        mixed = replace(self.depot, keys={**self.depot.keys, role: [signer()]})
        with pytest.raises(TrustError):
            refresh(self.trust, offer(mixed, 10_000, roots=self.roots), reference=NOW)

    @rule()
    def a_stranger_rotates(self) -> None:
        """A root that the former quorum did not sign moves nothing."""
        number = self.versions.root + 1
        stranger = Depot()
        with pytest.raises(TrustError):
            refresh(self.trust, offer(stranger, 10_000, roots={number: stranger.root(number)}), reference=NOW)

    @invariant()
    def trust_is_what_was_signed(self) -> None:
        """What is trusted is, byte for byte, one publication of the depot, and roots never vanish."""
        assert self.versions.root == self.first + len(self.trust.roots) - 1
        if self.at >= 0:
            made = self.made[self.at]
            assert self.trust.timestamp == made.offered["timestamp.json"]
            assert self.versions.root >= made.root
        assert self.trust.roots == tuple(self.roots[number] for number in range(self.first, self.versions.root + 1))
        assert isinstance(self.trust, Trust)


Walks.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
test_walks = Walks.TestCase
