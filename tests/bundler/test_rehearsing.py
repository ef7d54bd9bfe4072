"""The rehearsal of an export: what would be sealed, and nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
from served import Served
from worlds import Connected, sample

from bundler.depots.published import Reference
from bundler.rehearsing import Rehearsed, rehearse
from bundler.sealing import Effort
from bundler.spec import Spec, load
from sealift.errors import SealiftError, SourceError, UsageError
from sealift.progress import Silent

SMALL = {"a": b"a" * 100, "d/b": b"b" * 200}


def rehearsed(connected: Connected, *wanted: Path | Reference) -> tuple[Rehearsed, ...]:
    """Rehearse, and check that neither the depot nor its folder changed."""
    asked: list[Spec | Reference] = [load(each) if isinstance(each, Path) else each for each in wanted]
    before = {path: path.lstat().st_mtime_ns for path in connected.root.rglob("*")}
    effort = Effort(level=3, threads=1)
    try:
        return rehearse(asked, connected.depot, connected.root / "x.sealift", effort=effort, progress=Silent())
    finally:
        assert {path: path.lstat().st_mtime_ns for path in connected.root.rglob("*")} == before


def test_a_new_release_is_what_the_export_then_seals(connected: Connected) -> None:
    """Its artifacts, digests and the manifest's digest."""
    spec = connected.spec("1.0.0", SMALL)
    (told,) = rehearsed(connected, spec)
    connected.export(spec)
    (sealed,) = connected.made["shop-1.0.0.sealift"].sealed
    whole = told.choices
    assert told == Rehearsed(release=sealed.release, manifest=sealed.part.release.sha256, new=True, choices=whole)
    assert [choice.base for choice in whole] == [()]
    assert whole[0].size <= (connected.root / "shop-1.0.0.sealift").stat().st_size


def test_it_says_how_large_each_choice_would_be(connected: Connected) -> None:
    """Whole, or as a difference to one of the newest releases: the size that the export then has, but for metadata."""
    connected.bundle("1.0.0", sample(1))
    files = {**sample(1), "index.html": b"<h1>shop 2</h1>"}
    spec = connected.spec("1.1.0", files)
    (told,) = rehearsed(connected, spec)
    assert [choice.base for choice in told.choices] == [(), ("shop@1.0.0",)]
    connected.export(spec, since=["shop@1.0.0"])
    made = connected.made["shop-1.1.0.sealift"].carried[0].difference
    assert made
    assert told.choices[1].size == made.size < told.choices[0].size / 100


def test_the_same_content_is_told_as_published(connected: Connected) -> None:
    """By the spec or by its name."""
    spec = connected.spec("1.0.0", SMALL)
    connected.export(spec)
    one, two = rehearsed(connected, spec, Reference(name="shop", version="1.0.0"))
    assert one == two
    assert not one.new


def test_other_content_is_refused_in_the_export_s_own_words(connected: Connected) -> None:
    """Exit 2 with the same message and hint."""
    spec = connected.spec("1.0.0", SMALL)
    connected.export(spec)
    (connected.root / "shop-1.0.0" / "a").write_bytes(b"other")
    said: list[tuple[str, str | None]] = []
    for work in (lambda: rehearsed(connected, spec), lambda: connected.export(spec)):
        with pytest.raises(UsageError, match="already published") as raised:
            work()
        said.append((raised.value.message, raised.value.hint))
    assert said[0] == said[1]


@pytest.mark.parametrize("problem", ["missing", "overlap", "unknown"])
def test_it_fails_where_the_export_would(connected: Connected, problem: str) -> None:
    """A missing folder, a depot inside a source, a release that is not there."""
    spec = connected.spec("1.0.0", SMALL if problem != "missing" else None)
    if problem == "overlap":
        spec.write_text(spec.read_text().replace("path: shop-1.0.0", "path: ."))
    wanted: Path | Reference = Reference(name="shop", version="9") if problem == "unknown" else spec
    with pytest.raises(SealiftError) as raised:
        rehearsed(connected, wanted)
    assert isinstance(raised.value, SourceError if problem == "missing" else UsageError)


def test_what_the_depot_holds_is_not_fetched(connected: Connected, served: Served) -> None:
    """The cache is read; what it lacks is fetched elsewhere and not kept."""
    spec = connected.root / "tool.yaml"
    digest = "306c6ca7407560340797866e077e053627ad409277d1b9da58106fce4cf717cb"
    spec.write_text(
        f"release: tool\nversion: '1'\nartifacts: {{tool: {{source: url, url: '{served.url}', sha256: {digest}}}}}\n"
    )
    rehearsed(connected, spec)
    rehearsed(connected, spec)
    assert served.asked == 2
    connected.export(spec)
    rehearsed(connected, spec)
    assert served.asked == 3
