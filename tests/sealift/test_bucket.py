"""Credentials of buckets by each cloud's conventions, and what a failure of a store is said to mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealift.bucket.address import read, shown
from sealift.bucket.credentials import access, provider
from sealift.bucket.failure import meaning
from sealift.errors import UsageError

KEY = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK"}
PROFILES = (
    "[default]\naws_access_key_id = D\naws_secret_access_key = E\n[it]\naws_access_key_id=I\naws_secret_access_key=J\n"
)


@pytest.mark.parametrize(
    ("cloud", "environment", "settings", "secret"),
    [
        ("s3", KEY, {}, {"access_key_id": "AK", "secret_access_key": "SK", "token": None}),
        (
            "s3",
            {**KEY, "AWS_SESSION_TOKEN": "T", "AWS_REGION": "eu-1", "AWS_ENDPOINT_URL": "https://s3.local"},
            {"region": "eu-1", "endpoint": "https://s3.local"},
            {"access_key_id": "AK", "secret_access_key": "SK", "token": "T"},
        ),
        (
            "oss",
            {**KEY, "OSS_ACCESS_KEY_ID": "O", "OSS_ACCESS_KEY_SECRET": "P", "OSS_REGION": "cn-hangzhou"},
            {"region": "cn-hangzhou"},
            {"access_key_id": "O", "secret_access_key": "P", "token": None},
        ),
        (
            "oss",
            {"ALIBABA_CLOUD_ACCESS_KEY_ID": "O", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "P"},
            {},
            {"access_key_id": "O", "secret_access_key": "P", "token": None},
        ),
        ("az", {"AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_KEY": "K"}, {"account": "a"}, {"access_key": "K"}),
        ("az", {"AZURE_STORAGE_SAS_TOKEN": "?sv=1&sig=2"}, {}, {"sas_token": "sv=1&sig=2"}),
        (
            "az",
            {"AZURE_STORAGE_CONNECTION_STRING": "AccountName=a;AccountKey=K==;BlobEndpoint=https://a.local"},
            {"account": "a", "endpoint": "https://a.local"},
            {"access_key": "K=="},
        ),
        ("az", {}, {}, None),
    ],
)
def test_variables_of_each_cloud_are_understood(
    tmp_path: Path, cloud: str, environment: dict[str, str], settings: dict[str, str], secret: dict[str, str] | None
) -> None:
    """What the tools of a cloud take from the environment is taken, and nothing of another cloud's."""
    bucket, _ = read(f"{cloud}://builds/x", {})
    found = access(bucket, {"HOME": str(tmp_path), **environment})
    assert (found.settings, found.secret) == (settings, secret)
    assert "SK" not in repr(found)


@pytest.mark.parametrize(("profile", "user"), [({}, "D"), ({"AWS_PROFILE": "it"}, "I")])
def test_profiles_are_read(tmp_path: Path, profile: dict[str, str], user: str) -> None:
    """Without variables the file of credentials counts, and the profile that is named."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(PROFILES)
    (tmp_path / ".aws/config").write_text("[default]\nregion = eu-2\n[profile it]\nregion = eu-3\n")
    bucket, _ = read("s3://builds/x", {})
    found = access(bucket, {"HOME": str(tmp_path), **profile})
    assert found.secret is not None
    assert found.secret["access_key_id"] == user
    assert found.settings["region"] == ("eu-3" if profile else "eu-2")


@pytest.mark.parametrize("text", ["aws_secret_access_key = hidden\n", "[default\nhidden", "\udcff"])
def test_a_file_of_credentials_that_is_none_is_told_without_its_words(tmp_path: Path, text: str) -> None:
    """103: the line that is wrong may be the secret."""
    path = tmp_path / "credentials"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    bucket, _ = read("s3://builds/x", {})
    with pytest.raises(UsageError) as raised:
        access(bucket, {"HOME": str(tmp_path), "AWS_SHARED_CREDENTIALS_FILE": str(path)})
    assert "hidden" not in f"{raised.value.message}{raised.value.hint}{raised.value.__cause__}"


def test_oss_looks_nowhere_else(tmp_path: Path) -> None:
    """Without its own variables OSS has no credentials: those of AWS are never sent there."""
    bucket, _ = read("oss://builds/x", {})
    with pytest.raises(UsageError, match="no credentials"):
        provider(access(bucket, {"HOME": str(tmp_path), **KEY}))


def test_anonymous_means_no_credential(tmp_path: Path) -> None:
    """What is asked for without credentials gets none, whatever the environment holds."""
    bucket, _ = read("s3://builds/x", {"anonymous": True})
    assert access(bucket, {"HOME": str(tmp_path), **KEY}).secret is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"endpoint": "http://store.local"}, "without TLS"),
        ({"endpoint": "https://user:secret@store.local"}, "no plain http or https address"),
        ({"endpoint": "https://store.local/?sig=secret"}, "no plain http or https address"),
        ({"account": "name"}, "belongs to no account"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, str], message: str) -> None:
    """An endpoint is safe, plain and without a secret."""
    with pytest.raises(UsageError, match=message) as raised:
        read("s3://builds/x", settings)
    assert "secret" not in raised.value.message


class GenericError(Exception):
    """As obstore has it."""


@pytest.mark.parametrize(
    ("text", "reason", "status"),
    [
        ("… in 1ms - Server returned non-2xx status code: 501 Not Implemented: …", "the store answers 501", 501),
        ("status code: 403 Forbidden: sig=secret", "the store refuses the credentials", 403),
        ("status code: 404 Not Found: <Code>NoSuchBucket</Code>", "there is no such bucket", 404),
        ("HTTP error: error following redirect", "the store redirects without end, or to where it may not", None),
        ("error sending request … dns error", "the host's name is not known", None),
        ("error sending request … ConnectionRefused", "no connection to the store", None),
        ("… UnknownIssuer …", "the store's certificate is not trusted", None),
        ("PUT http://169.254.169.254/latest/api/token", "there are no credentials for the bucket", None),
    ],
)
def test_failures_are_told_in_words_of_ours(text: str, reason: str, status: int | None) -> None:
    """A failure is told by its kind and its status, and nothing of it is repeated."""
    found = meaning(GenericError(text))
    assert (found.reason, found.status) == (reason, status)
    assert "secret" not in f"{found.reason}{found.hint}"


def test_an_address_is_shown_without_a_secret() -> None:
    """What stands before '@' and behind '?' is not printed."""
    assert shown("s3://key:secret@builds/x?sig=secret") == "s3://***@builds/x"
