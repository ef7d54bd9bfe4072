"""A site that trusts a forge, copied for each test, and the one way to see that it refuses."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from forge import Forge
from worlds import Isolated

from installer.records.site import Site
from sealift.errors import SealiftError
from tests.tufmaker import NOW

Refuses = Callable[..., SealiftError]


@pytest.fixture(scope="session")
def forge() -> Forge:
    """The keys that sign every bundle of these tests."""
    return Forge()


@pytest.fixture(scope="session")
def enrolled(forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site that trusts the forge; copy it, do not change it."""
    folder = tmp_path_factory.mktemp("enrolled") / "site"
    Site.create(folder, forge.root, sha256(forge.root).hexdigest(), NOW)
    return folder


@pytest.fixture(scope="session")
def good(forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An honest bundle, with the lowest versions of all metadata."""
    return forge.bundle(tmp_path_factory.mktemp("good") / "good.sealift")


@pytest.fixture
def isolated(enrolled: Path, tmp_path: Path) -> Isolated:
    """A site that trusts the forge, and holds nothing yet."""
    shutil.copytree(enrolled, tmp_path / "site")
    return Isolated(root=tmp_path, folder=tmp_path / "site", srv=tmp_path / "srv", now=NOW)


@pytest.fixture
def refuses(isolated: Isolated, good: Path) -> Refuses:
    """Sees that the site refuses a bundle, for a reason, and that nothing else came of it.

    After it, the site is as it was but for one line in the ledger, and the honest bundle is still admitted,
    however old its metadata is: a refused bundle moves no trust. With `kept`, files that are what their names
    say may stay in the store, for the next try.
    """

    def check(bundle: Path, exit_code: int, said: str, *, kept: bool = False) -> SealiftError:
        before, store = isolated.fingerprint_of_everything(), _store(isolated)
        lines = len(list(isolated.site.ledger.read()))
        with pytest.raises(SealiftError) as caught:
            isolated.admit(bundle)
        error = caught.value
        assert (error.exit_code, bool(re.search(said, error.message))) == (exit_code, True), repr(error)
        assert "\n" not in error.message
        assert not error.message.endswith(".")
        added = _store(isolated) - store
        assert kept or not added
        for path in added:
            assert sha256(path.read_bytes()).hexdigest() == path.name.partition(".")[0]
            path.unlink()
        assert isolated.fingerprint_of_everything() == before
        *_, last = isolated.site.ledger.read()
        assert last.seq == lines + 1
        assert (last.event, last.detail["exit_code"]) == ("refused", exit_code)
        assert str(last.detail["error"])[:200] == error.message[:200]
        isolated.admit(good)
        isolated.apply("1.0.0")
        assert (isolated.srv / "current" / "web").read_bytes().startswith(b"<h1>")
        return error

    return check


def _store(isolated: Isolated) -> set[Path]:
    return {path for path in isolated.site.store.rglob("*") if path.is_file()}
