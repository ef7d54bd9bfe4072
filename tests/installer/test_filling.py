"""Values and secrets are filled in the templates of a release, as its own schema says, and secrets stay secret."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from calls import Call
from example_program import shell
from gitserver import repository
from molds import Molded
from valued import APP, SCHEMA, SECRET, app, bundle, declared, deploy
from worlds import Connected, Isolated

from installer.cli import PROGRAM
from installer.collecting import collect
from installer.environments.environment import load
from installer.preview import preview
from sealift.errors import DeployError, UsageError

WITH_SECRET = f"{APP}password: ${{{{ secrets.db }}}}\n"


@pytest.fixture
def site(connected: Connected, isolated: Isolated, molded: Molded) -> Isolated:
    """A site that holds a release with a template."""
    molded("filling", lambda: isolated.admit(bundle(connected)))
    return isolated


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file with a secret."""
    path = tmp_path / "db-password"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def guarded(connected: Connected, isolated: Isolated, secret: Path) -> Isolated:
    """A site that holds a release whose template wants a secret."""
    isolated.admit(bundle(connected, app=WITH_SECRET))
    return isolated


def _with(secret: Path, values: str = "host: db.example") -> str:
    return f"values: {{{values}}}\nsecrets: {{db: {{file: {secret}}}}}\n"


def _refusal(site: Isolated, text: str) -> str:
    with pytest.raises(UsageError) as caught:
        site.installation.plan(declared(site, text=text))
    return f"{caught.value.message}\n{caught.value.hint or ''}"


def test_values_are_filled_in_what_is_deployed(site: Isolated) -> None:
    """With the defaults of the schema, and what is deployed where; the rest of the release is as it was sealed."""
    deploy(site)
    assert app(site) == "host: db.example\nport: 8080\nrelease: 1.0.0 in plant-7\n"
    assert (site.srv / "current" / "version.txt").read_text() == "1.0.0\n"


def test_the_same_values_again_are_nothing_to_do(site: Isolated) -> None:
    """Nothing is touched, not even a time."""
    deploy(site)
    before = {path: path.lstat().st_mtime_ns for base in (site.srv, site.folder) for path in base.rglob("*")}
    assert not deploy(site).changed
    after = {path: path.lstat().st_mtime_ns for base in (site.srv, site.folder) for path in base.rglob("*")}
    assert {path for path in after if after[path] != before.get(path)} <= {site.folder / "lock"}
    assert after.keys() == before.keys()


def test_other_values_are_another_deployment_to_return_from(site: Isolated) -> None:
    """A rollback brings the former values back, and needs no file."""
    deploy(site)
    outcome = deploy(site, text="values: {host: other, port: 1}\n")
    assert app(site).startswith("host: other\nport: 1\n")
    assert outcome.plan.steps[0].before != outcome.plan.steps[0].after
    site.installation.rollback("plant-7")
    assert app(site).startswith("host: db.example\nport: 8080\n")


def test_values_that_fail_their_health_check_return(site: Isolated) -> None:
    """The former values serve again."""
    deploy(site)
    with pytest.raises(DeployError):
        deploy(site, text="values: {host: bad}\nhealth: [{command: [/bin/false], retries: 0}]\n")
    assert app(site).startswith("host: db.example\n")


def test_every_problem_with_values_is_told_with_its_place(site: Isolated) -> None:
    """File, line, column and path, before anything is changed."""
    told = _refusal(site, "values:\n  port: 0\n  prot: 1\n")
    path = site.root / "environment.yaml"
    assert told.splitlines()[:3] == [
        f"{path}:9:3: values: the key 'host' is missing",
        f"{path}:9:9: values.port: must be at least 1, not 0",
        f"{path}:10:3: values.prot: unknown key (what may stand here too: 'host')",
    ]
    assert not site.srv.exists()


def test_a_name_that_templates_have_already_is_no_value(connected: Connected, isolated: Isolated) -> None:
    """Where the schema would let it pass."""
    isolated.admit(bundle(connected, schema={"type": "object"}))
    assert "values.secrets: the name is taken" in _refusal(isolated, "values: {host: a, port: 1, secrets: x}\n")


def test_undefined_names_of_every_template_are_told(connected: Connected, isolated: Isolated) -> None:
    """One for each template, with its file and line."""
    more = {"config/b.yaml": b"a\n${{ nowhere }}\n", "config/c.yaml": b"${{ host.name }}\n"}
    isolated.admit(bundle(connected, more=more))
    assert _refusal(isolated, "values: {host: a}\n").splitlines()[:2] == [
        "shop@1.0.0 config/b.yaml:2: 'nowhere' is undefined",
        "shop@1.0.0 config/c.yaml:1: 'str object' has no attribute 'name'",
    ]


def test_values_for_a_release_without_templates_are_refused(connected: Connected, isolated: Isolated) -> None:
    """They would have no effect that anybody could see."""
    isolated.admit(connected.bundle("1.0.0", {"a": b"a"}))
    assert ":8:1: values: shop@1.0.0 has no templates" in _refusal(isolated, "values: {a: 1}\n")


@pytest.mark.parametrize(
    ("app", "message"),
    [
        ("${% for a in range(99999) %}${% for b in range(99999) %}${% endfor %}${% endfor %}", "more than 1 seconds"),
        ("${{ 'x' * 4000000000 }}", "MemoryError|too much memory"),
        ("${{ 9 ** (9 ** (9 ** 9)) }}", "more than 1 seconds|too much memory"),
    ],
)
def test_a_hostile_template_is_stopped(
    connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch, app: str, message: str
) -> None:
    """103: its time and its memory are bounded, and the command goes on to say so."""
    monkeypatch.setattr("installer.environments.filling.SECONDS", 1)
    isolated.admit(bundle(connected, app=app))
    with pytest.raises(UsageError, match=message):
        isolated.installation.plan(declared(isolated))


def test_a_schema_that_hangs_is_stopped(
    connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pattern that backtracks without end, which the release ships."""
    monkeypatch.setattr("installer.environments.filling.SECONDS", 1)
    isolated.admit(bundle(connected, schema={"type": "object", "properties": {"host": {"pattern": "^(a+)+$"}}}))
    with pytest.raises(UsageError, match="more than 1 seconds"):
        isolated.installation.plan(declared(isolated, text=f"values: {{host: {'a' * 60}b, port: 1}}\n"))


@pytest.mark.parametrize("kind", ["file", "env", "command"])
def test_secrets_come_from_where_the_environment_says(
    guarded: Isolated, secret: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A file, a variable, or a program; a newline at the end is none of it."""
    monkeypatch.setenv("SHOP_DB", SECRET)
    where = {"file": str(secret), "env": "SHOP_DB", "command": f"[/bin/cat, {secret}]"}[kind]
    deploy(guarded, text=f"values: {{host: a}}\nsecrets: {{db: {{{kind}: {where}}}}}\n")
    assert app(guarded).endswith(f"password: {SECRET}\n")


def test_a_secret_is_nowhere_but_where_it_is_filled_in(
    guarded: Isolated, secret: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """103: not in the site's folder, its ledger or its journal, not in a plan, a preview or a difference."""
    work = guarded.installation
    planned = work.plan(declared(guarded, text=_with(secret)))
    shown = preview(planned, guarded.site, with_difference=True)
    assert "password: <secret db>" in "\n".join(shown.difference)
    said = [repr(planned), str(planned.document()), str(shown.document(with_files=True))]
    with pytest.raises(DeployError):
        deploy(guarded, text=_with(secret) + "health: [{command: [/bin/false], retries: 0}]\n")
    deploy(guarded, text=_with(secret))
    kept = [path.read_bytes().decode(errors="replace") for path in guarded.folder.rglob("*") if path.is_file()]
    captured = capfd.readouterr()
    assert not [text for text in [*said, *kept, captured.out, captured.err] if SECRET in text]
    assert SECRET in app(guarded)


def test_no_message_says_a_secret(connected: Connected, isolated: Isolated, secret: Path) -> None:
    """103: a template that breaks because of the secret is told without it."""
    isolated.admit(bundle(connected, app="${{ {'<secret db>': 1}[secrets.db] }}\n"))
    told = _refusal(isolated, _with(secret))
    assert "config/app.yaml:1: it can be filled with masks, but not with these secrets" in told
    assert SECRET not in told


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("{file: /nowhere/at/all}", "/nowhere/at/all: no such file"),
        ("{env: SHOP_UNSET}", "the variable SHOP_UNSET is not set"),
        ("{command: [/bin/sh, -c, 'echo told; exit 3']}", "/bin/sh failed with exit code 3"),
        ("{command: [/bin/true]}", "the secret is empty"),
    ],
)
def test_a_secret_that_cannot_be_had_is_told(guarded: Isolated, reference: str, message: str) -> None:
    """With its place, beside every other problem, and without what a program wrote."""
    told = _refusal(guarded, f"values: {{port: 1}}\nsecrets:\n  db: {reference}\n")
    assert f":10:7: secrets.db: {message}" in told
    assert "the key 'host' is missing" in told
    assert "told" not in told


def test_a_secret_that_everybody_may_read_is_refused(guarded: Isolated, secret: Path) -> None:
    """The mode of its file is looked at before its content is used."""
    secret.chmod(0o644)
    assert "everybody may read or write" in _refusal(guarded, _with(secret))


def test_another_secret_is_another_deployment(guarded: Isolated, secret: Path) -> None:
    """Applying again brings it in; a rollback fills in the secret that is so now, never a former one."""
    deploy(guarded, text=_with(secret))
    secret.write_text("rotated")
    assert deploy(guarded, text=_with(secret)).changed
    assert app(guarded).endswith("password: rotated\n")
    deploy(guarded, text=_with(secret, "host: other"))
    secret.write_text("once-more")
    guarded.installation.rollback("plant-7")
    assert app(guarded).startswith("host: db.example\n")
    assert app(guarded).endswith("password: once-more\n")


def test_the_variant_does_not_tell_a_secret(guarded: Isolated, secret: Path) -> None:
    """Two sites with the same secret have different variants: nobody can try secrets against one."""
    deploy(guarded, text=_with(secret))
    first = os.readlink(guarded.srv / "current")
    assert (guarded.folder / "variant.key").stat().st_mode & 0o777 == 0o600
    (guarded.folder / "variant.key").write_bytes(bytes(32))
    deploy(guarded, text=_with(secret))
    assert os.readlink(guarded.srv / "current") != first


def test_status_compares_filled_files(guarded: Isolated, secret: Path) -> None:
    """Deeply: a filled file that was changed is drift, and so is a secret that is another one now."""
    deploy(guarded, text=_with(secret))
    assert guarded.problem(deep=True) is None
    path = guarded.srv / "current" / "config" / "app.yaml"
    former = path.read_text()
    path.write_text(former.replace("8080", "8081"))
    assert "no longer holds" in (guarded.problem(deep=True) or "")
    path.write_text(former)
    secret.write_text("rotated")
    assert "a secret is another one now" in (guarded.problem(deep=True) or "")


def test_a_preview_counts_files_whose_values_changed(site: Isolated) -> None:
    """The template is the same, what is made of it is not; the difference shows the lines."""
    deploy(site)
    shown = preview(
        site.installation.plan(declared(site, text="values: {host: other}\n")), site.site, with_difference=True
    )
    assert shown.changes == (("changed", "config/app.yaml"),)
    assert [line for line in shown.difference if line[:1] in "+-"][2:] == ["-host: db.example", "+host: other"]


def test_an_upgrade_takes_nothing_filled_from_the_release_before(connected: Connected, site: Isolated) -> None:
    """A template that stays the same is filled anew, also where files are shared with the former folder."""
    site.admit(bundle(connected, "1.1.0"))
    reuse = "    reuse: hardlink\n"
    for version, host in (("1.0.0", "one"), ("1.1.0", "two")):
        path = site.environment(version, more=f"values: {{host: {host}}}\n", target=reuse)
        from installer.environments.environment import load

        site.installation.apply(load(path))
    (old,) = (site.srv / "releases").glob("1.0.0-*")
    assert (old / "config/app.yaml").read_text().startswith("host: one\n")
    assert app(site).startswith("host: two\n")


def test_defaults_of_a_schema_hold_at_every_depth() -> None:
    """What is said stays; what is missing is taken from the schema."""
    from installer.environments.filling import with_defaults

    inner = {"type": "object", "default": {}, "properties": {"b": {"default": 1}, "c": {"default": 2}}}
    schema = {**SCHEMA, "properties": {"a": inner, "d": {}}}
    assert with_defaults({"a": {"b": 5}}, schema) == {"a": {"b": 5, "c": 2}}
    assert with_defaults({}, schema) == {"a": {"b": 1, "c": 2}}


def test_plan_shows_what_changes_in_filled_files(
    guarded: Isolated, secret: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a person calls it: line by line, the secret masked."""
    monkeypatch.setattr("installer.cli.options.utc_now", lambda: guarded.now)
    monkeypatch.setenv("SEALIFT_SITE", str(guarded.folder))
    deploy(guarded, text=_with(secret))
    path = guarded.environment("1.0.0", more=_with(secret, "host: other"))
    call = Call(PROGRAM, capsys)
    assert call("plan", path, "--diff") == 0, call.err
    assert "1 file filled with values" in call.out
    assert "\n-host: db.example\n+host: other\n" in call.out
    assert "password: <secret db>" in call.out
    assert SECRET not in call.out + call.err


def test_every_kind_of_target_gets_what_is_filled_in(
    guarded: Isolated, secret: Path, tmp_path: Path, quiet_home: Path
) -> None:
    """A git repository, and a folder; what serves is as it should be at a short look and at a deep one."""
    there = repository(tmp_path / "manifests.git")
    path = guarded.environment("1.0.0", more=_with(secret))
    path.write_text(
        path.read_text().replace("policy", f"  - {{kind: gitops, repository: {there.folder}, path: shop}}\npolicy")
    )
    guarded.installation.apply(load(path))
    assert there.git("show", "main:shop/config/app.yaml").startswith("host: db.example\nport: 8080\n")
    for deep in (False, True):
        assert guarded.problems(deep=deep) == [None, None]
    secret.unlink()
    problems = guarded.problems(deep=True)
    assert all("a secret is another one now, or cannot be had" in (problem or "") for problem in problems)


def test_a_program_that_prints_a_secret_is_masked(guarded: Isolated, secret: Path, tmp_path: Path) -> None:
    """103: neither the message nor the ledger shows it."""
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ncat {secret}; exit 1\n")
    hook.chmod(0o755)
    text = f"{_with(secret)}hooks: {{after-switch: [{{run: [{hook}]}}]}}\n"
    with pytest.raises(DeployError) as caught:
        deploy(guarded, text=text)
    assert "<secret db>" in caught.value.message
    assert SECRET not in caught.value.message
    assert SECRET not in (guarded.folder / "ledger.jsonl").read_text()


@pytest.mark.parametrize(
    "words",
    [SECRET, SECRET[:9], SECRET[-8:], base64.b64encode(SECRET.encode()).decode()[4:20]],
    ids=["whole", "its begin", "its end", "in base64"],
)
def test_a_target_that_quotes_a_piece_of_a_secret_is_masked(
    guarded: Isolated, secret: Path, tmp_path: Path, words: str
) -> None:
    """103: in its errors, in their hints, and in what it says is wrong, to a person and to the ledger."""
    (tmp_path / "live").mkdir()
    target = f"{{kind: command, command: [{tmp_path}/other, {tmp_path}/live], path: {tmp_path}/releases}}"

    def says(operation: str, **reply: str) -> None:
        text = json.dumps({"protocol": 1, **reply})
        shell(tmp_path, f"case $asked in *'\"operation\":\"{operation}\"'*) echo '{text}'; exit;; esac")

    says("stage", error=f"near {words}.", hint=f"look for {words}.")
    with pytest.raises(DeployError) as caught:
        guarded.deploy("1.0.0", target, more=_with(secret))
    assert "near <secret db>." in caught.value.message
    says("nothing")
    guarded.deploy("1.0.0", target, more=_with(secret))
    says("check", problem=f"bad: {words}.")
    assert guarded.problem() == "bad: <secret db>."
    (step,) = guarded.installation.plan(load(guarded.root / "environment.yaml")).steps
    assert step.problem == "bad: <secret db>."
    says("current", error=f"near {words}.", hint=f"look for {words}.")
    work = guarded.installation
    for asked in (
        lambda: work.plan(load(guarded.root / "environment.yaml")),
        lambda: work.remove("plant-7"),
        lambda: collect(guarded.site, work, keep=0, dry_run=False, clock=lambda: guarded.now),
    ):
        with pytest.raises(DeployError) as caught:
            asked()
        assert caught.value.message.endswith("near <secret db>.")
        assert caught.value.hint == "look for <secret db>."
    assert words not in (guarded.folder / "ledger.jsonl").read_text()


def test_no_secret_is_looked_for_where_a_policy_refuses(guarded: Isolated, tmp_path: Path) -> None:
    """A program that gives a secret runs only for what may be deployed."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran; echo secret\n")
    program.chmod(0o755)
    path = guarded.environment("1.0.0", more=f"values: {{host: a}}\nsecrets: {{db: {{command: [{program}]}}}}\n")
    allowed = path.read_text()
    path.write_text(allowed.replace("policy: none", "policy: {minimum-version: '2'}"))
    assert guarded.installation.plan(load(path)).refused
    assert not (tmp_path / "ran").exists()
    path.write_text(allowed)
    assert not guarded.installation.plan(load(path)).refused
    assert (tmp_path / "ran").exists()
