"""What a depot and a root say about themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from keys.repository import Addition, Published
from keys.show import describe, describe_root, grouped
from sealift.errors import MalformedError, TrustError


def test_a_depot_describes_its_roles(
    depot: Path,
    now: datetime,
    publishing: Callable[..., Published],
    addition: Callable[..., dict[str, Addition]],
) -> None:
    """Versions, thresholds, schemes, expiry and what is published."""
    publishing(addition())
    described = describe(depot, now)
    roles = {role.name: role for role in described.roles}
    assert (roles["root"].threshold, len(roles["root"].keys), roles["root"].version) == (2, 3, 1)
    assert roles["targets"].keys == roles["timestamp"].keys
    assert roles["targets"].version == 2
    assert roles["root"].schemes == ("ed25519",)
    assert (roles["root"].days_left, roles["timestamp"].days_left) == (730, 180)
    assert roles["timestamp"].expires == "2026-08-28T12:00:00Z"
    assert (described.releases, described.bundles, described.warnings) == (1, 0, ())


def test_a_description_is_json(depot: Path, now: datetime) -> None:
    """It goes through JSON without loss of a field."""
    described = asdict(describe(depot, now))
    assert json.loads(json.dumps(described)).keys() == described.keys()


def test_the_fingerprint_is_the_first_roots(depot: Path, now: datetime) -> None:
    """A depot and its first root have the fingerprint that a site enrols with."""
    first = depot / "metadata" / "1.root.json"
    expected = sha256(first.read_bytes()).hexdigest()
    assert describe(depot, now).fingerprint == describe_root(first, now).fingerprint == expected


def test_a_single_root_describes_what_it_knows(depot: Path, now: datetime) -> None:
    """A root knows thresholds and keys of all roles, and its own expiry."""
    described = describe_root(depot / "metadata" / "1.root.json", now)
    assert (described.kind, described.releases, described.root_version) == ("root", None, 1)
    assert [role.version for role in described.roles] == [1, None, None, None]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (90, ()),
        (91, ("targets expires in 89 days", "snapshot expires in 89 days", "timestamp expires in 89 days")),
        (641, ("root expires in 89 days", "targets expired", "snapshot expired", "timestamp expired")),
        (731, ("root expired on 2028-02-29", "targets expired", "snapshot expired", "timestamp expired")),
    ],
)
def test_what_expires_soon_is_warned_of(depot: Path, now: datetime, days: int, expected: tuple[str, ...]) -> None:
    """Less than 90 days are a warning, and an expired role is shown rather than refused."""
    warnings = describe(depot, now + timedelta(days=days)).warnings
    assert len(warnings) == len(expected)
    assert all(warning.startswith(words) for warning, words in zip(warnings, expected, strict=True))


def test_a_tampered_root_is_not_described(depot: Path, now: datetime) -> None:
    """A root whose own keys do not sign it says nothing."""
    path = depot / "metadata" / "1.root.json"
    path.write_bytes(path.read_bytes().replace(b"2028", b"2096"))
    with pytest.raises(TrustError):
        describe_root(path, now)


def test_what_is_no_root_is_not_described(depot: Path, now: datetime) -> None:
    """Other metadata is refused by its type."""
    with pytest.raises(MalformedError, match="not root metadata"):
        describe_root(depot / "metadata" / "1.targets.json", now)


def test_a_fingerprint_is_grouped_in_eight_blocks() -> None:
    """Eight blocks of eight digits, in order."""
    blocks = grouped("0123456789abcdef" * 4).split(" ")
    assert [len(block) for block in blocks] == [8] * 8
    assert "".join(blocks) == "0123456789abcdef" * 4
