"""A policy says of each of its rules why it passes or not, and a deployment that one refuses changes nothing."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from calls import Call
from complaints import complaints
from molds import Molded
from shop import events, hold, serving
from worlds import Connected, Isolated

from installer.applying import Installation
from installer.approval import approval, approved, load_key, make_key, read, sign
from installer.cli import PROGRAM
from installer.environments.environment import load
from installer.policies.policy import NO_RULES, Facts, Policy, judge, of
from installer.records.identity import public_key
from sealift.errors import MalformedError, PolicyError, TrustError, UsageError
from sealift.progress import Silent

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)  # a Friday
FACTS = Facts(
    action="apply",
    release="team-a/shop",
    version="1.4.0",
    published=NOW - timedelta(days=10),
    signers=frozenset({"a" * 64, "b" * 64}),
    reference=NOW,
    approved={"security": {"alice"}},
)


@pytest.mark.parametrize(
    ("policy", "passes", "why"),
    [
        ({"releases": ["team-a/*"]}, True, "team-a/shop@1.4.0 is one of team-a/*"),
        ({"releases": ["*"]}, False, "team-a/shop@1.4.0 is none of *"),
        ({"releases": ["shop", "team-a/s*@1.4.*"]}, True, "team-a/s*@1.4.*"),
        ({"releases": ["team-a/shop@1.3*"]}, False, "is none of"),
        ({"signers": [{"keys": ["a" * 64, "c" * 64], "threshold": 1}]}, True, "1 of the 2 keys signed"),
        ({"signers": [{"keys": ["a" * 64, "c" * 64], "threshold": 2}]}, False, "1 of the 2 keys signed"),
        ({"signers": [{"keys": ["a" * 16, "a" * 64], "threshold": 2}]}, False, "1 of the 2 keys signed"),
        ({"minimum-version": "1.4"}, True, "1.4.0 is 1.4 or newer"),
        ({"minimum-version": "1.4.1"}, False, "1.4.0 is not 1.4.1 or newer"),
        ({"maximum-age": "10d"}, True, "published 10 days ago, 10 days"),
        ({"maximum-age": "1w"}, False, "published 10 days ago, 7 days"),
        ({"freeze": [{"from": "2026-05-01T00:00Z", "until": "2026-05-02T00:00Z"}]}, False, "nothing is changed from"),
        ({"freeze": [{"from": "2026-05-01T14:01+02:00", "until": "2026-05-02T00:00Z"}]}, True, "none at"),
        ({"freeze": [{"days": ["fri"], "reason": "market"}]}, False, "from 00:00 to 24:00 UTC (market)"),
        ({"freeze": [{"days": ["fri"], "from": "12:01"}]}, True, "none at"),
        ({"freeze": [{"days": ["fri"], "from": "14:00", "to": "14:01", "zone": "Europe/Berlin"}]}, False, "Berlin"),
        ({"freeze": [{"days": ["sat", "sun"]}]}, True, "none at"),
        ({"approvals": {"security": 1}}, True, "1 of the role security approved (alice)"),
        ({"approvals": {"security": 2}}, False, "1 of the role security approved"),
        ({"approvals": {"change": 1}}, False, "0 of the role change approved"),
    ],
)
def test_each_rule_says_why(policy: dict[str, Any], passes: bool, why: str) -> None:
    """From the facts alone."""
    (verdict,) = judge(of(policy), FACTS)
    assert verdict.passes == passes
    assert why in str(verdict)


def test_what_is_not_known_is_refused() -> None:
    """A release without a time, or whose version has no order."""
    facts = replace(FACTS, published=None, version="latest")
    verdicts = judge(of({"maximum-age": "9w", "minimum-version": "1"}), facts)
    assert [(each.rule, each.passes) for each in verdicts] == [("minimum-version", False), ("maximum-age", False)]


def test_all_rules_are_told_and_all_must_pass() -> None:
    """In a fixed order."""
    policy = Policy(releases=("*",), minimum="1", age=timedelta(days=99), approvals={"a": 1, "b": 1})
    assert [each.passes for each in judge(policy, FACTS)] == [False, True, True, False, False]
    assert judge("none", FACTS) == NO_RULES


def test_a_rollback_is_judged_by_what_the_release_is() -> None:
    """And not by when it is done, or who approved it."""
    policy = of(
        {
            "releases": ["x"],
            "minimum-version": "9",
            "maximum-age": "1m",
            "freeze": [{"days": ["fri"]}],
            "approvals": {"security": 9},
        }
    )
    rules = [each.rule for each in judge(policy, replace(FACTS, action="rollback"))]
    assert rules == ["releases", "minimum-version"]


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("{}", "7:9: policy: must not be empty"),
        ("some", "7:9: policy: 'some' does not have the form"),
        ("{release: [a]}", "7:10: policy.release: unknown key (did you mean 'releases'?)"),
        ("{releases: ['../x']}", "7:21: policy.releases[0]: '../x' does not have the form"),
        ("{minimum-version: latest}", "7:27: policy.minimum-version: 'latest' has no order"),
        ("{maximum-age: 3 days}", "7:23: policy.maximum-age: '3 days' does not have the form"),
        ("{freeze: [{days: [fri], zone: Mars/Base}]}", "7:19: policy.freeze[0]: this machine knows no time zone"),
        ("{freeze: [{days: [fri], from: '22:00', to: '06:00'}]}", "7:19: policy.freeze[0]: it ends before it begins"),
        ("{freeze: [{from: '2026-02-30T00:00Z', until: '2026-03-01T00:00Z'}]}", "7:19: policy.freeze[0]: '2026-02-30"),
        ("{freeze: [{from: '2026-02-20', until: '2026-03-01T00:00Z'}]}", "7:26: policy.freeze[0].from: '2026-02-20'"),
        (
            "{signers: [{keys: [" + "a" * 64 + "], threshold: 2}]}",
            "policy.signers[0].threshold: is more than the 1 keys",
        ),
        ("{approvals: {security: 0}}", "7:32: policy.approvals.security: must be at least 1"),
    ],
)
def test_a_policy_that_is_none_is_told_with_its_place(tmp_path: Path, policy: str, message: str) -> None:
    """File, line, column and path."""
    path = tmp_path / "environment.yaml"
    path.write_text(
        "environment: plant-7\nrelease: shop\nversion: 1.0.0\ntargets:\n  - kind: directory\n    path: /srv/shop\n"
        f"policy: {policy}\n"
    )
    assert any(message in line for line in complaints(path, lambda: load(path)))


@pytest.fixture
def site(connected: Connected, isolated: Isolated, molded: Molded) -> Isolated:
    """A site that holds two releases and runs the first."""
    hold(molded, connected, isolated, "1.0.0", "1.1.0")
    isolated.apply("1.0.0")
    return isolated


def _environment(site: Isolated, version: str, policy: str) -> Path:
    path = site.environment(version)
    path.write_text(path.read_text().replace("policy: none", f"policy: {policy}"))
    return path


def test_a_refused_deployment_changes_nothing(site: Isolated) -> None:
    """Exit code 7; the ledger says which rules refused, and the plan says it before."""
    declared = load(_environment(site, "1.1.0", "{minimum-version: '2', releases: [shop]}"))
    planned = site.installation.plan(declared)
    assert planned.document()["refused"] == ["minimum-version: 1.1.0 is not 2 or newer"]
    with pytest.raises(PolicyError, match=r"minimum-version: 1\.1\.0 is not 2 or newer"):
        site.installation.apply(declared)
    assert serving(site) == "1.0.0"
    assert events(site, "withheld", "1.1.0") == 1


def test_the_policy_of_what_serves_judges_a_rollback(site: Isolated) -> None:
    """A minimum version that was raised keeps the older release away; a freeze does not."""
    frozen = "{freeze: [{days: [mon, tue, wed, thu, fri, sat, sun], from: '12:01'}]}"
    site.installation.apply(load(_environment(site, "1.1.0", frozen)))
    site.now += timedelta(hours=1)
    with pytest.raises(PolicyError, match="freeze"):
        site.installation.apply(load(_environment(site, "1.0.0", frozen)))
    site.installation.rollback("plant-7")
    assert serving(site) == "1.0.0"
    site.now -= timedelta(hours=1)
    site.installation.apply(load(_environment(site, "1.1.0", "{minimum-version: 1.1.0}")))
    with pytest.raises(PolicyError, match="minimum-version"):
        site.installation.rollback("plant-7")
    assert serving(site) == "1.1.0"


def test_the_signers_are_those_whose_signatures_hold(site: Isolated) -> None:
    """The key of the depot signs for its releases; a key that signed nothing does not count."""
    targets = json.loads(site.site.state.trust.targets or b"")
    (signature,) = targets["signatures"]
    for key, passes in ((signature["keyid"], True), ("0" * 64, False)):
        declared = load(_environment(site, "1.1.0", f"{{signers: [{{keys: ['{key}'], threshold: 1}}]}}"))
        assert bool(site.installation.plan(declared).refused) != passes


def test_a_range_deploys_the_newest_that_was_admitted(site: Isolated) -> None:
    """And says so; what is in no range is told with what there is."""
    outcome = site.installation.apply(load(site.environment("^1.0")))
    assert outcome.plan.admitted.version == "1.1.0"
    assert serving(site) == "1.1.0"
    site.installation.rollback("plant-7")
    assert serving(site) == "1.0.0"
    with pytest.raises(UsageError, match="no release shop at this site is in the range"):
        site.installation.plan(load(site.environment(">=2")))


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Path]:
    """The keys of two approvers."""
    made = {}
    for name in ("alice", "bob"):
        made[name] = tmp_path / f"{name}.pem"
        make_key(made[name], b"a long passphrase")
    return made


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, isolated: Isolated) -> Call:
    """Runs the program for the site of `isolated`, at the time of the tests."""
    for name in ("options", "approve", "approvers", "env"):
        monkeypatch.setattr(importlib.import_module(f"installer.cli.{name}"), "utc_now", lambda: isolated.now)
    monkeypatch.setenv("SEALIFT_SITE", str(isolated.folder))
    monkeypatch.setenv("SEALIFT_PASSPHRASE", "a long passphrase")
    return Call(PROGRAM, capsys)


def _public(key: Path) -> str:
    return public_key(load_key(key, b"a long passphrase")).hex()


def test_approvals_let_a_deployment_pass(site: Isolated, call: Call, keys: dict[str, Path], tmp_path: Path) -> None:
    """Two of two approvers, each with a key of their own; with one of them it is refused."""
    added = [f"--add={name}={_public(key)}" for name, key in keys.items()]
    assert call("approvers", "--role", "security", *added) == 0
    path = _environment(site, "1.1.0", "{approvals: {security: 2}}")
    for name, key in keys.items():
        assert call("approve", path, "--key", key, "--out", tmp_path / f"{name}.approval") == 0, call.err
        assert "policy REFUSES approvals: 0 of the role security approved, 2 must have" in call.out
    given = [f"--approval={tmp_path / name}.approval" for name in keys]
    assert call("apply", path, given[0]) == 7
    assert "1 of the role security approved (alice), 2 must have" in call.err
    assert call("apply", path, *given) == 0, call.err
    assert serving(site) == "1.1.0"
    assert call.document("approvers")["approvers"]["security"].keys() == {"alice", "bob"}


def test_a_copy_of_an_environment_can_be_approved(
    site: Isolated, call: Call, keys: dict[str, Path], tmp_path: Path
) -> None:
    """By the same changes as it is made with, and by no others; its end is no part of what is approved."""
    assert call("approvers", "--role", "security", f"--add=alice={_public(keys['alice'])}") == 0
    path, given = _environment(site, "1.0.0", "{approvals: {security: 1}}"), tmp_path / "alice.approval"
    assert call("approve", path, "--key", keys["alice"], "--out", tmp_path / "first.approval") == 0, call.err
    assert call("apply", path, "--approval", tmp_path / "first.approval", "--take-over") == 0, call.err
    changes = ("--set", "version=1.1.0", "--set", f"targets[0].path={tmp_path}/hotfix")
    signing = ("--key", keys["alice"], "--out", given)
    assert call("approve", "hotfix", "--copy-of", "plant-7", *changes, *signing) == 0, call.err
    assert call("env", "copy", "plant-7", "hotfix", *changes) == 7
    other = ("--set", f"targets[0].path={tmp_path}/other")
    assert call("env", "copy", "plant-7", "hotfix", *changes, *other, "--approval", given) == 7
    assert call("env", "copy", "plant-7", "hotfix", *changes, "--expires", "3d", "--approval", given) == 0, call.err
    assert (tmp_path / "hotfix/current/version.txt").read_text() == "1.1.0\n"
    assert call("approve", "hotfix", "--set", "version=1.1.0", *signing) == 2


def test_an_approval_holds_for_nothing_else(site: Isolated, keys: dict[str, Path], tmp_path: Path) -> None:
    """30: not for another release, another declaration or another site, not after its time, and not for a stranger."""
    declared = load(_environment(site, "1.1.0", "{approvals: {security: 1}}"))
    admitted = site.installation.plan(declared).admitted
    alice = load_key(keys["alice"], b"a long passphrase")
    state = msgspec.structs.replace(site.site.state, approvers={"security": {"alice": _public(keys["alice"])}})
    path = tmp_path / "approval"
    path.write_bytes(sign(approval(declared, admitted, state, site.now + timedelta(days=1)), alice))
    given = [read(path), read(path)]

    def who(**changed: Any) -> set[str]:
        arguments = {"environment": declared, "admitted": admitted, "site": state, "reference": site.now, **changed}
        return approved(given, **arguments)["security"]

    assert who() == {"alice"}
    assert who(reference=site.now + timedelta(days=1)) == set()
    assert who(environment=load(_environment(site, "1.1.0", "{approvals: {security: 1}, maximum-age: 9d}"))) == set()
    first = site.site.state.release("shop", "1.0.0")
    assert who(admitted=first) == set()
    assert who(site=msgspec.structs.replace(state, name="other")) == set()
    assert who(site=msgspec.structs.replace(state, approvers={"security": {"bob": _public(keys["bob"])}})) == set()


def test_an_approval_that_was_changed_is_refused(site: Isolated, keys: dict[str, Path], tmp_path: Path) -> None:
    """1: before anything of it is believed."""
    declared = load(site.environment("1.1.0"))
    admitted = site.installation.plan(declared).admitted
    content = sign(
        approval(declared, admitted, site.site.state, site.now), load_key(keys["alice"], b"a long passphrase")
    )
    path = tmp_path / "approval"
    path.write_bytes(content.replace(b"shop@1.1.0", b"shop@1.2.0"))
    with pytest.raises(TrustError, match="does not hold"):
        read(path)
    for wrong in (b"{}", content[:-20], content.replace(b'"format":1', b'"format":2'), b"\xff"):
        path.write_bytes(wrong)
        with pytest.raises(MalformedError):
            read(path)


def test_a_key_of_an_approver_is_guarded(keys: dict[str, Path]) -> None:
    """14, 15: another passphrase and a file that others may read are refused."""
    with pytest.raises(TrustError, match="another passphrase"):
        load_key(keys["alice"], b"wrong")
    assert keys["alice"].stat().st_mode & 0o777 == 0o600
    keys["alice"].chmod(0o640)
    with pytest.raises(TrustError, match="others may read"):
        load_key(keys["alice"], b"a long passphrase")


def test_approvers_are_set_by_name_and_key(site: Isolated, call: Call, keys: dict[str, Path]) -> None:
    """4: one key under two names is refused; a change stands in the ledger."""
    key = _public(keys["alice"])
    assert call("approvers", "--role", "security", f"--add=alice={key}", f"--add=bob={key}") == 2
    assert call("approvers", "--role", "security", "--add=alice=xyz") == 2
    assert call("approvers", f"--add=alice={key}") == 2
    assert call("approvers", "--role", "security", f"--add=alice={key}") == 0
    assert call("approvers", "--role", "security", "--remove", "bob") == 2
    assert call("approvers", "--role", "security", "--remove", "alice") == 0
    assert call.document("approvers")["approvers"] == {}
    assert [entry.detail["keys"] for entry in site.site.ledger.read() if entry.event == "approvers"] == [
        {"alice": key},
        {},
    ]


def test_all_targets_that_cannot_be_looked_at_are_named(site: Isolated, tmp_path: Path) -> None:
    """At once, before anything is changed."""
    for name in ("one", "two"):
        (tmp_path / name).write_text("in the way")
    more = f"  - {{kind: directory, path: {tmp_path}/one}}\n  - {{kind: directory, path: {tmp_path}/two}}\n"
    declared = load(site.environment("1.1.0", target=more))
    with pytest.raises(UsageError, match=f"2 targets cannot be looked at: {tmp_path}/one .*; {tmp_path}/two"):
        Installation(site.site, workers=1, progress=Silent(), clock=lambda: site.now).apply(declared)
    assert serving(site) == "1.0.0"


def test_a_declaration_cannot_do_away_with_the_policy_of_what_serves(site: Isolated) -> None:
    """Both must pass; that another policy is to count from now on is said by `--take-over`."""
    site.installation.apply(load(_environment(site, "1.0.0", "{releases: ['shop@1.0.*']}")))
    without = load(_environment(site, "1.1.0", "none"))
    with pytest.raises(PolicyError, match="releases"):
        site.installation.apply(without)
    assert serving(site) == "1.0.0"
    work = Installation(site.site, workers=1, progress=Silent(), clock=lambda: site.now, take_over=True)
    work.apply(without)
    assert serving(site) == "1.1.0"


def test_a_clock_that_went_back_counts_from_the_last_deployment_on(site: Isolated) -> None:
    """A freeze is not left by winding the clock back to before it."""
    policy = "{freeze: [{from: '2026-05-01T00:00Z', until: '2026-06-01T00:00Z'}]}"
    later = replace(site, now=datetime(2026, 6, 2, tzinfo=UTC))
    later.installation.apply(load(_environment(later, "1.0.0", policy)))
    back = replace(site, now=datetime(2026, 5, 2, tzinfo=UTC))
    back.installation.apply(load(_environment(back, "1.1.0", policy)))
    assert serving(site) == "1.1.0"
