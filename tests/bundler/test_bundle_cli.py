"""`sealift-bundle` as a person or a script calls it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from calls import Call
from served import Served
from worlds import Connected, write_tree

from bundler.depots.depot import Depot
from keys.ceremony import init

PASSPHRASE = "correct horse"
FILES = {"index.html": b"<h1>shop</h1>\n" * 40, "bin/check": b"#!/bin/sh\nexit 0\n", "noise": os.urandom(4096)}


@pytest.fixture
def locked_away(tmp_path: Path) -> Connected:
    """A depot of today whose keys are encrypted, cheaply."""
    root = tmp_path / "work"
    root.mkdir()
    summary = init(
        root / "depot",
        root_keys=1,
        threshold=1,
        passphrase=PASSPHRASE.encode(),
        now=datetime.now(UTC),
        rounds=10,
    )
    return Connected(root=root, depot=Depot(root / "depot"), fingerprint=summary.fingerprint)


@pytest.fixture
def world(locked_away: Connected, call: Call, monkeypatch: pytest.MonkeyPatch) -> Connected:
    """The same, with its passphrase in the environment and `call` at work in its folder."""
    monkeypatch.setenv("SEALIFT_PASSPHRASE", PASSPHRASE)
    monkeypatch.chdir(locked_away.root)
    return locked_away


@pytest.fixture
def spec(world: Connected) -> Path:
    """A spec of release shop@1.0.0."""
    return world.spec("1.0.0", FILES)


@pytest.fixture
def bundle(world: Connected, call: Call, spec: Path) -> Path:
    """A bundle of it."""
    assert call("export", spec, "--depot", "depot", "--out", "shop.sealift") == 0, call.err
    return world.root / "shop.sealift"


def everything(folder: Path) -> dict[str, bytes]:
    """All files below `folder`."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_init_writes_a_spec_that_passes_lint(world: Connected, call: Call) -> None:
    """The first spec is valid as soon as its folder is there."""
    write_tree(world.root / "dist", FILES)
    assert call("init", "--release", "shop", "--version", "1.0") == 0
    assert "sealift-bundle lint sealift.yaml" in call.out
    assert call("lint") == 0
    assert "sealift.yaml is valid: shop@1.0 with 1 artifact: files (path)" in call.out


def test_init_overwrites_nothing(world: Connected, call: Call) -> None:
    """A spec that is there stays: exit 2."""
    assert call.document("init", "x.yaml") == {"spec": "x.yaml"}
    before = (world.root / "x.yaml").read_bytes()
    assert call.document("init", "x.yaml", code=2)["error"]["message"] == "x.yaml is there already"
    assert (world.root / "x.yaml").read_bytes() == before


@pytest.mark.parametrize("option", [("--release", "../x"), ("--version", "a b")])
def test_init_refuses_names_that_lint_would(world: Connected, call: Call, option: tuple[str, str]) -> None:
    """Nothing is written."""
    assert call("init", *option) != 0
    assert not (world.root / "sealift.yaml").exists()


def test_init_quotes_what_yaml_would_misread(world: Connected, call: Call) -> None:
    """Any folder's name is written so that it is read back."""
    name = 'a: "b" #c'
    (world.root / name).mkdir()
    assert call("init", "--path", name) == 0
    assert call("lint") == 0


def test_lint_says_what_is_in_a_spec(call: Call, spec: Path) -> None:
    """For a script: name, version and artifacts."""
    assert call.document("lint", spec) == {
        "release": "shop",
        "version": "1.0.0",
        "artifacts": [{"name": "web", "source": "path"}],
    }


@pytest.mark.parametrize("command", ["lint", "export", "lock"])
def test_a_missing_folder_is_told_with_file_line_column_and_path(call: Call, spec: Path, command: str) -> None:
    """Exit 2 before any work starts, whichever command reads the spec."""
    spec.write_text(spec.read_text().replace("path: shop-1.0.0", "path: nowhere"))
    more = ("--depot", "depot") if command == "export" else ()
    assert call(command, spec, *more) == 2
    assert f"error: {spec}:6:11: artifacts.web.path: 'nowhere': no such file or directory" in call.err
    assert "hint: check `path`" in call.err
    assert call.out == ""


def test_lint_prints_the_schema(call: Call) -> None:
    """It is the published one."""
    assert call("lint", "--schema") == 0
    published = json.loads((Path(__file__).parents[2] / "docs/reference/sealift.schema.json").read_text())
    assert json.loads(call.out) == published


def test_lock_writes_and_checks(world: Connected, call: Call, spec: Path) -> None:
    """Digests are shown and written beside the spec; a change is exit 3."""
    assert call("lock", spec) == 0
    assert f"wrote {spec.with_suffix('.lock')}" in call.out
    assert call.document("lock", spec, "--check")["artifacts"]["web"]["source"] == "path"
    (world.root / "shop-1.0.0" / "index.html").write_bytes(b"changed")
    assert call("lock", spec, "--check") == 3
    assert "error: artifact web differs from" in call.err


def test_lock_keeps_what_it_fetched_in_a_depot(world: Connected, call: Call, spec: Path, served: Served) -> None:
    """The export that follows asks the server no more."""
    spec.write_text(spec.read_text() + f"  tool:\n    source: url\n    url: {served.url}\n")
    assert call("export", spec, "--depot", "depot") == 2
    assert "artifacts.tool: neither `sha256` nor a lock says the file's digest" in call.err
    assert call("lock", spec, "--depot", "depot") == 0
    assert call("export", spec, "--depot", "depot") == 0
    assert served.asked == 1


def test_export_shows_what_it_sealed(world: Connected, call: Call, spec: Path) -> None:
    """Release, artifact, files, size, digest; the bundle, its id and the root's fingerprint."""
    assert call("export", spec, "--depot", "depot") == 0
    assert "shop@1.0.0  web  3 files" in call.out
    assert "wrote shop-1.0.0.sealift" in call.out
    assert f"root fingerprint {world.fingerprint}" in call.out
    assert (world.root / "shop-1.0.0.sealift").is_file()


def test_export_again_says_that_it_was_published(call: Call, spec: Path, bundle: Path) -> None:
    """The same bundle, marked as known; nothing had to be signed, so no passphrase was needed."""
    before = bundle.read_bytes()
    os.environ.pop("SEALIFT_PASSPHRASE")
    document = call.document("export", spec, "--depot", "depot", "--out", "again.sealift")
    assert (document["signed"], document["releases"][0]["new"]) == (False, False)
    assert Path("again.sealift").read_bytes() == before


def test_export_of_other_content_is_refused(world: Connected, call: Call, spec: Path, bundle: Path) -> None:
    """Exit 2, with what differs and what to do, as JSON too; the former bundle stays."""
    before = bundle.read_bytes()
    (world.root / "shop-1.0.0" / "new").touch()
    error = call.document("export", spec, "--depot", "depot", "--out", bundle, code=2)["error"]
    assert error == {
        "message": "shop@1.0.0 was already published with other content (what differs: web)",
        "hint": "a release never changes: give it a new version",
        "exit_code": 2,
    }
    assert bundle.read_bytes() == before


def test_export_by_name(call: Call, bundle: Path) -> None:
    """A published release needs no spec."""
    assert call("export", "shop@1.0.0", "--depot", "depot", "--out", "again.sealift") == 0
    assert Path("again.sealift").read_bytes() == bundle.read_bytes()
    assert call("export", "shop@2", "--depot", "depot") == 2
    assert "hint: see what it has: sealift-bundle list --depot depot" in call.err


def test_several_specs_go_into_one_bundle(world: Connected, call: Call, spec: Path) -> None:
    """They are shown in the order in which they were named; a name twice is refused."""
    api = world.spec("2.0.0", FILES, release="api")
    document = call.document("export", api, spec, "--depot", "depot", "--out", "both.sealift")
    assert [each["name"] for each in document["releases"]] == ["api", "shop"]
    assert call("export", spec, "shop@1.0.0", "--depot", "depot") == 2
    assert "error: a release is named twice" in call.err


@pytest.mark.parametrize("publish", [False, True])
def test_a_dry_run_writes_nothing(world: Connected, call: Call, spec: Path, publish: bool) -> None:
    """It shows artifacts, files, bytes and digests, and whether the release is published, without a passphrase."""
    if publish:
        assert call("export", spec, "--depot", "depot") == 0
    os.environ.pop("SEALIFT_PASSPHRASE")
    before = everything(world.root)
    arguments = ("export", spec, "--depot", "depot", "--out", "x.sealift", "--dry-run")
    (release,) = call.document(*arguments)["releases"]
    assert release["new"] is not publish
    assert (release["artifacts"][0]["files"], release["artifacts"][0]["bytes"]) == (3, sum(map(len, FILES.values())))
    assert call(*arguments) == 0
    assert ("published, the same" if publish else "  new") in call.out
    assert "nothing was written" in call.out
    assert everything(world.root) == before


def test_a_dry_run_of_other_content_is_refused(world: Connected, call: Call, spec: Path, bundle: Path) -> None:
    """With the words and the exit code of the export itself."""
    (world.root / "shop-1.0.0" / "new").touch()
    said = []
    for more in ((), ("--dry-run",)):
        assert call("export", spec, "--depot", "depot", *more) == 2
        said.append(call.err)
    assert said[0] == said[1]


def test_source_date_epoch_is_honoured(world: Connected, call: Call, spec: Path, monkeypatch: Any) -> None:
    """Releases were published, and members bear, that time."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert call("export", spec, "--depot", "depot", "--out", "x.sealift") == 0
    with tarfile.open("x.sealift") as archive:
        assert {member.mtime for member in archive} == {1700000000}
    assert call.document("list", "--depot", "depot")["releases"][0]["published"] == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize("value", ["yesterday", "-1", "1.5", "99999999999", "²"])
def test_a_source_date_epoch_without_meaning_is_refused(
    call: Call, spec: Path, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2 before anything is done."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
    assert call("export", spec, "--depot", "depot") == 2
    assert "SOURCE_DATE_EPOCH is not a number of seconds" in call.err


def test_the_passphrase_may_come_from_a_file(locked_away: Connected, call: Call, tmp_path: Path) -> None:
    """Its first line, if nobody else may read it."""
    spec = locked_away.spec("1.0.0", FILES)
    secret = tmp_path / "passphrase"
    secret.write_text(PASSPHRASE + "\n")
    arguments = ("export", spec, "--depot", locked_away.depot.folder, "--out", tmp_path / "x", "--passphrase-file")
    secret.chmod(0o644)
    assert call(*arguments, secret) == 6
    secret.chmod(0o600)
    assert call(*arguments, secret) == 0


def test_a_wrong_passphrase_publishes_nothing(world: Connected, call: Call, spec: Path, monkeypatch: Any) -> None:
    """Exit 6; the next run with the right one succeeds."""
    monkeypatch.setenv("SEALIFT_PASSPHRASE", "wrong horse")
    assert call("export", spec, "--depot", "depot", "--out", "x.sealift") == 6
    assert "the passphrase for depot/keys/online.pem is wrong" in call.err
    assert call.document("list", "--depot", "depot") == {"releases": []}
    assert not Path("x.sealift").exists()
    monkeypatch.setenv("SEALIFT_PASSPHRASE", PASSPHRASE)
    assert call("export", spec, "--depot", "depot", "--out", "x.sealift") == 0


def test_nobody_to_ask_is_wrong_usage(world: Connected, call: Call, spec: Path, monkeypatch: Any) -> None:
    """Without a terminal, a file or a variable: exit 2, and how to give it."""
    monkeypatch.delenv("SEALIFT_PASSPHRASE")
    assert call("export", spec, "--depot", "depot") == 2
    assert "hint: give --passphrase-file FILE, or set SEALIFT_PASSPHRASE" in call.err


@pytest.mark.parametrize(("answer", "code"), [(PASSPHRASE, 0), ("wrong horse", 6)])
def test_a_person_is_asked_at_a_terminal(world: Connected, spec: Path, answer: str, code: int) -> None:
    """Without echo, and the answer is not in the output."""
    leader, follower = pty.openpty()
    os.set_blocking(leader, True)
    environment = {key: value for key, value in os.environ.items() if key != "SEALIFT_PASSPHRASE"}
    program = "import sys; from bundler.cli import main; sys.argv[0] = 'sealift-bundle'; main()"
    with subprocess.Popen(
        [sys.executable, "-c", program, "export", spec, "--depot", "depot", "--out", "x.sealift", "--quiet"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        start_new_session=True,
    ) as process:
        os.close(follower)
        said = b""
        while b"passphrase for depot/keys/online.pem: " not in said:
            said += os.read(leader, 4096)
        os.write(leader, answer.encode() + b"\n")
        try:
            while more := os.read(leader, 4096):
                said += more
        except OSError:
            pass
        assert process.wait(timeout=30) == code, said
    os.close(leader)
    assert answer.encode() not in said
    assert Path("x.sealift").exists() is (code == 0)


def test_list_shows_what_was_published(call: Call, bundle: Path) -> None:
    """Name, version, time, files and sizes; nothing at first is said so."""
    assert call("list", "--depot", "depot") == 0
    assert call.out.splitlines()[0].split() == ["release", "published", "files", "size", "packed"]
    (release,) = call.document("list", "--depot", "depot")["releases"]
    assert (release["name"], release["version"], release["files"]) == ("shop", "1.0.0", 3)
    assert release["bytes"] == sum(map(len, FILES.values()))


def test_list_of_an_empty_depot_says_so(world: Connected, call: Call) -> None:
    """As text and as JSON."""
    assert call("list", "--depot", "depot") == 0
    assert call.out == "nothing was published yet\n"
    assert call.document("list", "--depot", "depot") == {"releases": []}


def test_list_believes_signatures_alone(world: Connected, call: Call, bundle: Path) -> None:
    """Metadata that was changed is exit 6."""
    path = max((world.root / "depot/metadata").glob("*.targets.json"))
    path.write_bytes(path.read_bytes().replace(b'"shop', b'"shup').replace(b"/shop/", b"/shup/"))
    assert call("list", "--depot", "depot") in (5, 6)


def test_inspect_shows_a_bundle(world: Connected, call: Call, bundle: Path) -> None:
    """Whose signatures, until when, what it holds, and each file on demand."""
    assert call("inspect", bundle) == 0
    assert "signatures checked against the root inside the bundle: compare its fingerprint" in call.out
    assert f"root fingerprint {world.fingerprint}" in call.out
    assert "index.html" not in call.out
    assert call("inspect", bundle, "--depot", "depot", "--files") == 0
    assert "signatures checked against the root that you named" in call.out
    assert "0755    17 B  bin/check" in call.out


def test_inspect_as_json_lists_entries(world: Connected, call: Call, bundle: Path) -> None:
    """The same for a script, of a bundle and of the depot."""
    document = call.document("inspect", bundle, "--fingerprint", world.fingerprint, "--files")
    assert (document["anchored"], document["root_version"], document["size"]) == (True, 1, bundle.stat().st_size)
    (release,) = document["releases"]
    assert release["artifacts"][0]["entries"] == [
        {"path": "bin", "type": "dir"},
        {"path": "bin/check", "type": "file", "mode": "0755", "size": 17},
        {"path": "index.html", "type": "file", "mode": "0644", "size": 560},
        {"path": "noise", "type": "file", "mode": "0644", "size": 4096},
    ]
    held = call.document("inspect", "shop@1.0.0", "--depot", "depot", "--files")
    assert held == {"releases": [release]}


def test_inspect_shows_hooks(world: Connected, call: Call) -> None:
    """Commands that a site will run are seen before they cross."""
    spec = world.spec("1.0.0", FILES, more="hooks:\n  after-switch: [{run: [web/bin/check, --now]}]\n")
    assert call("export", spec, "--depot", "depot", "--out", "x.sealift") == 0
    assert call("inspect", "x.sealift") == 0
    assert "hook after the switch: web/bin/check --now" in call.out
    assert call.document("inspect", "x.sealift")["releases"][0]["hooks"] == {
        "before-switch": [],
        "after-switch": [["web/bin/check", "--now"]],
    }


def test_verify_accepts_a_whole_bundle(world: Connected, call: Call, bundle: Path) -> None:
    """By the depot, by the root or by the fingerprint."""
    for anchor in (
        ("--depot", "depot"),
        ("--root", "depot/metadata/1.root.json"),
        ("--fingerprint", world.fingerprint),
    ):
        assert call("verify", bundle, *anchor) == 0
        assert "is authentic and whole: shop@1.0.0, 1 pack" in call.out
        document = call.document("verify", bundle, *anchor)
        assert (document["verified"], document["releases"]) == (True, ["shop@1.0.0"])


def test_verify_needs_to_know_whose_signatures(call: Call, bundle: Path) -> None:
    """The root inside the bundle proves nothing: exit 2."""
    assert call("verify", bundle) == 2
    assert "hint: give --depot DIR, --root FILE or --fingerprint SHA256" in call.err


def test_verify_refuses_a_stranger_s_bundle(call: Call, bundle: Path, another: Any) -> None:
    """Another root or fingerprint is exit 6, a fingerprint of no form is not 0."""
    other = another("other", datetime.now(UTC))
    assert call("verify", bundle, "--fingerprint", other.fingerprint) == 6
    assert call("verify", bundle, "--root", other.first_root) == 6
    assert call("verify", bundle, "--depot", other.depot.folder) == 6
    assert call("verify", bundle, "--root", "/nowhere") == 2
    assert call("verify", bundle, "--fingerprint", "x") != 0


def test_verify_notices_a_flipped_byte_of_a_pack(call: Call, bundle: Path) -> None:
    """Exit 5, and the pack is named."""
    with tarfile.open(bundle) as archive:
        member = next(member for member in archive if member.name.startswith("packs/"))
    content = bytearray(bundle.read_bytes())
    content[member.offset_data + member.size // 2] ^= 1
    bundle.write_bytes(content)
    assert call.document("verify", bundle, "--depot", "depot", code=5)["error"]["exit_code"] == 5
    assert member.name in call.err


def test_diff_shows_what_changed(world: Connected, call: Call, spec: Path, bundle: Path) -> None:
    """File by file, and in sum; by bundle or by name."""
    after = world.spec("1.1.0", {**FILES, "index.html": b"<h1>new</h1>", "added": b"x" * 10})
    assert call("export", after, "--depot", "depot", "--out", "after.sealift") == 0
    assert call("diff", bundle, "after.sealift") == 0
    assert "+  10 B  web: added" in call.out
    assert "~  12 B  web: index.html" in call.out
    assert "shop@1.0.0 -> shop@1.1.0: 1 path added, 0 removed, 1 changed; 22 B of new content" in call.out
    document = call.document("diff", "shop@1.0.0", "shop@1.1.0", "--depot", "depot")
    assert {key: document[key] for key in ("added", "removed", "changed", "new_bytes")} == {
        "added": 1,
        "removed": 0,
        "changed": 1,
        "new_bytes": 22,
    }
    assert call("diff", bundle, "after.sealift", "--summary") == 0
    assert len(call.out.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("export", "absent.yaml", "--depot", "depot"), 2),
        (("export", "{spec}"), 2),
        (("export", "{spec}", "--depot", "."), 2),
        (("export", "{spec}", "--depot", "depot", "--level", "23"), 2),
        (("export", "{spec}", "--depot", "depot", "--threads", "0"), 2),
        (("export", "{spec}", "--depot", "depot", "--out", "absent/x"), 2),
        (("inspect", "absent.sealift"), 8),
        (("inspect", "{spec}"), 4),
        (("verify", "absent.sealift", "--depot", "depot"), 8),
        (("verify", "{spec}", "--depot", "depot"), 4),
        (("diff", "absent", "absent"), 8),
        (("list", "--depot", "."), 2),
        (("lock", "{spec}", "--check"), 3),
        (("lock", "{spec}", "--depot", "."), 2),
        (("lint", "absent.yaml"), 2),
        (("nonsense",), 2),
    ],
)
def test_each_cause_has_its_exit_code(call: Call, spec: Path, arguments: tuple[str, ...], code: int) -> None:
    """With --json the error is the one document; standard error has the message and no traceback."""
    words = [word.replace("{spec}", str(spec)) for word in arguments]
    if arguments == ("nonsense",):
        assert call(*words) == code
        return
    assert call.document(*words, code=code)["error"]["exit_code"] == code
    assert call.err.startswith("error: ")
    assert "Traceback" not in call.err


def test_a_depot_that_is_at_work_is_exit_8(world: Connected, call: Call, spec: Path) -> None:
    """A second export waits a moment and then says what to do; a dry run is not kept waiting."""
    with world.depot.lock():
        assert call("export", spec, "--depot", "depot") == 8
        assert "hint: wait until it has ended" in call.err
        assert call("export", spec, "--depot", "depot", "--dry-run") == 0
