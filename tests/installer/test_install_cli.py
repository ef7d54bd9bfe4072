"""`sealift-install` as a person or a script calls it: what it prints, and with which code it ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from calls import Call
from molds import Molded
from shop import hold, serving, shop
from worlds import Connected, Isolated

from installer.cli import PROGRAM


@pytest.fixture
def call(
    connected: Connected, isolated: Isolated, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Call:
    """Runs the program in this process, for the site of `isolated`, at the time of the tests."""
    from installer.cli import options

    monkeypatch.setattr(options, "utc_now", lambda: isolated.now)
    for name in ("enroll", "gc", "import_", "verify"):
        module = __import__(f"installer.cli.{name}", fromlist=["utc_now"])
        monkeypatch.setattr(module, "utc_now", lambda: isolated.now)
    monkeypatch.setenv("SEALIFT_SITE", str(isolated.folder))
    return Call(PROGRAM, capsys)


@pytest.fixture
def deployed(connected: Connected, isolated: Isolated, molded: Molded) -> Isolated:
    """A site that holds two releases and runs the first."""
    hold(molded, connected, isolated, "1.0.0", "1.1.0")
    isolated.apply("1.0.0")
    return isolated


def test_enroll_says_what_it_did(call: Call, connected: Connected, tmp_path: Path) -> None:
    """The first time, and the second."""
    arguments = ("enroll", "--site", tmp_path / "new", "--root", connected.first_root)
    assert call(*arguments, "--fingerprint", connected.fingerprint) == 0
    assert call.out.startswith(f"enrolled the site in {tmp_path}/new: name new, root 1\n")
    assert call.document(*arguments, "--fingerprint", connected.fingerprint)["created"] is False


def test_enroll_with_a_wrong_fingerprint_is_refused(call: Call, connected: Connected, tmp_path: Path) -> None:
    """Exit code 6, and no folder."""
    arguments = ("enroll", "--site", tmp_path / "new", "--root", connected.first_root)
    assert call(*arguments, "--fingerprint", "0" * 64) == 6
    assert call.err.startswith("error: ")
    assert not (tmp_path / "new").exists()


def test_import_says_what_it_admitted(call: Call, connected: Connected) -> None:
    """The first time, and the second."""
    bundle = connected.bundle("1.0.0", shop("1.0.0"))
    assert call("import", bundle) == 0
    said = call.out.splitlines()
    assert said[0] == "admitted shop@1.0.0"
    assert said[1].startswith("signatures hold under root 1, timestamp ")
    assert said[2].startswith("content verified: ")
    document = call.document("import", bundle)
    assert (document["new"], document["releases"], document["written"]) == ([], ["shop@1.0.0"], 0)


@pytest.mark.parametrize(
    ("damage", "code", "words"),
    [
        (lambda content: content[:-700], 4, "cut off"),
        (lambda content: b"hello" * 1000, 4, "no sealift bundle"),
        (lambda content: b"", 4, "no sealift bundle"),
    ],
    ids=["cut off", "another file", "empty"],
)
def test_import_of_something_else_is_refused(
    call: Call, connected: Connected, damage: object, code: int, words: str
) -> None:
    """An error and a hint on standard error, nothing on standard output."""
    bundle = connected.bundle("1.0.0", shop("1.0.0"))
    bundle.write_bytes(damage(bundle.read_bytes()))  # type: ignore[operator]
    assert call("import", bundle) == code
    assert call.out == ""
    assert words in call.err
    assert call.err.startswith("error: ")
    assert "\nhint: " in call.err


def test_import_of_a_missing_file_is_a_matter_of_the_disk(call: Call, tmp_path: Path) -> None:
    """Exit code 8, with the path."""
    assert call("import", tmp_path / "missing.sealift") == 8
    assert f"error: {tmp_path}/missing.sealift: no such file or directory" in call.err


def test_a_failure_is_a_document_with_json(call: Call, tmp_path: Path) -> None:
    """One document on standard output, whatever happens."""
    document = call.document("import", tmp_path / "missing.sealift", code=8)
    assert document["error"]["exit_code"] == 8


def test_a_missing_site_names_enroll(call: Call, tmp_path: Path) -> None:
    """Exit code 8, and what to do first."""
    assert call("list", "--site", tmp_path / "missing") == 8
    assert "sealift-install enroll" in call.err


def test_list_shows_what_is_held_and_what_runs(call: Call, deployed: Isolated) -> None:
    """A line for each release."""
    assert call("list") == 0
    lines = call.out.splitlines()
    assert lines[1].startswith("shop@1.0.0")
    assert lines[1].endswith("plant-7")
    assert lines[2].endswith("-")
    assert [each["version"] for each in call.document("list")["releases"]] == ["1.0.0", "1.1.0"]


def test_list_of_an_empty_site_says_so(call: Call) -> None:
    """Rather than nothing."""
    assert call("list") == 0
    assert call.out == "the site holds no release yet\n"


def test_plan_says_what_would_change(call: Call, deployed: Isolated) -> None:
    """In words, and by exit code where that is asked for."""
    environment = deployed.environment("1.1.0")
    assert call("plan", environment, "--files") == 0
    assert "shop@1.0.0 -> shop@1.1.0" in call.out
    assert "1 removed, 2 changed" in call.out
    assert "~  version.txt" in call.out
    assert call("plan", environment, "--exit-code") == 11
    assert call("plan", deployed.environment("1.0.0"), "--exit-code") == 0
    assert call.out == "environment plant-7 runs shop@1.0.0: nothing to do\n"


def test_plan_changes_nothing(call: Call, deployed: Isolated) -> None:
    """Not a file."""
    before = deployed.fingerprint_of_everything()
    call("plan", deployed.environment("1.1.0"))
    call("apply", deployed.environment("1.1.0"), "--dry-run")
    call("rollback", "plant-7", "--dry-run")
    assert deployed.fingerprint_of_everything() == before


def test_a_dry_run_of_apply_shows_the_plan(call: Call, deployed: Isolated) -> None:
    """The same text and the same document."""
    environment = deployed.environment("1.1.0")
    call("plan", environment)
    planned = call.out
    call("apply", environment, "--dry-run")
    assert call.out == planned
    assert call.document("apply", environment, "--dry-run") == call.document("plan", environment)


def test_apply_and_rollback_say_what_they_did(call: Call, deployed: Isolated) -> None:
    """And once more, with json."""
    assert call("apply", deployed.environment("1.1.0")) == 0
    assert "deployed shop@1.1.0: " in call.out
    assert call("rollback", "plant-7") == 0
    assert "returned to shop@1.0.0: " in call.out
    document = call.document("rollback", "plant-7")
    assert (document["action"], document["to"], document["changed"]) == ("rollback", "shop@1.1.0", True)
    assert serving(deployed) == "1.1.0"


def test_a_release_that_is_not_there_is_a_matter_of_usage(call: Call, deployed: Isolated) -> None:
    """Exit code 2, with the versions that are there."""
    assert call("apply", deployed.environment("9.0.0")) == 2
    assert "hint: it has 1.0.0, 1.1.0" in call.err


def test_a_failed_deployment_ends_with_9(call: Call, deployed: Isolated) -> None:
    """What failed, and what serves."""
    more = "health:\n  - command: [/bin/sh, -c, 'echo no database; exit 1']\n    retries: 0\n"
    assert call("apply", deployed.environment("1.1.0", more=more)) == 9
    assert call.err == (
        "error: health check /bin/sh failed with exit code 1: no database\n"
        "hint: shop@1.0.0 serves; mend the cause, then apply again\n"
    )


def test_a_stranded_deployment_ends_with_10(call: Call, deployed: Isolated) -> None:
    """Which place should serve what, and what to do."""
    current = deployed.srv / "current"
    more = f"hooks:\n  after-switch:\n    - run: [/bin/sh, -c, 'rm {current}; mkdir {current}; exit 1']\n"
    assert call("apply", deployed.environment("1.1.0", more=more)) == 10
    assert f"{deployed.srv} should serve 1.0.0-" in call.err
    assert "then run the same command again" in call.err
    assert call("status") == 0
    assert "the apply of shop@1.1.0 was interrupted, and is finished or undone by the next" in call.out
    current.rmdir()
    assert call("apply", deployed.environment("1.0.0")) == 0
    assert "undid it: shop@1.0.0 serves" in call.out


def test_ctrl_c_ends_with_130(call: Call, deployed: Isolated, monkeypatch: pytest.MonkeyPatch) -> None:
    """The former release serves."""
    from installer.programs import commands

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "run", interrupt)
    assert call("apply", deployed.environment("1.1.0", more="health:\n  - command: [/bin/true]\n")) == 130
    assert "error: interrupted" in call.err
    assert serving(deployed) == "1.0.0"


def test_another_command_at_work_ends_with_8(call: Call, deployed: Isolated) -> None:
    """The hint says to wait."""
    with deployed.site.lock():
        assert call("apply", deployed.environment("1.1.0")) == 8
    assert "another sealift command is working on this site" in call.err
    assert "hint: wait until it has ended" in call.err


def test_status_shows_what_serves_and_drift(call: Call, deployed: Isolated) -> None:
    """A link that somebody removed is said."""
    assert call("status") == 0
    assert "plant-7" in call.out
    assert "drift" not in call.out
    os.unlink(deployed.srv / "current")
    document = call.document("status")
    assert document["environments"][0]["targets"][0]["drift"] is True
    call("status")
    assert "leads to nothing, not to 1.0.0-" in call.out


def test_status_finds_an_edited_file_when_asked_to_look(call: Call, deployed: Isolated) -> None:
    """A look at the links does not open files; `--deep` does."""
    edited = next(path for path in (deployed.srv / "current").resolve().rglob("*") if path.is_file())
    edited.write_bytes(b"edited")
    assert call.document("status")["environments"][0]["targets"][0]["drift"] is False
    target = call.document("status", "--deep")["environments"][0]["targets"][0]
    assert target["drift"] is True
    assert "no longer holds what was deployed" in target["problem"]


def test_history_shows_every_event(call: Call, deployed: Isolated) -> None:
    """All, the newest, one kind, one environment."""
    assert call("history") == 0
    assert [line.split()[2] for line in call.out.splitlines()[1:]] == ["enrolled", "admitted", "admitted", "deployed"]
    assert len(call.document("history", "--last", "1")["entries"]) == 1
    assert len(call.document("history", "--event", "admitted")["entries"]) == 2
    assert len(call.document("history", "--environment", "plant-7")["entries"]) == 1
    assert call("history", "--event", "refused") == 0
    assert call.out == "nothing is recorded of that\n"


def test_verify_names_damage_and_repairs_it(call: Call, connected: Connected, isolated: Isolated) -> None:
    """Exit code 5 with damage, 0 once it is repaired."""
    bundle = connected.bundle("1.0.0", shop("1.0.0"))
    isolated.admit(bundle)
    assert call("verify", "--deep") == 0
    assert "the store is whole: 5 files" in call.out
    (pack,) = (isolated.folder / "store" / "packs").iterdir()
    pack.write_bytes(b"rot")
    assert call("verify") == 5
    assert f"damaged {pack}: needed by shop@1.0.0" in call.out
    document = call.document("verify", "--repair", bundle)
    assert (document["sound"], document["repaired"]) == (True, [str(pack)])


def test_gc_says_what_goes(call: Call, deployed: Isolated) -> None:
    """Before and after."""
    assert call("gc", "--keep", "0", "--dry-run") == 0
    assert call.out.startswith("would remove shop@1.1.0, ")
    assert call.document("gc", "--keep", "0")["releases"] == ["shop@1.1.0"]


@pytest.mark.parametrize("name", list(PROGRAM.commands))
def test_each_command_shows_an_example(call: Call, name: str) -> None:
    """In its help."""
    assert call(name, "--help") == 0
    assert f"Example:\n  sealift-install {name}" in call.out


def test_enroll_gives_a_site_its_name_once(call: Call, connected: Connected, isolated: Isolated) -> None:
    """34: what was changed is said, and nothing is where nothing was."""
    arguments = ("enroll", "--root", connected.first_root, "--fingerprint", connected.fingerprint)
    assert call(*arguments, "--name", "plant-7") == 0
    assert call.out.rstrip().endswith("it is called plant-7 from now on")
    assert call(*arguments, "--name", "plant-7") == 0
    assert call.out.rstrip().endswith("nothing was changed")
    assert call(*arguments, "--name", "plant-8") == 6
    assert call(*arguments, "--development") == 6
    assert isolated.site.state.called == "plant-7"


def test_enroll_recovers_what_was_lost(call: Call, connected: Connected, deployed: Isolated) -> None:
    """26: the site says what it keeps, and what is to be done next."""
    arguments = ("enroll", "--recover", "--root", connected.first_root, "--fingerprint", connected.fingerprint)
    assert call(*arguments) == 2
    (deployed.folder / "state.json").unlink()
    assert call("status") == 6
    assert "enroll --recover" in call.err
    assert call(*arguments, "--development") == 6
    assert call(*arguments) == 0
    assert call.out.splitlines()[1].startswith("it admits nothing older than 2026-05-01 and timestamp 3")
    assert call("status") == 0


def test_import_takes_a_waiver(call: Call, connected: Connected, tmp_path: Path) -> None:
    """30: a file that is no waiver, and one that is not there, end the import with their own codes."""
    bundle = connected.bundle("1.0.0", shop("1.0.0"))
    assert call("import", bundle, "--waiver", tmp_path / "none") == 2
    (tmp_path / "no.waiver").write_bytes(b"{}")
    assert call("import", bundle, "--waiver", tmp_path / "no.waiver") == 4
    assert call.document("import", bundle)["waived"] is None
