"""Locking: what a spec resolves to is written, compared, and followed by the export."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from served import Served
from worlds import NOW, Connected

from bundler import lock as locks
from bundler.depots.depot import Depot
from bundler.lock import Lock
from bundler.locking import check, resolve
from bundler.sealing import Effort
from bundler.spec import load
from sealift.errors import IntegrityError, SourceError, StoreError, UsageError
from sealift.progress import Silent

SMALL = {"a": b"a" * 100, "d/b": b"b" * 200}


def resolved(spec: Path, depot: Depot | None = None, *, now: datetime = NOW) -> Lock:
    """The lock that is written for `spec` at a time."""
    return resolve(load(spec), effort=Effort(level=1, threads=1), progress=Silent(), now=now, depot=depot)[1]


def compared(spec: Path) -> None:
    """Compare `spec` with its lock."""
    check(load(spec), effort=Effort(level=1, threads=1), progress=Silent())


@pytest.fixture
def fetching(connected: Connected, served: Served) -> Path:
    """A spec with a folder and a file from a server, whose digest it does not say."""
    return connected.spec("1.0.0", SMALL, more=f"  tool: {{source: url, url: '{served.url}'}}\n")


def test_the_lock_says_what_was_found(connected: Connected, fetching: Path, served: Served) -> None:
    """The digests are those that the export then seals."""
    lock = resolved(fetching)
    pins = {"url": served.url, "sha256": hashlib.sha256(served.body).hexdigest(), "length": len(served.body)}
    assert lock.artifacts["tool"].pins == pins
    connected.export(fetching)
    (sealed,) = connected.made["shop-1.0.0.sealift"].sealed
    assert {artifact.name: artifact.digest for artifact in sealed.release.artifacts} == {
        name: locked.digest for name, locked in lock.artifacts.items()
    }


def test_without_a_depot_nothing_is_kept(fetching: Path, served: Served) -> None:
    """What was fetched for the lock is fetched again for a check, and the spec's folder gains the lock alone."""
    before = set(fetching.parent.rglob("*"))
    resolved(fetching)
    compared(fetching)
    assert served.asked == 2
    assert set(fetching.parent.rglob("*")) - before == {fetching.with_suffix(".lock")}


def test_with_a_depot_the_export_need_not_fetch_again(connected: Connected, fetching: Path, served: Served) -> None:
    """What was fetched stays in the depot's cache."""
    resolved(fetching, connected.depot)
    connected.export(fetching)
    assert served.asked == 1


def test_a_depot_is_locked_meanwhile(connected: Connected, fetching: Path) -> None:
    """Another writer is told so, and no lock is written."""
    with connected.depot.lock(), pytest.raises(StoreError, match="another sealift command"):
        resolved(fetching, connected.depot)
    assert not fetching.with_suffix(".lock").exists()


def test_a_failure_of_something_else_is_not_blamed_on_a_folder(fetching: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error from inside is not turned into one about the spec's folder."""
    failure = OSError(5, "Input/output error")

    def pin(*_: object) -> None:
        raise failure

    monkeypatch.setattr("bundler.sources.url.pin", pin)
    with pytest.raises(OSError, match="Input/output") as raised:
        resolved(fetching)
    assert raised.value is failure


def test_an_export_follows_the_lock(connected: Connected) -> None:
    """Content that changed after it was locked is refused with exit 3, and nothing is published."""
    spec = connected.spec("1.0.0", SMALL)
    resolved(spec)
    (connected.root / "shop-1.0.0" / "a").write_bytes(b"changed")
    with pytest.raises(SourceError, match="artifact web differs from"):
        connected.export(spec)
    with pytest.raises(SourceError, match="artifact web differs from"):
        compared(spec)
    resolved(spec)
    compared(spec)
    connected.export(spec)


def test_a_server_that_sends_other_content_is_refused(connected: Connected, fetching: Path, served: Served) -> None:
    """What was pinned is what is sealed: exit 5."""
    resolved(fetching)
    served.body = b"#!/bin/sh\nexit 1\n"
    with pytest.raises(IntegrityError, match="does not match its digest"):
        connected.export(fetching)


def test_a_lock_of_another_version_is_refused(connected: Connected) -> None:
    """A spec whose version was raised needs a new lock, even where the content is the same."""
    spec = connected.spec("1.0.0", SMALL)
    resolved(spec)
    spec.write_text(spec.read_text().replace('"1.0.0"', '"1.1.0"'))
    for work in (connected.export, compared):
        with pytest.raises(UsageError, match=r"made for shop@1\.0\.0, and the spec says shop@1\.1\.0") as raised:
            work(spec)
        assert "sealift-bundle lock" in (raised.value.hint or "")
    resolved(spec)
    connected.export(spec)


def test_a_check_needs_a_lock(connected: Connected) -> None:
    """There is nothing to compare with: exit 3, and the hint says how to write one."""
    with pytest.raises(SourceError, match="there is no lock") as raised:
        compared(connected.spec("1.0.0", SMALL))
    assert "sealift-bundle lock" in (raised.value.hint or "")


def test_a_lock_inside_its_own_artifact_is_refused(connected: Connected) -> None:
    """It would never match; with `exclude` it does."""
    spec = connected.root / "shop-1.0.0" / "sealift.yaml"
    connected.spec("1.0.0", SMALL)
    text = "release: shop\nversion: '1'\nartifacts:\n  web:\n    source: path\n    path: .\n"
    spec.write_text(text)
    with pytest.raises(UsageError, match="take in its own lock"):
        resolved(spec)
    spec.write_text(text + "    exclude: [sealift.lock]\n")
    resolved(spec)
    compared(spec)
    connected.export(spec, connected.root / "x.sealift")


def test_the_same_content_gives_the_same_lock(connected: Connected) -> None:
    """A lock is canonical, so that it does not change in a repository."""
    spec = connected.spec("1.0.0", SMALL)
    resolved(spec)
    first = locks.path_of(spec).read_bytes()
    resolved(spec)
    assert locks.path_of(spec).read_bytes() == first
    assert json.loads(first)["artifacts"].keys() == {"web"}


def test_a_lock_says_when_each_artifact_was_found(connected: Connected, fetching: Path) -> None:
    """What is the same keeps its time when the lock is written again; what has changed gets the new one."""
    assert {entry.time for entry in resolved(fetching).artifacts.values()} == {"2026-05-01T12:00:00Z"}
    (connected.root / "shop-1.0.0" / "a").write_bytes(b"other")
    again = resolved(fetching, now=NOW + timedelta(days=1))
    assert {name: entry.time for name, entry in again.artifacts.items()} == {
        "tool": "2026-05-01T12:00:00Z",
        "web": "2026-05-02T12:00:00Z",
    }


def test_a_failed_lock_leaves_the_former_one(connected: Connected) -> None:
    """A source that cannot be collected changes nothing."""
    spec = connected.spec("1.0.0", SMALL)
    resolved(spec)
    before = locks.path_of(spec).read_bytes()
    shutil.rmtree(connected.root / "shop-1.0.0")
    with pytest.raises(SourceError):
        resolved(spec)
    assert locks.path_of(spec).read_bytes() == before
