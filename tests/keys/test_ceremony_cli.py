"""The life of a key at the command line: ceremonies of people who never meet, and of one who has all keys at hand."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from keys import pbes2
from keys.cli import main
from keys.cli.options import SCHEME_NAMES
from keys.keyfile import SCHEMES

PASSPHRASE = "correct horse"


class Call:
    """Calls `sealift-keys` in this process, with cheap keys, and keeps what it said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self.monkeypatch, self.capsys, self.folder = monkeypatch, capsys, folder
        self.out = self.err = ""

    def __call__(self, line: str, *more: str | Path) -> int:
        self.monkeypatch.setattr(sys, "argv", ["sealift-keys", *line.split(), *map(str, more)])
        with pytest.raises(SystemExit) as caught:
            main()
        self.out, self.err = self.capsys.readouterr()
        return int(caught.value.code or 0)

    def json(self, line: str, *more: str | Path) -> dict[str, object]:
        """What it printed as JSON, once it ended well."""
        assert self(line, *more, "--json") == 0, self.err
        document: dict[str, object] = json.loads(self.out)
        return document

    def holder(self, name: str, *more: str) -> str:
        """A holder's key pair, `<name>.pem` and `<name>.json`; its key id."""
        return str(self.json(f"key {name}.pem --new --out {name}.json", *more)["keyid"])

    @property
    def fingerprint(self) -> str:
        """The depot's."""
        return str(self.json("show --depot depot")["fingerprint"])


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """The program, in an empty folder, with the passphrase in its environment."""
    from keys import ceremony, keyfile

    for function in (keyfile.generate, ceremony.init, ceremony.prepare):
        kept = dict(function.__kwdefaults__ or {})
        monkeypatch.setattr(function, "__kwdefaults__", {**kept, "rounds": 10})
    assert pbes2.KDF_ROUNDS == 1_000_000
    monkeypatch.setenv("SEALIFT_PASSPHRASE", PASSPHRASE)
    monkeypatch.chdir(tmp_path)
    return Call(monkeypatch, capsys, tmp_path)


@pytest.fixture
def shop(call: Call) -> Call:
    """A small shop: two root keys, one of which must sign, and all of them in the depot."""
    assert call("init --depot depot --root-keys 2 --threshold 1") == 0
    return call


ROOT = "--key depot/keys/root-1.pem"


def test_the_schemes_at_the_command_line_are_those_of_key_files() -> None:
    """The two lists are one."""
    assert SCHEME_NAMES == SCHEMES


def test_a_first_ceremony_of_holders_who_never_meet(call: Call) -> None:
    """Each makes a key, the depot waits for all of them, and the online key alone lies with it."""
    ids = [call.holder(name) for name in "abc"]
    made = call.json("init --depot depot --root-key a.json --root-key b.json --root-key c.json --threshold 2")
    assert made["root_keys"] == ids
    assert [path.name for path in Path("depot/keys").iterdir()] == ["online.pem"]
    assert call("show --depot depot") == 2
    assert "waits for its first root" in call.err
    shutil.copy("depot/requests/root-1.request.json", ".")
    for name in "abc":
        assert call(f"sign root-1.request.json --yes --key {name}.pem") == 0
        assert str(made["digest"])[:8] in call.err
        files = [str(path) for path in Path().glob("root-1.*.signature.json")]
        assert call("publish --depot depot", *files) == (0 if name == "c" else 6)
    assert "published root-1" in call.out
    shown = call.json("show --depot depot")
    assert isinstance(shown["roles"], list)
    assert (shown["roles"][0]["threshold"], len(shown["roles"][0]["keys"])) == (2, 3)


def test_a_missing_signature_is_named_and_those_that_came_are_kept(call: Call) -> None:
    """Exit code 6 below the threshold; the next call needs the missing signature alone."""
    a, b = call.holder("a"), call.holder("b")
    call("init --depot depot --root-key a.json --root-key b.json")
    shutil.copy("depot/requests/root-1.request.json", ".")
    call("sign root-1.request.json --yes --key a.pem")
    assert call("publish --depot depot", f"root-1.{a[:8]}.signature.json") == 6
    assert "nothing is published yet" in call.err
    assert f"1 signed, {a[:8]}" in call.err
    call("sign root-1.request.json --yes --key b.pem")
    assert call("publish --depot depot", f"root-1.{b[:8]}.signature.json") == 0


def test_sign_shows_what_it_signs_and_wants_the_fingerprint(shop: Call) -> None:
    """Without a terminal both are options; a wrong fingerprint signs nothing."""
    shop("rotate root --depot depot --threshold 2")
    request = "depot/requests/root-2.request.json"
    assert shop(f"sign {request} --key depot/keys/root-1.pem --yes") == 2
    assert "--fingerprint" in shop.err
    assert shop(f"sign {request} --key depot/keys/root-1.pem --yes --fingerprint {'ab' * 32}") == 6
    assert shop(f"sign {request} --key depot/keys/root-1.pem --fingerprint {shop.fingerprint}") == 2
    assert "give --yes" in shop.err
    assert not list(Path("depot/requests").glob("*.signature.json"))
    assert shop(f"sign {request} --key depot/keys/root-1.pem --yes --fingerprint {shop.fingerprint}") == 0
    assert "threshold 1 of 2 → 2 of 2" in shop.err


def test_show_of_a_request_signs_nothing_and_warns_without_a_fingerprint(shop: Call) -> None:
    """Looking needs no key."""
    shop("rotate root --depot depot --threshold 2")
    assert shop("sign depot/requests/root-2.request.json --show") == 0
    assert "threshold 1 of 2 → 2 of 2" in shop.out
    assert "it is not known whose roots" in shop.err
    assert list(Path("depot/requests").iterdir()) == [Path("depot/requests/root-2.request.json")]
    assert shop("sign depot/requests/root-2.request.json") == 2


def test_a_new_online_key_is_made_and_everything_signed_with_it(shop: Call) -> None:
    """In one go, where the root key is at hand; the next publication uses the new key."""
    before = shop.json("show --depot depot")
    done = shop.json(f"rotate online --depot depot {ROOT}")
    assert (done["published"], done["resigned"]) == (True, True)
    shown = shop.json("show --depot depot")
    assert isinstance(shown["roles"], list)
    assert isinstance(before["roles"], list)
    assert shown["roles"][3]["keys"] != before["roles"][3]["keys"]
    assert shown["roles"][3]["places"] == ["depot/keys/online-1.pem"]
    Path("depot/keys/online.pem").unlink()
    assert shop("renew online --depot depot") == 0


def test_a_stolen_online_key_is_revoked_and_replaced(shop: Call) -> None:
    """One word, one root key."""
    shown = shop.json("show --depot depot")
    assert isinstance(shown["roles"], list)
    stolen = shown["roles"][3]["keys"][0]
    assert shop(f"revoke {stolen} --depot depot {ROOT}") == 0
    after = shop.json("show --depot depot")
    assert isinstance(after["roles"], list)
    assert stolen not in [key for role in after["roles"] for key in role["keys"]]


def test_a_lost_root_key_is_revoked_once_enough_are_left(shop: Call) -> None:
    """A threshold that could not be met any more is refused, with the remedy."""
    lost = shop.json("show --depot depot")["roles"][0]["keys"][1]  # type: ignore[index]
    keys = f"{ROOT} --key depot/keys/root-2.pem"
    assert shop(f"rotate root --depot depot --threshold 2 {keys}") == 0
    assert shop(f"revoke {lost} --depot depot {keys}") == 2
    assert "a threshold of 2 is out of range for 1 keys of root" in shop.err
    d = shop.holder("d")
    assert shop(f"revoke {lost} --depot depot --add d.json {keys} --key d.pem") == 0
    assert shop.json("show --depot depot")["roles"][0]["keys"][1] == d[:8]  # type: ignore[index]


@pytest.mark.parametrize("word", ["", "zz", "abc", "0000000000"])
def test_a_key_that_is_not_there_is_not_revoked(shop: Call, word: str) -> None:
    """A beginning that fits no key, or is too short to be meant, is refused."""
    assert shop("revoke --depot depot", word) == 2
    assert "no key of this depot has an id that begins with" in shop.err


def test_a_root_is_renewed(shop: Call) -> None:
    """The yearly ceremony: nothing but version and expiry changes."""
    done = shop.json(f"renew root --depot depot --days 1000 {ROOT}")
    assert [change["subject"] for change in done["changes"]] == ["version", "expires"]  # type: ignore[attr-defined]
    assert (done["published"], done["resigned"]) == (True, False)


@pytest.mark.parametrize("days", ["0", "-1", "3651"])
def test_a_life_out_of_range_is_refused(shop: Call, days: str) -> None:
    """Nothing lives no time, or more than ten years."""
    assert shop(f"renew online --depot depot --days {days}") == 2
    assert shop(f"renew root --depot depot --days {days} {ROOT}") == 2


def test_a_team_is_delegated_to_shown_and_changed(shop: Call) -> None:
    """delegate, show, rotate and revoke for a team, whose keys lie with it or in the depot."""
    a = shop.holder("a")
    assert shop.json("delegate team-a --depot depot --add a.json --new")["threshold"] == 2
    team = shop.json("show --depot depot")["roles"][-1]  # type: ignore[index]
    assert (team["name"], team["signs"], team["threshold"]) == ("team-a", "the releases team-a/*", 2)
    assert team["places"] == [None, "depot/keys/team-a-1.pem"]
    assert shop("delegate team-a --depot depot --new") == 2
    assert shop("rotate team-a --depot depot --threshold 1") == 0
    assert shop(f"revoke {a[:8]} --depot depot") == 0
    assert len(shop.json("show --depot depot")["roles"][-1]["keys"]) == 1  # type: ignore[index]


@pytest.mark.parametrize("name", ["root", "online", "waiver", "targets", "Team", "a/b", "-a", "x" * 33])
def test_a_name_that_no_team_may_have_is_refused(shop: Call, name: str) -> None:
    """Attack 31: a team is none of the other roles, nor a path."""
    assert shop("delegate --depot depot --new --", name) == 2
    assert "cannot be a team" in shop.err


def test_a_waiver_is_written_for_a_late_timestamp(shop: Call) -> None:
    """By the waiver role alone; the file names timestamp, site, reason and dates."""
    shop.holder("w")
    late = (
        "waive",
        "depot/metadata/timestamp.json",
        "--depot",
        "depot",
        "--site",
        "plant-7",
        "--reason",
        "a late ship",
    )
    assert shop(late[0], *late[1:]) == 6
    assert "has no waiver role" in shop.err
    assert shop(f"rotate waiver --depot depot --add w.json {ROOT}") == 0
    assert shop(late[0], *late[1:], "--key", "depot/keys/root-1.pem") == 6
    assert "may not sign waiver-1-plant-7" in shop.err
    assert shop(late[0], *late[1:], "--key", "w.pem") == 0
    signed = json.loads(Path("depot/waiver-1-plant-7.json").read_text())["signed"]
    assert (signed["site"], signed["reason"], signed["timestamp"]["version"]) == ("plant-7", "a late ship", 1)


def test_a_waiver_for_what_a_revoked_key_signed_is_refused(shop: Call) -> None:
    """Attack 9: no waiver brings a revoked key back."""
    shop.holder("w")
    shop(f"rotate waiver --depot depot --add w.json {ROOT}")
    shutil.copy("depot/metadata/timestamp.json", "late.json")
    shop(f"rotate online --depot depot {ROOT}")
    assert shop("waive late.json --depot depot --key w.pem --reason", "late") == 6
    assert "is not signed by the keys of root 3" in shop.err


def test_a_development_root_says_so_and_stays_one(call: Call) -> None:
    """Attack 16: the purpose stands in the root, is shown, and no later root changes it."""
    assert call("init --depot depot --development") == 0
    assert "its root is for development" in call.out
    assert call.json("show --depot depot")["purpose"] == "development"
    root = json.loads(Path("depot/metadata/1.root.json").read_text())["signed"]
    assert root["x-sealift"] == {"purpose": "development"}
    assert call(f"renew root --depot depot {ROOT}") == 0
    assert call.json("show --depot depot")["purpose"] == "development"
    assert call("show --depot depot") == 0
    assert "a site for production never admits" in call.out


def test_unencrypted_development_keys_must_still_be_asked_for(call: Call) -> None:
    """Attack 16: a development root is no reason to leave keys in the clear by surprise."""
    call.monkeypatch.delenv("SEALIFT_PASSPHRASE")
    assert call("init --depot depot --development") == 2
    assert call("init --depot depot --development --unsafe-no-passphrase") == 0


def test_a_key_for_each_scheme(call: Call) -> None:
    """Every kind makes a depot, whose root renews itself."""
    for scheme in SCHEMES:
        assert call(f"init --depot {scheme} --scheme {scheme}") == 0
        assert call(f"renew root --depot {scheme} --key {scheme}/keys/root-1.pem") == 0, call.err
        assert call(f"renew online --depot {scheme}") == 0


def test_a_key_file_that_is_there_is_never_overwritten(call: Call) -> None:
    """Neither half."""
    call.holder("a")
    before = Path("a.pem").read_bytes()
    assert call("key a.pem --new --out b.json") == 2
    assert call("key b.pem --new --out a.json") == 2
    assert Path("a.pem").read_bytes() == before
    assert not Path("b.json").exists()
    assert not Path("b.pem").exists()


def test_the_public_half_of_a_key_that_is_there(call: Call) -> None:
    """It has the same key id, and no place: a holder's path is nobody else's business."""
    made = call.holder("a")
    assert call.json("key a.pem --out again.json") == {
        "keyid": made,
        "scheme": "ed25519",
        "place": None,
        "file": "again.json",
    }
    assert json.loads(Path("again.json").read_text()) == json.loads(Path("a.json").read_text())


def test_a_public_key_file_with_another_key_id_is_refused(call: Call) -> None:
    """Attack 5: the key id is the key's digest, or the file is refused."""
    call.holder("a")
    call.holder("b")
    tree, other = (json.loads(Path(f"{name}.json").read_text()) for name in "ab")
    Path("forged.json").write_text(json.dumps({**tree, "keyid": other["keyid"]}))
    assert call("init --depot depot --root-key forged.json") == 6
    assert "not its key's digest" in call.err
    assert not Path("depot").exists()


def test_two_holders_with_one_key_are_refused(call: Call) -> None:
    """Attack 4: one key does not count twice."""
    call.holder("a")
    assert call("init --depot depot --root-key a.json --root-key a.json") == 2
    assert "is named twice" in call.err


def test_clients_are_noted_and_forgotten(shop: Call) -> None:
    """What each site runs; a key that one could not read is refused by name."""
    noted = shop.json("clients --depot depot plant-7=0.1.0 ship-3=0.2.0")
    assert noted["clients"] == {"plant-7": "0.1.0", "ship-3": "0.2.0"}
    shop.holder("h", "--scheme", "hybrid")
    assert shop(f"rotate root --depot depot --add h.json {ROOT} --key h.pem") == 7
    assert shop.err.startswith("error: plant-7 (0.1.0) could not read")
    assert shop("clients --depot depot --forget plant-7") == 0
    assert shop(f"rotate root --depot depot --add h.json {ROOT} --key h.pem") == 0
    assert shop("clients --depot depot --forget plant-7") == 2


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("rotate root --depot depot", 2),
        ("rotate nobody --depot depot --threshold 1", 2),
        ("renew nobody --depot depot", 2),
        ("renew waiver --depot depot", 2),
        ("publish --depot depot", 2),
        ("rotate root --depot elsewhere --threshold 1", 2),
        ("rotate root --depot depot --add missing.json", 8),
        ("rotate root --depot depot --add depot/depot.json", 4),
        ("sign depot/depot.json --show", 4),
        ("init --depot new --root-key a.json --root-keys 2", 2),
        ("init --depot new --online-key a.json", 2),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_code(shop: Call, line: str, code: int) -> None:
    """And the depot stays as it is."""
    before = {path: path.read_bytes() for path in Path("depot/metadata").iterdir()}
    assert shop(line) == code, shop.err
    assert re.match(r"error: [^A-Z]", shop.err)
    assert {path: path.read_bytes() for path in Path("depot/metadata").iterdir()} == before


def test_a_team_is_dismissed(shop: Call) -> None:
    """It is gone from `show`, which names it apart; nobody gets its name, and there is nothing to dismiss twice."""
    assert shop("delegate team-a --depot depot --new") == 0
    assert shop.json("dismiss team-a --depot depot") == {"team": "team-a", "releases": 0, "published": True}
    assert [role["name"] for role in shop.json("show --depot depot")["roles"]][-1] == "timestamp"  # type: ignore[attr-defined]
    assert shop("dismiss team-a --depot depot") == 2
    assert "there is no team team-a" in shop.err
