"""Keys that an agent keeps: OpenSSH's own, and GnuPG's, which has the keys of OpenPGP."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from agents import Running, framed, gpg_agent, lying_agent, ssh_agent, string
from told import Told

from keys.agent import GPG_MAX, KEYS_MAX, MESSAGE_MAX, Agent, Held
from keys.ceremony import prepare
from keys.pending import held
from keys.places import open_signer
from keys.public import Public
from keys.publishing import publish_request
from keys.repository import Addition, online_signer, publish, verify
from keys.signing import sign
from sealift.digest import sha256
from sealift.errors import MalformedError, SealiftError, TrustError, UsageError
from sealift.trust import anchor

KINDS = ("ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384")


@pytest.fixture(scope="session")
def openssh() -> Iterator[Running]:
    """OpenSSH's agent."""
    with ssh_agent() as running:
        yield running


@pytest.fixture(scope="session")
def gnupg() -> Iterator[Running]:
    """GnuPG's agent."""
    with gpg_agent() as running:
        yield running


@pytest.fixture(params=["openssh", "gnupg"])
def agent(request: pytest.FixtureRequest) -> Running:
    """One agent, then the other."""
    found: Running = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("scheme", KINDS)
def test_an_agents_signature_is_as_any_other(agent: Running, scheme: str) -> None:
    """The key that is found has its ordinary key id, signs without a secret of ours, and its signature verifies."""
    told = Told()
    key = open_signer(agent.place(scheme), None, told).public_key
    assert key.scheme == scheme
    for message in (b"", b"data", b"x" * 20_000):
        sign(open_signer(agent.place(scheme), key, told), message, "data")
    assert told.asked == []


def test_a_depot_lives_with_its_keys_in_an_agent(
    agent: Running, tmp_path: Path, addition: Callable[..., dict[str, Addition]], now: datetime
) -> None:
    """The first root and a publication are signed by an agent, and a site that knows nothing of agents enrols."""
    told = Told()
    root, online = (
        Public(key=open_signer(agent.place(scheme), None, told).public_key, place=agent.place(scheme))
        for scheme in (KINDS[0], KINDS[1])
    )
    made = prepare(
        tmp_path / "depot",
        root_keys=[root],
        threshold=1,
        passphrase=None,
        now=now,
        online=online,
        unsafe_unencrypted=True,
    )
    signer_for = online_signer(made.depot, told)
    request = held(made.depot)[0].sign(open_signer(agent.place(KINDS[0]), root.key, told))
    publish_request(made.depot, request, signer_for=signer_for, now=now)
    publish(made.depot, addition(), signer_for=signer_for, now=now, published=now)
    assert [entry.version for entry in verify(made.depot).entries] == ["1.0.0"]
    content = (made.depot / "metadata" / "1.root.json").read_bytes()
    assert anchor(content, sha256(content), reference=now).roots == (content,)


def test_a_known_public_key_names_the_key(openssh: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the public key at hand the fingerprint may be left out, and the environment names the agent."""
    monkeypatch.setenv("SSH_AUTH_SOCK", str(openssh.path))
    key = open_signer(openssh.place("ed25519"), None, Told()).public_key
    assert open_signer("ssh-agent:", key, Told()).public_key == key
    sign(open_signer(f"ssh-agent:{openssh.prints['ed25519']}", key, Told()), b"data", "data")
    with pytest.raises(UsageError, match="names no key of an agent"):
        open_signer("ssh-agent:", None, Told())


def test_another_key_than_the_one_that_is_meant_is_refused(openssh: Running, gnupg: Running) -> None:
    """Attack 13: the place names one key, and the public key file another."""
    key = open_signer(openssh.place("ed25519"), None, Told()).public_key
    with pytest.raises(TrustError, match=f"is not the key {key.keyid[:8]}"):
        open_signer(openssh.place("ecdsa-sha2-nistp256"), key, Told())
    with pytest.raises(TrustError, match=f"has no key {key.keyid[:8]}"):
        open_signer(f"ssh-agent:?socket={gnupg.path}", key, Told())


def test_a_key_that_is_not_there_is_named(openssh: Running, gnupg: Running) -> None:
    """Neither another agent's key nor a kind that no site reads is a key."""
    with pytest.raises(TrustError, match="the agent has no key SHA256:"):
        open_signer(f"ssh-agent:{openssh.prints['ed25519']}?socket={gnupg.path}", None, Told())
    with pytest.raises(TrustError, match="a kind that is not accepted"):
        open_signer(openssh.place("rsa"), None, Told())


def test_without_an_agent_the_hint_names_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No agent, or none that listens."""
    place = f"ssh-agent:SHA256:{'A' * 43}"
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(UsageError, match="SSH_AUTH_SOCK is not set"):
        open_signer(place, None, Told())
    with pytest.raises(TrustError, match="does not answer") as caught:
        open_signer(f"{place}?socket={tmp_path}/none", None, Told())
    assert "SSH_AUTH_SOCK" in (caught.value.hint or "")


def test_a_locked_agent_signs_nothing(openssh: Running) -> None:
    """A key that was opened before the agent was locked is refused, and signs again afterwards."""
    signer = open_signer(openssh.place("ed25519"), None, Told())
    request = bytes([22]) + string(b"word")
    agent = Agent(openssh.path)
    agent._ask(request, 6, "be locked")
    try:
        with pytest.raises(TrustError, match="the agent refused to sign"):
            sign(signer, b"data", "data")
    finally:
        agent._ask(bytes([23]) + string(b"word"), 6, "be unlocked")
    sign(signer, b"data", "data")


def test_what_is_too_long_for_an_agent_is_said(openssh: Running, gnupg: Running) -> None:
    """OpenSSH's takes 256 KiB, GnuPG's less."""
    with pytest.raises(TrustError, match=f"signs {MESSAGE_MAX} bytes at most"):
        sign(open_signer(openssh.place("ed25519"), None, Told()), b"x" * MESSAGE_MAX, "data")
    sign(open_signer(gnupg.place("ed25519"), None, Told()), b"x" * (GPG_MAX - 200), "data")
    with pytest.raises(TrustError) as caught:
        sign(open_signer(gnupg.place("ed25519"), None, Told()), b"x" * 100_000, "data")
    assert "gpg-agent takes" in (caught.value.hint or "")


ED25519 = string(b"ssh-ed25519") + string(bytes(32))
LISTED = b"\x0c\x00\x00\x00\x01" + string(ED25519) + string(b"comment")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "broke off"),
        (b"\x00\x00", "broke off"),
        (framed(LISTED)[:-1], "broke off"),
        (struct.pack(">I", 0), "announces 0 bytes"),
        (struct.pack(">I", MESSAGE_MAX + 1), f"announces {MESSAGE_MAX + 1} bytes"),
        (struct.pack(">I", 2**32 - 1), "announces 4294967295 bytes"),
        (framed(b"\x05"), "refused to list"),
        (framed(b"\x0e"), "a message of type 14, and not 12"),
        (framed(b"\x0c"), "cut off"),
        (framed(b"\x0c" + struct.pack(">I", KEYS_MAX + 1)), f"lists {KEYS_MAX + 1} keys"),
        (framed(b"\x0c\x00\x00\x00\x02" + LISTED[5:]), "cut off"),
        (framed(b"\x0c\x00\x00\x00\x01\xff\xff\xff\xff"), "cut off"),
        (framed(LISTED + b"\x00"), "something behind its end"),
    ],
)
def test_an_agents_list_is_not_believed(answer: bytes, words: str) -> None:
    """Attack 77: a length that is cut off, too large or not used up is refused."""
    with lying_agent(lambda _: answer) as path, pytest.raises(SealiftError, match=words):
        Agent(path).held()


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        string(b"ssh-ed25519"),
        string(b"ssh-ed25519") + string(bytes(31)),
        string(b"ssh-ed25519") + string(bytes(32)) + b"\x00",
        string(b"ecdsa-sha2-nistp256") + string(b"nistp384") + string(bytes(65)),
        string(b"ecdsa-sha2-nistp256") + string(b"nistp256") + string(b"\x04" + bytes(64)),
    ],
)
def test_a_listed_key_that_is_none_is_refused(blob: bytes) -> None:
    """Attack 6: a key whose parts do not fit its type."""
    with pytest.raises(MalformedError):
        _ = Held(blob=blob).public


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        bytes(64),
        string(b"ssh-rsa") + string(bytes(64)),
        string(b"ssh-ed25519") + string(bytes(64)),
        string(b"ssh-ed25519") + string(b""),
        string(b"ssh-ed25519") + string(bytes(64)) + b"\x00",
    ],
)
def test_an_agents_signature_is_not_believed(signature: bytes) -> None:
    """Attack 13: what is no signature of the key that was meant is refused, before anything is written."""
    key = Held(blob=ED25519)
    with lying_agent(lambda asked: framed(LISTED if asked == b"\x0b" else b"\x0e" + string(signature))) as path:
        place = f"ssh-agent:{key.fingerprint}?socket={path}"
        with pytest.raises(SealiftError):
            sign(open_signer(place, None, Told()), b"data", "data")


@pytest.mark.parametrize("numbers", [(b"", b"\x01"), (b"\x80", b"\x01"), (b"\x01", bytes(1)), (b"\x01" * 50, b"\x01")])
def test_numbers_of_a_signature_are_bounded(openssh: Running, numbers: tuple[bytes, bytes]) -> None:
    """Attack 8: neither zero nor negative nor over-long numbers make a signature."""
    key = next(each for each in Agent(openssh.path).held() if b"nistp256" in each.blob)
    inner = string(b"ecdsa-sha2-nistp256") + string(b"".join(string(each) for each in numbers))
    with (
        lying_agent(lambda _: framed(b"\x0e" + string(inner))) as path,
        pytest.raises(MalformedError, match="the agent's signature is none"),
    ):
        Agent(path).sign(key, b"data")


def test_a_fingerprint_is_the_one_that_ssh_add_prints(openssh: Running) -> None:
    """So that a person can compare it."""
    listed = subprocess.run(
        ["ssh-add", "-l"], env={"SSH_AUTH_SOCK": str(openssh.path)}, capture_output=True, text=True, check=True
    )
    assert {key.fingerprint for key in Agent(openssh.path).held()} == {
        line.split()[1] for line in listed.stdout.splitlines()
    }
