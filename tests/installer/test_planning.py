"""The plan is decided from what is known, and says everything that an apply or a rollback does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from installer.deployments import Deployed, State
from installer.environments.environment import Environment, of
from installer.environments.filling import NOTHING
from installer.planning import Plan, former, goal, plan_apply, plan_rollback, wanted
from installer.records.state import Admitted
from installer.records.state import State as SiteState
from installer.storage.deployable import identity_of
from installer.target import Sight
from sealift.errors import UsageError
from sealift.listing import Blob, ListingBlob
from sealift.manifest import Part, ReleaseBlob
from sealift.trust import Trust, Versions

NOW = datetime(2026, 5, 1, tzinfo=UTC)
OLD = datetime(2026, 4, 1, tzinfo=UTC)


def _digest(version: str) -> str:
    return version.replace(".", "").ljust(64, "0")


def _declared(version: str, paths: tuple[str, ...] = ("/srv/shop",), release: str = "shop") -> dict[str, Any]:
    return {
        "environment": "plant-7",
        "release": release,
        "version": version,
        "targets": [{"kind": "directory", "path": path} for path in paths],
        "policy": "none",
    }


def _environment(declared: Mapping[str, Any]) -> Environment:
    return of(declared, Path("environment.yaml"))


def _site(*versions: str, release: str = "shop") -> SiteState:
    return SiteState(
        generation=1,
        name="site",
        enrolled=OLD,
        trust=Trust(roots=(b"{}",)),
        versions=Versions(root=1),
        newest=OLD,
        admitted=tuple(
            Admitted(
                part=Part(
                    release=ReleaseBlob(sha256=_digest(version), length=1, name=release, version=version),
                    index=ListingBlob(sha256="1" * 64, length=1, size=1),
                    packs=(Blob(sha256="2" * 64, length=1),),
                ),
                bundle="3" * 64,
                time=OLD,
                published="2026-04-01T00:00:00Z",
            )
            for version in versions
        ),
    )


def _deployed(version: str, declared: dict[str, Any] | None = None) -> Deployed:
    return Deployed(
        release="shop",
        version=version,
        manifest=_digest(version),
        environment=declared or _declared(version),
        time=OLD,
    )


def _state(current: str | None = None, previous: str | None = None) -> State:
    return State(
        environment="plant-7",
        current=_deployed(current) if current else None,
        previous=_deployed(previous) if previous else None,
    )


def _identity(version: str) -> str:
    return identity_of(version, _digest(version))


def _sights(*serving: str | None) -> list[Sight]:
    return [
        Sight(kind="directory", place=f"/srv/{number}", serving=_identity(version) if version else None)
        for number, version in enumerate(serving)
    ]


def _apply(environment: Environment, before: State, site: SiteState, seen: list[Sight]) -> Plan:
    admitted = wanted(environment, site)
    return plan_apply(environment, admitted, goal(environment, admitted, before, NOTHING, NOW), before, seen)


def _rollback(before: State, site: SiteState, seen: list[Sight]) -> Plan:
    return plan_rollback(before, *former(before, site), seen, NOW)


@pytest.mark.parametrize(
    ("before", "serving", "version", "action", "pending", "after"),
    [
        pytest.param((None, None), None, "1.0", "switch", True, ("1.0", None), id="the first release"),
        pytest.param(("1.0", None), "1.0", "1.1", "switch", True, ("1.1", "1.0"), id="an upgrade"),
        pytest.param(("1.1", "1.0"), "1.1", "1.0", "switch", True, ("1.0", "1.1"), id="a downgrade"),
        pytest.param(("1.1", "1.0"), "1.1", "1.1", "none", False, ("1.1", "1.0"), id="nothing to do"),
        pytest.param(("1.1", "1.0"), "1.0", "1.1", "switch", True, ("1.1", "1.0"), id="drift at the target"),
        pytest.param(("1.1", "1.0"), None, "1.1", "switch", True, ("1.1", "1.0"), id="a target that lost it"),
        pytest.param((None, None), "1.0", "1.0", "none", True, ("1.0", None), id="a target that has it already"),
        pytest.param(("1.1", "1.0"), "1.2", "1.2", "none", True, ("1.2", "1.1"), id="switched, not recorded"),
    ],
)
def test_a_plan_follows_from_what_is_known(
    before: tuple[str | None, str | None],
    serving: str | None,
    version: str,
    action: str,
    pending: bool,
    after: tuple[str | None, str | None],
) -> None:
    """From what is recorded, what serves and what is wanted: the action, and the state afterwards."""
    site = _site("1.0", "1.1", "1.2")
    plan = _apply(_environment(_declared(version)), _state(*before), site, _sights(serving))
    assert [step.action for step in plan.steps] == [action]
    assert plan.pending is pending
    found = plan.after
    assert (found.current and found.current.version, found.previous and found.previous.version) == after


def test_a_plan_says_what_happens_at_each_target() -> None:
    """One that serves the release already is left as it is."""
    declared = _declared("1.1", ("/srv/a", "/srv/b", "/srv/c"))
    plan = _apply(_environment(declared), _state("1.0"), _site("1.0", "1.1"), _sights("1.0", "1.1", None))
    assert [(step.before, step.after, step.action) for step in plan.steps] == [
        (_identity("1.0"), _identity("1.1"), "switch"),
        (_identity("1.1"), _identity("1.1"), "none"),
        (None, _identity("1.1"), "switch"),
    ]


def test_other_settings_of_a_target_are_a_change() -> None:
    """The same release with another declaration of its targets is recorded anew."""
    declared = _declared("1.0")
    declared["targets"][0]["reuse"] = "none"
    plan = _apply(_environment(declared), _state("1.0"), _site("1.0"), _sights("1.0"))
    assert plan.pending


def test_a_plan_is_the_same_for_the_same_facts() -> None:
    """Nothing but its arguments decides it."""
    facts = (_environment(_declared("1.1")), _state("1.0"), _site("1.0", "1.1"), _sights("1.0"))
    assert _apply(*facts) == _apply(*facts)


@pytest.mark.parametrize(
    ("site", "hint"),
    [
        pytest.param(_site("1.1", "1.0"), "it has 1.0, 1.1: correct environment.yaml", id="other versions"),
        pytest.param(_site(), "import a bundle", id="nothing"),
        pytest.param(_site("2.0", release="other"), "import a bundle", id="another release"),
    ],
)
def test_a_release_that_was_not_admitted_cannot_be_planned(site: SiteState, hint: str) -> None:
    """The hint says which versions there are, or where a release comes from."""
    with pytest.raises(UsageError, match=r"shop@2\.0 is not at this site") as caught:
        _apply(_environment(_declared("2.0")), _state(), site, _sights(None))
    assert hint in (caught.value.hint or "")


def test_a_rollback_returns_to_what_was_declared_then() -> None:
    """Its targets are those of the former deployment, and the two releases change places."""
    old, new = _declared("1.0", ("/srv/old",)), _declared("1.1", ("/srv/new",))
    before = State(environment="plant-7", current=_deployed("1.1", new), previous=_deployed("1.0", old))
    plan = _rollback(before, _site("1.0", "1.1"), _sights("1.1"))
    assert plan.environment.targets[0].settings == {"path": "/srv/old"}
    assert plan.after.current is not None
    assert (plan.after.current.version, plan.after.current.time) == ("1.0", NOW)
    assert plan.after.previous == before.current


def test_a_rollback_of_a_rollback_returns() -> None:
    """Twice is where one began, but for the times."""
    site = _site("1.0", "1.1")
    once = _rollback(_state("1.1", "1.0"), site, _sights("1.1")).after
    twice = _rollback(once, site, _sights("1.0")).after
    assert twice.current is not None
    assert twice.previous is not None
    assert (twice.current.version, twice.previous.version) == ("1.1", "1.0")


@pytest.mark.parametrize("before", [_state(), _state("1.0")])
def test_a_rollback_needs_a_former_release(before: State) -> None:
    """Where there is none, the hint names the history."""
    with pytest.raises(UsageError, match="no former release") as caught:
        _rollback(before, _site("1.0"), [])
    assert "history" in (caught.value.hint or "")


def test_a_rollback_needs_the_release_at_the_site() -> None:
    """One that was collected must be imported again."""
    with pytest.raises(UsageError, match=r"1\.0 is no longer at this site"):
        _rollback(_state("1.1", "1.0"), _site("1.1"), _sights("1.1"))


def test_the_document_of_a_plan_says_all_of_it() -> None:
    """For `--json`: plain values, the same as the plan's."""
    plan = _apply(_environment(_declared("1.1")), _state("1.0"), _site("1.0", "1.1"), _sights("1.0"))
    assert plan.document() == {
        "action": "apply",
        "environment": "plant-7",
        "pending": True,
        "from": "shop@1.0",
        "to": "shop@1.1",
        "manifest": _digest("1.1"),
        "targets": [
            {
                "kind": "directory",
                "place": "/srv/0",
                "action": "switch",
                "from": _identity("1.0"),
                "to": _identity("1.1"),
            }
        ],
        "policy": ["none: whatever this site has admitted may be deployed"],
        "refused": [],
    }
