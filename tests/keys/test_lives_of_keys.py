"""Random lives of a depot and its sites: an old trust never wins, and a good bundle is never refused.

The machine runs ceremonies (keys that come, go and are stolen, thresholds, teams, renewals, requests that too few
sign), publishes, lets time pass, and carries bundles to sites in any order. What a site does with one follows from
three numbers alone: which exports it has seen, whether the bundle has expired, and whether its own root was still
in force when it was enrolled.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from office import Office, release
from office import rule as keys_of
from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata

from keys.lineup import changed
from keys.proposing import next_team
from sealift.digest import sha256
from sealift.errors import SealiftError, TrustError
from sealift.trust import Refreshed, Trust, anchor, refresh

START = datetime.fromisoformat("2026-03-01T12:00:00+00:00")


@dataclass
class Export:
    """A bundle's metadata, as it was when it was made."""

    number: int
    content: dict[str, bytes]
    timestamp: int
    expires: datetime
    releases: frozenset[str]


@dataclass
class Place:
    """A site: what it trusts, and the newest export that it admitted."""

    trust: Trust
    newest: Export | None = None
    releases: frozenset[str] = frozenset()


class Lives(RuleBasedStateMachine):
    """Ceremonies, publications and imports in any order."""

    @initialize()
    def begin(self) -> None:
        """A depot, its first bundle and two sites."""
        self.folder = Path(tempfile.mkdtemp())
        self.office = Office.open(self.folder / "depot", START)
        self.teams: dict[str, list[Signer]] = {}
        self.exports: list[Export] = []
        self.published: set[str] = set()
        self.number = 0
        self.export()
        self.sites = [self.enrolled(), self.enrolled()]

    def teardown(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def enrolled(self) -> Place:
        """A site that begins with the first root, as the paper of the first ceremony says."""
        root = self.exports[-1].content["1.root.json"]
        return Place(trust=anchor(root, sha256(root), reference=START))

    def export(self) -> None:
        """Keep what an export would carry now."""
        content = self.office.bundle()
        stamp = Metadata.from_bytes(content["timestamp.json"]).signed
        expires = [
            Metadata.from_bytes(each).signed.expires
            for name, each in content.items()
            if not name.endswith(".root.json")
        ]
        self.exports.append(
            Export(
                number=len(self.exports),
                content=content,
                timestamp=stamp.version,
                expires=min(expires),
                releases=frozenset(self.published),
            )
        )

    @rule()
    def publish(self) -> None:
        """A release of the depot's own."""
        self.number += 1
        self.office.add(release(version=str(self.number)))
        self.published.add(f"releases/shop/{self.number}.json")
        self.export()

    @rule()
    def rotate_online(self) -> None:
        """A new online key: the former one is stolen, lost or old."""
        self.office.rotate_online()
        self.export()

    @rule(threshold=st.integers(1, 3), data=st.data())
    def rotate_root(self, threshold: int, data: st.DataObject) -> None:
        """A root key comes, another one goes, and the threshold changes."""
        line = self.office.line
        gone = data.draw(st.sampled_from(line.root.ids))
        after = changed(line.root, add=[self.office.key().public_key], remove=[gone], threshold=threshold, role="root")
        self.office.change(lambda each: each.having("root", after))
        self.export()

    @rule(present=st.booleans())
    def waiver(self, present: bool) -> None:
        """The waiver role comes and goes."""
        rule = keys_of([self.office.key()], 1) if present else None
        self.office.change(lambda line: line.having("waiver", rule))
        self.export()

    @rule()
    def too_few(self) -> None:
        """A root that too few sign changes nothing."""
        before = self.office.bundle()
        request = self.office.propose(self.office.line.having("root", keys_of([self.office.key()], 1)))
        with pytest.raises(TrustError, match="not signed by enough"):
            self.office.publish(request)
        assert self.office.bundle() == before

    @precondition(lambda self: len(self.teams) < 2)
    @rule(threshold=st.integers(1, 2))
    def delegate(self, threshold: int) -> None:
        """A team comes."""
        team = f"team-{'ab'[len(self.teams)]}"
        self.teams[team] = [self.office.key(), self.office.key()]
        self.office.delegate(team, self.teams[team], threshold)
        self.export()

    @precondition(lambda self: self.teams)
    @rule(data=st.data())
    def team_publishes(self, data: st.DataObject) -> None:
        """A team's release."""
        team = data.draw(st.sampled_from(sorted(self.teams)))
        self.number += 1
        self.office.add(release(f"{team}/tool", str(self.number)))
        self.published.add(f"releases/{team}/tool/{self.number}.json")
        self.export()

    @precondition(lambda self: self.teams)
    @rule(data=st.data())
    def team_key_goes(self, data: st.DataObject) -> None:
        """A team's key is replaced, and the team signs anew what it has published."""
        team = data.draw(st.sampled_from(sorted(self.teams)))
        self.teams[team] = [self.teams[team][1], self.office.key()]
        after = keys_of(self.teams[team], 2)
        request = next_team(self.office.state, team, now=self.office.now, days=180, rule=after)
        self.office.publish(self.office.signed(request))
        self.export()

    @rule(days=st.integers(1, 60))
    def time_passes(self, days: int) -> None:
        """Time passes; the depot is looked after, so that it does not expire."""
        self.office.now += timedelta(days=days)
        if self.office.state.root.expires - self.office.now < timedelta(days=90):
            self.office.change(lambda line: line)
        self.office.add({})
        self.export()

    @rule(site=st.integers(0, 1))
    def import_newest(self, site: int) -> None:
        """Today's bundle is admitted by every site, whatever it missed, unless its own root ended meanwhile."""
        self._import(self.sites[site], self.exports[-1])

    @rule(site=st.integers(0, 1), data=st.data())
    def import_any(self, site: int, data: st.DataObject) -> None:
        """A bundle that was long under way."""
        self._import(self.sites[site], data.draw(st.sampled_from(self.exports)))

    def _import(self, site: Place, export: Export) -> None:
        older = site.newest is not None and export.timestamp < site.newest.timestamp
        if older or self.office.now >= export.expires:
            before = site.trust
            with pytest.raises(TrustError):
                self._refresh(site, export)
            assert site.trust == before
            return
        refreshed = self._refresh(site, export)
        assert set(refreshed.targets) == export.releases
        assert export.releases >= site.releases
        assert refreshed.timestamp_version == export.timestamp
        assert len(refreshed.trust.roots) >= len(site.trust.roots)
        if site.newest is None or export.number > site.newest.number:
            site.newest = export
        site.trust, site.releases = refreshed.trust, export.releases

    def _refresh(self, site: Place, export: Export) -> Refreshed:
        return refresh(site.trust, export.content, reference=self.office.now)

    @invariant()
    def a_new_site_catches_up_at_once(self) -> None:
        """Whoever begins with the first root is up to date after one import."""
        if self.exports:
            late = Place(trust=self.enrolled().trust)
            assert set(self._refresh(late, self.exports[-1]).targets) == self.published

    @invariant()
    def no_former_key_publishes(self) -> None:
        """An online key that was replaced signs nothing that the depot would publish."""
        current = set(self.office.line.online.ids)
        former = next((each for keyid, each in self.office.signers.items() if keyid not in current), None)
        if former is not None:
            from keys.repository import publish

            with pytest.raises(SealiftError, match="may not sign"):
                publish(
                    self.office.depot,
                    release("never", "1"),
                    signer_for=lambda _: former,
                    now=self.office.now,
                    published=self.office.now,
                )


@pytest.mark.slow
def test_an_old_trust_never_wins_and_a_good_bundle_is_never_refused() -> None:
    """Attacks 9, 10, 19 and 32: whatever happens to keys, in whatever order bundles arrive."""
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=12, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
