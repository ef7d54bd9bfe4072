"""A depot made once with cheap keys, copied for each test, and what tests do with it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from securesystemslib.signer import Signer
from told import Told
from tuf.api.metadata import Root

from keys.ceremony import Summary, init
from keys.repository import Addition, Published, online_signer, publish
from sealift.errors import SealiftError

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
PASSPHRASE = b"correct horse"


@pytest.fixture
def now() -> datetime:
    """The day of the ceremony."""
    return NOW


@pytest.fixture
def passphrase() -> bytes:
    """What encrypts every key of `depot`."""
    return PASSPHRASE


@pytest.fixture(scope="session")
def ceremony(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """A depot with three root keys, two of which a new root needs; copy it, do not change it."""
    place = tmp_path_factory.mktemp("ceremony") / "depot"
    return init(place, root_keys=3, threshold=2, passphrase=PASSPHRASE, now=NOW, rounds=10)


@pytest.fixture
def depot(ceremony: Summary, tmp_path: Path) -> Path:
    """A fresh copy of the depot."""
    copy = tmp_path / "depot"
    shutil.copytree(ceremony.depot, copy)
    return copy


@pytest.fixture
def signer_for(depot: Path) -> Callable[[Root], Signer]:
    """Unlocks the depot's online key."""
    return online_signer(depot, Told(PASSPHRASE))


def release(name: str = "shop", version: str = "1.0.0", content: bytes = b"{}") -> dict[str, Addition]:
    """One release manifest to be listed."""
    digest = sha256(content).hexdigest()
    return {f"releases/{name}/{version}.json": Addition(length=len(content), sha256=digest, kind="release")}


@pytest.fixture
def addition() -> Callable[..., dict[str, Addition]]:
    """Makes additions: of release `shop` 1.0.0 unless told otherwise."""
    return release


@pytest.fixture
def publishing(depot: Path, signer_for: Callable[[Root], Signer]) -> Callable[..., Published]:
    """Publishes additions in `depot`, at the ceremony's time unless told otherwise."""

    def run(additions: dict[str, Addition], now: datetime = NOW, published: datetime = NOW) -> Published:
        return publish(depot, additions, signer_for=signer_for, now=now, published=published)

    return run


@pytest.fixture
def failing_at() -> Callable[..., Callable[..., object]]:
    """Wraps a system call so that its n-th use fails with an error number."""

    def wrap(real: Callable[..., object], nth: int, number: int) -> Callable[..., object]:
        uses = iter(range(1, nth + 1))

        def call(*args: object, **options: object) -> object:
            if next(uses, None) == nth:
                raise OSError(number, os.strerror(number))
            return real(*args, **options)

        return call

    return wrap


@pytest.fixture
def killed_at() -> Callable[[int, Callable[[], object]], bool]:
    """Runs work in a process that ends at its n-th fsync or rename; whether it did."""
    return _killed_at


def _killed_at(nth: int, work: Callable[[], object]) -> bool:
    """Run `work` in a process that ends without clean-up at its `nth` fsync or rename; whether it did."""
    child = os.fork()
    if child == 0:
        calls = 0

        def dying(real: Callable[..., object]) -> Callable[..., object]:
            def call(*args: object, **options: object) -> object:
                nonlocal calls
                calls += 1
                if calls == nth:
                    os._exit(9)
                return real(*args, **options)

            return call

        try:
            for name in ("fsync", "replace", "rename"):
                setattr(os, name, dying(getattr(os, name)))
            work()
        except SealiftError:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 9
