"""What each environment runs is kept, and what cannot be read is an error, never nothing."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from installer.deployments import Deployed, Deployments, Journal, State
from sealift.errors import MalformedError, StoreError, TrustError

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def deployments(tmp_path: Path) -> Deployments:
    """An empty folder of environments."""
    return Deployments(tmp_path / "environments")


def _state(version: str = "1.0.0") -> State:
    declared = {"environment": "plant-7", "release": "shop", "version": version, "targets": [], "policy": "none"}
    deployed = Deployed(release="shop", version=version, manifest="0" * 64, environment=declared, time=NOW)
    return State(environment="plant-7", current=deployed)


def _journal() -> Journal:
    before = State(environment="plant-7")
    return Journal(operation="1", action="apply", phase="staging", before=before, after=_state(), served=(None,))


def test_an_environment_that_never_was_runs_nothing(deployments: Deployments) -> None:
    """And asking does not make it."""
    assert deployments.state("plant-7") == State(environment="plant-7")
    assert deployments.journal("plant-7") is None
    assert deployments.names() == ()
    assert not deployments.folder.exists()


def test_what_is_kept_is_read_again(deployments: Deployments) -> None:
    """State and journal, field by field."""
    deployments.keep_state(_state())
    deployments.keep_journal(_journal())
    assert deployments.state("plant-7") == _state()
    assert deployments.journal("plant-7") == _journal()
    assert deployments.names() == ("plant-7",)


def test_a_journal_ends(deployments: Deployments) -> None:
    """Twice is once."""
    deployments.keep_journal(_journal())
    for _ in range(2):
        deployments.end_journal("plant-7")
    assert deployments.journal("plant-7") is None


def test_what_is_kept_is_private(deployments: Deployments) -> None:
    """An environment may hold what is nobody else's business."""
    deployments.keep_state(_state())
    folder = deployments.folder / "plant-7"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "state.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["state.json", "journal.json"])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\0" * 100, id="zeroed"),
        pytest.param(b'{"format":1', id="cut off"),
        pytest.param(b"\xff\xfe", id="not utf-8"),
        pytest.param(b"[]", id="another type"),
        pytest.param(b'{"format":1,"environment":"plant-7","more":1}', id="an unknown field"),
        pytest.param(b'{"format":2,"environment":"plant-7"}', id="a newer format"),
    ],
)
def test_what_cannot_be_read_is_an_error(deployments: Deployments, name: str, content: bytes) -> None:
    """27, 101: a damaged file, or a newer sealift's, is never taken for an environment that runs nothing."""
    deployments.keep_state(_state())
    (deployments.folder / "plant-7" / name).write_bytes(content)
    with pytest.raises(TrustError, match=name):
        deployments.state("plant-7") if name == "state.json" else deployments.journal("plant-7")


def test_a_journal_of_a_newer_format_is_an_error(deployments: Deployments) -> None:
    """101: even where each of its fields could be read."""
    deployments.keep_journal(_journal())
    path = deployments.folder / "plant-7" / "journal.json"
    path.write_bytes(path.read_bytes().replace(b'{"format":1', b'{"format":2', 1))
    with pytest.raises(TrustError, match="newer sealift"):
        deployments.journal("plant-7")


@pytest.mark.parametrize("name", ["..", "a/b", "", "A", "x" * 65, "plant\x00"])
def test_a_name_cannot_leave_the_folder(deployments: Deployments, name: str) -> None:
    """52: whoever asks with it."""
    with pytest.raises(MalformedError):
        deployments.state(name)


def test_a_file_in_place_of_a_folder_is_an_error(deployments: Deployments) -> None:
    """With the system's own words."""
    deployments.folder.mkdir()
    (deployments.folder / "plant-7").write_text("")
    with pytest.raises(StoreError, match="plant-7"):
        deployments.keep_state(_state())
