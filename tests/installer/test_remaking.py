"""Compressed files that crossed inflated: the site has the very files again, and nothing else counts."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from archives import Packed, edited, gzipped, prose, zipped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from worlds import Connected, Isolated

from bundler.depots.depot import Depot
from bundler.depots.holding import in_depot
from bundler.differences.patching import difference
from bundler.sealing import Effort
from installer.auditing import audit
from installer.collecting import collect
from installer.environments.environment import load
from installer.storage import packs
from installer.storage.store import SPARE, Store
from sealift.errors import StoreError
from sealift.progress import Silent


def wheel(version: int) -> bytes:
    """A wheel of which every second member changes with the version."""
    members = []
    for number in range(6):
        content = prose(number, 60_000)
        members.append(Packed(name=f"pkg/{number}.py", content=edited(content, version) if number % 2 else content))
    members.append(Packed(name=f"pkg-{version}.dist-info/RECORD", content=prose(7, 4000), deflated=False))
    return zipped(members, streamed=version > 1)


def release(version: int) -> dict[str, bytes]:
    """A wheel, a gzip file with a large member, one that is renamed, and what looks like an archive and is none."""
    layer = prose(1, 2 << 20) + random.Random(5).randbytes(9 << 19)
    return {
        f"pkg-{version}-py3-none-any.whl": wheel(version),
        "layer.tar.gz": gzipped(edited(layer, version), level=1),
        "broken.zip": b"PK\3\4" + random.Random(version).randbytes(2000),
        "new.jar" if version > 1 else "old.txt": zipped([Packed(name="META-INF/a", content=prose(9, 9000))]),
    }


def tree_of(folder: Path) -> dict[str, bytes]:
    """What lies below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def crossing(connected: Connected, isolated: Isolated) -> Path:
    """A difference with changed archives, at a site that holds the former ones."""
    isolated.admit(connected.bundle("1.0.0", release(1)))
    return connected.bundle("1.1.0", release(2), since=["shop@1.0.0"])


def test_changed_archives_cross_inflated_and_are_deployed_as_they_were(
    connected: Connected, isolated: Isolated, crossing: Path
) -> None:
    """Bit for bit, for a small part of what their compressed bytes would cost; nothing is left beside the packs."""
    isolated.admit(crossing)
    isolated.apply("1.1.0")
    assert tree_of(isolated.srv / "current") == release(2)
    assert audit(isolated.site, deep=True, workers=2, progress=Silent()).sound
    made = connected.made[crossing.name].carried[0].difference
    assert made is not None
    assert made.inside.archives == 2
    assert made.inside.carried < made.inside.size / 20
    assert [path.name for path in (isolated.site.store / "packs").iterdir() if path.suffix != ".zst"] == []


def test_where_archives_are_not_looked_into_they_cross_as_they_are(connected: Connected, isolated: Isolated) -> None:
    """`--no-inflate` makes a difference that any zlib can read, and that is larger."""
    isolated.admit(connected.bundle("1.0.0", release(1)))
    bundle = connected.bundle("1.1.0", release(2), since=["shop@1.0.0"], inflate=False)
    made = connected.made[bundle.name].carried[0].difference
    assert made is not None
    assert made.inside.archives == 0
    assert made.size > 40_000
    isolated.admit(bundle)
    isolated.apply("1.1.0")
    assert tree_of(isolated.srv / "current") == release(2)


@pytest.mark.parametrize("free", [2 << 20, 4 << 20], ids=["less than they are", "less than they are while made"])
def test_what_the_disk_cannot_take_is_refused_before_any_of_it_is_made(
    isolated: Isolated, crossing: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    """The bundle itself would fit; the archives that it becomes would not, and their sizes are known."""
    monkeypatch.setattr(Store, "free", lambda _: SPARE + free)
    before = tree_of(isolated.site.store)
    with pytest.raises(StoreError, match="bytes are needed for") as caught:
        isolated.admit(crossing)
    assert "gc" in (caught.value.hint or "")
    assert tree_of(isolated.site.store) == before


def test_a_repair_needs_no_room_for_what_is_there(
    isolated: Isolated, crossing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release of which a pack was lost has its other packs already."""
    monkeypatch.setattr(packs, "PACK_TARGET", 1 << 20)
    isolated.admit(crossing)
    store = Store(isolated.site.store)
    former, new = (each.part.packs for each in isolated.site.state.admitted)
    lost = store.pack(min(set(new) - set(former), key=lambda pack: pack.length))
    lost.unlink()
    monkeypatch.setattr(Store, "free", lambda _: SPARE + (4 << 20))
    isolated.admit(crossing)
    assert lost.exists()


def test_nothing_depends_on_the_base_afterwards(isolated: Isolated, crossing: Path) -> None:
    """The chunks lie in ordinary packs: the base may go, and the release serves and is whole."""
    isolated.admit(crossing)
    isolated.apply("1.1.0")
    collect(isolated.site, isolated.installation, keep=0, dry_run=False, clock=lambda: isolated.now)
    assert [each.label for each in isolated.site.state.admitted] == ["shop@1.1.0"]
    assert audit(isolated.site, deep=True, workers=2, progress=Silent()).sound


def test_the_same_releases_give_the_same_difference(connected: Connected, crossing: Path, tmp_path: Path) -> None:
    """For any number of workers, byte for byte."""
    made = connected.made[crossing.name].carried[0].difference
    for workers in (1, 3):
        again = difference(
            in_depot(Depot(connected.depot.folder), "shop", "1.1.0"),
            [in_depot(connected.depot, "shop", "1.0.0")],
            tmp_path / f"{workers}",
            level=Effort.difference_level,
            workers=workers,
            progress=Silent(),
        )
        assert again == made
        assert {path.name for path in (tmp_path / f"{workers}").iterdir()} == {"trees", "index", "packs"}


MEMBERS = st.builds(
    lambda number, size, times, deflated, level: Packed(
        name=f"m{number}", content=edited(prose(number, size), times), deflated=deflated, level=level
    ),
    st.integers(0, 2),
    st.integers(100, 400_000),
    st.integers(0, 4),
    st.booleans(),
    st.sampled_from([1, 6, 9]),
)
ARCHIVES = st.one_of(
    st.builds(zipped, st.lists(MEMBERS, max_size=4, unique_by=lambda each: each.name), streamed=st.booleans()),
    st.builds(
        lambda number, times: gzipped(edited(prose(number, 1_400_000), times)), st.integers(0, 1), st.integers(0, 3)
    ),
)
TREES = st.dictionaries(st.sampled_from(["a-1.whl", "a-2.whl", "b.zip", "c/d.gz", "blob"]), ARCHIVES, min_size=1)
COUNT = itertools.count()


@pytest.mark.slow
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chain=st.lists(TREES, min_size=2, max_size=3))
def test_any_chain_of_differences_gives_the_archives_back(
    connected: Connected, isolated: Isolated, chain: list[dict[str, bytes]]
) -> None:
    """Trees of archives, each carried as a difference to the one before, come out byte for byte."""
    name = f"r{next(COUNT)}"
    isolated.admit(connected.bundle("0", chain[0], release=name))
    for number, files in enumerate(chain[1:], start=1):
        isolated.admit(connected.bundle(f"{number}", files, release=name, since=[f"{name}@{number - 1}"]))
        collect(isolated.site, isolated.installation, keep=1, dry_run=False, clock=lambda: isolated.now)
        isolated.installation.apply(load(isolated.environment(f"{number}", release=name)))
        assert tree_of(isolated.srv / "current") == files
