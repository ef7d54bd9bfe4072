"""Keys in services, by their own clients: doubles of AWS KMS and Vault, which sign in earnest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from services import ACCESS_KEY, TOKEN, Aws, Vault, served
from told import Told

from keys.ceremony import prepare
from keys.pending import held
from keys.places import open_signer
from keys.public import Public, encode
from keys.publishing import publish_request
from keys.repository import Addition, online_signer, publish, verify
from keys.signing import sign
from sealift.errors import SealiftError, TrustError, UsageError


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Services of this machine are asked directly."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """A double of AWS KMS, named by the environment."""
    pytest.importorskip("boto3")
    running = Aws()
    with served(running.answer) as url:
        for name, value in (
            ("ACCESS_KEY_ID", ACCESS_KEY),
            ("SECRET_ACCESS_KEY", "a secret"),
            ("DEFAULT_REGION", "eu-central-1"),
            ("ENDPOINT_URL_KMS", url),
        ):
            monkeypatch.setenv(f"AWS_{name}", value)
        yield running


@pytest.fixture
def hashicorp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    """A double of Vault, named by the environment."""
    pytest.importorskip("hvac")
    running = Vault()
    with served(running.answer) as url:
        monkeypatch.setenv("VAULT_ADDR", url)
        monkeypatch.setenv("VAULT_TOKEN", TOKEN)
        yield running


def _round(place: str, folder: Path, addition: Callable[..., dict[str, Addition]], now: datetime) -> None:
    """A depot whose root key and online key are at `place`'s service, its first root and one publication."""
    public = Public(key=open_signer(place, None, Told()).public_key, place=place)
    made = prepare(folder / "depot", root_keys=[public], threshold=1, passphrase=b"a passphrase", rounds=10, now=now)
    request = held(made.depot)[0].sign(open_signer(place, public.key, Told()))
    signer_for = online_signer(made.depot, Told(b"a passphrase"))
    publish_request(made.depot, request, signer_for=signer_for, now=now)
    publish(made.depot, addition(), signer_for=signer_for, now=now, published=now)
    assert [entry.version for entry in verify(made.depot).entries] == ["1.0.0"]


@pytest.mark.parametrize(("kind", "scheme"), [("P256", "ecdsa-sha2-nistp256"), ("P384", "ecdsa-sha2-nistp384")])
def test_a_key_in_aws_signs(aws: Aws, kind: str, scheme: str) -> None:
    """The service is asked for the public key, and what it signs verifies."""
    place = aws.make("alias/a", kind)
    key = open_signer(place, None, Told()).public_key
    assert key.scheme == scheme
    sign(open_signer(place, key, Told()), b"data", "data")


def test_a_depots_root_key_lives_in_aws(
    aws: Aws, tmp_path: Path, addition: Callable[..., dict[str, Addition]], now: datetime
) -> None:
    """The first root is signed there."""
    _round(aws.make("alias/a", "P256"), tmp_path, addition, now)


def test_another_key_in_aws_is_noticed(aws: Aws) -> None:
    """Attack 13: an alias that points to another key now signs without complaint, and the signature is refused."""
    key = open_signer(aws.make("alias/a", "P256"), None, Told()).public_key
    with pytest.raises(TrustError, match="does not verify"):
        sign(open_signer(aws.make("alias/a", "P256"), key, Told()), b"data", "data")


def test_a_key_of_rsa_in_aws_is_refused(aws: Aws) -> None:
    """Attack 7: no site reads it."""
    with pytest.raises(TrustError, match="is a key for rsa"):
        open_signer(aws.make("alias/a", "RSA"), None, Told())


def test_what_aws_refuses_is_said(aws: Aws) -> None:
    """A key that is not there is named, with the service's own words and the place."""
    key = open_signer(aws.make("alias/a", "P256"), None, Told()).public_key
    with pytest.raises(TrustError, match=r"awskms:alias/none does not open: .*NotFound"):
        open_signer("awskms:alias/none", None, Told())
    with pytest.raises(TrustError, match=r"could not sign data: .*NotFound"):
        sign(open_signer("awskms:alias/none", key, Told()), b"data", "data")


def test_a_refusal_of_aws_is_said_once(aws: Aws, tmp_path: Path, now: datetime) -> None:
    """At the command line, credentials that count for nothing are an error and a hint, and no line of a log."""
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "AKIDOTHER", "PYTHONPATH": str(Path(__file__).parents[2])}
    file = tmp_path / "a.json"
    file.write_bytes(encode(Public(key=open_signer(aws.make("a", "P256"), None, Told()).public_key, place="awskms:a")))
    holder = Public(key=open_signer("awskms:a", None, Told()).public_key)
    made = prepare(tmp_path / "d", root_keys=[holder], threshold=1, passphrase=b"a passphrase", rounds=10, now=now)
    command = [sys.executable, "-c", "from keys.cli import main; main()", "sign", "--yes"]
    ended = subprocess.run(
        [*command, "--key", str(file), str(made.request)], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 6
    assert [line.partition(":")[0] for line in ended.stderr.splitlines()[-2:]] == ["error", "hint"]
    assert "Failed to sign" not in ended.stderr
    assert "security token is invalid" in ended.stderr


def test_a_key_in_vault_signs(
    hashicorp: Vault, tmp_path: Path, addition: Callable[..., dict[str, Addition]], now: datetime
) -> None:
    """The newest version of a key is asked for its public half, and signs the first root."""
    place = "hv:root/11"
    key = open_signer(place, None, Told()).public_key
    sign(open_signer(place, key, Told()), b"data", "data")
    _round(place, tmp_path, addition, now)


def test_an_older_version_in_vault_needs_its_public_key(hashicorp: Vault) -> None:
    """Vault is asked for the newest version alone: which one is meant is never guessed."""
    with pytest.raises(UsageError, match=r"hv:root/9 is not the newest version of that key, which is hv:root/11"):
        open_signer("hv:root/9", None, Told())


def test_another_version_in_vault_is_noticed(hashicorp: Vault) -> None:
    """Attack 13: a signature of another version than the one that is meant is refused."""
    key = open_signer("hv:root/11", None, Told()).public_key
    hashicorp.wrong = True
    with pytest.raises(TrustError, match="does not verify"):
        sign(open_signer("hv:root/11", key, Told()), b"data", "data")


def test_what_vault_refuses_is_said(hashicorp: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong token and a key that is not there; the token is in no message."""
    with pytest.raises(TrustError, match="hv:none/1 does not open"):
        open_signer("hv:none/1", None, Told())
    monkeypatch.setenv("VAULT_TOKEN", "a secret token")
    with pytest.raises(TrustError, match="hv:root/11 does not open: permission denied") as caught:
        open_signer("hv:root/11", None, Told())
    assert "secret" not in f"{caught.value}{caught.value.hint}"


def test_a_key_in_a_service_at_the_command_line(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`sealift-keys key` asks the service, and notes the place in the file that a holder hands over."""
    from keys.cli import main

    place = aws.make("alias/a", "P256")
    monkeypatch.setattr(sys, "argv", ["sealift-keys", "key", place, "--out", str(tmp_path / "a.json"), "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (ended.value.code, said["place"], said["scheme"]) == (0, place, "ecdsa-sha2-nistp256")


@pytest.mark.parametrize("place", ["gnupg:ABCD", "vault:x", "file2:key.pem"])
def test_a_place_of_another_scheme_is_refused(place: str) -> None:
    """What sites could not verify, or would be read without its checks, is no place for a key."""
    with pytest.raises(UsageError, match="is no place for keys") as caught:
        open_signer(place, None, Told())
    assert "ssh-agent" in (caught.value.hint or "")


@pytest.mark.parametrize(("place", "extra"), [("azurekms://a.vault.azure.net/keys/k/1", "azure"), ("gcpkms:a", "gcp")])
def test_a_service_whose_package_is_missing_names_the_extra(place: str, extra: str, tmp_path: Path) -> None:
    """A key in a service needs an extra, and the message says which; without its public key, it says that first."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from securesystemslib.signer import SSlibKey

    with pytest.raises(UsageError, match=r"public key of .* is not known"):
        open_signer(place, None, Told())
    key = SSlibKey.from_crypto(ec.generate_private_key(ec.SECP256R1()).public_key())
    with pytest.raises(SealiftError) as caught:
        open_signer(place, key, Told())
    assert f"'{extra}'" in (caught.value.hint or "")


def test_no_client_is_loaded_before_a_key_needs_it() -> None:
    """What takes longer than the rest of a start, and asks for a socket, is for those whose keys are there."""
    script = """
import sys
from sealift.key_services import keep_out, let_in
keep_out()
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME
assert not {"botocore", "requests"} & sys.modules.keys()
for scheme, client in (("awskms", "boto3"), ("hv", "hvac")):
    let_in(scheme)
    assert sys.modules[client].__name__ == client
    assert SIGNER_FOR_URI_SCHEME[scheme].SCHEME == scheme
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
