"""What is asked for without TLS is said each time."""

from __future__ import annotations

from pathlib import Path

import pytest
from calls import Call
from images import sample
from registries import Running
from worlds import Connected


@pytest.fixture(autouse=True)
def _home(quiet_home: Path) -> Path:
    return quiet_home


@pytest.mark.parametrize("words", [("lock",), ("export", "--dry-run")])
def test_a_warning_names_the_artifact(
    plain_registry: Running, connected: Connected, call: Call, words: tuple[str, ...]
) -> None:
    """And no other artifact; the result on standard output is whole."""
    made = sample(71)
    plain_registry.push(made.pile, "plain/web", {"1.0": made.root})
    (connected.root / "notes").mkdir()
    (connected.root / "notes" / "a.txt").write_text("a")
    spec = connected.root / "sealift.yaml"
    spec.write_text(
        'release: shop\nversion: "1.0"\nartifacts:\n  notes: {source: path, path: notes}\n'
        f"  web: {{source: oci, image: '{plain_registry.host}/plain/web:1.0', unsafe_http: true}}\n"
    )
    command, *more = words
    if command == "export":
        assert call("lock", spec, "--depot", connected.depot.folder) == 0, call.err
    assert call.document(command, spec, "--depot", connected.depot.folder, *more)
    warnings = [line for line in call.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert "artifact web of shop@1.0 is asked for without TLS" in warnings[0]
