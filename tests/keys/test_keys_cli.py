"""`sealift-keys` as a person or a script calls it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from keys import cli, keyfile
from keys.cli import main

PASSPHRASE = "correct horse"


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs the program in this process, with cheap keys."""
    monkeypatch.setattr("keys.ceremony.init.__kwdefaults__", {**_defaults(), "rounds": 10})
    monkeypatch.delenv("SEALIFT_PASSPHRASE", raising=False)
    return Call(monkeypatch, capsys)


def _defaults() -> dict[str, object]:
    from keys.ceremony import init

    assert init.__kwdefaults__ is not None
    return dict(init.__kwdefaults__)


class Call:
    """Calls `sealift-keys` and keeps what it said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.out = self.err = ""

    def __call__(self, *args: str | Path) -> int:
        self.monkeypatch.setattr(sys, "argv", ["sealift-keys", *map(str, args)])
        with pytest.raises(SystemExit) as caught:
            main()
        self.out, self.err = self.capsys.readouterr()
        return int(caught.value.code or 0)


def test_init_prints_the_fingerprint_grouped_and_whole(call: Call, tmp_path: Path) -> None:
    """The fingerprint, where the keys are, how to carry it, and what to do with the root keys."""
    call.monkeypatch.setenv("SEALIFT_PASSPHRASE", PASSPHRASE)
    assert call("init", "--depot", tmp_path / "depot", "--root-keys", "2", "--threshold", "1") == 0
    whole = sha256((tmp_path / "depot" / "metadata" / "1.root.json").read_bytes()).hexdigest()
    lines = [line.strip() for line in call.out.splitlines()]
    assert whole in lines
    assert " ".join(whole[at : at + 8] for at in range(0, 64, 8)) in lines
    for words in ("root-2.pem", "online.pem", "telephone", "sealift-install enroll", "offline medium", "1 of 2"):
        assert words in call.out
    assert call.err == ""


def test_init_as_json_is_one_document(call: Call, tmp_path: Path) -> None:
    """A script reads paths, fingerprint and expiry."""
    call.monkeypatch.setenv("SEALIFT_PASSPHRASE", PASSPHRASE)
    assert call("init", "--depot", tmp_path / "depot", "--json") == 0
    document = json.loads(call.out)
    assert document["fingerprint"] == sha256(Path(document["root"]).read_bytes()).hexdigest()
    assert document["root_keys"] == [str(tmp_path / "depot" / "keys" / "root-1.pem")]
    assert document["encrypted"] is True


def test_init_takes_most_of_the_root_keys_as_threshold(call: Call, tmp_path: Path) -> None:
    """Without `--threshold`, more than half must agree."""
    call.monkeypatch.setenv("SEALIFT_PASSPHRASE", PASSPHRASE)
    call("init", "--depot", tmp_path / "depot", "--root-keys", "3", "--json")
    assert json.loads(call.out)["threshold"] == 2


def test_init_reads_the_passphrase_file(call: Call, tmp_path: Path) -> None:
    """The keys open with the first line of the file."""
    (tmp_path / "passphrase").write_text(PASSPHRASE + "\n")
    (tmp_path / "passphrase").chmod(0o600)
    assert call("init", "--depot", tmp_path / "depot", "--passphrase-file", tmp_path / "passphrase") == 0
    keyfile.load(tmp_path / "depot" / "keys" / "online.pem", PASSPHRASE.encode)


def test_init_without_any_passphrase_is_wrong_usage(call: Call, tmp_path: Path) -> None:
    """No terminal, no file, no variable: exit 2, a hint, and no depot."""
    assert call("init", "--depot", tmp_path / "depot") == 2
    assert call.err.startswith("error: a passphrase is needed")
    assert "hint: give --passphrase-file FILE, or set SEALIFT_PASSPHRASE" in call.err
    assert list(tmp_path.iterdir()) == []


def test_init_in_the_clear_warns(call: Call, tmp_path: Path) -> None:
    """Danger is asked for by name, and said aloud."""
    assert call("init", "--depot", tmp_path / "depot", "--unsafe-no-passphrase") == 0
    assert call.err.startswith("warning: the private keys lie in the clear")
    assert (tmp_path / "depot" / "keys" / "online.pem").read_bytes().startswith(b"-----BEGIN PRIVATE KEY")


def test_init_refuses_both_a_passphrase_and_none(call: Call, tmp_path: Path) -> None:
    """Contradicting options are not guessed at."""
    options = ("--unsafe-no-passphrase", "--passphrase-file", "x")
    assert call("init", "--depot", tmp_path / "depot", *options) == 2
    assert "exclude each other" in call.err


def test_init_on_a_depot_is_refused_before_any_passphrase(call: Call, depot: Path) -> None:
    """An existing depot is refused at once: nobody types a passphrase for nothing."""
    assert call("init", "--depot", depot) == 2
    assert "already a depot" in call.err


@pytest.mark.parametrize("numbers", [("0", "1"), ("17", "1"), ("2", "3"), ("2", "0")])
def test_init_refuses_numbers_out_of_range(call: Call, tmp_path: Path, numbers: tuple[str, str]) -> None:
    """Attack 18, at the command line."""
    assert call("init", "--depot", tmp_path / "depot", "--root-keys", numbers[0], "--threshold", numbers[1]) == 2
    assert "out of range" in call.err


def test_show_a_depot(call: Call, depot: Path) -> None:
    """Roles, thresholds and the fingerprint for a person."""
    assert call("show", "--depot", depot) == 0
    for words in ("2 of 3", "1 of 1", "ed25519", "2028-02-29", "0 releases", "fingerprint of the first root"):
        assert words in call.out


def test_show_as_json(call: Call, depot: Path) -> None:
    """The same for a script."""
    assert call("show", "--depot", depot, "--json") == 0
    document = json.loads(call.out)
    assert [role["name"] for role in document["roles"]] == ["root", "targets", "snapshot", "timestamp"]


def test_show_a_root(call: Call, depot: Path) -> None:
    """A root file that was carried is shown by itself."""
    assert call("show", "--root", depot / "metadata" / "1.root.json") == 0
    assert "fingerprint of this root" in call.out


def test_show_needs_one_subject(call: Call, depot: Path) -> None:
    """Neither or both is wrong usage."""
    assert call("show") == 2
    assert call("show", "--depot", depot, "--root", depot / "metadata" / "1.root.json") == 2


def test_show_refuses_a_tampered_depot(call: Call, depot: Path) -> None:
    """Exit 6, and nothing on standard output."""
    path = depot / "metadata" / "1.targets.json"
    path.write_bytes(path.read_bytes().replace(b"2026", b"2099"))
    assert call("show", "--depot", depot) == 6
    assert call.out == ""
    assert call.err.startswith("error: ")


def test_a_terminal_is_asked_twice_and_shows_no_passphrase(tmp_path: Path) -> None:
    """On a real terminal the passphrase is asked for twice, and never echoed."""
    program = "import keys.ceremony, keys.cli; keys.ceremony.init.__kwdefaults__['rounds'] = 10; keys.cli.main()"
    child, terminal = pty.fork()
    if child == 0:
        os.environ.pop("SEALIFT_PASSPHRASE", None)
        arguments = [sys.executable, "-c", program, "init", "--depot", str(tmp_path / "depot")]
        os.execv(sys.executable, arguments)  # noqa: S606 - a fork that has the terminal becomes the program
    said = b""
    answers = [b"new passphrase for", b"the same passphrase again"]
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        if not piece:
            break
        said += piece
        if answers and answers[0] in said and said.rstrip(b" ").endswith(b":"):
            answers.pop(0)
            os.write(terminal, PASSPHRASE.encode() + b"\n")
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, said
    assert answers == []
    assert PASSPHRASE.encode() not in said
    keyfile.load(tmp_path / "depot" / "keys" / "root-1.pem", PASSPHRASE.encode)


@pytest.mark.parametrize("command", [(), ("init",), ("show",)])
def test_help_has_an_example(call: Call, command: tuple[str, ...]) -> None:
    """Every help ends with an example."""
    assert call(*command, "--help") == 0
    assert "Example:" in call.out
    assert "sealift-keys" in call.out


def test_importing_the_program_is_cheap() -> None:
    """Help needs no cryptography: neither tuf nor cryptography is imported with the program."""
    names = ("tuf", "cryptography", "securesystemslib", "msgspec", "tqdm")
    program = f"import sys, {cli.__name__}; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
